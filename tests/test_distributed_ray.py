"""The real scripts with actors of their own: started as a user would, their processes killed."""

import contextlib
import os
import random
import re
import signal
import subprocess

import psutil
import pytest

from agents import checkpoint
from tests import runs

pytestmark = pytest.mark.reverb

# Some seconds of a run, after the start of all its processes.
FLAGS = (
    *(flag for flag in runs.SMALL if not flag.startswith(('--replay', '--num_steps'))),
    '--replay=reverb', '--num_steps=3000', '--eval_every_steps=1000', '--probe_every_steps=3000')
FRAMES = ['0', '1000', '2000', '3000']


def start(folder, *flags, num_actors=2):
  return runs.start(
      'run_control.py', *FLAGS, f'--num_actors={num_actors}', f'--run_dir={folder}', *flags)


def pids(folder, name):
  """Processes that a role has had, as the log tells them, the oldest first."""
  path = folder / 'log.txt'
  text = path.read_text() if path.exists() else ''
  pattern = r'replay server is .*, process (\d+)' if name == 'server' else (
      rf'{name} runs as process (\d+)')
  return [int(pid) for pid in re.findall(pattern, text)]


def kill(folder, process, name, already=0):
  """Kills a role that has been started so often before, once it runs."""
  runs.wait_for(lambda: len(pids(folder, name)) > already, process)
  os.kill(pids(folder, name)[-1], signal.SIGKILL)


def children(process):
  return psutil.Process(process.pid).children(recursive=True)


def assert_whole(folder, status, err, left):
  assert status == 0, err
  assert 'Traceback' not in err
  rows = runs.rows(folder / 'results.csv')
  assert [row['frame'] for row in rows] == FRAMES
  assert [row['frame'] for row in runs.rows(folder / 'probes.csv')] == ['0', '3000']
  # One at step 64, then one every `steps_per_update` steps.
  assert int(rows[-1]['updates']) == (3000 - 48) // 8
  assert checkpoint.load(folder / 'checkpoints' / '3000')[1]['num_steps'] == 3000
  assert (folder / 'report.html').exists()
  assert_gone(left)


def kill_agents(left):
  """Ray's two agents notice late, or never, that their raylet is gone."""
  for child in left:
    with contextlib.suppress(psutil.NoSuchProcess):
      if child.name().endswith('Agent'):
        child.kill()


def assert_gone(left):
  _, alive = psutil.wait_procs(left, timeout=60)  # Ray's agents look for their parent now and then
  assert not alive


@pytest.mark.parametrize('num_actors, names', [
    (1, ['actor-0', 'evaluator']), pytest.param(2, ['actor-1'], marks=pytest.mark.slow)])
def test_those_who_are_killed_come_back_and_nothing_is_missing(tmp_path, num_actors, names):
  folder = tmp_path / 'run'
  process = start(folder, num_actors=num_actors)
  for name in names:
    kill(folder, process, name)
  for name in names:
    runs.wait_for(lambda name=name: len(pids(folder, name)) == 2, process)
  left = children(process)
  status, _, err = runs.finish(process)
  assert_whole(folder, status, err, left)
  assert all(f'{name} died: ' in err for name in names)


@pytest.mark.slow
@pytest.mark.timeout(300)  # Most are two runs' starts long.
@pytest.mark.parametrize('seed', range(20))
def test_killed_at_a_random_moment_and_nothing_is_missing(tmp_path, seed):
  chance = random.Random(seed)
  # In turn, so that each has four moments.
  name = ('driver', 'server', 'learner', f'actor-{chance.randrange(2)}', 'evaluator')[seed % 5]
  folder = tmp_path / 'run'
  process = start(folder)
  # Some moment between the role's own start, or the first row, and the run's end.
  runs.wait_for(lambda: (folder / 'results.csv').exists() if name == 'driver' else
                pids(folder, name), process)
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(chance.uniform(0, 15))
  left = children(process) if process.poll() is None else []
  if name == 'driver':
    process.kill()
    process.communicate()
    kill_agents(left)
    process = start(folder, '--resume')
  elif left:
    with contextlib.suppress(ProcessLookupError):  # the run may be at its end
      os.kill(pids(folder, name)[0], signal.SIGKILL)
  status, _, err = runs.finish(process, 200.0)
  assert_whole(folder, status, err, left)
  if name != 'driver' and len(pids(folder, name)) > 1:
    assert re.search(rf'{name} (died|is dead): ', err), err


@pytest.mark.slow
def test_terminated_it_saves_and_goes_on(tmp_path):
  folder = tmp_path / 'run'
  process = start(folder)
  runs.wait_for((folder / 'checkpoints' / '400').exists, process)
  left = children(process)
  process.send_signal(signal.SIGTERM)
  status, _, err = runs.finish(process)
  assert status == 130, err
  assert 'interrupted and saved' in err
  assert_gone(left)
  process = start(folder, '--resume')
  status, _, err = runs.finish(process)
  assert_whole(folder, status, err, [])


def test_a_cluster_that_is_not_there_is_said(tmp_path):
  status, _, err = runs.finish(start(tmp_path / 'run', '--ray_address=localhost:1'))
  assert status == 1
  assert err.splitlines()[-1].startswith('run_control.py: RunError: ray_address=localhost:1: ')
  assert not (tmp_path / 'run').exists()
