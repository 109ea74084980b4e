"""What only the local replay promises: exactness to the bit, and how much memory it takes."""

import multiprocessing
import tracemalloc
from concurrent import futures

import hypothesis
import jax
import numpy as np
import psutil
import pytest
from hypothesis import strategies as st

from replay import local, types
from tests import replay_twin

SIGNATURE = types.Signature((3, 2), 'uint8', 4, 1, 3, 2)
ATARI = types.Signature((84, 84), 'uint8', 4, 1, 3, 1)


def world(settings, signature=SIGNATURE, seed=0, max_length=12):
  return replay_twin.World(local.LocalReplay(signature, settings), signature,
                           replay_twin.synthetic(seed, signature, max_length))


def assert_same(first, second):
  for a, b in zip((*first[:2], *first.transition), (*second[:2], *second.transition), strict=True):
    np.testing.assert_array_equal(a, b)


# Frames so large that only 32 slots are to spare, for episodes so short that these do not do.
SHORT = types.Signature((128, 256), 'uint8', 4, 1, 3, 2)


@hypothesis.given(seed=st.integers(0, 999), num_streams=st.integers(1, 3), n_step=st.integers(1, 5),
                  stack=st.integers(1, 4), capacity=st.integers(1, 80), prioritized=st.booleans())
def test_no_frame_is_overwritten_under_an_item(
    seed, num_streams, n_step, stack, capacity, prioritized):
  signature = SHORT._replace(num_streams=num_streams, n_step=n_step, stack=stack)
  ours = world(types.Settings(capacity, prioritized), signature, seed, max_length=2)
  for _ in range(8):
    ours.run(20)
    size = ours.replay.size()
    assert 0 < size <= min(capacity, len(ours.items))
    assert set(ours.check(ours.replay.sample(12))) <= set(ours.newest(size))


def test_an_item_leaves_no_earlier_than_its_frames():
  """Episodes of two steps: 2 items for 3 frames, so that frames are what is short."""
  ours = world(types.Settings(80), SHORT._replace(num_streams=1), max_length=2)
  ours.run(400)
  num_slots = 80 + 32 + 4 + 3
  assert num_slots * 0.5 - 7 < ours.replay.size() < 80


class Queues:
  """Takes steps as a replay does, and keeps each stream's."""

  def __init__(self, num_streams):
    self.steps = [[] for _ in range(num_streams)]

  def add(self, step):
    self.steps[step.stream].append(step)


@hypothesis.settings(max_examples=12)
@hypothesis.given(seed=st.integers(0, 999), prioritized=st.booleans(), burst=st.integers(10, 90))
def test_streams_may_interleave_as_they_like(seed, prioritized, burst):
  """One may even rest until its frames are gone: then an item of theirs never enters."""
  signature = SHORT._replace(num_streams=3)
  replay, queues = local.LocalReplay(signature, types.Settings(20, prioritized)), Queues(3)
  ours = replay_twin.World(queues, signature, replay_twin.synthetic(seed, signature))
  ours.run(120)
  rng = np.random.default_rng(seed)
  while any(queues.steps):
    steps = queues.steps[rng.integers(3)]
    for _ in range(min(len(steps), rng.integers(1, burst))):
      replay.add(steps.pop(0))
    assert replay.size() <= 20
    if replay.size():
      ours.check(replay.sample(6))


@pytest.mark.parametrize('prioritized', [False, True])
def test_one_seed_repeats_to_the_bit_and_another_does_not(prioritized):
  samples = []
  for seed in (1, 1, 2):
    ours = world(types.Settings(50, prioritized, seed=seed))
    ours.run(60)
    first = ours.replay.sample(20)
    ours.replay.update(first.keys, np.linspace(0, 5, 20))
    samples.append((first, ours.replay.sample(20)))
  for first, second in zip(samples[0], samples[1], strict=True):
    assert_same(first, second)
  assert not np.array_equal(samples[0][0].keys, samples[2][0].keys)


@hypothesis.given(num_steps=st.integers(1, 60), prioritized=st.booleans(), seed=st.integers(0, 99))
def test_a_restored_replay_is_the_saved_one_to_the_bit(
    tmp_path_factory, num_steps, prioritized, seed):
  ours = world(types.Settings(40, prioritized), seed=seed)
  ours.run(num_steps)
  if ours.replay.size():
    sample = ours.replay.sample(10)
    ours.replay.update(sample.keys, np.append(np.linspace(0, 9, 9), np.inf))
  folder = tmp_path_factory.mktemp('replay') / 'saved'
  ours.replay.save(folder)
  other, state = local.LocalReplay(SIGNATURE, types.Settings(40, prioritized)), ours.state()
  other.restore(folder)
  drawn = []
  for replay in (ours.replay, other):
    ours.rewind(state, replay)
    ours.run(20)
    first = replay.sample(10)
    replay.update(first.keys, np.linspace(0, 20, 10))
    ours.run(5)
    drawn.append((first, replay.sample(30), replay.num_refused))
    jax.tree.map(np.testing.assert_array_equal, replay.peek(9, seed=4), ours.replay.peek(9, 4))
  assert_same(drawn[0][0], drawn[1][0])
  assert_same(drawn[0][1], drawn[1][1])
  assert drawn[0][2] == drawn[1][2]


@hypothesis.given(
    operations=st.lists(st.sampled_from(['add', 'draw', 'update', 'save', 'restore']), min_size=15),
    exponent=st.sampled_from([0.0, 0.6, 1.0]), uniform=st.sampled_from([0.0, 1e-3, 0.3, 1.0]),
    new=st.sampled_from([0.0, 1.0, 20.0]), seed=st.integers(0, 999))
def test_whatever_happens_chances_are_the_naive_twins(
    tmp_path_factory, operations, exponent, uniform, new, seed):
  settings = types.Settings(30, True, exponent, seed, uniform, new)
  rng = np.random.default_rng(seed)
  trial = replay_twin.Trial(local.LocalReplay(SIGNATURE, settings), settings, SIGNATURE,
                            tmp_path_factory.mktemp('replay'), seed, is_reverb=False)
  do = {'add': lambda: trial.add(rng.integers(20)), 'draw': lambda: trial.draw(20),
        'update': lambda: trial.update(replay_twin.td_errors(rng, 12)),
        'save': trial.save, 'restore': trial.restore}
  trial.add(20)
  trial.save()
  for operation in operations:
    do[operation]()
  trial.draw(100)


@pytest.mark.parametrize('uniform', [0.0, 0.2])
def test_a_draw_takes_one_random_number(uniform):
  """Below the uniform probability it selects among equals, above it among the weights."""
  ours = world(types.Settings(50, True, seed=7, uniform_probability=uniform))
  ours.run(40)
  size = ours.replay.size()
  keys, weights = np.arange(len(ours.items) - size, len(ours.items)), np.arange(1.0, size + 1)
  ours.replay.update(keys.astype(np.uint64), weights ** (1 / 0.6) - 1e-6)
  by_place = np.zeros(50)
  by_place[keys % 50] = weights
  numbers = np.random.Generator(np.random.PCG64(7)).random(200)
  chances = (np.floor(numbers / (uniform or 1) * size) + keys[0]) % 50
  by_weight = np.searchsorted(np.cumsum(by_place) / by_place.sum(),
                              (numbers - uniform) / (1 - uniform), side='right')
  places = np.where(numbers < uniform, chances, by_weight)
  drawn = [ours.replay.sample(100).keys % 50 for _ in range(2)]
  np.testing.assert_array_equal(np.concatenate(drawn), places)


def test_peeking_draws_no_transition_twice_and_changes_no_sample():
  first, second = world(types.Settings(40, True)), world(types.Settings(40, True))
  for ours in (first, second):
    ours.run(30)
  size = first.replay.size()
  seen = first.replay.peek(size, seed=1)
  jax.tree.map(np.testing.assert_array_equal, seen, first.replay.peek(size, seed=1))
  assert not np.array_equal(seen.obs_tm1, first.replay.peek(size, seed=2).obs_tm1)
  assert len({observation.tobytes() for observation in seen.obs_tm1}) == size
  assert_same(first.replay.sample(20), second.replay.sample(20))


def test_what_was_drawn_is_not_the_replays_own():
  ours = world(types.Settings(40))
  ours.run(30)
  for array in ours.replay.sample(50).transition:
    array[...] = 0
  ours.check(ours.replay.sample(50))


@pytest.mark.parametrize('capacity', [10_000, 100_000, 1_000_000])
@pytest.mark.parametrize('prioritized', [False, True])
def test_memory_is_within_1_05_frames_a_transition(capacity, prioritized):
  estimate = local.estimate_bytes(ATARI, types.Settings(capacity, prioritized))
  assert capacity * 84 * 84 < estimate <= 1.05 * capacity * 84 * 84


def memory_taken():
  """What a replay is estimated to take, what it takes at first, and once all of it is used."""
  capacity, process, frame_bytes = 100_000, psutil.Process(), 84 * 84
  settings = types.Settings(capacity, prioritized=True)
  estimate = local.estimate_bytes(ATARI, settings)
  before = process.memory_info().rss
  replay = local.LocalReplay(ATARI, settings)
  at_first = process.memory_info().rss - before
  frame, outcome = np.ones((84, 84), np.uint8), types.Outcome(3, np.zeros(1, np.int32), 1.0, 0.97)
  for i in range(estimate // frame_bytes + 1000):  # Until every slot was used.
    outcomes = () if i % 1000 < 3 else (outcome,)
    replay.add(types.Step(0, i % 1000 == 0, frame, outcomes))
  assert replay.size() == capacity
  return estimate, at_first, process.memory_info().rss - before


def test_memory_taken_is_as_estimated():
  # In a process of its own, where nothing that other tests have freed is used again.
  spawn = multiprocessing.get_context('spawn')
  with futures.ProcessPoolExecutor(1, spawn) as pool:
    estimate, at_first, taken = pool.submit(memory_taken).result(timeout=100)
  assert at_first < 0.1 * estimate  # Nothing is taken before it is used.
  assert 0.95 * estimate < taken < 1.005 * estimate + 2**22


def test_saving_and_restoring_take_no_second_copy(tmp_path):
  replay = local.LocalReplay(ATARI, types.Settings(3_000))
  frame = np.ones((84, 84), np.uint8)
  for i in range(3_000):
    replay.add(types.Step(0, i == 0, frame, ()))
  tracemalloc.start()
  replay.save(tmp_path / 'saved')
  replay.restore(tmp_path / 'saved')
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert (tmp_path / 'saved' / 'frames.npy').stat().st_size > 3_000 * 84 * 84
  assert peak < 10 * 84 * 84
