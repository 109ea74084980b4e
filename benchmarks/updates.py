"""Updates alone beside those of peers, by turns: `make bench-updates`.

    python -m benchmarks.updates results/updates [--rounds=5]

Each measurement is a process of its own: batches of 32 of Atari's observations, one over and over
(Tianshou's: drawn from a small buffer). Every library has its own network, loss and optimizer for
an algorithm; the Nature CNN is in all of them.
"""

import statistics
import sys
from typing import Any

from benchmarks import compare
from benchmarks.peers import PEERS
from probes import files

AGENTS = ('dqn', 'c51', 'qr_dqn', 'rainbow')
_OURS = 'Pliant'
_SECONDS = 3.0


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(__doc__, rounds=5)
  rows = measure(arguments.rounds)
  files.write_rows(arguments.folder / 'updates.csv', rows)
  for row in rows:
    print(row)


def measure(rounds: int) -> list[dict[str, Any]]:
  """A row for each agent and each peer that has it: times as fast as that one, with medians."""
  commands = {}
  for agent in AGENTS:
    commands[agent, _OURS] = sys.executable, '-c', 'from benchmarks import heap; heap.update()'
    commands |= {(agent, name): peer.command
                 for name, peer in PEERS.items() if agent in peer.agents}
  changes = {key: dict(agent=key[0], keeps=True, seconds=_SECONDS) for key in commands}
  rates = {key: [run['updates_per_second'] for run in runs]
           for key, runs in compare.by_turns(commands, rounds, changes).items()}
  medians = {key: round(statistics.median(values), 2) for key, values in rates.items()}
  return [
      dict(agent=agent, peer=peer, **compare.ratio(rates[agent, _OURS], values).columns(),
           updates_per_second=medians[agent, _OURS], of_peer=medians[agent, peer], rounds=rounds)
      for (agent, peer), values in rates.items() if peer != _OURS]


if __name__ == '__main__':
  main()
