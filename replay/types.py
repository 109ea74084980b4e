"""What flows into and out of a replay, and the protocol that both back ends keep."""

import logging
import math
import pathlib
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = Any  # np.ndarray on the host, jax.Array on a device and inside a jitted function.


class Transition(NamedTuple):
  """A batch of n-step transitions; time is in the names (rlax's convention)."""
  obs_tm1: Array  # [B, *observation]
  a_tm1: Array  # [B, M] int32, one choice per action dimension
  r_t: Array  # [B] float32, clipped and discounted sum of up to n rewards
  discount_t: Array  # [B] float32, product of discounts, gamma folded in; 0 after a termination
  obs_t: Array  # [B, *observation]


class Sample(NamedTuple):
  """A batch drawn from replay."""
  keys: np.ndarray  # [B] uint64, what `update` takes
  probabilities: np.ndarray  # [B] float64, the chance of each at the time of drawing
  transition: Transition


class Outcome(NamedTuple):
  """A transition that ends at its stream's newest frame."""
  num_steps: int  # frames between obs_tm1 and obs_t, 1 to n
  a_tm1: np.ndarray  # [M] int32
  r_t: float
  discount_t: float


class Step(NamedTuple):
  """One environment's newest frame and the transitions that it completes."""
  stream: int  # which environment, 0 to num_streams - 1
  is_first: bool  # True at the first frame of an episode: older frames are zeros
  frame: np.ndarray  # [*frame]
  outcomes: tuple[Outcome, ...]  # longest first; more than one only at an episode's end


class Signature(NamedTuple):
  """The shapes a replay holds.

  An observation is `stack` consecutive frames along its first axis, zeros before the episode's
  first; where `stack` is 1 the observation is the frame itself, without that axis.
  """
  frame_shape: tuple[int, ...]
  frame_dtype: str  # a NumPy name, 'uint8' or 'float32'
  stack: int
  num_action_dims: int
  n_step: int
  num_streams: int

  @property
  def observation_shape(self) -> tuple[int, ...]:
    return self.frame_shape if self.stack == 1 else (self.stack, *self.frame_shape)


class Settings(NamedTuple):
  """How a replay keeps and draws."""
  capacity: int  # transitions; the oldest leaves first
  prioritized: bool = False  # False: uniform
  priority_exponent: float = 0.6  # a draw's chance is proportional to priority ** exponent
  seed: int = 0  # Reverb 0.14 cannot be seeded and ignores it
  uniform_probability: float = 0.0  # that a prioritized draw is uniform; dqn_zoo's agents: 1e-3
  new_priority: float = 0.0  # what an item enters with; 0: the largest priority so far
  # Reverb, whose writers are other processes: what holds them back. The local replay ignores it.
  samples_per_insert: float = 0.0  # transitions drawn for each that came in; 0: nothing is held
  min_size: int = 1  # transitions before the first is drawn
  max_ahead: int = 0  # transitions that writers may be ahead of what was drawn


class Replay(Protocol):
  """Transitions in, batches out. Frames are stored once; a stack is a reference to frames."""
  num_refused: int  # TD errors that were not finite and so changed no priority

  def add(self, step: Step) -> None:
    """Stores a copy of the frame, and its outcomes with the priority that the settings say."""

  def sample(self, batch_size: int) -> Sample:
    """Draws with replacement. Raises ReplayError where nothing was added yet."""

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """Sets priorities to |td_error|; keys that have left are ignored; non-finite ones refused."""

  def peek(self, count: int, seed: int) -> Transition:
    """Draws `count` transitions, at most `size()`; later samples do not notice.

    The local replay draws them uniformly by `seed`, none twice. Reverb draws them as `sample` does.
    """

  def size(self) -> int:
    """Number of transitions that can be drawn."""

  def save(self, folder: pathlib.Path) -> None:
    """Writes everything `restore` needs into `folder`, which must not exist yet."""

  def restore(self, folder: pathlib.Path) -> None:
    """Replaces the contents by what `save` wrote.

    Raises ValueError where the folder holds another signature or other settings.
    """

  def close(self) -> None:
    """Frees what the replay holds outside this process. May be called twice."""


class ReplayError(RuntimeError):
  """A replay that cannot go on, with the cause in words."""


MIN_PRIORITY, MAX_PRIORITY = 1e-6, 1e6
FIRST_PRIORITY = 1.0  # what an item enters with until a larger priority was seen


def to_priorities(td_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The one way a TD error becomes a priority, in every back end.

  A single negative priority wedges a Reverb table for good and an infinite one corrupts its
  sampling for ever, so nothing but weights made of this function's result may reach a table.

  Returns:
    priorities: [B] float64 in [MIN_PRIORITY, MAX_PRIORITY], meaningless where not `valid`.
    valid: [B] bool, False where the error was not finite: skip those.
  """
  td_errors = np.asarray(td_errors, np.float64)
  valid = np.isfinite(td_errors)
  magnitude = np.abs(np.where(valid, td_errors, 0.0)) + MIN_PRIORITY
  return np.clip(magnitude, MIN_PRIORITY, MAX_PRIORITY), valid


def to_updates(keys: np.ndarray, td_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """What `update` may set: the keys and priorities whose TD errors are finite; logs the others.

  Returns:
    keys [V] uint64 and priorities [V] float64, of V <= B.
  """
  if keys.dtype != np.uint64 or keys.shape != td_errors.shape:  # JAX would cut them to 32 bits.
    raise ValueError(f'keys: got {keys.dtype} {list(keys.shape)}, '
                     f'must be uint64 {list(td_errors.shape)}, as td_errors')
  priorities, valid = to_priorities(td_errors)
  if not valid.all():
    logging.warning('replay: refused %d of %d TD errors, which are not finite',
                    np.count_nonzero(~valid), len(valid))
  return keys[valid], priorities[valid]


def check_settings(settings: Settings) -> None:
  """Raises ValueError, naming the field, where settings cannot be kept."""
  if not 0 <= settings.uniform_probability <= 1:
    raise ValueError(f'uniform_probability: got {settings.uniform_probability}, must be in [0, 1]')
  if settings.new_priority and not MIN_PRIORITY <= settings.new_priority <= MAX_PRIORITY:
    raise ValueError(f'new_priority: got {settings.new_priority}, must be 0 or in '
                     f'[{MIN_PRIORITY:g}, {MAX_PRIORITY:g}]')


def check_step(signature: Signature, step: Step, episode_length: int) -> None:
  """Raises ValueError, naming the field, where a step does not fit.

  Args:
    signature: what the replay holds.
    step: what was to be added.
    episode_length: frames of the stream's episode before this one; 0 where `step.is_first`.
  """
  frame = step.frame
  if frame.shape != signature.frame_shape or frame.dtype != signature.frame_dtype:
    raise ValueError(f'frame: got {frame.dtype.name} {list(frame.shape)}, but this replay holds '
                     f'{signature.frame_dtype} {list(signature.frame_shape)}')
  longest = min(signature.n_step, episode_length)
  for num_steps, a_tm1, r_t, discount_t in step.outcomes:
    if not 1 <= num_steps <= longest:
      raise ValueError(f'num_steps: got {num_steps}, must be 1 to {longest} '
                       f'(n_step={signature.n_step}, {episode_length} frames before this one)')
    if a_tm1.shape != (signature.num_action_dims,) or a_tm1.dtype != np.int32:
      raise ValueError(f'a_tm1: got {a_tm1.dtype.name} {list(a_tm1.shape)}, but this replay holds '
                       f'int32 [{signature.num_action_dims}]')
    if not (math.isfinite(r_t) and math.isfinite(discount_t)):
      raise ValueError(f'r_t, discount_t: got {r_t}, {discount_t}, must be finite')


def check_same(kind: str, saved: dict[str, Any], asked: Signature | Settings) -> None:
  """Raises ValueError, naming the first field where what was saved is not what is asked for.

  A field that is newer than the folder had its default value, whatever was not said then.
  """
  for field, value in asked._asdict().items():
    was = saved.get(field, asked._field_defaults.get(field))
    was = tuple(was) if isinstance(value, tuple) else was
    if was != value:
      raise ValueError(f'{kind}.{field}: the saved replay has {was}, this one {value}')
