"""Turns batched timesteps into frames and n-step outcomes."""

import collections

import dm_env
import numpy as np

from replay import types

_FIRST, _LAST = int(dm_env.StepType.FIRST), int(dm_env.StepType.LAST)


class Accumulator:
  """Remembers the last `n_step` actions, rewards and discounts of each stream.

  An outcome of k steps that ends at time t has (Sutton and Barto, 2018, equation 12.1 without
  its bootstrap, with d_i = discount * the environment's discount at time i)
    r_t = r_{t-k+1} + d_{t-k+1} * (r_{t-k+2} + d_{t-k+2} * (...)),
    discount_t = d_{t-k+1} * ... * d_t.
  So a life lost inside the window zeroes what comes after it, and a time limit, whose discount
  the environment keeps, bootstraps.
  """

  def __init__(self, n_step: int, discount: float, reward_clip: float, stack: int,
               num_streams: int):
    """Args: `reward_clip` bounds |reward| before it is summed, 0 for no bound."""
    for name, value in (('n_step', n_step), ('stack', stack), ('num_streams', num_streams)):
      if value < 1:
        raise ValueError(f'{name}: got {value}, must be at least 1')
    if not 0 <= discount <= 1:
      raise ValueError(f'discount: got {discount}, must be in [0, 1]')
    if not reward_clip >= 0:
      raise ValueError(f'reward_clip: got {reward_clip}, must be at least 0')
    self._discount = discount
    self._reward_clip = reward_clip or float('inf')
    self._stack = stack
    # One (a_tm1, r_t, d_t) a step since the episode's first frame, newest last.
    self._histories = [collections.deque(maxlen=n_step) for _ in range(num_streams)]

  def step(self, timestep: dm_env.TimeStep, action_tm1: np.ndarray | None) -> list[types.Step]:
    """Takes what the environments just returned.

    Args:
      timestep: N environments' step_type [N], reward [N], discount [N] and observation
        [N, *observation]; the steps returned hold views of it.
      action_tm1: [N, M] int32, the choices that led here; a FIRST ignores its row, and None will
        do where all are FIRST.

    Returns:
      N steps, one a stream.
    """
    frames = timestep.observation[:, -1] if self._stack > 1 else timestep.observation
    actions = None if action_tm1 is None else np.array(action_tm1, np.int32)
    clip, steps = self._reward_clip, []
    # Python's own numbers, here, are several times faster than NumPy's scalars.
    rows = zip(np.asarray(timestep.step_type).tolist(), np.asarray(timestep.reward).tolist(),
               np.asarray(timestep.discount).tolist(), self._histories, strict=True)
    for stream, (step_type, reward, discount, history) in enumerate(rows):
      is_first = step_type == _FIRST
      if is_first:
        history.clear()
      elif actions is None:
        raise ValueError(f'action_tm1: got None, but stream {stream} is inside an episode')
      else:
        reward = min(max(reward, -clip), clip)
        history.append((actions[stream], reward, self._discount * discount))
      outcomes = _outcomes(history, is_last=step_type == _LAST)
      steps.append(types.Step(stream, is_first, frames[stream], outcomes))
    return steps

  def state(self) -> dict[str, np.ndarray]:
    """What `restore` needs: the histories, oldest step first, zeros behind their ends."""
    n_step = self._histories[0].maxlen
    num_dims = max((len(row[0]) for history in self._histories for row in history), default=0)
    state = {
        'lengths': np.array([len(history) for history in self._histories], np.int32),
        'actions': np.zeros((len(self._histories), n_step, num_dims), np.int32),
        'rewards': np.zeros((len(self._histories), n_step), np.float64),
        'discounts': np.zeros((len(self._histories), n_step), np.float64),
    }
    for stream, history in enumerate(self._histories):
      for i, (action, reward, discount) in enumerate(history):
        state['actions'][stream, i] = action
        state['rewards'][stream, i], state['discounts'][stream, i] = reward, discount
    return state

  def restore(self, state: dict[str, np.ndarray]) -> None:
    """Continues exactly where `state` was taken."""
    expected = len(self._histories), self._histories[0].maxlen
    if state['rewards'].shape != expected:
      raise ValueError(f'state: holds [streams, n_step] = {list(state["rewards"].shape)}, '
                       f'but this accumulator has {list(expected)}')
    for stream, history in enumerate(self._histories):
      length = state['lengths'][stream]
      history.clear()
      history.extend(zip(np.array(state['actions'][stream, :length]),
                         state['rewards'][stream, :length].tolist(),
                         state['discounts'][stream, :length].tolist(), strict=True))


def _outcomes(history: collections.deque, is_last: bool) -> tuple[types.Outcome, ...]:
  """Outcomes that end now, longest first: one of n steps, or all lengths at an episode's end."""
  r_t, discount_t, outcomes = 0.0, 1.0, []
  for num_steps, (a_tm1, reward, discount) in enumerate(reversed(history), 1):
    r_t, discount_t = reward + discount * r_t, discount * discount_t
    if is_last or num_steps == history.maxlen:
      outcomes.append(types.Outcome(num_steps, a_tm1, r_t, discount_t))
  return tuple(reversed(outcomes))
