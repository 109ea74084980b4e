"""An experiment's folder: made once, widened only when asked; its runs lie in it, WAY/seedN."""

import json
import pathlib
from collections.abc import Collection
from typing import Any, NamedTuple

from agents import errors, run_folder
from probes import files

ABOUT = 'experiment.json'
_WHAT = 'an experiment'


class About(NamedTuple):
  """What makes two command lines one experiment; the runs' own config.json say the rest."""
  experiment: str
  dataset: str
  ways: tuple[str, ...]
  seeds: tuple[int, ...]


def check(folder: pathlib.Path, about: About, resume: bool) -> None:
  """Refuses a folder that is not this experiment's; more ways and more seeds may join it.

  Raises:
    UsageError: the folder holds an experiment and `resume` is not asked for, or another one, or
      something else, or it cannot be written.
  """
  stored = run_folder.held(folder, ABOUT, _WHAT, resume)
  if stored is None:
    return
  try:
    there = About(**{name: run_folder.frozen(value) for name, value in stored.items()})
    lost = {'ways': _without(there.ways, about.ways), 'seeds': _without(there.seeds, about.seeds)}
  except TypeError as error:
    raise run_folder.damaged(folder, ABOUT, _WHAT, error) from None
  for name in ('experiment', 'dataset'):
    if getattr(there, name) != getattr(about, name):
      raise errors.UsageError(
          f'run_dir={folder}: belongs to another experiment: there {name}={getattr(there, name)}, '
          f'here {name}={getattr(about, name)}')
  for name, missing in lost.items():
    if missing:
      raise errors.UsageError(
          f'run_dir={folder}: has {name} that are not asked for here, and that its report would '
          f'lose: {", ".join(map(str, missing))}')


def _without(some: Collection[Any], others: Collection[Any]) -> list[Any]:
  return [one for one in some if one not in others]


def claim(folder: pathlib.Path, about: About) -> None:
  """Makes a folder the experiment's; one that is, stays as it is."""
  if not (folder / ABOUT).exists():
    finish(folder, about)


def finish(folder: pathlib.Path, about: About) -> None:
  """Writes down what the folder now has a report of."""
  files.write_text(folder / ABOUT, json.dumps(about._asdict(), indent=2) + '\n')
