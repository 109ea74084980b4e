"""The file formats of published data sets: IDX, records, tables of numbers, a CSV with images.

Whatever is missing or damaged ends in a `DatasetError` that names the file and what was expected.
"""

import csv
import gzip
import io
import math
import pathlib
import zlib
from collections.abc import Iterator
from importlib.resources import abc

import numpy as np
from PIL import Image


class DatasetError(ValueError):
  """A file is missing or is not what its format says."""


def read(path: pathlib.Path | abc.Traversable) -> bytes:
  """All of a file, unpacked where its name ends in .gz."""
  try:
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.endswith('.gz') else data
  except FileNotFoundError as error:
    raise DatasetError(f'{path}: no such file') from error
  except (OSError, EOFError, zlib.error) as error:
    raise DatasetError(f'{path}: cannot be read: {error}') from error


def read_idx(
    folder: pathlib.Path, stem: str, num_dimensions: int,
) -> tuple[pathlib.Path, np.ndarray]:
  """The path and the bytes, in their shape, of an IDX file, whose header says both."""
  paths = folder / stem, folder / f'{stem}.gz'
  path = next((path for path in paths if path.is_file()), None)
  if path is None:
    raise DatasetError(f'{folder}: has neither {stem} nor {stem}.gz')
  data = read(path)
  header = 4 * (1 + num_dimensions)
  if len(data) < header:
    raise DatasetError(f'{path}: {len(data)} bytes; expected a header of {header}')
  magic, *shape = np.frombuffer(data, '>u4', 1 + num_dimensions).tolist()
  expected = 0x800 + num_dimensions  # 8 is the code of unsigned bytes.
  if magic != expected:
    raise DatasetError(f'{path}: magic number {magic}; expected {expected}')
  if not math.prod(shape) or len(data) != header + math.prod(shape):
    raise DatasetError(f'{path}: {len(data)} bytes; expected a header of {header} and, as it '
                       f'says, {" x ".join(map(str, shape))} bytes, at least one')
  return path, np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def checked_labels(
    path: pathlib.Path | abc.Traversable, labels: np.ndarray, num_classes: int,
) -> np.ndarray:
  """The labels as int32; an error where one is no class."""
  wrong = np.flatnonzero(labels >= num_classes)
  if len(wrong):
    raise DatasetError(f'{path}: label {wrong[0]} is {labels[wrong[0]]}; '
                       f'expected 0 to {num_classes - 1}')
  return labels.astype(np.int32)


def read_table(path: abc.Traversable, columns: int) -> np.ndarray:
  """[rows, columns] int32 from 0 to 255: lines of whole numbers with commas between them."""
  text = read(path)
  try:
    table = np.loadtxt(io.BytesIO(text), np.int32, delimiter=',', ndmin=2)
  except ValueError as error:
    raise DatasetError(f'{path}: expected lines of {columns} whole numbers; {error}') from error
  if not table.size or table.shape[1] != columns or table.min() < 0 or table.max() > 255:
    raise DatasetError(f'{path}: expected lines of {columns} whole numbers from 0 to 255')
  return table


def read_rows(path: pathlib.Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
  """The rows of a CSV file whose first line names the columns, each with its line's number."""
  rows = csv.DictReader(io.StringIO(read(path).decode(errors='replace'), newline=''))
  try:
    missing = [name for name in columns if name not in (rows.fieldnames or ())]
    if missing:
      raise DatasetError(f'{path}: has no column {", ".join(missing)}; '
                         f'expected the columns {", ".join(columns)}')
    for row in rows:
      empty = [name for name in columns if not row[name]]
      if empty:
        raise DatasetError(f'{path}, line {rows.line_num}: has no {", ".join(empty)}')
      yield rows.line_num, row
  except csv.Error as error:
    raise DatasetError(f'{path}, after line {rows.line_num}: expected comma-separated values; '
                       f'{error}') from error


def whole_number(place: str, name: str, value: str) -> int:
  """A value of a CSV file as a number that fits int32; `place` says where it stands."""
  if not (value.isascii() and value.isdigit()) or int(value) >= 2 ** 31:
    raise DatasetError(f'{place}: {name}={value}; expected a whole number from 0')
  return int(value)


def read_image(path: pathlib.Path, size: int, place: str) -> np.ndarray:
  """[size, size, 3] uint8; `place` says where the image is asked for."""
  try:
    with Image.open(path) as image:
      # JPEG alone heeds it, and is then decoded at a fraction of its size, in a fraction of the
      # time: there are 130,000 images to read.
      image.draft('RGB', (2 * size, 2 * size))
      resized = image.convert('RGB').resize((size, size), Image.Resampling.BILINEAR)
  except FileNotFoundError as error:
    raise DatasetError(f'{path}: no such file; {place} names it') from error
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise DatasetError(f'{path}: expected an image, of {place}: {error}') from error
  return np.asarray(resized)
