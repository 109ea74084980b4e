"""What every test runs under. The markers and the time limit of a test are in setup.cfg."""

import importlib.util
import os
import signal
import sys

import hypothesis
import pytest

from envs import control

os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # Read when a test first imports JAX.
# Most of a test's time is compilation, and workers run side by side, each on one core. What the
# optimizing compiler makes of the same programs is what `make test-slow` and every real run try.
os.environ.setdefault(
    'XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# Without flax Haiku leaves a stand-in among the modules that raises whatever is asked of it;
# hypothesis asks every module for its file.
import haiku  # noqa: F401

sys.modules.pop('haiku.experimental.flax', None)

hypothesis.settings.register_profile(
  'suite', deadline=None, database=None, max_examples=25, derandomize='CI' in os.environ)
hypothesis.settings.load_profile('suite')


# dm-control needs labmaze, which has no wheel for Python 3.13.
collect_ignore = [] if importlib.util.find_spec('dm_control') else [
    'test_command_line.py', 'test_envs.py', 'test_envs_control.py', 'test_failures.py',
    'test_pages.py', 'test_resume.py']


@pytest.fixture
def own_signals():
  """`main` takes signals over; pytest wants them back."""
  numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  handlers = [signal.getsignal(number) for number in numbers]
  yield
  for number, handler in zip(numbers, handlers, strict=True):
    signal.signal(number, handler)


def pytest_collection_modifyitems(items):
  if not importlib.util.find_spec('reverb'):
    skip(items, 'reverb', 'needs Reverb, which has wheels for CPython 3.11 on Linux x86-64')
  if any(item.get_closest_marker('rendering') for item in items):
    try:
      control.enable_rendering()
    except RuntimeError as error:
      skip(items, 'rendering', str(error))


def skip(items, marker, reason):
  for item in items:
    if item.get_closest_marker(marker):
      item.add_marker(pytest.mark.skip(reason=reason))
