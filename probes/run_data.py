"""What a run folder holds, read forgivingly: whatever is missing or broken is said in words."""

import csv
import json
import math
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Row = dict[str, float]  # NaN where a cell is empty or no number


class ProbeCurves(NamedTuple):
  """How K random targets were learned in T steps."""
  agent: np.ndarray  # [K, T] loss
  fresh: np.ndarray  # [K, T] loss of a freshly initialised network
  constant: float  # loss of the best constant


class State(NamedTuple):
  """What a probe found a network to be like, beside its row."""
  singular_values: np.ndarray  # [D] of the penultimate features
  fresh_singular_values: np.ndarray  # [D] of a freshly initialised network's
  kernel: np.ndarray  # [n, n] eNTK of the summed outputs
  fresh_kernel: np.ndarray  # [n, n]


class Run(NamedTuple):
  """The files of a run folder that a report is made of."""
  config: dict[str, Any]
  results: list[Row]  # by frame
  probes: list[Row]  # by frame
  curves: list[tuple[float, ProbeCurves]]  # of the first and the last probe, with their frames
  states: list[tuple[float, State]]  # of the first, the middle and the last probe
  missing: list[str]  # one sentence for each thing that is not there


class Score(NamedTuple):
  """How well a run does: two columns of results.csv, the first of which counts."""
  title: str
  column: str
  label: str
  other: str
  other_label: str
  caption: str
  best: Callable[[np.ndarray], int]


_OF_TASK = 'Of each task: at its end, on its examples, and mean over its minibatches.'
SCORES = (
    Score('Evaluation return', 'eval_episode_return', 'evaluation', 'train_episode_return',
          'training', 'Mean over the finished episodes of each evaluation, and of the training '
          'before it; where none has finished, the return so far of those that run.', np.nanargmax),
    Score('Accuracy', 'accuracy', 'at the end', 'mean_accuracy', 'while it is learned', _OF_TASK,
          np.nanargmax),
    Score('Squared error', 'squared_error', 'at the end', 'mean_squared_error',
          'while it is learned', _OF_TASK, np.nanargmin),
)


def score(results: list[Row]) -> Score:
  """The row of SCORES that a run's results are of."""
  return next((row for row in SCORES if np.isfinite(column(results, row.column)).any()), SCORES[0])


def read(run_dir: pathlib.Path) -> Run:
  """Reads `run_dir`; never fails for what is in it."""
  missing = []
  config = _read_config(run_dir / 'config.json', missing)
  results = _read_rows(run_dir / 'results.csv', 'evaluation', missing)
  probes = _read_rows(run_dir / 'probes.csv', 'probe', missing)
  ends = [row['frame'] for row in probes[:1] + probes[1:][-1:]]
  curves = [(frame, _read_curves(run_dir / 'probes' / f'{frame:.0f}.npz', missing))
            for frame in ends]
  thirds = [row['frame'] for row in _first_middle_last(probes)]
  states = [(frame, _read_state(run_dir / 'probes' / f'{frame:.0f}.npz')) for frame in thirds]
  return Run(config, results, probes, [pair for pair in curves if pair[1]],
             [pair for pair in states if pair[1]], missing)


def _first_middle_last(rows: list[Row]) -> list[Row]:
  return [rows[i] for i in sorted({0, len(rows) // 2, len(rows) - 1}) if rows]


def column(rows: list[Row], name: str) -> np.ndarray:
  """Values of one column, [rows]; NaN where a row lacks it."""
  return np.array([row.get(name, math.nan) for row in rows], float)


def group(row: Row, prefix: str) -> Row:
  """The `prefix/<part>` columns of a row by part, the total apart."""
  parts = {name.removeprefix(f'{prefix}/'): value
           for name, value in row.items() if name.startswith(f'{prefix}/')}
  return {part: value for part, value in parts.items() if part != 'total'}


def _read_config(path: pathlib.Path, missing: list[str]) -> dict[str, Any]:
  try:
    config = json.loads(path.read_text(errors='replace'))
  except (OSError, ValueError) as error:
    missing.append(f'config.json could not be read ({type(error).__name__}): settings are unknown.')
    return {}
  if not isinstance(config, dict):
    missing.append('config.json holds no settings.')
    return {}
  return config


def _read_rows(path: pathlib.Path, what: str, missing: list[str]) -> list[Row]:
  try:
    text = path.read_text(errors='replace')
  except OSError:
    missing.append(f'There was no {what}: {path.name} is not there.')
    return []
  # A run that was killed may have left half a line, which can pass for a whole row.
  whole = text[:text.rfind('\n') + 1]
  reader = csv.reader(whole.splitlines())
  header = next(reader, [])
  lines = list(reader)
  rows = [{name: _to_number(cell) for name, cell in zip(header, line, strict=True)}
          for line in lines if len(line) == len(header)]
  rows = [row for row in rows if math.isfinite(row.get('frame', math.nan))]
  num_dropped = len(lines) - len(rows) + (whole != text)
  if num_dropped:
    missing.append(f'{path.name}: {num_dropped} incomplete line(s) left out.')
  if not rows:
    missing.append(f'There was no {what}: {path.name} holds no row.')
  return sorted(rows, key=lambda row: row['frame'])


def _to_number(cell: str) -> float:
  try:
    return float(cell)
  except ValueError:
    return math.nan


def _read_curves(path: pathlib.Path, missing: list[str]) -> ProbeCurves | None:
  try:
    with np.load(path, allow_pickle=False) as file:
      agent, fresh, variances = (np.asarray(file[name], float) for name in (
          'agent_curves', 'fresh_curves', 'agent_target_variances'))
    if agent.ndim != 2 or not agent.size or agent.shape != fresh.shape:
      raise ValueError(f'{path}: the curves must be [targets, steps], of one shape')
    return ProbeCurves(agent, fresh, float(variances.mean()))
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
    missing.append(f'probes/{path.name} could not be read ({type(error).__name__}): '
                   'its learning curves are not shown.')
    return None


def _read_state(path: pathlib.Path) -> State | None:
  """None where there is none, as before version 2, or where `_read_curves` says what is wrong."""
  names = 'singular_values', 'ntk'
  try:
    with np.load(path, allow_pickle=False) as file:
      values, kernel, fresh_values, fresh_kernel = (
          np.asarray(file[prefix + name], float)
          for prefix in ('agent_', 'fresh_') for name in names)
    return State(values, fresh_values, kernel, fresh_kernel)
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None
