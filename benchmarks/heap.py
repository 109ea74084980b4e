"""What it gives to keep freed memory (agents/heap.py): updates with it and without, by turns.

    python -m benchmarks.heap results/heap [--rounds=5]

Each measurement is a process of its own: Pong, the agent's own batch size, one batch over and over.
"""

from typing import Any

from benchmarks import compare, update_alone

AGENTS = ('dqn', 'c51', 'qr_dqn', 'iqn', 'rainbow', 'dopamine_dqn')


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(__doc__, rounds=5)
  compare.write_table(arguments.folder / 'heap.csv', measure(arguments.rounds))


def measure(rounds: int) -> list[dict[str, Any]]:
  """A row for each agent: times as fast where memory is kept, and what was faulted in."""
  changes = {(agent, keeps): dict(agent=agent, keeps=keeps, seconds=update_alone.SECONDS)
             for agent in AGENTS for keeps in (False, True)}
  runs = compare.by_turns(dict.fromkeys(changes, update_alone.command()), rounds, changes)
  rates = update_alone.rates(runs)
  faults = {name: round(max(run['faults_per_update'] for run in found))
            for name, found in runs.items()}
  return [
      dict(agent=agent, **compare.ratio(rates[agent, True], rates[agent, False]).columns(),
           faults_per_update=faults[agent, False], faults_per_update_kept=faults[agent, True])
      for agent in AGENTS]


if __name__ == '__main__':
  main()
