"""Real runs of the real scripts, for tests: started as a user would, their files read back."""

import csv
import os
import pathlib
import subprocess
import sys
import threading
import time

from agents import checkpoint

ROOT = pathlib.Path(__file__).parents[1]
DEADLINE = 100.0  # seconds for one run

# A run of some seconds: evaluations at 0, 300, 600 and 900 steps, checkpoints between them.
SMALL = (
    '--task=cartpole_swingup', '--agent=double_dqn', '--num_steps=900',
    '--eval_every_steps=300', '--eval_steps=100',
    '--probe_every_steps=450', '--checkpoint_every_steps=200', '--replay=local',
    '--set=torso=mlp', '--set=min_replay_size=50', '--set=batch_size=16',
    '--set=replay_capacity=500', '--set=probe_targets=2', '--set=probe_steps=3',
    '--set=probe_observations=64')


class StopAfter(threading.Event):
  """Set after `count` looks."""

  def __init__(self, count):
    super().__init__()
    self.left = count

  def is_set(self):
    self.left -= 1
    return self.left < 0


def start(script, *arguments):
  """Starts a script in the checkout; its output is read by `finish`."""
  # The OpenGL that tests of pictures have chosen is not theirs.
  environment = {name: value for name, value in os.environ.items() if name != 'MUJOCO_GL'}
  return subprocess.Popen(
      [sys.executable, script, *arguments], cwd=ROOT, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, text=True, env=environment | {'JAX_PLATFORMS': 'cpu'})


def finish(process, deadline_s=DEADLINE):
  """Exit status, standard output and standard error of a run that ends within the deadline."""
  try:
    out, err = process.communicate(timeout=deadline_s)
  except subprocess.TimeoutExpired:
    process.kill()
    out, err = process.communicate()
    raise AssertionError(f'still running after {deadline_s} s: {err}') from None
  return process.returncode, out, err


def run(script, *arguments):
  return finish(start(script, *arguments))


def wait_for(condition, process):
  """Polls until a condition on the run's files holds; fails where the run ends before."""
  until = time.monotonic() + DEADLINE
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < until, 'the deadline passed'
    time.sleep(0.01)


def rows(path):
  """The rows of a CSV file without what a clock decides."""
  if not path.exists():
    return []
  with open(path, newline='') as file:
    found = list(csv.DictReader(file))
  for row in found:
    for name in ('eval_frame_rate', 'train_frame_rate', 'probe_seconds'):
      row.pop(name, None)
  return found


def tensors(folder, frame):
  """The tensors of a checkpoint."""
  return checkpoint.load(folder / 'checkpoints' / str(frame))[0]
