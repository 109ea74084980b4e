"""Catch: a ball falls, a paddle at the bottom moves under it. A game small enough for tests.

Every episode has rows - 1 steps and a reward of 1 or -1 at its end (Mnih et al. 2014, "Recurrent
models of visual attention"). A random player catches one ball in about `columns`.
"""

import numpy as np
from dm_env import specs

from envs import batched

_LEFT, _STAY, _RIGHT = range(3)
_ENLARGED = 16  # times, for people


def make(
    num_envs: int, seed: int, rows: int = 10, columns: int = 5, pixels: bool = False,
) -> batched.Environment:
  """N boards, float32 [rows, columns], or with `pixels` frames like Atari's, uint8 [4, 84, 84]."""
  return batched.Environment(Boards(num_envs, rows, columns, pixels), seed)


class Boards:
  """`batched.Simulators` of Catch."""
  name = 'Catch'
  frames_per_step = 1
  steps_per_second = 5
  segment_steps = 0

  def __init__(self, num_envs: int, rows: int, columns: int, pixels: bool):
    batched.check_least(num_envs=(num_envs, 1), rows=(rows, 2), columns=(columns, 1))
    self.num_envs = num_envs
    self.stack = 4 if pixels else 1
    self._rows, self._columns, self._pixels = rows, columns, pixels
    frame = np.zeros((84, 84), np.uint8) if pixels else np.zeros((rows, columns), np.float32)
    self._stacks = np.zeros((num_envs, self.stack, *frame.shape), frame.dtype)
    self._generators = [np.random.default_rng(0)] * num_envs  # Until `start` seeds them.
    self._ball_row, self._ball_column, self._paddle = np.zeros((3, num_envs), np.int64)
    self.observation_spec = specs.BoundedArray(
        self._observation().shape[1:], frame.dtype, 0, 255 if pixels else 1, 'board')
    self.action_spec = specs.DiscreteArray(3, np.int32, 'left_stay_right')

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    for i, seed in zip(np.flatnonzero(mask), seeds, strict=True):
      self._generators[i] = np.random.default_rng(seed)
    self._drop(mask)
    self._stacks = self._stacks.copy()
    self._stacks[mask] = batched.push(
        self._stacks[mask], self._frames()[mask], np.full(len(seeds), True))
    return self._observation()[mask]

  def advance(self, actions: np.ndarray) -> batched.Outcome:
    has_ended = self._ball_row == self._rows - 1
    self._ball_row = self._ball_row + 1
    self._paddle = np.clip(self._paddle + actions - _STAY, 0, self._columns - 1)
    self._drop(has_ended)
    self._stacks = batched.push(self._stacks, self._frames(), has_ended)
    lands = self._ball_row == self._rows - 1
    return batched.Outcome(
        observation=self._observation(),
        reward=np.where(self._ball_column == self._paddle, 1.0, -1.0) * lands,
        discount=np.where(lands, 0.0, 1.0),
        is_last=lands)

  def render(self, index: int) -> np.ndarray:
    return batched.enlarge((255 * self._boards()[index]).astype(np.uint8), _ENLARGED)

  def close(self) -> None:
    pass

  def _drop(self, mask: np.ndarray) -> None:
    """New balls, at the top of the masked boards."""
    self._ball_row = np.where(mask, 0, self._ball_row)
    self._paddle = np.where(mask, self._columns // 2, self._paddle)
    self._ball_column = np.array([
        self._generators[i].integers(self._columns) if mask[i] else self._ball_column[i]
        for i in range(self.num_envs)])

  def _boards(self) -> np.ndarray:
    """[N, rows, columns] float32, 1 where the ball or the paddle is."""
    boards = np.zeros((self.num_envs, self._rows, self._columns), np.float32)
    every = np.arange(self.num_envs)
    boards[every, self._ball_row, self._ball_column] = 1.0
    boards[every, -1, self._paddle] = 1.0
    return boards

  def _frames(self) -> np.ndarray:
    """What the agent is shown now, [N, *frame]."""
    boards = self._boards()
    if not self._pixels:
      return boards
    row, column = (np.arange(84) * size // 84 for size in (self._rows, self._columns))
    return (255 * boards[:, row[:, None], column]).astype(np.uint8)

  def _observation(self) -> np.ndarray:
    return self._stacks[:, 0] if self.stack == 1 else self._stacks
