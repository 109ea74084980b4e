"""What is freed is used again, and not faulted in from the kernel once more."""

import os
import pathlib
import resource
import subprocess
import sys

import pytest

_HUGE = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
_PAGES = 2**26 // resource.getpagesize()  # of 64 MB
_PROGRAM = '''
import resource, sys
import jax, jax.numpy as jnp
from agents import heap
if sys.argv[1] == 'kept':
  heap.keep_freed()
double, x = jax.jit(lambda x: 2 * x), jnp.ones(2**24)
for _ in range(100):  # The heap grows until it holds all that is ever in use at once.
  double(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(int(sys.argv[2])):
  double(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
@pytest.mark.skipif(
    _HUGE.exists() and '[always]' in _HUGE.read_text(), reason='pages are huge, and so few')
def test_a_program_s_memory_is_faulted_in_once():
  def faults(how, num_runs):
    done = subprocess.run(
        (sys.executable, '-c', _PROGRAM, how, str(num_runs)), check=True, capture_output=True,
        timeout=100, env={**os.environ, 'XLA_FLAGS': ''})
    return int(done.stdout) / num_runs / _PAGES

  assert faults('given back', 40) > 0.5  # so that there is something to be saved
  # A run may find its block in use still, by the one before it; then the heap grows once more.
  assert faults('kept', 400) < 0.01
