"""How fast updates are with several versions of JAX, by turns.

    python -m benchmarks.jax_versions results/jax PYTHON [PYTHON ...] [--rounds=5]

Each PYTHON is an interpreter that this project's requirements are installed for; the first is what
the others are compared with. One measurement is a process of its own: Pong (decqn: walker_walk),
the agent's own batch size, one batch over and over.
"""

import subprocess
from typing import Any

from benchmarks import compare, update_alone
from probes import files

AGENTS = {'dqn': 'atari', 'rainbow': 'atari', 'dopamine_dqn': 'atari', 'decqn': 'control'}


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(
      __doc__, rounds=5, pythons=dict(nargs='+', metavar='PYTHON'))
  rows = measure(arguments.pythons, arguments.rounds)
  files.write_rows(arguments.folder / 'jax_versions.csv', rows)
  for row in rows:
    print(row)


def measure(pythons: list[str], rounds: int) -> list[dict[str, Any]]:
  """A row for each agent and each interpreter but the first: times as fast as with that one."""
  versions = {python: _version(python) for python in pythons}
  changes = {(agent, python): dict(agent=agent, domain=domain, seconds=update_alone.SECONDS)
             for agent, domain in AGENTS.items() for python in pythons}
  commands = {(agent, python): update_alone.command(python) for agent, python in changes}
  rates = {name: [run['updates_per_second'] for run in runs]
           for name, runs in compare.by_turns(commands, rounds, changes).items()}
  first, *others = pythons
  return [
      dict(agent=agent, jax=versions[python], over=versions[first],
           **compare.ratio(rates[agent, python], rates[agent, first]).columns())
      for agent in AGENTS for python in others]


def _version(python: str) -> str:
  found = subprocess.run(
      [python, '-c', 'import jax; print(jax.__version__)'], capture_output=True, text=True,
      check=True, timeout=60)
  return found.stdout.strip()


if __name__ == '__main__':
  main()
