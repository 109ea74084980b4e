"""How fast updates are where a program makes several (updates_per_dispatch), by turns.

    python -m benchmarks.dispatches results/dispatches [--rounds=5]

Pong, and walker_walk for decqn; the agent's own batch size, the same batches over and over, whose
observations lie in the memory of JAX's first device; each measurement is a process of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks import compare, update_alone

AGENTS = {'dqn': 'atari', 'decqn': 'control'}
COUNTS = (1, 2, 4, 8)


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(__doc__, rounds=5)
  rows = measure(arguments.rounds)
  compare.write_table(arguments.folder / 'dispatches.csv', rows)
  for agent in AGENTS:
    print('{}: {:.3g} ms for an update, and {:.3g} for a dispatch'.format(
        agent, *split(row for row in rows if row['agent'] == agent)))


def measure(rounds: int) -> list[dict[str, Any]]:
  """A row for each agent and count: milliseconds, and times as fast as one update a dispatch."""
  changes = {
      (agent, count): dict(agent=agent, domain=domain, replay='device',
                           seconds=update_alone.SECONDS,
                           overrides=dict(updates_per_dispatch=count))
      for agent, domain in AGENTS.items() for count in COUNTS}
  runs = compare.by_turns(dict.fromkeys(changes, update_alone.command()), rounds, changes)
  rates = update_alone.rates(runs)
  return [
      dict(agent=agent, updates_per_dispatch=count,
           milliseconds=round(1e3 / float(np.median(rates[agent, count])), 3),
           **compare.ratio(rates[agent, count], rates[agent, 1]).columns(),
           device=runs[agent, count][0]['device'])
      for agent, count in changes]


def split(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
  """Milliseconds of an update and of a dispatch by least squares: u + c / count."""
  rows = list(rows)
  slope, begin = np.polyfit(
      [1 / row['updates_per_dispatch'] for row in rows], [row['milliseconds'] for row in rows], 1)
  return float(begin), float(slope)


if __name__ == '__main__':
  main()
