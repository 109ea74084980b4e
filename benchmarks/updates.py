"""Updates alone beside those of peers, by turns: `make bench-updates`.

    python -m benchmarks.updates results/updates [--rounds=5]

Each measurement is a process of its own: batches of 32 of Atari's observations, one over and over.
Every library has its own optimizer, loss and head for an algorithm (Dopamine's Rainbow: one hidden
layer for both streams, half of our weights); the convolutions are the Nature CNN's, ours padded as
the peer's are. Ours keeps freed memory (agents/heap.py), as a run does.
"""

import statistics
import sys
from typing import Any

from benchmarks import compare
from benchmarks.peers import PEERS
from probes import files

AGENTS = ('dqn', 'c51', 'qr_dqn', 'rainbow')
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
  shared = {name: compare.SETTINGS[name] for name in ('batch_size', 'target_update_period')}
  commands, changes = {}, {}
  for agent in AGENTS:
    for name, peer in PEERS.items():
      if agent in peer.agents:
        commands[agent, peer.torso] = sys.executable, '-m', 'benchmarks.update_alone'
        commands[agent, name] = peer.command
        changes[agent, name] = dict(agent=agent, seconds=_SECONDS)
        changes[agent, peer.torso] = changes[agent, name] | dict(
            overrides=shared | dict(torso=peer.torso))
  runs = compare.by_turns(commands, rounds, changes)
  rates = {key: [run['updates_per_second'] for run in found] for key, found in runs.items()}
  medians = {key: round(statistics.median(values), 2) for key, values in rates.items()}
  return [
      dict(agent=agent, torso=PEERS[name].torso, peer=name,
           **compare.ratio(rates[agent, PEERS[name].torso], rates[agent, name]).columns(),
           our_updates_per_second=medians[agent, PEERS[name].torso],
           peers_updates_per_second=medians[agent, name], rounds=rounds,
           versions=' '.join(f'{library}={version}' for library, version
                             in runs[agent, name][0]['versions'].items()))
      for agent, name in commands if name in PEERS]


if __name__ == '__main__':
  main()
