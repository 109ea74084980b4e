"""The tasks of `envs.streams`: for each row there, a function of the index of a task.

What is drawn comes from a generator of its own for each purpose and index (`_generator`), so a
task is the same whichever tasks were made before it. Streams of one seed share the draws of one
purpose, and so can be compared: the labels of `stationary_labels` are those of `random_labels` at
task 0, and `composite` has the pixels of `pixel_permutation` and the labels of `random_labels`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs import datasets

LARGEST_MEAN = 1e6  # Beyond it float32's steps, of 1/16, blur noise of 1.
LARGEST_SCALE = 1e16  # Up to it float32 holds a sum of squared errors.
_SUBSET, _LABELS, _CHUNKS, _CLASSES, _PIXELS, _ORDER, _TARGETS = range(7)  # purposes of a draw


class Task(NamedTuple):
  """What is trained on between two change points."""
  inputs: np.ndarray  # [N, H, W, C] uint8; one object for all tasks where the inputs stay the same
  targets: np.ndarray  # [N], int32 classes or float32 values
  size: int  # examples 0 to size - 1 are drawn; the rest keeps the shape the same


def _generator(seed: int, purpose: int, index: int = 0) -> np.random.Generator:
  """Independent of that of every other seed, purpose and index, as spawned seeds are."""
  return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index)))


def subset(dataset: datasets.Dataset, seed: int, size: int) -> datasets.Dataset:
  """`size` examples, or all of them for 0, in their order."""
  count = len(dataset.labels)
  if size > count:
    raise ValueError(f'subset={size}: must be at most {count}, the images of {dataset.name}')
  if not size:
    return dataset
  chosen = np.sort(_generator(seed, _SUBSET).permutation(count)[:size])
  return dataset._replace(
      images=dataset.images[chosen], labels=dataset.labels[chosen],
      domains=None if dataset.domains is None else dataset.domains[chosen])


def _random_classes(dataset: datasets.Dataset, seed: int, draw: int) -> np.ndarray:
  """[N] int32, uniform over the classes whatever the images are."""
  return _generator(seed, _LABELS, draw).integers(
      dataset.num_classes, size=len(dataset.labels), dtype=np.int32)


def random_labels(
    dataset: datasets.Dataset, seed: int, fraction: float) -> Callable[[int], Task]:
  """Random classes, of which each change draws 1/k anew: k = 1 / fraction, rounded up.

  k changes make a round, in which every example is drawn anew once, so that streams of different
  fractions change as much in the same number of rounds. Rounds take the examples in orders of
  their own.
  """
  count = len(dataset.labels)
  rounding = 1 - 1e-9  # 1 / fraction, a little too large, is not to be one chunk more.
  if fraction * count < rounding:
    raise ValueError(f'fraction={fraction}: must be at least 1/{count}, one example of {count}')
  num_chunks = math.ceil(1 / fraction * rounding)

  def task(index: int) -> Task:
    # A round draws every label once, so none is older than the round before.
    done_rounds, chunk = divmod(index - 1, num_chunks) if index else (0, -1)
    order = _generator(seed, _CHUNKS, done_rounds).permutation(count)
    labels = _random_classes(dataset, seed, done_rounds)
    drawn = np.concatenate(np.array_split(order, num_chunks)[:chunk + 1] + [order[:0]])
    labels[drawn] = _random_classes(dataset, seed, done_rounds + 1)[drawn]
    return Task(dataset.images, labels, count)

  return task


def stationary_labels(dataset: datasets.Dataset, seed: int) -> Callable[[int], Task]:
  """The labels of `random_labels` at task 0, for ever."""
  task = Task(dataset.images, _random_classes(dataset, seed, 0), len(dataset.labels))
  return lambda index: task


def true_labels(dataset: datasets.Dataset, seed: int) -> Callable[[int], Task]:
  """The data set's own labels, for ever."""
  del seed  # Nothing is drawn.
  task = Task(dataset.images, dataset.labels, len(dataset.labels))
  return lambda index: task


def bandit(dataset: datasets.Dataset, seed: int, random: bool) -> Callable[[int], Task]:
  """The labels of `stationary_labels` or of `true_labels`."""
  return (stationary_labels if random else true_labels)(dataset, seed)


def class_permutation(dataset: datasets.Dataset, seed: int) -> Callable[[int], Task]:
  """The classes in another order for each task, task 0 too."""
  def task(index: int) -> Task:
    classes = _generator(seed, _CLASSES, index).permutation(dataset.num_classes)
    return Task(dataset.images, classes.astype(np.int32)[dataset.labels], len(dataset.labels))

  return task


def _permuted(images: np.ndarray, seed: int, index: int) -> np.ndarray:
  """The pixels of all images in one other order, with their channels together."""
  if index == 0:
    return images
  count, height, width, channels = images.shape
  order = _generator(seed, _PIXELS, index).permutation(height * width)
  return images.reshape(count, -1, channels)[:, order].reshape(images.shape)


def pixel_permutation(dataset: datasets.Dataset, seed: int) -> Callable[[int], Task]:
  """True labels; the pixels in another order for each task after task 0."""
  return lambda index: Task(
      _permuted(dataset.images, seed, index), dataset.labels, len(dataset.labels))


def composite(dataset: datasets.Dataset, seed: int, fraction: float) -> Callable[[int], Task]:
  """The labels of `random_labels` and the inputs of `pixel_permutation`."""
  labelled = random_labels(dataset, seed, fraction)
  return lambda index: labelled(index)._replace(inputs=_permuted(dataset.images, seed, index))


def growing_data(
    dataset: datasets.Dataset, seed: int, num_tasks: int, random: bool) -> Callable[[int], Task]:
  """The first (index + 1) / num_tasks of the examples, in an order of the seed; then all."""
  count = len(dataset.labels)
  if num_tasks > count:
    raise ValueError(f'num_tasks={num_tasks}: must be at most {count}, the number of examples')
  labels = _random_classes(dataset, seed, 0) if random else dataset.labels
  order = _generator(seed, _ORDER).permutation(count)
  inputs, targets = dataset.images[order], labels[order]
  return lambda index: Task(inputs, targets, count * min(index + 1, num_tasks) // num_tasks)


def _noise(dataset: datasets.Dataset, seed: int, index: int) -> np.ndarray:
  return _generator(seed, _TARGETS, index).standard_normal(len(dataset.labels))


def target_offset(
    dataset: datasets.Dataset, seed: int, offset: float, later_offset: float,
) -> Callable[[int], Task]:
  """Normal noise of 1, drawn anew for each task, around `offset` and after task 0 another mean."""
  later = offset if math.isnan(later_offset) else later_offset

  def task(index: int) -> Task:
    targets = (later if index else offset) + _noise(dataset, seed, index)
    return Task(dataset.images, targets.astype(np.float32), len(targets))

  return task


def growing_targets(
    dataset: datasets.Dataset, seed: int, factor: float) -> Callable[[int], Task]:
  """Normal noise around 1, drawn anew for each task, times factor ** index."""
  def task(index: int) -> Task:
    if index * math.log(factor) > math.log(LARGEST_SCALE):
      raise ValueError(f'index={index}: factor={factor} to the power of the index must be at most '
                       f'{LARGEST_SCALE:g}; else squared errors overflow float32')
    targets = factor ** index * (1 + _noise(dataset, seed, index))
    return Task(dataset.images, targets.astype(np.float32), len(targets))

  return task


def natural_shift(dataset: datasets.Dataset, seed: int) -> Callable[[int], Task]:
  """A domain for each task, the one with the most images first; after the last the first again."""
  del seed  # Nothing is drawn.
  if dataset.domains is None:
    raise ValueError(f'dataset={dataset.name}: has no domains; natural_shift needs one that does')
  domains, counts = np.unique(dataset.domains, return_counts=True)
  order = np.argsort(-counts, kind='stable')

  def task(index: int) -> Task:
    domain = order[index % len(order)]
    chosen = np.flatnonzero(dataset.domains == domains[domain])
    filled = np.resize(chosen, counts.max())  # It repeats from the start.
    return Task(dataset.images[filled], dataset.labels[filled], int(counts[domain]))

  return task
