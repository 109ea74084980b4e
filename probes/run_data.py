"""What a run folder holds, read forgivingly: whatever is missing or broken is said in words."""

import csv
import io
import json
import math
import pathlib
import zipfile
from typing import Any, NamedTuple

import numpy as np

Row = dict[str, float]  # NaN where a cell is empty or no number


class Run(NamedTuple):
  """The files of a run folder that a report is made of."""
  config: dict[str, Any]
  results: list[Row]  # by frame
  probes: list[Row]  # by frame
  first_curves: dict[str, np.ndarray]  # of the first probe; empty where there are none
  last_curves: dict[str, np.ndarray]
  missing: list[str]  # one sentence for each thing that is not there


def read(run_dir: pathlib.Path) -> Run:
  """Reads `run_dir`; never fails for what is in it."""
  missing = []
  config = _read_config(run_dir / 'config.json', missing)
  results = _read_rows(run_dir / 'results.csv', 'evaluation', missing)
  probes = _read_rows(run_dir / 'probes.csv', 'probe', missing)
  ends = probes[:1] + probes[1:][-1:]
  curves = [_read_arrays(run_dir / 'probes' / f'{row["frame"]:.0f}.npz', missing) for row in ends]
  first, last = (curves + [{}, {}])[:2]
  return Run(config, results, probes, first, last, missing)


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
  reader = csv.reader(io.StringIO(whole.replace('\0', '')))
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


def _read_arrays(path: pathlib.Path, missing: list[str]) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    missing.append(f'probes/{path.name} could not be read ({type(error).__name__}): '
                   'its learning curves are not shown.')
    return {}
