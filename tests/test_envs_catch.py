"""Catch against a slow twin and its own rules."""

import hypothesis
import numpy as np
import pytest
from dm_env import StepType
from hypothesis import strategies as st

from envs import catch


def slow_catch(rows: int, columns: int, ball: int, moves: list[int]) -> list[tuple]:
  """One episode cell by cell: (board, reward, is_last) after each move."""
  paddle, steps = columns // 2, []
  for row, move in enumerate(moves[:rows - 1], start=1):
    paddle = min(max(paddle + (-1, 0, 1)[move], 0), columns - 1)
    board = [[0.0] * columns for _ in range(rows)]
    board[row][ball] = board[rows - 1][paddle] = 1.0
    landed = row == rows - 1
    steps.append((board, (1 if paddle == ball else -1) if landed else 0, landed))
  return steps


@hypothesis.given(rows=st.integers(2, 12), columns=st.integers(1, 7), seed=st.integers(0, 1000),
                  moves=st.lists(st.integers(0, 2), min_size=11, max_size=11))
def test_an_episode_is_that_of_the_slow_twin(rows, columns, seed, moves):
  env = catch.make(num_envs=2, seed=seed, rows=rows, columns=columns)
  first = env.reset().observation
  assert first.shape == (2, rows, columns)
  balls = first[:, 0].argmax(axis=1)
  twins = [slow_catch(rows, columns, ball, moves) for ball in balls]
  for step, move in enumerate(moves[:rows - 1]):
    timestep = env.step(np.full(2, move))
    for i in range(2):
      board, reward, is_last = twins[i][step]
      np.testing.assert_array_equal(timestep.observation[i], board)
      assert timestep.reward[i] == reward
      assert timestep.discount[i] == (0 if is_last else 1)
      assert timestep.step_type[i] == (StepType.LAST if is_last else StepType.MID)
  assert (env.step(np.zeros(2, np.int32)).step_type == StepType.FIRST).all()


def test_balls_fall_in_every_column():
  env = catch.make(num_envs=100, seed=1)
  columns = env.reset().observation[:, 0].argmax(axis=1)
  assert (np.bincount(columns, minlength=5) > 8).all()


def test_pixels_are_the_board_enlarged():
  small, large = catch.make(2, seed=1), catch.make(2, seed=1, pixels=True)
  board, frame = small.reset().observation, large.reset().observation
  assert frame.dtype == np.uint8
  assert frame.shape == (2, 4, 84, 84)
  # The middle of each cell of 8.4 x 16.8 pixels.
  rows, columns = (np.arange(10) * 8.4 + 4).astype(int), (np.arange(5) * 16.8 + 8).astype(int)
  np.testing.assert_array_equal(frame[:, -1][:, rows[:, None], columns], 255 * board)


@pytest.mark.parametrize('size, message', [
    (dict(rows=1), 'rows=1: must be at least 2'),
    (dict(columns=0), 'columns=0: must be at least 1')])
def test_bad_size(size, message):
  with pytest.raises(ValueError) as error:
    catch.make(num_envs=1, seed=1, **size)
  assert str(error.value) == message
