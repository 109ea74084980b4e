"""Streams of tasks: each against its definition, purity, seeds, shapes, and every error."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from envs import datasets, streams, tasks

COUNT, CLASSES = 60, 5
SEED = 3


def small_dataset() -> datasets.Dataset:
  """Sixty images of 4 x 3 x 2 in five classes, at places 7, 2 and 9 with 10, 30 and 20 of them."""
  generator = np.random.default_rng(0)
  return datasets.Dataset(
      'small', images=generator.integers(0, 256, (COUNT, 4, 3, 2), np.uint8),
      labels=(np.arange(COUNT) % CLASSES).astype(np.int32), num_classes=CLASSES,
      domains=np.repeat([7, 2, 9, 2], [10, 15, 20, 15]).astype(np.int32))


DATASET = small_dataset()
NAMES = sorted(streams.STREAMS)
UNCHANGING = {'stationary_labels', 'true_labels', 'bandit'}


def make(name: str, seed: int = SEED, **parameters) -> streams.Stream:
  return streams.make(name, DATASET, seed, **parameters)


def assert_same(one: streams.Task, other: streams.Task):
  np.testing.assert_array_equal(one.inputs, other.inputs)
  np.testing.assert_array_equal(one.targets, other.targets)
  assert one.size == other.size


def same(one: streams.Task, other: streams.Task) -> bool:
  return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def generator(seed: int, purpose: int, index: int) -> np.random.Generator:
  return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index)))


@pytest.mark.parametrize('name', NAMES)
def test_a_task_depends_on_no_other(name):
  stream = make(name)
  later = [stream.task(index) for index in range(8)]
  assert_same(make(name).task(5), later[5])
  assert_same(stream.task(2), later[2])


@pytest.mark.parametrize('name', NAMES)
def test_tasks_have_one_shape_and_type(name):
  stream = make(name)
  assert stream.name == name
  classification = stream.kind != 'regression'
  assert stream.num_outputs == (CLASSES if classification else 1)
  first = stream.task(0)
  for index in range(12):
    task = stream.task(index)
    assert task.inputs.dtype == np.uint8
    assert task.targets.dtype == (np.int32 if classification else np.float32)
    assert task.inputs.shape == first.inputs.shape
    assert task.targets.shape == first.targets.shape == first.inputs.shape[:1]
    assert 1 <= task.size <= len(task.targets)
    assert isinstance(task.size, int)
    assert not classification or 0 <= task.targets.min() <= task.targets.max() < CLASSES


@pytest.mark.parametrize('name', NAMES)
def test_tasks_change_unless_the_stream_is_a_control(name):
  stream = make(name)
  changes = [not same(stream.task(index), stream.task(index + 1)) for index in range(4)]
  assert changes == [name not in UNCHANGING] * 4


@pytest.mark.parametrize('name', sorted(set(NAMES) - {'true_labels', 'bandit', 'natural_shift'}))
def test_another_seed_is_another_stream(name):
  assert not same(make(name, seed=1).task(3), make(name, seed=2).task(3))


@pytest.mark.parametrize('name', sorted(
    set(NAMES) - {'pixel_permutation', 'composite', 'natural_shift'}))
def test_inputs_that_stay_are_one_object(name):
  stream = make(name)
  assert stream.task(0).inputs is stream.task(7).inputs


@pytest.mark.parametrize('random, like', [(False, 'true_labels'), (True, 'stationary_labels')])
def test_a_bandit_has_the_labels_of_another_stream(random, like):
  assert streams.STREAMS['bandit'].kind == 'q_learning'
  assert_same(make('bandit', random=random).task(0), make(like).task(0))


def slow_labels(seed: int, fraction: float, changes: int) -> list[np.ndarray]:
  """The labels of `random_labels` after 0 to `changes` changes, made one after another."""
  def draw(index):
    return generator(seed, 1, index).integers(CLASSES, size=COUNT, dtype=np.int32)

  labels, history = draw(0), []
  chunks, fresh, num_rounds = [], None, 0
  for _ in range(changes + 1):
    history.append(labels.copy())
    if not chunks:
      order = generator(seed, 2, num_rounds).permutation(COUNT)
      num_rounds += 1
      fresh = draw(num_rounds)
      chunks = np.array_split(order, math.ceil(round(1 / fraction, 6)))
    chunk = chunks.pop(0)
    labels[chunk] = fresh[chunk]
  return history


@pytest.mark.parametrize('name', ['random_labels', 'composite'])
@hypothesis.given(
    seed=st.integers(0, 1000), fraction=st.sampled_from([1.0, 1, 0.5, 0.3, 1 / 3, 0.1, 1 / 49]))
@hypothesis.settings(max_examples=20)
def test_random_labels_are_those_of_the_slow_twin(name, seed, fraction):
  stream = make(name, seed, fraction=fraction)
  for index, labels in enumerate(slow_labels(seed, fraction, changes=13)):
    np.testing.assert_array_equal(stream.task(index).targets, labels)


def test_a_change_draws_its_chunk_alone_and_a_round_draws_all(monkeypatch):
  # Labels that say in which round they were drawn.
  monkeypatch.setattr(tasks, '_random_classes', lambda dataset, seed, draw: np.full(COUNT, draw))
  stream = make('random_labels', fraction=0.25)
  for index in range(9):
    rounds = np.bincount(stream.task(index).targets, minlength=4)
    expected = [60, 0, 0, 0], [45, 15, 0, 0], [30, 30, 0, 0], [15, 45, 0, 0], [0, 60, 0, 0]
    assert rounds.tolist() == (expected[index] if index < 5 else [0, *expected[index - 4][:3]])
  # Each round takes the examples in another order.
  assert (stream.task(1).targets != stream.task(5).targets - 1).any()


@pytest.mark.parametrize('count', [49, 93, 98, 103, 107, 161, 187])
def test_rounding_adds_no_chunk(monkeypatch, count):
  """1 / (1 / 49) is a little more than 49, or less."""
  parts = []
  monkeypatch.setattr(tasks.np, 'array_split', lambda order, k: parts.append(k) or [order] * k)
  dataset = DATASET._replace(labels=np.zeros(200, np.int32))
  streams.make('random_labels', dataset, SEED, fraction=1 / count).task(1)
  assert parts == [count]


def test_random_labels_know_nothing_of_the_images():
  labels = np.zeros(20_000, np.int32)
  targets = streams.make('stationary_labels', DATASET._replace(labels=labels), SEED).task(0).targets
  counts = np.bincount(targets, minlength=CLASSES)
  np.testing.assert_allclose(counts, 4000, atol=5 * math.sqrt(4000))


def test_the_controls():
  assert_same(make('stationary_labels').task(9), make('random_labels').task(0))
  task = make('true_labels').task(9)
  assert task.inputs is DATASET.images
  assert task.targets is DATASET.labels
  assert task.size == COUNT


def test_class_permutation_is_a_bijection():
  stream = make('class_permutation')
  maps = set()
  for index in range(6):
    task = stream.task(index)
    pairs = set(zip(DATASET.labels.tolist(), task.targets.tolist(), strict=True))
    assert sorted(old for old, _ in pairs) == list(range(CLASSES))
    assert sorted(new for _, new in pairs) == list(range(CLASSES))
    maps.add(tuple(sorted(pairs)))
  assert len(maps) > 3


@pytest.mark.parametrize('name', ['pixel_permutation', 'composite'])
def test_pixels_change_places_alike_in_all_images(name):
  places = np.arange(12, dtype=np.uint8)
  images = np.stack([places, places + 100], axis=-1).reshape(1, 4, 3, 2).repeat(COUNT, axis=0)
  images[1] += 20
  stream = streams.make(name, DATASET._replace(images=images), SEED)
  assert stream.task(0).inputs is images
  orders = set()
  for index in range(1, 5):
    inputs = stream.task(index).inputs
    order = inputs[0, ..., 0].ravel().tolist()
    assert sorted(order) == places.tolist()
    np.testing.assert_array_equal(inputs[0, ..., 1], inputs[0, ..., 0] + 100)
    np.testing.assert_array_equal(inputs[1], inputs[0] + 20)
    np.testing.assert_array_equal(inputs[2:], inputs[:1].repeat(COUNT - 2, axis=0))
    orders.add(tuple(order))
  assert len(orders) == 4


def test_pixel_permutation_keeps_the_labels():
  assert make('pixel_permutation').task(3).targets is DATASET.labels


@pytest.mark.parametrize('random', [False, True])
def test_growing_data(random):
  stream = make('growing_data', num_tasks=7, random=random)
  assert [stream.task(index).size for index in range(9)] == [8, 17, 25, 34, 42, 51, 60, 60, 60]
  task = stream.task(0)
  labels = make('random_labels').task(0).targets if random else DATASET.labels
  rows = {image.tobytes(): i for i, image in enumerate(DATASET.images)}
  order = [rows[image.tobytes()] for image in task.inputs]
  assert sorted(order) == list(range(COUNT)) != order
  np.testing.assert_array_equal(task.targets, labels[order])
  assert stream.task(8).targets is task.targets


@pytest.mark.parametrize('parameters, first, later', [
    (dict(), 100, 100), (dict(offset=-5), -5, -5), (dict(offset=50.0, later_offset=0), 50, 0)])
def test_target_offset(parameters, first, later):
  dataset = DATASET._replace(labels=np.zeros(10_000, np.int32))
  stream = streams.make('target_offset', dataset, SEED, **parameters)
  targets = [stream.task(index).targets for index in range(3)]
  np.testing.assert_allclose(np.mean(targets, axis=1), [first, later, later], atol=0.05)
  np.testing.assert_allclose(np.std(targets, axis=1), 1, atol=0.05)
  assert not np.allclose(targets[1], targets[2])


def test_growing_targets():
  dataset = DATASET._replace(labels=np.zeros(10_000, np.int32))
  for factor in 2.0, 0.5:
    stream = streams.make('growing_targets', dataset, SEED, factor=factor)
    for index in 0, 1, 10:
      targets = stream.task(index).targets / factor ** index
      np.testing.assert_allclose([targets.mean(), targets.std()], 1, atol=0.05)


def test_growing_targets_end_before_they_overflow():
  stream = make('growing_targets')
  assert np.isfinite(np.square(stream.task(53).targets).sum())
  with pytest.raises(ValueError) as error:
    stream.task(54)
  assert str(error.value) == (
      'index=54: factor=2.0 to the power of the index must be at most 1e+16; '
      'else squared errors overflow float32')
  assert (make('growing_targets', factor=0.5).task(5000).targets == 0).all()


def test_natural_shift_goes_through_the_places_by_size():
  stream = make('natural_shift')
  for index, (place, size) in enumerate([(2, 30), (9, 20), (7, 10), (2, 30), (9, 20)]):
    task = stream.task(index)
    assert task.size == size
    chosen = np.resize(np.flatnonzero(DATASET.domains == place), 30)
    np.testing.assert_array_equal(task.inputs, DATASET.images[chosen])
    np.testing.assert_array_equal(task.targets, DATASET.labels[chosen])


@pytest.mark.parametrize('name', NAMES)
def test_a_subset_is_some_of_the_examples(name):
  stream = make(name, subset=40)
  task = stream.task(0)
  known = {image.tobytes(): place
           for image, place in zip(DATASET.images, DATASET.domains, strict=True)}
  chosen = {image.tobytes() for image in task.inputs}
  assert chosen <= known.keys()
  if name != 'natural_shift':
    assert len(task.inputs) == len(chosen) == 40
    other = make(name, seed=4, subset=40).task(0)
    assert {image.tobytes() for image in other.inputs} != chosen
  else:
    assert {known[image] for image in chosen} == {2}
    assert len(chosen) == task.size < 30


def test_a_subset_keeps_each_image_with_its_label():
  task = make('true_labels', subset=40).task(0)
  labels = {image.tobytes(): label
            for image, label in zip(DATASET.images, DATASET.labels, strict=True)}
  assert [labels[image.tobytes()] for image in task.inputs] == task.targets.tolist()


def test_every_purpose_and_index_has_its_own_draws():
  draws = {tuple(tasks._generator(seed, purpose, index).integers(1000, size=4))
           for seed in (0, 1, 2 ** 32) for purpose in range(7) for index in range(5)}
  assert len(draws) == 3 * 7 * 5


MEAN = 'from -1e+06 to 1e+06, else float32 blurs the noise'


@pytest.mark.parametrize('name, seed, parameters, message', [
    ('random_label', 0, {}, 'stream=random_label: unknown; did you mean random_labels?'),
    ('true_labels', 0, dict(fraction=0.5),
     'stream=true_labels: parameter=fraction: unknown; known are subset'),
    ('random_labels', 0, dict(fractoin=0.5),
     'stream=random_labels: parameter=fractoin: unknown; did you mean fraction?'),
    ('true_labels', -1, {}, 'seed=-1: must be at least 0'),
    ('true_labels', 1.5, {}, 'seed=1.5: must be a whole number'),
    ('true_labels', 0, dict(subset=-1), 'subset=-1: must be at least 0; 0 is all examples'),
    ('true_labels', 0, dict(subset=61), 'subset=61: must be at most 60, the images of small'),
    ('true_labels', 0, dict(subset=True), 'subset=True: must be a whole number'),
    ('random_labels', 0, dict(fraction=0), 'fraction=0: must be above 0 and at most 1'),
    ('random_labels', 0, dict(fraction=1.1), 'fraction=1.1: must be above 0 and at most 1'),
    ('composite', 0, dict(fraction=math.nan), 'fraction=nan: must be above 0 and at most 1'),
    ('random_labels', 0, dict(fraction='a'), 'fraction=a: must be a number'),
    ('random_labels', 0, dict(fraction=True), 'fraction=True: must be a number'),
    ('composite', 0, dict(fraction=0.016),
     'fraction=0.016: must be at least 1/60, one example of 60'),
    ('random_labels', 0, dict(fraction=0.03, subset=20),
     'fraction=0.03: must be at least 1/20, one example of 20'),
    ('growing_data', 0, dict(num_tasks=0), 'num_tasks=0: must be at least 1'),
    ('growing_data', 0, dict(num_tasks=5.0), 'num_tasks=5.0: must be a whole number'),
    ('growing_data', 0, dict(num_tasks=61),
     'num_tasks=61: must be at most 60, the number of examples'),
    ('growing_data', 0, dict(random=1), 'random=1: must be true or false'),
    ('target_offset', 0, dict(offset=math.inf), f'offset=inf: must be {MEAN}'),
    ('target_offset', 0, dict(offset=math.nan), f'offset=nan: must be {MEAN}'),
    ('target_offset', 0, dict(later_offset=2e6),
     f'later_offset=2000000.0: must be nan, which is offset, or {MEAN}'),
    ('growing_targets', 0, dict(factor=0.0), 'factor=0.0: must be above 0 and at most 1e+16'),
    ('growing_targets', 0, dict(factor=math.inf), 'factor=inf: must be above 0 and at most 1e+16'),
])
def test_bad_arguments(name, seed, parameters, message):
  with pytest.raises(ValueError) as error:
    make(name, seed, **parameters)
  assert str(error.value) == message


def test_natural_shift_without_places():
  with pytest.raises(ValueError) as error:
    streams.make('natural_shift', DATASET._replace(domains=None), SEED)
  assert str(error.value) == 'dataset=small: has no domains; natural_shift needs one that does'


@pytest.mark.parametrize('name', NAMES)
def test_a_negative_index(name):
  with pytest.raises(ValueError) as error:
    make(name).task(-1)
  assert str(error.value) == 'index=-1: must be at least 0'


def test_every_default_is_allowed_and_every_row_has_a_subset():
  for name, row in streams.STREAMS.items():
    make(name, **{key: known.default for key, known in row.parameters.items()})
    assert 'subset' in row.parameters
    assert row.summary and row.paper
