"""Where rows go beside the CSV files: `--track` names rows of TABLE."""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np


class Sink(Protocol):
  """Takes rows of named numbers."""

  def add(self, prefix: str, frame: int, row: Mapping[str, Any]) -> None:
    """Records a row under `prefix`; what is not a finite number is left out."""

  def close(self) -> None:
    """Writes what waits."""


class TensorBoard:
  """Events in the run's `events` folder."""

  def __init__(self, folder: pathlib.Path, resume_at: int):
    from tensorboardX import SummaryWriter  # only who tracks pays for its import

    # What was recorded past the frame where the run goes on is recorded again.
    self._writer = SummaryWriter(str(folder / 'events'), purge_step=resume_at + 1)

  def add(self, prefix: str, frame: int, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
      if isinstance(value, (int, float)) and np.isfinite(value):
        self._writer.add_scalar(f'{prefix}/{name}', value, frame)
    self._writer.flush()

  def close(self) -> None:
    self._writer.close()


TABLE: Mapping[str, Callable[[pathlib.Path, int], Sink]] = {'tensorboard': TensorBoard}


def make(names: Iterable[str], folder: pathlib.Path, resume_at: int) -> list[Sink]:
  """The named sinks of a run that goes on at frame `resume_at`, -1 for a new one."""
  return [TABLE[name](folder, resume_at) for name in names]
