"""An experiment's folder: made once, widened only when asked; its runs lie in it, WAY/seedN."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from agents import errors, run_folder
from probes import files

ABOUT = 'experiment.json'


class About(NamedTuple):
  """What makes two command lines one experiment; the runs' own config.json say the rest."""
  experiment: str
  dataset: str
  ways: tuple[str, ...]
  seeds: tuple[int, ...]


_MAY_GROW = ('ways', 'seeds')


def check(folder: pathlib.Path, about: About, resume: bool) -> None:
  """Refuses a folder that is not this experiment's; more ways and more seeds may join it.

  Raises:
    UsageError: the folder holds an experiment and `resume` is not asked for, or another one, or
      something else, or it cannot be written.
  """
  try:
    stored = run_folder.held(folder, ABOUT, 'an experiment', resume)
  except OSError as error:
    raise errors.UsageError(f'run_dir={folder}: must be readable and writable: {error}') from None
  if stored is None:
    return
  for name, here in about._asdict().items():
    there = stored.get(name)
    if name not in _MAY_GROW:
      if there != here:
        raise errors.UsageError(
            f'run_dir={folder}: belongs to another experiment: there {name}={there}, here '
            f'{name}={here}')
    elif not isinstance(there, list) or (lost := [one for one in there if one not in here]):
      raise errors.UsageError(
          f'run_dir={folder}: is an experiment of {name} {_listed(there)}; more may join it, but '
          f'here {_listed(lost)} would be missing')


def create(folder: pathlib.Path, about: About) -> None:
  """Writes what `check` reads."""
  files.write_text(folder / ABOUT, json.dumps(about._asdict(), indent=2) + '\n')


def _listed(words: Iterable[Any]) -> str:
  return ', '.join(map(str, words))
