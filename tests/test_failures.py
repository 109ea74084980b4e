"""What stops a run in its middle: the cause is said, what was saved is kept, the exit is 1."""

import os
import resource

import psutil
import pytest

from agents import checkpoint
from tests import runs

SMALL = (*runs.SMALL, '--probe_every_steps=0')


def stopped(folder, process):
  """Waits for the end of a run that failed; returns the log line with the cause."""
  status, _, err = runs.finish(process)
  assert status == 1, err
  assert 'Traceback' not in err
  causes = [line for line in err.splitlines() if 'stopped: ' in line]
  assert causes, err
  assert f'saved in {folder}: its rows' in err
  assert 'Traceback' in (folder / 'log.txt').read_text()
  return causes[0]


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
  folder = tmp_path / 'run'
  process = runs.start('run_control.py', *SMALL, f'--run_dir={folder}')
  runs.wait_for((folder / 'checkpoints' / '200').exists, process)
  before = runs.rows(folder / 'results.csv')
  # No file may grow beyond this: smaller than a checkpoint, larger than rows, log and report.
  resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
  assert 'File too large' in stopped(folder, process)
  assert runs.rows(folder / 'results.csv')[:len(before)] == before
  newest = checkpoint.newest(folder / 'checkpoints')
  assert checkpoint.load(newest)[1]['num_steps'] == int(newest.name)
  status, _, err = runs.run('run_control.py', *SMALL, f'--run_dir={folder}', '--resume')
  assert status == 0, err
  assert [row['frame'] for row in runs.rows(folder / 'results.csv')] == ['0', '300', '600', '900']


@pytest.mark.reverb
def test_a_dead_replay_server_is_said_and_the_run_goes_on_with_resume(tmp_path):
  folder = tmp_path / 'run'
  flags = [flag.replace('local', 'reverb') for flag in SMALL]
  flags.append(f'--run_dir={folder}')
  process = runs.start('run_control.py', *flags)
  runs.wait_for((folder / 'checkpoints' / '200').exists, process)
  [server] = [child for child in psutil.Process(process.pid).children(recursive=True)
              if 'replay.reverb_server' in ' '.join(child.cmdline())]
  os.kill(server.pid, 9)
  assert 'ReplayError: the replay server of run' in stopped(folder, process)
  status, _, err = runs.run('run_control.py', *flags, '--resume')
  assert status == 0, err
  assert [row['frame'] for row in runs.rows(folder / 'results.csv')] == ['0', '300', '600', '900']
