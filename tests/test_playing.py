"""The experiment that is played: what it leaves, and that a killed one goes on to the same end."""

import csv
import json
import shutil

import numpy as np
import pytest

from agents import script
from agents.supervised import cli, main
from tests import runs
from tests.image_streams import STREAMS

pytestmark = pytest.mark.usefixtures('own_signals')

TINY = (
    '--experiment=bandit(random=true)', '--num_tasks=2', '--steps_per_task=50', '--num_seeds=1',
    '--interventions=so(target=two_hot)', '--subset=64', '--probe_every_tasks=1',
    '--checkpoint_every_tasks=1', '--set=min_replay_size=16', '--set=batch_size=8',
    '--set=target_update_period=10', '--set=eval_length=8', '--set=probe_observations=16',
    '--set=probe_inputs=8', '--set=probe_targets=2', '--set=probe_steps=3',
    '--set=probe_lanczos_steps=2')
WAY = 'so'


def seed(folder, number):
  return folder / WAY / f'seed{number}'


@pytest.fixture(scope='module')
def played(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'bandit'
  status, _, err = runs.run('run_supervised.py', *TINY, f'--run_dir={folder}')
  assert status == script.DONE, err
  return folder


def test_a_bandit_leaves_what_other_experiments_leave(played):
  with open(played / 'curves.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [(row['way'], row['seed'], row['frame']) for row in rows] == [
      (WAY, '1', frame) for frame in ('0', '50', '100')]
  assert [row['updates'] for row in rows] == ['0', '40', '90']  # ten at once; not before 16
  assert all(np.isfinite(float(row['loss'])) for row in rows if row['frame'] != '0')
  with open(played / 'figure.csv', newline='') as file:
    drawn = list(csv.DictReader(file))
  assert [(row['seed'], row['frame'], row['plasticity_lost']) for row in drawn] == [
      ('1', row['frame'], row['plasticity_lost'])
      for row in runs.rows(seed(played, 1) / 'probes.csv')]
  assert (played / 'figure.png').read_bytes()[:4] == b'\x89PNG'
  assert '<svg' in (played / 'figure.svg').read_text()
  text = (played / 'report.md').read_text()
  assert 'mnist_5k' in text and 'random=True' in text and 'seeds 1' in text
  assert (seed(played, 1) / 'report.html').exists()


def test_a_bandit_is_an_agent_that_acts_at_random(played):
  config = json.loads((seed(played, 1) / 'config.json').read_text())
  assert (config['objective'], config['distribution']) == ('q_learning', 'two_hot')
  row = runs.rows(seed(played, 1) / 'results.csv')[-1]
  assert float(row['train_exploration_epsilon']) == 1


def test_killed_before_its_last_checkpoint_it_goes_on_to_the_same_end(played, tmp_path):
  folder = tmp_path / 'killed'
  shutil.copytree(played, folder)
  shutil.rmtree(seed(folder, 1) / 'checkpoints' / '100')
  argv = ['run', *TINY, f'--run_dir={folder}', '--resume', '--num_seeds=2']
  assert main.run(STREAMS, argv) == script.DONE
  for name in ('results.csv', 'probes.csv'):
    assert runs.rows(seed(folder, 1) / name) == runs.rows(seed(played, 1) / name)
  ours, theirs = (runs.tensors(seed(root, 1), 100) for root in (folder, played))
  assert ours.keys() == theirs.keys()
  for name, tensor in ours.items():
    np.testing.assert_array_equal(tensor, theirs[name], err_msg=name)
  # And the seed that is new learned something else, in what was compiled for the first.
  other = runs.tensors(seed(folder, 2), 100)
  assert not np.array_equal(ours['params/dense1/w'], other['params/dense1/w'])
  assert (folder / 'comparison.html').exists()


def test_labels_are_of_the_seed_of_the_run_and_not_of_the_environment(tmp_path):
  command = cli.parse(
      STREAMS, ['run', *TINY, '--num_seeds=2', f'--run_dir={tmp_path}/run'])
  streams = STREAMS._replace(play=lambda task, num_classes, num_envs, seed: (task, seed))
  made = {(config.seed, seed): main.make_env(streams, command.dataset, config, 1, seed)
          for config in command.arms[0].configs for seed in (5, 6)}
  assert [seed for _, seed in made.values()] == [5, 6, 5, 6]
  labels = {key: task.targets.tolist() for key, (task, _) in made.items()}
  assert labels[1, 5] == labels[1, 6] != labels[2, 5] == labels[2, 6]


@pytest.mark.parametrize('arguments, message', [
    (['--interventions=ls'], 'label_smoothing=0.05: distribution=none has no target'),
    (['--set=v_max=5', '--interventions=so'], 'v_max=5.0: must hold returns of up to 100'),
    (['--set=discount=0.5'], 'set=discount: is what the ways that are compared differ in'),
    (['--set=trace_steps=5'], 'trace_steps=5: looks at the first updates on a task'),
    (['--experiment=bandit(fraction=0.5)'], 'bandit=fraction: unknown; known are'),
    (['--experiment=bandit(random=2)'], 'bandit.random=2: must be')])
def test_what_makes_no_sense_to_a_bandit_is_refused(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    cli.parse(
        STREAMS, ['run', '--experiment=bandit', f'--run_dir={tmp_path}/run', *arguments])
