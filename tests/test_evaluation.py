"""When an evaluation ends: at its length or with the last of its episodes, whichever is first."""

import threading

import pytest

from agents import parts, snapshot
from tests import catch_runs


@pytest.mark.parametrize('envs, length, episodes, num_steps, num_episodes', [
    (1, 23, 0, 23, 4), (1, 0, 3, 15, 3), (1, 23, 2, 10, 2), (1, 7, 2, 7, 1), (1, 10, 2, 10, 2),
    (2, 23, 0, 24, 4), (2, 0, 3, 15, 3), (3, 100, 3, 15, 3), (2, 12, 4, 12, 2), (2, 6, 0, 6, 0)])
def test_an_evaluation_ends_at_the_first_of_its_bounds(
    envs, length, episodes, num_steps, num_episodes):
  config = catch_runs.make_config(eval_length=length, eval_episodes=episodes, eval_envs=envs)
  run, done = catch_runs.build(config), []  # an episode of Catch has five steps here
  params = snapshot.start(run).learner.params
  evaluation = parts.evaluate(run, params, 0, threading.Event(), done.append)
  assert (evaluation.num_steps, evaluation.num_episodes) == (num_steps, num_episodes)
  total = evaluation.mean_return * num_episodes  # of episodes that return 1 or -1
  assert abs(evaluation.mean_return) <= 1 and total == pytest.approx(round(total))
  assert round(total) % 2 == num_episodes % 2
  assert done == sorted(done) and done[-1] == 1 and all(part < 1 for part in done[:-1])
