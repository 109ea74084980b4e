"""Batched dm_env environments that can be rebuilt, to the bit, from seeds and actions.

Emulators and physics engines cannot be saved whole, but they are deterministic. So a stream (one
of the N sub-environments) is cut into segments. Each begins with a seed of its own, and the rest
of it follows from the actions: the state of a stream is the number of its segment and the actions
since, and restoring it means playing those again.
"""

import zlib
from typing import NamedTuple, Protocol

import dm_env
import numpy as np
from dm_env import specs

FIRST, MID, LAST = (np.int32(step_type) for step_type in dm_env.StepType)


class Outcome(NamedTuple):
  """What one action did in each of N simulators. All arrays are new: nothing overwrites them."""
  observation: np.ndarray  # [N, *observation]
  reward: np.ndarray  # [N], true, not clipped; ignored where an episode begins
  discount: np.ndarray  # [N], 0 where nothing after this counts; ignored where an episode begins
  is_last: np.ndarray  # [N] bool, the episode ended here, by termination or by a time limit


class Simulators(Protocol):
  """N simulators of one kind: all that is particular to Atari, Control or Catch."""
  name: str  # for error messages
  num_envs: int
  stack: int  # frames in an observation, along its first axis; that axis is missing where it is 1
  frames_per_step: int
  steps_per_second: float  # where a person watches
  segment_steps: int  # an episode that begins after more steps begins a segment; 0: each does
  observation_spec: specs.Array  # of one simulator
  action_spec: specs.BoundedArray  # of one simulator

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Begins an episode in the K simulators of `mask` [N], each a function of its seed alone.

    Args:
      mask: [N] bool.
      seeds: [K] int64 below 2**31.

    Returns:
      [K, *observation], the first observations. The other simulators are left untouched.
    """

  def advance(self, actions: np.ndarray) -> Outcome:
    """Acts in all N. A simulator whose episode has ended ignores its action and begins another."""

  def render(self, index: int) -> np.ndarray:
    """One simulator now, for people: uint8 [H, W, 3], H and W even."""

  def close(self) -> None:
    """Frees threads and memory."""


class Environment(dm_env.Environment):
  """N environments as one, by the conventions of dm_env with a leading axis N.

  After a LAST step the next action of that sub-environment is ignored and gives a FIRST step,
  while the others go on. Specs are those of one sub-environment.
  """

  def __init__(self, simulators: Simulators, seed: int):
    if not 0 <= seed < 2**63:
      raise ValueError(f'seed={seed}: must be in [0, 2**63)')
    self.num_envs = simulators.num_envs
    self.stack = simulators.stack
    self.frames_per_step = simulators.frames_per_step
    self.steps_per_second = simulators.steps_per_second
    self._simulators = simulators
    self._seed = seed
    self._segment = np.full(self.num_envs, -1)
    self._length = np.zeros(self.num_envs, np.int64)  # steps since the segment began
    self._actions = []  # of the newest steps, as many as the longest segment has
    self._timestep = None

  def observation_spec(self) -> specs.Array:
    return self._simulators.observation_spec

  def action_spec(self) -> specs.BoundedArray:
    return self._simulators.action_spec

  def reward_spec(self) -> specs.Array:
    return specs.Array((), np.float32, 'reward')

  def discount_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')

  def reset(self) -> dm_env.TimeStep:
    """Begins a new episode, and a new segment, in every sub-environment."""
    self._segment = self._segment + 1
    self._length = np.zeros_like(self._length)
    self._actions = []
    self._timestep = self._start_all()
    return self._timestep

  def step(self, actions: np.ndarray) -> dm_env.TimeStep:
    """Acts in every sub-environment; before the first `reset` it is a `reset`, as in dm_env.

    Args:
      actions: [N, *action] within the action spec.

    Returns:
      step_type [N] int32, reward [N] float32 (0 on FIRST), discount [N] float32 (1 on FIRST) and
      observation [N, *observation]. No later step overwrites them.
    """
    if self._timestep is None:
      return self.reset()
    actions = self._checked_actions(actions)
    self._timestep = self._advance(self._timestep, actions)
    self._length = self._length + 1
    self._actions.append(actions)
    due = (self._timestep.step_type == FIRST) & (self._length > self._simulators.segment_steps)
    if due.any():
      self._segment = self._segment + due
      self._length = np.where(due, 0, self._length)
      self._actions = self._actions[len(self._actions) - self._length.max():]
      self._timestep = self._start(due, self._timestep)
    return self._timestep

  def state(self) -> dict[str, np.ndarray]:
    """Everything `restore` needs: flat, numeric and small."""
    if self._timestep is None:
      raise RuntimeError('state() before reset(): there is no episode to describe yet')
    spec = self.action_spec()
    return {
        'seed': np.array([self._seed]),
        'segment': self._segment,
        'length': self._length,
        'actions': np.array(self._actions, spec.dtype).reshape(-1, self.num_envs, *spec.shape),
        'checksum': _checksum(self._timestep),
    }

  def restore(self, state: dict[str, np.ndarray]) -> dm_env.TimeStep:
    """Plays the actions of `state()` again and returns the time step that was current then."""
    if state['segment'].shape != (self.num_envs,):
      raise ValueError(f'state: is of {len(state["segment"])} environments; must be of as many as '
                       f'there are here, {self.num_envs}')
    self._seed = int(state['seed'][0])
    self._segment = state['segment']
    self._length = state['length']
    self._actions = list(state['actions'])
    # Segments began at different times and end together. Until its own begins, a stream plays on
    # from an early start, which harms nothing and saves telling simulators to wait.
    timestep = self._start_all()
    for steps_left, actions in zip(reversed(range(len(self._actions))), self._actions, strict=True):
      timestep = self._advance(timestep, actions)
      if (begins := self._length == steps_left).any():
        timestep = self._start(begins, timestep)
    self._timestep = timestep
    if (wrong := np.flatnonzero(_checksum(timestep) != state['checksum'])).size:
      raise ValueError(f'state: its actions lead elsewhere in sub-environments {wrong.tolist()} of '
                       f'{self._simulators.name}; it must come from the same game or task, '
                       'protocol, simulator version and kind of processor')
    return timestep

  def render(self, index: int = 0) -> np.ndarray:
    """What a person sees of one sub-environment now: uint8 [H, W, 3]; no step overwrites it."""
    if self._timestep is None:
      raise RuntimeError('render() before reset(): there is nothing to see yet')
    return self._simulators.render(index)

  def close(self) -> None:
    self._simulators.close()

  def _start_all(self) -> dm_env.TimeStep:
    spec = self.observation_spec()
    observation = np.zeros((self.num_envs, *spec.shape), spec.dtype)
    return self._start(np.full(self.num_envs, True), dm_env.TimeStep(FIRST, 0.0, 1.0, observation))

  def _start(self, mask: np.ndarray, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    """Begins the segments of the masked streams, in a copy of the time step."""
    seeds = [np.random.SeedSequence(self._seed, spawn_key=(i, self._segment[i])).generate_state(1)
             for i in np.flatnonzero(mask)]
    observation = timestep.observation.copy()
    # ALE takes 31 bits and no sign.
    observation[mask] = self._simulators.start(mask, np.concatenate(seeds).astype(np.int64) >> 1)
    self._check_finite('observation', observation)
    return dm_env.TimeStep(
        step_type=np.where(mask, FIRST, timestep.step_type),
        reward=np.where(mask, np.float32(0.0), np.float32(timestep.reward)),
        discount=np.where(mask, np.float32(1.0), np.float32(timestep.discount)),
        observation=observation)

  def _advance(self, timestep: dm_env.TimeStep, actions: np.ndarray) -> dm_env.TimeStep:
    is_first = timestep.step_type == LAST
    outcome = self._simulators.advance(actions)
    step_type = np.where(outcome.is_last, LAST, MID)
    reward, discount = outcome.reward.astype(np.float32), outcome.discount.astype(np.float32)
    if is_first.any():
      step_type[is_first], reward[is_first], discount[is_first] = FIRST, 0.0, 1.0
    self._check_finite('reward', reward)
    self._check_finite('observation', outcome.observation)
    return dm_env.TimeStep(step_type, reward, discount, outcome.observation)

  def _checked_actions(self, actions: np.ndarray) -> np.ndarray:
    """A copy in the spec's type. (An action out of range makes ALE's threads hang for ever.)"""
    spec = self.action_spec()
    actions = np.asarray(actions)
    kinds = 'iu' if spec.dtype.kind == 'i' else 'f'
    shape = (self.num_envs, *spec.shape)
    if actions.shape != shape or actions.dtype.kind not in kinds:
      raise ValueError(f'actions: {actions.dtype}{list(actions.shape)}; must be '
                       f'{spec.dtype}{list(shape)} in {self._simulators.name}')
    inside = (actions >= spec.minimum) & (actions <= spec.maximum)
    if not inside.all():
      index = np.argwhere(~inside)[0].tolist()
      low, high = (np.broadcast_to(bound, shape)[tuple(index)]
                   for bound in (spec.minimum, spec.maximum))
      raise ValueError(f'actions{index}={actions[tuple(index)]}: must be in [{low}, {high}] in '
                       f'{self._simulators.name}')
    return actions.astype(spec.dtype)

  def _check_finite(self, what: str, value: np.ndarray) -> None:
    # Integers are finite, and looking at every pixel of every frame is not free.
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      wrong = np.flatnonzero(~np.isfinite(value).reshape(self.num_envs, -1).all(axis=1))
      raise FloatingPointError(f'{self._simulators.name}: the {what} of sub-environments '
                               f'{wrong.tolist()} is not finite; every {what} must be')


def check_least(**arguments: tuple[int, int]) -> None:
  """Raises ValueError where a value, given as (value, least), is below its least."""
  for name, (value, least) in arguments.items():
    if value < least:
      raise ValueError(f'{name}={value}: must be at least {least}')


def push(stacks: np.ndarray, frames: np.ndarray, is_first: np.ndarray) -> np.ndarray:
  """Stacks [N, S, *frame] with new last `frames` [N, *frame], all others zeros where `is_first`."""
  stacks = np.concatenate([stacks[:, 1:], frames[:, None]], axis=1)
  stacks[is_first, :-1] = 0
  return stacks


def enlarge(grey: np.ndarray, factor: int) -> np.ndarray:
  """uint8 [H, W] -> [factor * H, factor * W, 3], every pixel a square."""
  return np.repeat(grey.repeat(factor, 0).repeat(factor, 1)[..., None], 3, axis=2)


def _checksum(timestep: dm_env.TimeStep) -> np.ndarray:
  """[N] uint32, of what a sub-environment shows now."""
  return np.array([zlib.crc32(observation.tobytes(), step_type)
                   for observation, step_type in zip(
                       timestep.observation, timestep.step_type, strict=True)], np.uint32)
