"""Streams of supervised tasks: what changes at each change point, and what stays.

A task is a pure function of the stream's seed and of its index, so a run that resumes needs no
state of its stream.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

from envs import datasets, names, tasks

Task = tasks.Task


class Stream(NamedTuple):
  """Endlessly many tasks, of which every one has inputs and targets of the same shapes."""
  name: str
  num_outputs: int  # of a network: the classes, or 1 for regression
  kind: str  # 'classification', 'regression' or, as a bandit, 'q_learning'
  task: Callable[[int], Task]  # of an index from 0; ValueError below it


class Parameter(NamedTuple):
  """What a parameter may be; its type is its default's, and a number may be a whole number."""
  default: bool | int | float
  holds: Callable[[Any], bool] = lambda value: True
  rule: str = ''  # `holds` in words


class Row(NamedTuple):
  """A row of `STREAMS`."""
  make: Callable[..., Callable[[int], Task]]  # of (dataset, seed, **parameters)
  kind: str
  parameters: dict[str, Parameter]
  summary: str
  paper: str  # where the stream is from


def make(name: str, dataset: datasets.Dataset, seed: int, **parameters: Any) -> Stream:
  """A stream of the row `name` of `STREAMS`.

  Args:
    name: of the row.
    dataset: where the inputs, the classes and the domains come from.
    seed: of everything that is drawn, from 0.
    **parameters: of the row; those left out have its defaults.

  Raises:
    ValueError: an argument is unknown, out of its range, or asks for what the data set lacks.
  """
  if name not in STREAMS:
    raise names.unknown('stream', name, STREAMS)
  row = STREAMS[name]
  _check('seed', seed, _SEED)
  for parameter in parameters:
    if parameter not in row.parameters:
      raise names.unknown(f'stream={name}: parameter', parameter, row.parameters)
  values = {key: known.default for key, known in row.parameters.items()} | parameters
  for key, value in values.items():
    _check(key, value, row.parameters[key])
  make_task = row.make(tasks.subset(dataset, seed, values.pop('subset')), seed, **values)

  def task(index: int) -> Task:
    if index < 0:
      raise ValueError(f'index={index}: must be at least 0')
    return make_task(index)

  num_outputs = 1 if row.kind == 'regression' else dataset.num_classes
  return Stream(name, num_outputs, row.kind, task)


def _check(key: str, value: Any, known: Parameter) -> None:
  types, words = {
      bool: (bool, 'true or false'), int: (numbers.Integral, 'a whole number'),
      float: (numbers.Real, 'a number')}[type(known.default)]
  # To Python, True is a whole number too.
  if not isinstance(value, types) or isinstance(value, bool) != (types is bool):
    raise ValueError(f'{key}={value}: must be {words}')
  if not known.holds(value):
    raise ValueError(f'{key}={value}: must be {known.rule}')


_SEED = Parameter(0, lambda value: value >= 0, 'at least 0')
_SUBSET = Parameter(0, lambda value: value >= 0, 'at least 0; 0 is all examples')
_FRACTION = Parameter(1.0, lambda value: 0 < value <= 1, 'above 0 and at most 1')
_MEAN_RULE = f'from {-tasks.LARGEST_MEAN:g} to {tasks.LARGEST_MEAN:g}, else float32 blurs the noise'


def _is_mean(value: float) -> bool:
  return abs(value) <= tasks.LARGEST_MEAN


def _row(make_task: Callable, kind: str, paper: str, summary: str, **parameters: Parameter) -> Row:
  """A row with the parameters of every stream and its own."""
  return Row(make_task, kind, {'subset': _SUBSET} | parameters, summary, paper)


STREAMS = {
    'random_labels': _row(
        tasks.random_labels, 'classification', 'Lyle et al. 2024',
        'labels without regard to the images; at each change a fraction of them is drawn anew',
        fraction=_FRACTION),
    'stationary_labels': _row(
        tasks.stationary_labels, 'classification', 'Zhang et al. 2017',
        'random labels that never change: a control'),
    'true_labels': _row(
        tasks.true_labels, 'classification', 'ours',
        "the data set's own labels, which never change: a control"),
    'bandit': _row(
        tasks.bandit, 'q_learning', 'Lyle et al. 2023',
        "the data set's own labels, or random ones, which never change, as envs/bandit.py plays it",
        random=Parameter(False)),
    'class_permutation': _row(
        tasks.class_permutation, 'classification', 'Elsayed and Mahmood 2024',
        'true labels, with other numbers for the classes at each change'),
    'pixel_permutation': _row(
        tasks.pixel_permutation, 'classification', 'Goodfellow et al. 2013',
        'true labels; the pixels of all images change places at each change'),
    'growing_data': _row(
        tasks.growing_data, 'classification', 'Ash and Adams 2020',
        'more of the data set at each change, until it is all there',
        num_tasks=Parameter(10, lambda value: value >= 1, 'at least 1'),
        random=Parameter(False)),
    'target_offset': _row(
        tasks.target_offset, 'regression', 'Lyle et al. 2024',
        'random targets far from 0, drawn anew at each change',
        offset=Parameter(100.0, _is_mean, _MEAN_RULE),
        later_offset=Parameter(  # of every task but the first
            math.nan, lambda value: math.isnan(value) or _is_mean(value),
            f'nan, which is offset, or {_MEAN_RULE}')),
    'growing_targets': _row(
        tasks.growing_targets, 'regression', 'after van Hasselt et al. 2016',
        'random targets whose mean and spread grow by a factor at each change',
        factor=Parameter(2.0, lambda value: 0 < value <= tasks.LARGEST_SCALE,
                         f'above 0 and at most {tasks.LARGEST_SCALE:g}')),
    'composite': _row(
        tasks.composite, 'classification', 'ours',
        'random_labels and pixel_permutation at once', fraction=_FRACTION),
    'natural_shift': _row(
        tasks.natural_shift, 'classification', 'Koh et al. 2021',
        'true labels; the images of one place after another'),
}
