"""What all scripts say of errors: one line and a status, and a traceback where it is our fault."""

import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from agents import errors, script


def ask_jax(argv):
  jnp.zeros(2**45).block_until_ready()


def ask_numpy(argv):
  np.ones(2**60, np.uint8)


def refuse(argv):
  raise errors.UsageError('seed=-1:\nmust be more')


@pytest.mark.parametrize('run, status, line', [
    (ask_jax, script.FAILED, "run.py: RESOURCE_EXHAUSTED: Out of memory allocating "
     "140737488355328 bytes. The device's memory must hold it: set less"),
    (ask_numpy, script.FAILED, 'run.py: MemoryError: Unable to allocate 1.00 EiB for '
     'an array with shape (1152921504606846976,) and data type uint8'),
    (refuse, script.BAD_ARGUMENT, r'run.py: seed=-1:\nmust be more')])
def test_what_cannot_be_had_is_one_line(capsys, run, status, line):
  assert script.main(['/some/run.py'], run) == status
  assert capsys.readouterr().err == line + '\n'


def test_a_fault_of_ours_is_a_traceback():
  def fail(argv):
    raise RuntimeError('never')

  with pytest.raises(RuntimeError, match='never'):
    script.main(['run.py'], fail)


@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_of_whatever_kind_it_is(second):
  code = ('import signal\nfrom agents import script\nstop = script.stop_on_signals()\n'
          'signal.raise_signal(signal.SIGINT)\nassert stop.is_set()\nprint("first", flush=True)\n'
          f'signal.raise_signal({int(second)})\nprint("second")')
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
  assert (done.stdout, done.returncode) == ('first\n', -second)


def test_a_hangup_that_comes_along_ends_nothing():
  code = ('import signal\nfrom agents import script\nstop = script.stop_on_signals()\n'
          'for number in (signal.SIGTERM, signal.SIGHUP):\n  signal.raise_signal(number)\n'
          'print(stop.is_set())')
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
  assert (done.stdout, done.returncode) == ('True\n', 0)
