"""Updates alone beside those of peers, by turns: `make bench-updates`.

    python -m benchmarks.updates results/updates [--rounds=5]
    python -m benchmarks.updates results/updates/some --agents dqn rainbow

Each measurement is a process of its own: batches of 32 of Atari's observations, one over and over.
Every library has its own optimizer and loss for an algorithm; the network is the peer's, ours with
its padding of the Nature CNN's convolutions and, beside Dopamine's Rainbow, with one hidden layer
for both streams. Ours keeps freed memory (agents/heap.py), as a run does.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import compare, update_alone
from benchmarks.peers import PEERS

AGENTS = ('dqn', 'c51', 'qr_dqn', 'rainbow')


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(
      __doc__, rounds=5, **{'--agents': dict(nargs='+', choices=AGENTS, default=AGENTS)})
  commands, changes = plan(arguments.agents)
  runs = compare.by_turns(commands, arguments.rounds, changes)
  compare.write_table(
      arguments.folder / 'updates.csv', table(runs), runs=[
          dict(agent=agent, name=name, runs=found) for (agent, name), found in runs.items()])


def plan(
    agents: Sequence[str] = AGENTS
) -> tuple[dict[tuple[str, str], tuple[str, ...]], dict[tuple[str, str], dict[str, Any]]]:
  """What is run, and with which changes: by agent and peer, or torso where the update is ours."""
  shared = {name: compare.SETTINGS[name] for name in ('batch_size', 'target_update_period')}
  commands, changes = {}, {}
  for agent in agents:
    for name, peer in PEERS.items():
      if agent in peer.agents:
        commands[agent, peer.torso] = update_alone.command()
        commands[agent, name] = peer.command
        changes[agent, name] = dict(agent=agent, seconds=update_alone.SECONDS)
        changes[agent, peer.torso] = changes[agent, name] | dict(
            overrides=shared | dict(torso=peer.torso) | peer.changes.get(agent, {}))
  return commands, changes


def table(runs: dict[tuple[str, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
  """A row for each agent and each peer that has it: times as fast as that one, with medians."""
  rates = update_alone.rates(runs)
  rows = []
  for agent, name in runs:
    if name in PEERS:
      ours, theirs = rates[agent, PEERS[name].torso], rates[agent, name]
      versions = runs[agent, name][0]['versions']
      rows.append(dict(
          agent=agent, torso=PEERS[name].torso, peer=name, **compare.ratio(ours, theirs).columns(),
          our_updates_per_second=round(statistics.median(ours), 2),
          peers_updates_per_second=round(statistics.median(theirs), 2), rounds=len(ours),
          versions=' '.join(f'{library}={version}' for library, version in versions.items())))
  return rows


if __name__ == '__main__':
  main()
