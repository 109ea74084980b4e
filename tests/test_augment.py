"""Random shifts of frames, against cutting windows out by hand."""

import jax
import numpy as np
import pytest

from agents import augment


@pytest.mark.parametrize('shape', [(6, 3, 8, 8, 3), (6, 4, 7, 9)])
@pytest.mark.parametrize('pad', [1, 3])
def test_each_example_is_one_window_of_its_padded_frames(shape, pad):
  frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  shifted = np.asarray(jax.jit(augment.random_shift, static_argnums=2)(
      jax.random.key(0), frames, pad))
  assert shifted.shape == shape and shifted.dtype == np.uint8
  edges = [(0, 0), (pad, pad), (pad, pad), *[(0, 0)] * (len(shape) - 4)]
  offsets = []
  for before, after in zip(frames, shifted, strict=True):
    padded = np.pad(before, edges, 'edge')
    found = [
        (row, column) for row in range(2 * pad + 1) for column in range(2 * pad + 1)
        if np.array_equal(
            padded[:, row:row + shape[2], column:column + shape[3]], after)]
    assert len(found) == 1
    offsets += found
  assert len(set(offsets)) > 1


def test_the_key_decides():
  frames = np.random.default_rng(0).integers(0, 256, (8, 2, 9, 9), np.uint8)
  one, same, other = (
      np.asarray(augment.random_shift(jax.random.key(k), frames, 4)) for k in (1, 1, 2))
  np.testing.assert_array_equal(one, same)
  assert np.any(one != other)


def test_all_shifts_are_as_likely():
  frames = np.arange(25, dtype=np.uint8).reshape(1, 1, 5, 5).repeat(9_000, axis=0)
  shifted = np.asarray(augment.random_shift(jax.random.key(0), frames, 1))
  counts = np.unique(shifted[:, 0, 2, 2], return_counts=True)[1]
  assert len(counts) == 9  # The centre comes from any of its neighbours.
  np.testing.assert_allclose(counts, 1_000, rtol=0.15)
