"""How fast updates are with several versions of JAX, or of this project, by turns.

    python -m benchmarks.versions results/versions/NAME PYTHON[@CHECKOUT] ... [--rounds=5]

Each PYTHON is an interpreter that this project's requirements are installed for, each CHECKOUT a
folder with this project at some commit (else this one); the first pair is what the others are
compared with. One measurement is a process of its own: Pong (decqn: walker_walk), the agent's own
batch size, one batch over and over.
"""

import pathlib
import subprocess
from typing import Any

from benchmarks import compare, update_alone

AGENTS = {'dqn': 'atari', 'rainbow': 'atari', 'dopamine_dqn': 'atari', 'decqn': 'control'}


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(
      __doc__, rounds=5, versions=dict(nargs='+', metavar='PYTHON[@CHECKOUT]'))
  rows = measure(arguments.versions, arguments.rounds)
  compare.write_table(arguments.folder / 'versions.csv', rows)


def measure(versions: list[str], rounds: int) -> list[dict[str, Any]]:
  """A row for each agent and each version but the first: times as fast as with that one."""
  pairs = {version: _split(version) for version in versions}
  names = {version: _name(*pair) for version, pair in pairs.items()}
  if len(set(names.values())) < max(len(versions), 2):
    raise SystemExit(
        f'versions: must be two or more that differ; they are {", ".join(names.values())}')
  changes = {(agent, version): dict(agent=agent, domain=domain, seconds=update_alone.SECONDS)
             for agent, domain in AGENTS.items() for version in versions}
  commands = {name: update_alone.command(pairs[name[1]][0]) for name in changes}
  folders = {name: pairs[name[1]][1] for name in changes}
  rates = update_alone.rates(compare.by_turns(commands, rounds, changes, folders))
  first, *others = versions
  return [
      dict(agent=agent, version=names[version], over=names[first],
           **compare.ratio(rates[agent, version], rates[agent, first]).columns())
      for agent in AGENTS for version in others]


def _split(version: str) -> tuple[str, pathlib.Path]:
  """The interpreter, absolute but with its links, which say whose packages it has; the checkout."""
  python, _, checkout = version.partition('@')
  folder = pathlib.Path(checkout).absolute() if checkout else compare.ROOT
  return str(pathlib.Path(python).absolute()), folder


def _name(python: str, checkout: pathlib.Path) -> str:
  def said(*command):
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()

  jax = said(python, '-c', 'import jax; print(jax.__version__)')
  return f'JAX {jax}, {said("git", "describe", "--always", "--dirty", "--abbrev=7")}'


if __name__ == '__main__':
  main()
