"""Probes in training: what they leave, and that training does not notice them."""

import threading

import jax
import numpy as np
import pytest

from agents import config as config_lib
from agents import metrics, parts, probing, snapshot, trainer
from envs import catch
from probes import schema
from replay import factory
from tests import catch_runs, runs


def train(folder, probe_every, stop=None, **settings):
  """The last parameters of a run on Catch, prioritized so that a draw too many would show."""
  config = catch_runs.make_config(**dict(
      run_length=300, eval_every=0, probe_every=probe_every, checkpoint_every=0, prioritized=True,
      probe_observations=40, probe_inputs=8, probe_targets=2, probe_steps=3, probe_lanczos_steps=3
      ) | settings)
  folder.mkdir(exist_ok=True)
  run = trainer.Trainer(catch_runs.build(config), folder, stop or threading.Event())
  run.run()
  run.close()
  return run.state.learner.params


def test_probes_change_nothing_that_training_computes(tmp_path):
  probed, plain = train(tmp_path / 'probed', 100), train(tmp_path / 'plain', 0)
  jax.tree.map(np.testing.assert_array_equal, probed, plain)
  assert not (tmp_path / 'plain' / 'probes.csv').exists()
  rows = metrics.read_rows(tmp_path / 'probed' / 'probes.csv')
  assert [row['frame'] for row in rows] == ['0', '100', '200', '300']
  first, last = rows[0], rows[-1]
  assert float(first['distance/total']) == 0  # The initial parameters, made again from the seed.
  assert float(last['distance/total']) > 0.1
  assert float(first['shift/dense1']) == 0
  assert float(last['shift/dense1']) > 0
  assert {path.name for path in (tmp_path / 'probed' / 'probes').iterdir()} == {
      f'{row["frame"]}.npz' for row in rows}


@pytest.mark.parametrize('settings, updates', [
    (dict(min_replay_size=300), '1'), (dict(min_replay_size=301), '0'),
    (dict(updates_per_dispatch=200), '0'), (dict(updates_per_dispatch=30), '120')], ids=str)
def test_a_run_that_ends_before_it_learns_is_warned_of(tmp_path, caplog, settings, updates):
  train(tmp_path / 'run', 0, eval_every=300, eval_length=20, **settings)
  assert runs.rows(tmp_path / 'run' / 'results.csv')[-1]['updates'] == updates
  assert ('this run ends before it learns' in caplog.text) == (updates == '0')


@pytest.mark.parametrize('looks, probed, saved', [(5, [], '0'), (160, ['0'], '100')])
def test_a_probe_that_is_stopped_is_made_anew_when_the_run_goes_on(
    tmp_path, looks, probed, saved):
  # A look at each timestep, six in an episode, and 24 in a probe, as in test_supervised.py.
  train(tmp_path / 'cut', 100, runs.StopAfter(looks))
  assert [row['frame'] for row in runs.rows(tmp_path / 'cut' / 'probes.csv')] == probed
  assert [path.name for path in (tmp_path / 'cut' / 'checkpoints').iterdir()] == [saved]
  whole, resumed = train(tmp_path / 'whole', 100), train(tmp_path / 'cut', 100)
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)
  train(tmp_path / 'cut', 100)  # which finds nothing to do
  rows = runs.rows(tmp_path / 'whole' / 'probes.csv')
  assert runs.rows(tmp_path / 'cut' / 'probes.csv') == rows and len(rows) == 4


@pytest.mark.parametrize('length, warns', [(3, True), (5, False)])
def test_an_evaluation_without_a_whole_episode_is_warned_of(tmp_path, caplog, length, warns):
  # An episode of Catch has five steps here.
  train(tmp_path, 0, eval_every=300, eval_length=length, run_length=100)
  assert ('no episode of this evaluation came to its end' in caplog.text) == warns


SMALL = dict(
    replay_capacity=500, min_replay_size=50, batch_size=8, probe_observations=40, probe_inputs=8,
    probe_targets=2, probe_steps=3, probe_lanczos_steps=3, probe_pool_size=8, probe_batch_size=8)


@pytest.mark.parametrize('agent, names', [
    ('rainbow', []), ('iqn', ['crelu', 'infer']), ('dqn', ['bn', 'gelu']),
    pytest.param('decqn', ['so'], marks=pytest.mark.slow),
    pytest.param('qr_dqn', ['sn', 'inject'], marks=pytest.mark.slow)])
def test_every_kind_of_agent_can_be_probed(agent, names):
  overrides = {'inject.at': '1'} if 'inject' in names else {}
  if agent != 'decqn':  # whose normalization is its torso's own
    overrides |= dict(torso='mlp', hidden_size=16)
  config = config_lib.resolve('control', 'catch', agent, names, SMALL | overrides)
  task = parts.Task(lambda num_envs, seed: catch.make(num_envs, seed, 6, 5), lambda r: r)
  run = parts.build(config, task, lambda signature: factory.make(
      'local', signature, parts.replay_settings(config), 'test-probing'))
  state = snapshot.start(run).learner
  inputs = probing.draw(run, state.params, 0)
  row, arrays = probing.measure(probing.make(config, run.model), state, inputs, None)
  # Features of 40 observations may be of a rank below their number, and heads that rest are not
  # dormant.
  broken = [name for name, value in row.items()
            if not np.isfinite(value) and not (np.isposinf(value) and name.endswith('condition'))
            and not ('injected' in name and name.split('/')[0].endswith('gradient_dormant'))]
  assert broken == []
  assert all(np.isfinite(values).all() for values in arrays.values())
  known = {name.split('/')[0].strip() for metric in schema.SCHEMA
           for name in metric.name.split(',')} | {'update', '<group>'}
  assert {name.split('/')[0].removeprefix('fresh_') for name in row} <= known


@pytest.mark.parametrize('version, kept', [(schema.VERSION, True), (schema.VERSION - 1, False)])
def test_fits_of_a_first_probe_that_had_other_targets_are_not_compared_with(
    tmp_path, version, kept):
  arrays = {'agent_final_losses': np.ones(2), 'agent_preactivation_mean/dense1': np.ones(3)}
  probing.write_arrays(tmp_path / 'probes' / '40.npz', arrays)
  (tmp_path / 'probes.csv').write_text(f'frame,record_version\n40,{version}\n')
  found = probing._first(tmp_path, 40)
  assert found.keys() == (arrays.keys() if kept else {'agent_preactivation_mean/dense1'})
