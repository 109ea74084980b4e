"""What flows into and out of a replay, and the protocol that both back ends keep."""

import pathlib
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = Any  # np.ndarray on the host, jax.Array inside a jitted function.


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


class Replay(Protocol):
  """Transitions in, batches out. Frames are stored once; a stack is a reference to frames."""

  def add(self, step: Step) -> None:
    """Stores a frame and its outcomes, each with the largest priority seen so far."""

  def sample(self, batch_size: int) -> Sample:
    """Draws with replacement. Raises ReplayError where nothing was added yet."""

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """Sets priorities to |td_error|; keys that have left are ignored; non-finite ones refused."""

  def observations(self, count: int, seed: int) -> np.ndarray:
    """Draws `count` stored obs_tm1, [count, *observation], and changes nothing in the replay."""

  def size(self) -> int:
    """Number of transitions that can be drawn."""

  def save(self, folder: pathlib.Path) -> None:
    """Writes everything `restore` needs into `folder`, which must not exist yet."""

  def restore(self, folder: pathlib.Path) -> None:
    """Replaces the contents by what `save` wrote; refuses a folder of another signature."""

  def close(self) -> None:
    """Frees what the replay holds outside this process. May be called twice."""


class ReplayError(RuntimeError):
  """A replay that cannot go on, with the cause in words."""


MIN_PRIORITY, MAX_PRIORITY = 1e-6, 1e6


def to_priorities(td_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The one way a TD error becomes a priority, in every back end.

  A single negative priority wedges a Reverb table for good and an infinite one corrupts its
  sampling for ever, so nothing but this function's result may reach a table.

  Returns:
    priorities: [B] float64 in [MIN_PRIORITY, MAX_PRIORITY], meaningless where not `valid`.
    valid: [B] bool, False where the error was not finite: skip those.
  """
  td_errors = np.asarray(td_errors, np.float64)
  valid = np.isfinite(td_errors)
  magnitude = np.abs(np.where(valid, td_errors, 0.0)) + MIN_PRIORITY
  return np.clip(magnitude, MIN_PRIORITY, MAX_PRIORITY), valid
