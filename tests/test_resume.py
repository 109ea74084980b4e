"""Same seed, same run to the bit; killed and continued, still the same."""

import contextlib
import random
import shutil
import signal
import subprocess

import numpy as np
import pytest

from agents import checkpoint
from tests import runs

RESULTS_FRAMES = ['0', '300', '600', '900']


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'uninterrupted'
  status, _, err = runs.run('run_control.py', *runs.SMALL, f'--run_dir={folder}')
  assert status == 0, err
  return folder


def same_tensors(one, other):
  assert one.keys() == other.keys()
  return all(np.array_equal(one[name], other[name]) for name in one)


def assert_same_run(folder, reference):
  for name in ('results.csv', 'probes.csv'):
    assert runs.rows(folder / name) == runs.rows(reference / name)
  assert same_tensors(runs.tensors(folder, 900), runs.tensors(reference, 900))


def test_rows_come_once_at_their_frames(uninterrupted):
  assert [row['frame'] for row in runs.rows(uninterrupted / 'results.csv')] == RESULTS_FRAMES
  assert [row['frame'] for row in runs.rows(uninterrupted / 'probes.csv')] == ['0', '450', '900']


@pytest.mark.slow  # A run that starts over below tells the same.
def test_one_seed_is_one_run_to_the_bit(uninterrupted, tmp_path):
  folder = tmp_path / 'again'
  assert runs.run('run_control.py', *runs.SMALL, f'--run_dir={folder}')[0] == 0
  assert_same_run(folder, uninterrupted)


def test_another_seed_is_another_run(uninterrupted, tmp_path):
  folder = tmp_path / 'other'
  flags = '--num_steps=300', '--probe_every_steps=0', '--seed=2'
  assert runs.run('run_control.py', *runs.SMALL, f'--run_dir={folder}', *flags)[0] == 0
  for row, other in zip(runs.rows(folder / 'results.csv'),
                        runs.rows(uninterrupted / 'results.csv')[:2], strict=True):
    assert row['frame'] == other['frame'] and row != other


@pytest.mark.parametrize('seed, replay', [
    (0, 'device'),
    *(pytest.param(seed, 'local', marks=pytest.mark.slow) for seed in range(20))])
def test_killed_at_a_random_moment_and_continued_it_is_the_same_run(
    uninterrupted, tmp_path, seed, replay):
  folder = tmp_path / 'killed'
  flags = (*runs.SMALL, f'--run_dir={folder}', f'--replay={replay}')
  process = runs.start('run_control.py', *flags)
  # Some moment of the run, not of its start.
  runs.wait_for((folder / 'results.csv').exists, process)
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(random.Random(seed).uniform(0, 6))
  process.kill()
  runs.finish(process)
  status, _, err = runs.run('run_control.py', *flags, '--resume')
  assert status == 0, err
  assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize('number', [
    pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_interrupted_it_saves_reports_and_goes_on(uninterrupted, tmp_path, number):
  folder = tmp_path / 'interrupted'
  flags = (*runs.SMALL, f'--run_dir={folder}')
  process = runs.start('run_control.py', *flags)
  runs.wait_for(lambda: runs.rows(folder / 'results.csv'), process)
  process.send_signal(number)
  status, _, err = runs.finish(process)
  assert status == 130, err
  assert 'interrupted and saved; to go on' in err
  assert checkpoint.newest(folder / 'checkpoints')
  assert (folder / 'report.html').exists()
  assert runs.run('run_control.py', *flags, '--resume')[0] == 0
  assert_same_run(folder, uninterrupted)


@pytest.mark.slow  # Two runs; tests of the command line and of experiments tell some of it.
def test_a_finished_run_can_be_made_longer(uninterrupted, tmp_path):
  folder = tmp_path / 'longer'
  short = [flag.replace('--num_steps=900', '--num_steps=600') for flag in runs.SMALL]
  assert runs.run('run_control.py', *short, f'--run_dir={folder}')[0] == 0
  assert runs.run('run_control.py', *runs.SMALL, f'--run_dir={folder}', '--resume')[0] == 0
  assert [row['frame'] for row in runs.rows(folder / 'results.csv')] == RESULTS_FRAMES
  assert same_tensors(runs.tensors(folder, 900), runs.tensors(uninterrupted, 900))


def test_a_run_without_a_checkpoint_starts_over_to_the_same_bits(uninterrupted, tmp_path):
  folder = tmp_path / 'early'
  flags = (*runs.SMALL, f'--run_dir={folder}')
  process = runs.start('run_control.py', *flags)
  runs.wait_for((folder / 'config.json').exists, process)
  process.kill()
  runs.finish(process)
  assert runs.run('run_control.py', *flags, '--resume')[0] == 0
  assert_same_run(folder, uninterrupted)


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_run_is_the_same(uninterrupted, tmp_path):
  folder = tmp_path / 'damaged'
  shutil.copytree(uninterrupted, folder)
  newest = folder / 'checkpoints' / '900'
  (newest / 'replay' / 'state.json').write_text('{')
  status, _, err = runs.run('run_control.py', *runs.SMALL, f'--run_dir={folder}', '--resume')
  assert status == 0, err
  assert f'a damaged checkpoint is set aside: {newest}/replay/state.json: is not what was' in err
  assert f'continuing from {folder}/checkpoints/800' in err
  assert_same_run(folder, uninterrupted)
