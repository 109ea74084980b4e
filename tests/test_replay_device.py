"""Frames in the accelerator's memory: the batches of the local replay, to the bit."""

import jax
import numpy as np
import pytest

from replay import factory, frames, local, types
from tests import replay_twin
from tests.catch_runs import build, make_config, train

SIGNATURE = types.Signature((3, 2), 'uint8', 4, 1, 3, 2)


def both(settings):
  """The same steps in a local replay and in one on the device."""
  worlds = [
      replay_twin.World(factory.make(kind, SIGNATURE, settings, 'test'), SIGNATURE,
                        replay_twin.synthetic(0, SIGNATURE)) for kind in ('local', 'device')]
  return worlds, [world.replay for world in worlds]


def assert_same(first, second):
  assert isinstance(second.transition.obs_t, jax.Array)
  jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize('prioritized', [False, True])
@pytest.mark.parametrize('capacity', [7, 300])  # more frames come between two draws than 7 need
def test_batches_are_those_of_the_local_replay_and_so_are_files(tmp_path, prioritized, capacity):
  worlds, replays = both(types.Settings(capacity, prioritized))
  for _ in range(3):
    for world in worlds:
      world.run(200)
    samples = [replay.sample(40) for replay in replays]
    assert_same(*samples)
    for replay, sample in zip(replays, samples, strict=True):
      replay.update(sample.keys, np.linspace(0, 5, 40))
  jax.tree.map(np.testing.assert_array_equal, *(replay.peek(5, seed=1) for replay in replays))
  for kind, replay in zip(('local', 'device'), replays, strict=True):
    replay.save(tmp_path / kind)
  files = sorted(path.name for path in (tmp_path / 'local').iterdir())
  assert files == sorted(path.name for path in (tmp_path / 'device').iterdir())
  for name in files:
    assert (tmp_path / 'local' / name).read_bytes() == (tmp_path / 'device' / name).read_bytes()
  # Each goes on from what the other saved.
  worlds[1].run(50)
  replays[0].restore(tmp_path / 'device')
  replays[1].restore(tmp_path / 'local')
  assert_same(*(replay.sample(40) for replay in replays))


def test_what_is_learnt_is_the_same_to_the_bit():
  learned = []
  for kind in ('local', 'device'):
    state, updates = train(build(make_config(prioritized=True, n_step=3), kind), 300)
    assert updates > 50
    learned.append(state.learner.params)
  jax.tree.map(np.testing.assert_array_equal, *learned)


def test_frames_are_written_in_place():
  """A replay of 7 GB cannot be copied for each frame that comes in."""
  stored = frames.DeviceFrames((1000, 84, 84), 'uint8')
  stored.take(np.zeros(1, int))
  before = stored._array.unsafe_buffer_pointer()
  for slot in range(700):  # Some are written without being asked for.
    stored.put(slot, np.full((84, 84), slot % 256, np.uint8))
  found = stored.take(np.arange(700))
  assert stored._array.unsafe_buffer_pointer() == before
  np.testing.assert_array_equal(found[:, 5, 5], np.arange(700) % 256)


def test_a_frame_may_change_once_it_is_put():
  stored, frame = frames.DeviceFrames((2, 3), 'float32'), np.ones(3, np.float32)
  stored.put(1, frame)
  frame[:] = 2
  np.testing.assert_array_equal(stored.take(np.array([1, 0])), [[1] * 3, [0] * 3])


def test_what_the_device_cannot_hold_is_refused():
  memory = {'bytes_limit': 5 * 10**9, 'bytes_in_use': 10**9}
  frames.check_fits(36 * 10**8, memory)
  for unknown in (None, {}, {'bytes_in_use': 1}):
    frames.check_fits(10**12, unknown)
  with pytest.raises(
      ValueError, match='replay_capacity: .* take 3.70 GB, and may take 3.60 GB of the device'):
    frames.check_fits(37 * 10**8, memory)


def test_the_host_s_part_lacks_the_frames_that_lie_elsewhere():
  whole, rest = (local.estimate_bytes(SIGNATURE, types.Settings(100), on_host)
                 for on_host in (True, False))
  assert whole - rest == 6 * (1 + 100 + 100 + 2 * (4 + 3))
