"""Streams of tasks with change points: every task is a pure function of a seed and its number.

So a run that goes on needs nothing but the number of its task. Random numbers of each purpose and
task come from a generator of their own.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from envs import names
from envs.datasets import Dataset

_SUBSET, _LABELS, _CHUNKS, _CLASSES, _PIXELS, _TARGETS, _ORDER = range(7)

CLASSIFICATION, REGRESSION = 'classification', 'regression'


class Task(NamedTuple):
  """What is learned between two changes; arrays have the same shapes in all tasks of a stream."""
  inputs: np.ndarray  # [N, H, W, C] uint8
  targets: np.ndarray  # [N], int32 classes or float32 values
  size: int  # the first so many are drawn


class Stream(NamedTuple):
  """Tasks without end."""
  kind: str  # CLASSIFICATION, REGRESSION
  num_outputs: int
  task: Callable[[int], Task]  # by number, from 0


class _Row(NamedTuple):
  summary: str
  # Data set, seed, parameters -> task of a number.
  make: Callable[..., Callable[[int], Task]]
  kind: str = CLASSIFICATION
  parameters: Mapping[str, Any] = {}
  rules: Mapping[str, tuple[Callable[[Any], bool], str]] = {}


def make(name: str, dataset: Dataset, seed: int, **parameters: Any) -> Stream:
  """A row of STREAMS; of all, `subset` examples are used, chosen by the seed (0: all).

  Raises:
    ValueError: there is no such row, or a parameter is unknown or breaks its rule.
  """
  if name not in STREAMS:
    raise names.unknown('stream', name, STREAMS)
  row = STREAMS[name]
  subset, given = parameters.pop('subset', 0), {**row.parameters, **parameters}
  for parameter, value in given.items():
    if parameter not in row.parameters:
      raise names.unknown(name, parameter, row.parameters)
    holds, rule = row.rules.get(parameter, (math.isfinite, 'finite'))
    if not holds(value):
      raise ValueError(f'{name}.{parameter}={value}: must be {rule}')
  if not 0 <= subset <= len(dataset.images):
    raise ValueError(
        f'subset={subset}: must be from 0 to {len(dataset.images)}, which {dataset.name} has')
  if subset:
    chosen = _rng(seed, _SUBSET).permutation(len(dataset.images))[:subset]
    dataset = dataset._replace(
        images=dataset.images[chosen], labels=dataset.labels[chosen],
        domains=None if dataset.domains is None else dataset.domains[chosen])
  num_outputs = dataset.num_classes if row.kind == CLASSIFICATION else 1
  return Stream(row.kind, num_outputs, row.make(dataset, seed, **given))


def _rng(*words: int) -> np.random.Generator:
  return np.random.default_rng(words)


def _whole(inputs: np.ndarray, targets: np.ndarray) -> Task:
  return Task(inputs, targets, len(inputs))


def _random_labels(dataset: Dataset, seed: int, fraction: float) -> Callable[[int], Task]:
  """Labels at random; a change draws a fraction of them anew (Lyle et al. 2024, figure 1 right).

  1 / fraction changes make a round, in which each label is drawn anew once: streams of different
  fractions change as much in all.
  """
  count, num_chunks = len(dataset.images), math.ceil(1 / fraction)

  def labels(index: int) -> np.ndarray:
    past_rounds, chunk = divmod(index, num_chunks)

    def drawn(number):
      return _rng(seed, _LABELS, number).integers(dataset.num_classes, size=count, dtype=np.int32)

    order = _rng(seed, _CHUNKS, past_rounds).permutation(count)
    is_new = np.empty(count, bool)
    is_new[order] = np.arange(count) * num_chunks // count < chunk
    return np.where(is_new, drawn(past_rounds + 1), drawn(past_rounds))

  return lambda index: _whole(dataset.images, labels(index))


def _true_labels(dataset: Dataset, seed: int) -> Callable[[int], Task]:
  """The data set's own labels: one task."""
  del seed
  return lambda index: _whole(dataset.images, dataset.labels)


def _class_permutation(dataset: Dataset, seed: int) -> Callable[[int], Task]:
  """The classes' names are dealt anew."""
  def task(index: int) -> Task:
    dealt = _rng(seed, _CLASSES, index).permutation(dataset.num_classes).astype(np.int32)
    return _whole(dataset.images, dealt[dataset.labels])

  return task


def _pixels(dataset: Dataset, seed: int, index: int) -> np.ndarray:
  """The pictures with their pixels in another order, the same for all; at 0 in their own."""
  if not index:
    return dataset.images
  images = dataset.images.reshape(len(dataset.images), -1, dataset.images.shape[-1])
  order = _rng(seed, _PIXELS, index).permutation(images.shape[1])
  return images[:, order].reshape(dataset.images.shape)


def _pixel_permutation(dataset: Dataset, seed: int) -> Callable[[int], Task]:
  """The order of the pixels changes (Goodfellow et al. 2013)."""
  return lambda index: _whole(_pixels(dataset, seed, index), dataset.labels)


def _composite(dataset: Dataset, seed: int) -> Callable[[int], Task]:
  """Order of pixels and random labels change together."""
  labels = _random_labels(dataset, seed, 1.0)
  return lambda index: _whole(_pixels(dataset, seed, index), labels(index).targets)


def _growing_data(dataset: Dataset, seed: int, num_tasks: int) -> Callable[[int], Task]:
  """More and more of the data, all of it from task `num_tasks` - 1 on."""
  order = _rng(seed, _ORDER).permutation(len(dataset.images))
  images, labels = dataset.images[order], dataset.labels[order]

  def task(index: int) -> Task:
    return Task(images, labels, max(1, len(images) * min(index + 1, num_tasks) // num_tasks))

  return task


def _target_offset(
    dataset: Dataset, seed: int, offset: float, later: float) -> Callable[[int], Task]:
  """Standard normal targets plus an offset, drawn anew; from task 1 on plus another offset."""
  def task(index: int) -> Task:
    noise = _rng(seed, _TARGETS, index).standard_normal(len(dataset.images))
    mean = later if index else offset
    return _whole(dataset.images, (noise + mean).astype(np.float32))

  return task


def _growing_targets(dataset: Dataset, seed: int, factor: float) -> Callable[[int], Task]:
  """Standard normal targets plus 1, drawn anew, times a factor for every task before."""
  def task(index: int) -> Task:
    noise = _rng(seed, _TARGETS, index).standard_normal(len(dataset.images))
    return _whole(dataset.images, ((1 + noise) * factor**index).astype(np.float32))

  return task


def _natural_shift(dataset: Dataset, seed: int) -> Callable[[int], Task]:
  """One domain after the other, those with the most pictures first, then from the start."""
  del seed
  if dataset.domains is None:
    raise ValueError(f'dataset={dataset.name}: must have domains for natural_shift; use locations '
                     'or iwildcam')
  found, counts = np.unique(dataset.domains, return_counts=True)
  ranked = found[np.argsort(-counts, kind='stable')]

  @functools.cache
  def of_domain(domain: int) -> Task:
    rows = np.flatnonzero(dataset.domains == domain)
    padded = np.resize(rows, counts.max())  # so that shapes stay; `size` leaves the copies out
    return Task(dataset.images[padded], dataset.labels[padded], len(rows))

  return lambda index: of_domain(int(ranked[index % len(ranked)]))


_FRACTION = {'fraction': (lambda x: 0 < x <= 1, 'above 0 and at most 1')}
_COUNT = (lambda x: x >= 1, 'at least 1')

STREAMS = {
    'random_labels': _Row('labels at random, a fraction of them drawn anew', _random_labels,
                          parameters={'fraction': 1.0}, rules=_FRACTION),
    'true_labels': _Row('the labels as they are: no change', _true_labels),
    'class_permutation': _Row("the classes' names are dealt anew", _class_permutation),
    'pixel_permutation': _Row('the order of the pixels changes', _pixel_permutation),
    'composite': _Row('pixels and random labels change together', _composite),
    'growing_data': _Row('more and more of the data', _growing_data,
                         parameters={'num_tasks': 10}, rules={'num_tasks': _COUNT}),
    'target_offset': _Row('normal targets around an offset', _target_offset, REGRESSION,
                          {'offset': 100.0, 'later': 0.0}),
    'growing_targets': _Row('normal targets that grow', _growing_targets, REGRESSION,
                            {'factor': 2.0}, {'factor': (lambda x: x > 0, 'above 0')}),
    'natural_shift': _Row('one place after the other', _natural_shift),
}
