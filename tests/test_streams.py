"""Streams of tasks: each is what its row says, and nothing but seed and number decides it."""

import re

import numpy as np
import pytest

from envs import datasets, streams

COUNT = 60


def dataset(domains=None):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (COUNT, 4, 5, 2), np.uint8)
  return datasets.Dataset('tiny', images, rng.integers(0, 10, COUNT, np.int32), 10, domains)


DOMAINS = np.repeat([4, 7, 9], [20, 30, 10]).astype(np.int32)


def make(name, seed=1, **parameters):
  return streams.make(name, dataset(DOMAINS), seed, **parameters)


@pytest.mark.parametrize('name', streams.STREAMS)
def test_a_task_follows_from_seed_and_number_alone(name):
  stream, again = make(name), make(name)
  first = [stream.task(i) for i in range(4)]
  for i in (3, 1, 0, 2):
    for one, other in zip(first[i], again.task(i), strict=True):
      np.testing.assert_array_equal(one, other)
  assert {(task.inputs.shape, task.inputs.dtype, task.targets.shape, task.targets.dtype)
          for task in first} == {
              (first[0].inputs.shape, np.dtype(np.uint8), first[0].targets.shape,
               np.dtype(np.int32 if stream.kind == 'classification' else np.float32))}
  assert all(1 <= task.size <= len(task.inputs) for task in first)


@pytest.mark.parametrize('name', sorted(
    set(streams.STREAMS) - {'true_labels', 'natural_shift'}))
def test_another_seed_gives_other_tasks(name):
  one, other = (make(name, seed).task(1) for seed in (1, 2))
  assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('fraction, chunks', [(1.0, 1), (0.5, 2), (0.25, 4), (0.3, 4)])
def test_a_change_draws_its_chunk_anew_and_a_round_draws_all_once(fraction, chunks):
  # With as many classes as that, a new label is an old one by no chance that matters.
  many = dataset()._replace(num_classes=2**30)
  stream = streams.make('random_labels', many, 3, fraction=fraction)
  before = stream.task(0).targets
  for round_number in range(3):
    seen = np.zeros(COUNT, int)
    for i in range(1, chunks + 1):
      after = stream.task(round_number * chunks + i).targets
      seen += after != before
      assert abs(np.sum(after != before) - COUNT / chunks) < 1
      before = after
    assert (seen == 1).all()


def test_random_labels_are_uniform_and_tell_nothing_of_the_images():
  stream = make('random_labels')
  labels = np.concatenate([stream.task(i).targets for i in range(200)])
  assert np.abs(np.bincount(labels) / len(labels) - 0.1).max() < 0.01
  agreement = np.mean(labels == np.tile(dataset().labels, 200))
  assert abs(agreement - 0.1) < 0.01


def test_classes_are_renamed_one_to_one():
  stream, labels = make('class_permutation'), dataset().labels
  tables = []
  for i in range(3):
    task = stream.task(i)
    pairs = set(zip(labels.tolist(), task.targets.tolist(), strict=True))
    assert len(pairs) == len(set(labels.tolist())) == len({new for _, new in pairs})
    tables.append(frozenset(pairs))
  assert len(set(tables)) == 3


@pytest.mark.parametrize('name', ['pixel_permutation', 'composite'])
def test_pixels_move_alike_in_all_images(name):
  source, stream = dataset(), make(name)
  np.testing.assert_array_equal(stream.task(0).inputs, source.images)
  moved = stream.task(2).inputs
  columns = {source.images[:, i, j].tobytes() for i in range(4) for j in range(5)}
  assert {moved[:, i, j].tobytes() for i in range(4) for j in range(5)} == columns
  assert not np.array_equal(moved, source.images)
  same_labels = np.array_equal(stream.task(0).targets, stream.task(1).targets)
  assert same_labels == (name == 'pixel_permutation')


def test_data_grow():
  stream = make('growing_data', num_tasks=4)
  assert [stream.task(i).size for i in range(6)] == [15, 30, 45, 60, 60, 60]
  assert stream.task(0).inputs is stream.task(5).inputs


def test_targets_lie_around_their_offset_and_grow():
  offsets = make('target_offset', offset=50.0, later=-3.0)
  assert [round(float(offsets.task(i).targets.mean())) for i in range(3)] == [50, -3, -3]
  assert abs(offsets.task(0).targets.std() - 1) < 0.3
  growing = make('growing_targets', factor=10.0)
  for i in range(3):
    assert abs(growing.task(i).targets.mean() / 10**i - 1) < 0.5
  assert offsets.num_outputs == growing.num_outputs == 1


def test_places_come_the_largest_first():
  stream, source = make('natural_shift'), dataset(DOMAINS)
  assert [stream.task(i).size for i in range(4)] == [30, 20, 10, 30]
  for i, place in enumerate((7, 4, 9)):
    task = stream.task(i)
    np.testing.assert_array_equal(task.inputs[:task.size], source.images[place == DOMAINS])
    np.testing.assert_array_equal(task.targets[:task.size], source.labels[place == DOMAINS])
    np.testing.assert_array_equal(task.inputs[task.size:task.size + 3],
                                  task.inputs[:max(0, min(3, 30 - task.size))])


def test_a_subset_is_chosen_by_the_seed():
  one, other = (make('true_labels', seed, subset=12).task(0) for seed in (1, 2))
  assert len(one.inputs) == len(other.inputs) == 12
  assert not np.array_equal(one.inputs, other.inputs)
  whole = {image.tobytes(): label for image, label in zip(*dataset()[1:3], strict=True)}
  assert all(whole[image.tobytes()] == label for image, label in zip(*one[:2], strict=True))
  assert len({image.tobytes() for image in one.inputs}) == 12


@pytest.mark.parametrize('name, parameters, message', [
    ('random_label', {}, 'stream=random_label: unknown; did you mean random_labels'),
    ('random_labels', {'part': 1.0}, 'random_labels=part: unknown; known names: fraction'),
    ('random_labels', {'fraction': 0.0}, 'random_labels.fraction=0.0: must be above 0 and at most'),
    ('growing_data', {'num_tasks': 0}, 'growing_data.num_tasks=0: must be at least 1'),
    ('growing_targets', {'factor': -1.0}, 'growing_targets.factor=-1.0: must be above 0'),
    ('target_offset', {'offset': float('inf')}, 'target_offset.offset=inf: must be finite'),
    ('true_labels', {'subset': 61}, 'subset=61: must be from 0 to 60, which tiny has'),
    ('true_labels', {'subset': -1}, 'subset=-1: must be from 0 to 60')])
def test_bad_arguments_are_refused(name, parameters, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    make(name, **parameters)


def test_a_shift_of_places_needs_places():
  with pytest.raises(ValueError, match='dataset=tiny: must have domains for natural_shift; use'):
    streams.make('natural_shift', dataset(), 1)
