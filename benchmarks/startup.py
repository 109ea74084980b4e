"""How long a start takes: the help, and whole runs of one update, which end with a checkpoint.

    python -m benchmarks.startup results/startup [--rounds=5]

So the first update itself comes sooner than its row says.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import compare
from replay import factory

_ONE_UPDATE = (
    'run_atari.py', '--game=Pong', '--agent=dqn', '--num_frames=144', '--eval_every_frames=0',
    '--probe_every_frames=0', '--checkpoint_every_frames=0', '--track=',
    '--set=min_replay_size=36', '--set=probe_observations=32', '--set=probe_pool_size=32')


def commands() -> dict[str, tuple[str, ...]]:
  """What is started, by name; 36 agent steps, where learning begins then, are one update."""
  return {'help': ('run_atari.py', '--help')} | {
      f'one update, {kind} replay': (*_ONE_UPDATE, f'--replay={kind}')
      for kind in factory.available()}


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(__doc__, rounds=5)
  compare.write_table(arguments.folder / 'startup.csv', measure(commands(), arguments.rounds))


def measure(started: Mapping[str, Sequence[str]], rounds: int) -> list[dict[str, Any]]:
  """A row for each command: seconds from its start to its end, by turns."""
  seconds = {name: [] for name in started}
  for _ in range(rounds):
    for name, command in started.items():
      seconds[name].append(_seconds(command))
  return [
      dict(name=name, median=round(statistics.median(found), 2), least=round(min(found), 2),
           most=round(max(found), 2), rounds=rounds)
      for name, found in seconds.items()]


def _seconds(command: Sequence[str]) -> float:
  with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command, f'--run_dir={folder}/run'],
                   cwd=compare.ROOT, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - start


if __name__ == '__main__':
  main()
