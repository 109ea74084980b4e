"""Our updates on one batch over and over: prints how many a second, and pages faulted in, as JSON.

    python -m benchmarks.update_alone SETTINGS

SETTINGS is JSON: `agent`; `seconds` to measure for; and where they are not as a run has them,
`domain` (atari), `overrides` of agents/config.py, `replay` (local), `keeps` (true), see
agents/heap.py.
"""

import json
import resource
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax

from agents import heap
from benchmarks import speeds

SECONDS = 3.0  # that tables of updates measure for


def command(python: str = sys.executable) -> tuple[str, ...]:
  """This program, to be followed by SETTINGS."""
  return python, '-m', 'benchmarks.update_alone'


def rates(
    runs: Mapping[Hashable, Sequence[Mapping[str, Any]]]) -> dict[Hashable, list[float]]:
  """Updates a second, of what this program and peers' print."""
  return {name: [run['updates_per_second'] for run in found] for name, found in runs.items()}


def main() -> None:
  settings = json.loads(sys.argv[1])
  if settings.get('keeps', True):
    heap.keep_freed()
  benchmark = speeds.learner(
      settings['agent'], settings.get('domain', 'atari'), settings.get('overrides', {}),
      settings.get('replay', 'local'))
  speeds.warm_up(benchmark)  # The heap grows until it holds all that is in use at once.
  before = _faults()
  done, took = speeds.window(benchmark, settings['seconds'])
  print(json.dumps(dict(
      updates_per_second=done / took, faults_per_update=(_faults() - before) / done,
      device=f'{jax.devices()[0].device_kind}, JAX {jax.__version__}')))


def _faults() -> int:
  """Pages of this process that the kernel had to bring in so far."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == '__main__':
  main()
