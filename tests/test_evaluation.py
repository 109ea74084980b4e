"""When an evaluation ends: at its length or with the last of its episodes, whichever is first."""

import threading

import jax
import numpy as np
import pytest

from agents import parts, snapshot, trainer
from networks import noisy
from tests import catch_runs, runs


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


@pytest.mark.parametrize('normalized, columns', [
    (2.5, (2.5, 1.0, 0.0)), (-0.5, (-0.5, -0.5, 1.5)), (np.nan, (np.nan, np.nan, np.nan))])
def test_scores_are_capped_at_a_humans_and_unknown_where_there_is_none(
    tmp_path, normalized, columns):
  config = catch_runs.make_config(
      run_length=20, eval_every=20, eval_length=20, probe_every=0, checkpoint_every=0,
      probe_observations=40)
  run = trainer.Trainer(
      catch_runs.build(config, normalize=lambda _: normalized), tmp_path, threading.Event())
  run.run()
  run.close()
  for row in runs.rows(tmp_path / 'results.csv'):
    found = [float(row[name]) for name in (
        'normalized_return', 'capped_normalized_return', 'human_gap')]
    np.testing.assert_array_equal(found, columns)


def _noisy_run(**overrides):
  return catch_runs.build(catch_runs.make_config(
      noisy=True, noisy_sigma=0.5, eval_length=100, **overrides))


def test_without_noise_a_noisy_network_is_a_function_of_what_it_sees():
  run = _noisy_run()
  params = snapshot.start(run).learner.params
  observation = run.env.reset().observation

  def value(params, seed):
    return np.asarray(run.model.network.apply(params, jax.random.key(seed), observation).q_values)

  silent = noisy.silenced(params)
  np.testing.assert_array_equal(value(silent, 1), value(silent, 2))
  assert (value(params, 1) != value(params, 2)).any()
  assert params['head']['w_sigma'].any() and (silent['head']['w'] == params['head']['w']).all()


def test_eval_noise_decides_whether_noise_plays_in_an_evaluation():
  found = {}
  for eval_noise in (True, False):
    run = _noisy_run(eval_noise=eval_noise)
    params = snapshot.start(run).learner.params
    for sigma in (0.0, 100.0):
      loud = jax.tree_util.tree_map_with_path(
          lambda path, leaf, sigma=sigma: leaf + sigma * path[-1].key.endswith('_sigma'),
          noisy.silenced(params))
      found[eval_noise, sigma] = parts.evaluate(
          run, loud, 0, threading.Event(), lambda done: None).mean_return
  assert found[False, 0.0] == found[False, 100.0] == found[True, 0.0] != found[True, 100.0]
