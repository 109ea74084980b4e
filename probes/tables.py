"""The report's tables: numbers turned into cells, the same for a page and for Markdown."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from probes import run_data
from probes import schema as schema_lib
from probes.wording import count, interval, number, percent, times

_MAX_ROWS, _MAX_COLUMNS = 12, 8  # What is still read rather than scrolled past.


class Cell(NamedTuple):
  """A text, and how strongly it is coloured, from 0 to 1."""
  text: str
  shade: float = 0.0


class Table(NamedTuple):
  """Rows of cells under a header; the first cell of a row names it."""
  title: str
  note: str
  header: list[str]
  rows: list[list[Cell]]


def evaluations(results: list[run_data.Row], unit: str) -> Table:
  """Scores over the run."""
  columns = (('Evaluation return', 'eval_episode_return', number),
             ('Training return', 'train_episode_return', number),
             ('Accuracy', 'accuracy', percent),
             ('While learned', 'mean_accuracy', percent),
             ('Squared error', 'squared_error', lambda value: number(value, 4)),
             ('Human-normalised', 'normalized_return', number),
             ('Loss', 'loss', lambda value: number(value, 4)))
  columns = [column for column in columns
             if np.isfinite(run_data.column(results, column[1])).any()]
  chosen = _thinned(results, _MAX_ROWS)
  rows = [[count(row['frame']), *(form(row.get(name, math.nan)) for _, name, form in columns)]
          for row in chosen]
  return Table('Evaluations', _thinning(chosen, results, 'results.csv'),
               [unit.capitalize(), *(title for title, _, _ in columns)], _plain(rows))


def probes(rows: list[run_data.Row], unit: str) -> Table:
  """One row a probe."""
  chosen = _thinned(rows, _MAX_ROWS)
  cells = [[count(row['frame']), *(number(row.get(name, math.nan)) for name in (
      'plasticity', 'plasticity_fresh', 'plasticity_lost')),
      interval(row.get('plasticity_lost_low', math.nan), row.get('plasticity_lost_high', math.nan)),
      percent(row.get('dead/total', math.nan)), number(row.get('norm/total', math.nan))]
      for row in chosen]
  return Table('Probes', _thinning(chosen, rows, 'probes.csv'),
               [unit.capitalize(), 'Plasticity', 'Fresh network', 'Lost', '95% interval',
                'Dead units', 'Norm'], _plain(cells))


def by_layer(rows: list[run_data.Row]) -> list[Table]:
  """What each layer did over the run."""
  def growth(value: float, first: float) -> Cell:
    ratio = value / first if first else math.nan
    shade = min(1.0, abs(math.log2(ratio)) / 2) if ratio > 0 and math.isfinite(ratio) else 0.0
    return Cell(times(ratio), shade)

  def fraction(value: float, first: float) -> Cell:
    del first
    return Cell(percent(value), 0.0 if math.isnan(value) else value)

  def shift(value: float, first: float) -> Cell:
    del first
    return Cell(number(value), min(1.0, abs(value)) if math.isfinite(value) else 0.0)

  def plain(value: float, first: float) -> Cell:
    del first
    return Cell(number(value))

  found = [
      _heat('Dead units', 'Saturated on every observation: no gradient passes.', rows, 'dead',
            fraction, percent),
      _heat('Linear units', 'Not saturated, affine over all observations.', rows, 'linear',
            fraction, percent),
      _heat('Dormant units', "Mean activation at most a fortieth of their layer's.", rows,
            'dormant', fraction, percent),
      _heat('Preactivation shift', "Of units' means since the first probe, in standard "
            'deviations; a full colour is one.', rows, 'shift', shift, number),
      _heat('Parameter norms', 'Relative to the first probe; a full colour is a factor of four.',
            rows, 'norm', growth, number),
      _heat('Distance from the start', 'L2, of the parameters.', rows, 'distance', plain, number)]
  return [table for table in found if table.rows]


def schema() -> Table:
  """What each number means."""
  rows = [[metric.name, metric.meaning, metric.unit, metric.source] for metric in schema_lib.SCHEMA]
  note = 'fresh_<name> is the same for a freshly initialised network.'
  return Table('What the numbers mean', note, ['Column', 'Meaning', 'Unit', 'Source'], _plain(rows))


def arrays() -> Table:
  """What each array beside the numbers is."""
  rows = [[metric.name, metric.meaning, metric.unit] for metric in schema_lib.ARRAYS]
  note = ('probes/<frame>.npz has each twice: agent_<name>, and fresh_<name> of the freshly '
          f'initialised network. This is version {schema_lib.VERSION}.')
  return plain('Arrays', note, ['Array', 'What it is', 'Unit'], rows)


def settings(config: dict[str, Any]) -> Table:
  """Every setting of the run, nested ones by dotted names."""
  rows = [[name, str(value)] for name, value in _flat(config)]
  return Table('Settings', '', ['Name', 'Value'], _plain(rows))


def _heat(title: str, note: str, rows: list[run_data.Row], prefix: str,
          cell: Callable[[float, float], Cell], plain: Callable[[float], str]) -> Table:
  """Layers by probes. The first and the fresh network's column are `plain`, the others `cell`."""
  chosen = _thinned(rows, _MAX_COLUMNS)
  first, last = run_data.group(rows[0], prefix), run_data.group(rows[-1], prefix)
  fresh = run_data.group(rows[-1], f'fresh_{prefix}')
  body = []
  for name in last:
    values = [run_data.group(row, prefix).get(name, math.nan) for row in chosen]
    start = first.get(name, math.nan)
    body.append([Cell(name), cell(start, start)._replace(text=plain(start)),
                 *(cell(value, start) for value in values[1:]),
                 Cell(plain(fresh.get(name, math.nan)))])
  header = ['Layer', *(count(row['frame']) for row in chosen), 'Fresh network']
  return Table(title, note, header, body)


def _thinned(rows: list[run_data.Row], most: int) -> list[run_data.Row]:
  """At most `most` rows, evenly spaced, the first and the last among them."""
  chosen = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
  return [rows[i] for i in chosen]


def _thinning(chosen: list[run_data.Row], rows: list[run_data.Row], file: str) -> str:
  return '' if len(chosen) == len(rows) else f'{len(chosen)} of {len(rows)}; all are in {file}.'


def plain(title: str, note: str, header: list[str], rows: list[list[str]]) -> Table:
  """A table of texts."""
  return Table(title, note, header, _plain(rows))


def _plain(rows: list[list[str]]) -> list[list[Cell]]:
  return [[Cell(text) for text in row] for row in rows]


def _flat(value: Any, name: str = '') -> list[tuple[str, Any]]:
  if isinstance(value, dict):
    return [leaf for key, inner in value.items()
            for leaf in _flat(inner, f'{name}.{key}' if name else str(key))]
  if isinstance(value, list):
    value = ' '.join(map(str, value))
  return [(name, value)]
