"""Files that are replaced whole: a reader never sees half of one."""

import csv
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def aside(path: pathlib.Path) -> pathlib.Path:
  """Where a file is written before it takes its place."""
  return path.with_name(f'.{path.name}.tmp')


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text aside and renames it."""
  aside(path).write_text(text, encoding='utf-8')
  os.replace(aside(path), path)


def write_rows(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Writes a CSV file of all columns that any row has; what a row lacks is left empty."""
  columns = dict.fromkeys(name for row in rows for name in row)
  out = io.StringIO()
  writer = csv.DictWriter(out, columns, restval='', lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  write_text(path, out.getvalue())
