"""Loaders on small files in the published formats, and on the images that are installed."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from envs import datasets


def idx(array):
  header = bytes([0, 0, 8, array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape)
  return header + array.astype(np.uint8).tobytes()


IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 251
LABELS = np.array([7, 0, 9])


def write_mnist(folder, images=IMAGES, labels=LABELS):
  (folder / 'train-images-idx3-ubyte').write_bytes(idx(images))
  (folder / 'train-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(labels)))
  return folder


def test_mnist_is_read_plain_and_gzipped(tmp_path):
  found = datasets.load('mnist', str(write_mnist(tmp_path)))
  assert (found.name, found.num_classes, found.domains) == ('mnist', 10, None)
  np.testing.assert_array_equal(found.images, IMAGES[..., None])
  np.testing.assert_array_equal(found.labels, LABELS)
  assert found.images.dtype == np.uint8 and found.labels.dtype == np.int32


def test_without_a_folder_mnist_is_the_installed_part_of_it():
  found = datasets.load('mnist')
  assert found.name == 'mnist_5k' and found.images.shape == (5000, 28, 28, 1)
  assert np.bincount(found.labels).tolist() == [500] * 10
  assert found.images.min() == 0 and found.images.max() == 255
  # Zeros are round: dark in the middle, where ones are bright.
  middle = found.images[:, 12:16, 13:15].mean(axis=(1, 2, 3))
  assert middle[found.labels == 0].mean() < 40 < 150 < middle[found.labels == 1].mean()


def cifar_records(labels):
  return b''.join(bytes([label]) + bytes([label + 1] * 1024 + [label + 2] * 1024 + [3] * 1024)
                  for label in labels)


@pytest.mark.parametrize('inner', ['', 'cifar-10-batches-bin'])
def test_cifar10_is_read(tmp_path, inner):
  folder = tmp_path / inner
  folder.mkdir(exist_ok=True)
  (folder / 'data_batch_1.bin').write_bytes(cifar_records([4, 9]))
  (folder / 'data_batch_3.bin').write_bytes(cifar_records([0]))
  found = datasets.load('cifar10', str(tmp_path))
  assert found.labels.tolist() == [4, 9, 0]
  assert found.images.shape == (3, 32, 32, 3)
  assert found.images[0, 5, 6].tolist() == [5, 6, 3]  # red, green, blue


HEADER = 'split,location_remapped,y,filename'


def write_iwildcam(folder, rows=('train,3,1,a.jpg', 'val,9,0,b.jpg', 'train,0,5,c.jpg')):
  (folder / 'train').mkdir()
  (folder / 'metadata.csv').write_text('\n'.join((HEADER, *rows)))
  for name, color in (('a.jpg', (250, 0, 0)), ('c.jpg', (0, 0, 250))):
    Image.new('RGB', (64, 48), color).save(folder / 'train' / name)
  return folder


def test_iwildcam_is_read(tmp_path):
  found = datasets.load('iwildcam', str(write_iwildcam(tmp_path)))
  assert found.images.shape == (2, 32, 32, 3)
  assert found.labels.tolist() == [1, 5] and found.domains.tolist() == [3, 0]
  assert found.num_classes == 6
  assert found.images[0].mean(axis=(0, 1)).round(-1).tolist() == [250, 0, 0]


def test_places_differ_in_scenery_and_in_classes_and_a_label_means_the_same():
  found, source = datasets.load('locations'), datasets.load('mnist')
  again = datasets.load('locations')
  np.testing.assert_array_equal(found.images, again.images)
  np.testing.assert_array_equal(found.labels, source.labels)
  assert found.name == 'mnist_5k_locations' and set(found.domains) == set(range(20))
  shares = np.array([np.bincount(found.labels[found.domains == i], minlength=10) /
                     np.sum(found.domains == i) for i in range(20)])
  assert np.abs(shares - 0.1).max() > 0.3
  means = np.array([found.images[found.domains == i].mean(axis=0) for i in range(20)])
  apart = np.abs(means[:, None] - means).mean(axis=(2, 3, 4))
  assert apart[~np.eye(20, dtype=bool)].min() > 10


def damage(change):
  def prepare(folder):
    write_mnist(folder)
    change(folder)
  return prepare


def images_file(content):
  return damage(lambda folder: (folder / 'train-images-idx3-ubyte').write_bytes(content))


@pytest.mark.parametrize('name, prepare, message', [
    ('mnits', None, 'dataset=mnits: unknown; did you mean mnist'),
    ('mnist', lambda folder: None,
     'must hold train-images-idx3-ubyte or train-images-idx3-ubyte.gz of MNIST'),
    ('mnist', images_file(b'\0\0\x08\x01' + bytes(12)),
     'train-images-idx3-ubyte: must be an IDX file of bytes with 3 dimension.s.; it starts with '
     '00 00 08 01'),
    ('mnist', images_file(idx(IMAGES)[:-5]),
     r'must have 2,352 bytes of data for \(3, 28, 28\); it has 2,347'),
    ('mnist', damage(lambda folder: (folder / 'train-labels-idx1-ubyte.gz').write_bytes(b'x')),
     'train-labels-idx1-ubyte.gz: must be readable: Not a gzipped file'),
    ('mnist', damage(lambda folder: (folder / 'train-labels-idx1-ubyte.gz').write_bytes(
        gzip.compress(idx(LABELS[:2])))), 'as many labels as images; it holds 2 and 3'),
    ('cifar10', lambda folder: None,
     'must hold data_batch_1.bin of the binary version of CIFAR-10'),
    ('cifar10', lambda folder: (folder / 'data_batch_1.bin').write_bytes(bytes(3074)),
     'data_batch_1.bin: must be records of 3,073 bytes; it has 3,074 bytes'),
    ('cifar10', lambda folder: (folder / 'data_batch_1.bin').write_bytes(cifar_records([11])),
     'data_batch_1.bin: must have labels of 0 to 9; it has 11'),
    ('iwildcam', lambda folder: None, 'must hold metadata.csv of WILDS iWildCam'),
    ('iwildcam', lambda folder: (folder / 'metadata.csv').write_text('split,y\n'),
     'metadata.csv: must have columns location_remapped, filename'),
    ('iwildcam', lambda folder: write_iwildcam(folder, ['val,1,1,a.jpg']),
     'metadata.csv: must have rows whose split is train'),
    ('iwildcam', lambda folder: write_iwildcam(folder, ['train,1,1,a.jpg', 'train,1,1,z.jpg']),
     'metadata.csv, line 3: .*z.jpg must be a picture'),
    ('iwildcam', lambda folder: write_iwildcam(folder, ['train,1,dog,a.jpg']),
     'metadata.csv, line 2: .*a.jpg must be a picture with a whole number for y'),
])
def test_what_is_missing_or_damaged_is_named(tmp_path, name, prepare, message):
  if prepare:
    prepare(tmp_path)
  with pytest.raises(ValueError, match=message):
    datasets.load(name, str(tmp_path))


@pytest.mark.parametrize('name', ['cifar10', 'iwildcam'])
def test_data_that_is_not_installed_needs_a_folder(name):
  with pytest.raises(datasets.DatasetError, match=f'dataset={name}: needs data_dir, a folder'):
    datasets.load(name)


def test_a_folder_that_is_none_is_refused(tmp_path):
  with pytest.raises(datasets.DatasetError, match='data_dir=.*nowhere: must be a folder'):
    datasets.load('mnist', str(tmp_path / 'nowhere'))
