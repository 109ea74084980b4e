"""When an evaluation ends: at its length or with the last of its episodes, whichever is first."""

import threading

import pytest

from agents import parts, snapshot
from tests import catch_runs


@pytest.mark.parametrize('length, episodes, num_steps, num_episodes', [
    (23, 0, 23, 4), (0, 3, 15, 3), (23, 2, 10, 2), (7, 2, 7, 1), (10, 2, 10, 2)])
def test_an_evaluation_ends_at_the_first_of_its_bounds(length, episodes, num_steps, num_episodes):
  config = catch_runs.make_config(eval_length=length, eval_episodes=episodes)
  run, done = catch_runs.build(config), []  # an episode of Catch has five steps here
  params = snapshot.start(run).learner.params
  evaluation = parts.evaluate(run, params, 0, threading.Event(), done.append)
  assert (evaluation.num_steps, evaluation.num_episodes) == (num_steps, num_episodes)
  assert abs(evaluation.mean_return) <= 1
  assert done == sorted(done) and done[-1] == 1 and all(part < 1 for part in done[:-1])
