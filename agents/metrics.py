"""Numbers of a run: episodes, means of learner metrics, the CSV files they end in."""

import csv
import errno
import io
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dm_env
import jax
import numpy as np

from agents import errors


class Sometimes(NamedTuple):
  """A scalar that not every update measures."""
  value: Any  # 0 where not measured
  measured: Any  # bool; of several updates as many of both


class EpisodeTracker:
  """Returns of the episodes of N environments since the last `take`."""

  def __init__(self, num_envs: int):
    self._running = [0.0] * num_envs
    self._finished: list[float] = []
    self.num_steps = 0  # agent steps since the last `take`
    self.last_return = math.nan

  def add(self, timestep: dm_env.TimeStep) -> None:
    """Counts a batched timestep [N]."""
    for i, step_type in enumerate(timestep.step_type):
      if step_type == dm_env.StepType.FIRST:
        self._running[i] = 0.0
        continue
      self.num_steps += 1
      self._running[i] += float(timestep.reward[i])
      if step_type == dm_env.StepType.LAST:
        self.last_return = self._running[i]
        self._finished.append(self.last_return)

  def add_finished(self, returns: Sequence[float], num_steps: int) -> None:
    """Counts what another process has counted: finished episodes, and agent steps."""
    self.num_steps += num_steps
    for episode_return in returns:
      self.last_return = float(episode_return)
      self._finished.append(self.last_return)

  def take(self) -> tuple[float, int]:
    """Mean return and number of finished episodes; starts counting anew.

    As in dqn_zoo, where no episode has finished the mean is that of the running ones so far, and
    NaN where no step was taken.
    """
    running = self._running if self.num_steps else []
    finished, _ = self.drain()
    returns = finished or running
    return float(np.mean(returns)) if returns else math.nan, len(finished)

  def drain(self) -> tuple[list[float], int]:
    """Returns of the finished episodes, and agent steps; starts counting anew."""
    drained = self._finished, self.num_steps
    self._finished, self.num_steps = [], 0
    return drained

  def state(self) -> dict[str, Any]:
    """What `restore` needs, as JSON."""
    return dict(
        running=self._running, finished=self._finished, num_steps=self.num_steps,
        last_return=self.last_return)

  def restore(self, state: Mapping[str, Any]) -> None:
    self._running, self._finished = list(state['running']), list(state['finished'])
    self.num_steps, self.last_return = state['num_steps'], state['last_return']


class Means:
  """Means of named numbers on the device since the last `take`, fetched many at a time."""

  _FETCH = 256  # fetching each at once would make the loop wait for the device

  def __init__(self):
    self._waiting: list[Mapping[str, Any]] = []
    self._sums: dict[str, float] = {}
    self._counts: dict[str, int] = {}

  def add(self, metrics: Mapping[str, Any]) -> None:
    self._waiting.append(metrics)
    if len(self._waiting) >= self._FETCH:
      self._fetch()

  def _fetch(self) -> None:
    for metrics in jax.device_get(self._waiting):
      for name, value in metrics.items():
        if isinstance(value, Sometimes):
          measured = np.asarray(value.value)[value.measured]
          total, count = float(np.sum(measured, dtype=np.float64)), measured.size
        else:
          total, count = float(np.mean(value)), 1
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0) + count
    self._waiting = []

  def take(self, names: Sequence[str]) -> dict[str, float]:
    """The means of `names`, NaN where there was none; starts anew."""
    self._fetch()
    means = {n: self._sums[n] / self._counts[n] if self._counts.get(n) else math.nan
             for n in names}
    self._sums, self._counts = {}, {}
    return means

  def state(self) -> dict[str, Any]:
    """What `restore` needs, as JSON."""
    self._fetch()
    return dict(sums=dict(self._sums), counts=dict(self._counts))

  def restore(self, state: Mapping[str, Any]) -> None:
    self._waiting = []
    self._sums, self._counts = dict(state['sums']), dict(state['counts'])


class CsvFile:
  """Rows of one file, appended whole, each with a `frame`."""

  def __init__(self, path: pathlib.Path, keep: int | None = 0):
    """Opens `path`; of rows already there the first `keep`, which must be there, or all stay.

    Raises:
      RunError: they are not there.
    """
    self._path = path
    self._columns: list[str] = []
    self.frames: list[int] = []
    rows = read_rows(path)[:keep]
    if keep and len(rows) < keep:
      raise errors.RunError(
          f'{path}: must have the {keep} rows of the checkpoint; it has {len(rows)}')
    if not rows:
      path.unlink(missing_ok=True)
      return
    self._columns, self.frames = list(rows[0]), [int(row['frame']) for row in rows]
    aside = path.with_suffix('.tmp')
    aside.write_text(_to_text([self._columns, *(row.values() for row in rows)]))
    os.replace(aside, path)

  @property
  def num_rows(self) -> int:
    return len(self.frames)

  @property
  def last_frame(self) -> int:
    """The frame of the last row, -1 where there is none."""
    return self.frames[-1] if self.frames else -1

  def append(self, row: Mapping[str, Any]) -> None:
    """Adds a row; the first one names the columns."""
    columns, header = list(row), [] if self._columns else [list(row)]
    if self._columns and columns != self._columns:
      raise ValueError(f'row={columns}: must have the columns of {self._path}, {self._columns}')
    # One write, so that a reader or a kill sees a row whole or not at all.
    text = _to_text([*header, row.values()]).encode()
    with open(self._path, 'ab', buffering=0) as file:
      before = file.tell()
      if file.write(text) < len(text):  # the disk is nearly full
        file.truncate(before)
        raise OSError(errno.ENOSPC, 'No space left for a row', str(self._path))
      os.fsync(file.fileno())
    self._columns = columns
    self.frames.append(int(row['frame']))


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """The whole rows of a CSV file of a run, none where there is no file.

  Raises:
    RunError: it is something else.
  """
  try:
    text = path.read_text() if path.exists() else ''
    whole = text[:text.rfind('\n') + 1]  # a kill may have left half a line
    rows = list(csv.DictReader(io.StringIO(whole), strict=True))
    for row in rows:
      int(row['frame'])
  except (ValueError, KeyError, TypeError, csv.Error) as error:
    # Of bytes that are no text the reason says enough: `error` holds them all.
    cause = error.reason if isinstance(error, UnicodeDecodeError) else repr(error)
    raise errors.RunError(f'{path}: must be rows that a run wrote: {cause}') from None
  return rows


def _to_text(rows) -> str:
  out = io.StringIO()
  csv.writer(out, lineterminator='\n').writerows(rows)
  return out.getvalue()
