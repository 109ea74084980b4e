"""What a run's end shows on the terminal: its last scores and probes."""

import math
import pathlib

from rich import box
from rich import console as rich_console
from rich import table as rich_table

from agents import metrics

_ROWS = 10  # of each table, the first among them

_RESULTS = {
    'frame': 'frame', 'eval_episode_return': 'eval return',
    'eval_num_episodes': 'episodes', 'train_episode_return': 'train return',
    'normalized_return': 'of human', 'updates': 'updates', 'loss': 'loss'}
_PROBES = {
    'frame': 'frame', 'plasticity': 'plasticity', 'plasticity_fresh': 'fresh',
    'plasticity_lost': 'lost', 'plasticity_lost_low': 'low', 'plasticity_lost_high': 'high',
    'dead/total': 'dead units', 'norm/total': 'norm'}


def show(folder: pathlib.Path, unit: str) -> None:
  """Prints the tables of a run folder to standard output; frames count `unit`."""
  console = rich_console.Console()
  for name, title, columns in (
      ('results.csv', 'scores', _RESULTS),
      ('probes.csv', 'plasticity, beside a fresh network, and what is lost (95% interval)',
       _PROBES)):
    rows = metrics.read_rows(folder / name)
    if rows:
      console.print(_table(title, columns | {'frame': unit}, rows))


def _table(
    title: str, columns: dict[str, str], rows: list[dict[str, str]]) -> rich_table.Table:
  table = rich_table.Table(title=title, title_justify='left', box=box.SIMPLE_HEAD)
  shown = {c: text for c, text in columns.items() if any(_text(row[c]) for row in rows)}
  for text in shown.values():
    table.add_column(text, justify='right')
  for row in rows if len(rows) <= _ROWS else [rows[0], *rows[1 - _ROWS:]]:
    table.add_row(*(_text(row[column]) for column in shown))
  return table


def _text(cell: str) -> str:
  value = float(cell)
  if math.isnan(value):
    return ''
  value = round(value, 3) + 0.0  # no -0.000
  return f'{value:,.0f}' if value.is_integer() else f'{value:,.3f}'
