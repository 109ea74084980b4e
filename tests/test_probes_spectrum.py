"""Ranks of features: by hand, of known rank, against slow ones, and where nothing is known."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from probes import spectrum

VALUES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8).map(
    lambda values: np.array(sorted(values, reverse=True)))


def with_singular_values(values, num_rows, seed=0):
  """Features [num_rows, len(values)] that have them."""
  rng, size = np.random.default_rng(seed), len(values)
  left, _ = np.linalg.qr(rng.normal(size=(num_rows, size)))
  right, _ = np.linalg.qr(rng.normal(size=(size, size)))
  return (left * values) @ right


def test_by_hand():
  values = [10.0, 5.0, 5.0, 0.15]
  found = spectrum.feature_spectrum(with_singular_values(values, 100))
  np.testing.assert_allclose(found.singular_values, values)
  assert found.feature_rank == 4  # 0.15 / sqrt(100) is above 0.01
  assert found.srank == 3  # 20 of 20.15
  shares = np.array(values) / 20.15
  assert found.effective_rank == pytest.approx(math.prod(share**-share for share in shares))
  assert found.top == pytest.approx(10.0)
  assert found.condition == pytest.approx(10 / 0.15)


@pytest.mark.parametrize('rank', [1, 3, 12])
def test_features_of_known_rank(rank):
  rng = np.random.default_rng(0)
  directions, _ = np.linalg.qr(rng.normal(size=(12, rank)))
  weights, _ = np.linalg.qr(rng.normal(size=(50, rank)))
  found = spectrum.feature_spectrum((weights @ directions.T).astype(np.float32))
  assert found.feature_rank == found.srank == rank
  assert found.effective_rank == pytest.approx(rank, rel=1e-4)
  assert found.condition == (pytest.approx(1.0, rel=1e-4) if rank == 12 else np.inf)


def test_singular_values_are_roots_of_the_gram_matrix_and_positions_are_flattened():
  features = np.random.default_rng(0).normal(size=(40, 2, 3, 2)).astype(np.float32)
  rows = features.reshape(40, 12).astype(np.float64)
  gram = [[sum(rows[:, i] * rows[:, j]) for j in range(12)] for i in range(12)]
  found = spectrum.feature_spectrum(features).singular_values
  np.testing.assert_allclose(found**2, np.linalg.eigvalsh(gram)[::-1], rtol=1e-9)


@hypothesis.given(VALUES, st.integers(8, 1000))
def test_ranks_against_slow_ones(values, num_rows):
  feature_rank = sum(value / math.sqrt(num_rows) > 0.01 for value in values)
  total, running, srank = math.fsum(values), 0.0, 0
  while running < 0.99 * total:
    running, srank = math.fsum(values[:srank + 1]), srank + 1
  entropy = -math.fsum(value / total * math.log(value / total) for value in values)
  assert spectrum.feature_rank(values, num_rows) == feature_rank
  assert spectrum.srank(values) == srank
  assert spectrum.effective_rank(values) == pytest.approx(math.exp(entropy))
  assert spectrum.condition(values) == values[0] / values[-1] or values[-1] < 1e-6 * values[0]


@hypothesis.given(VALUES, st.floats(1e-3, 1e3))
def test_what_scale_does(values, scale):
  assert spectrum.effective_rank(scale * values) == pytest.approx(spectrum.effective_rank(values))
  assert 1 <= spectrum.srank(values) <= len(values)
  assert 1 - 1e-9 <= spectrum.effective_rank(values) <= len(values) + 1e-9
  # Lyle's rank, unlike the others, sees a collapse of all features.
  assert spectrum.feature_rank(1e-9 * values, 1) == 0


def test_features_of_zero_have_no_rank():
  found = spectrum.feature_spectrum(np.zeros((5, 3)))
  assert (found.feature_rank, found.srank, found.effective_rank, found.top) == (0, 0, 0, 0)
  assert found.condition == np.inf


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_features_that_are_not_finite_are_unknown(value):
  features = np.ones((5, 3))
  features[2, 1] = value
  found = spectrum.feature_spectrum(features)
  assert found.singular_values.shape == (3,)
  assert all(np.isnan(number).all() for number in found)
