"""The sum tree against one flat array."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from replay import sum_tree

# Within one node, exactly one, one more, and three levels.
CAPACITIES = [1, 2, 31, 32, 33, 1024, 1025, 40_000]


def make(capacity):
  return sum_tree.SumTree(capacity, np.zeros(sum_tree.num_nodes(capacity)))


@hypothesis.given(capacity=st.sampled_from(CAPACITIES), seed=st.integers(0, 999))
def test_it_agrees_with_a_flat_array(capacity, seed):
  rng = np.random.default_rng(seed)
  tree, flat = make(capacity), np.zeros(capacity)
  for _ in range(10):
    indices = rng.integers(0, capacity, rng.integers(1, 40))
    # Many zeros, and values 12 orders of magnitude apart, as priorities may be.
    values = rng.choice([0, 1], len(indices)) * 10.0 ** rng.uniform(-6, 6, len(indices))
    tree.set(indices, values)
    for index, value in zip(indices, values, strict=True):
      flat[index] = value
  flat[0] = 1.0
  tree.set(np.array([0]), np.ones(1))
  fractions = rng.random(64)
  found = tree.find(fractions)
  np.testing.assert_allclose(tree.shares(found), flat[found] / flat.sum(), rtol=1e-12)
  # The leaf found covers the fraction asked for, up to the rounding of sums.
  ends = np.cumsum(flat) / flat.sum()
  starts = np.concatenate([[0], ends])[found]
  assert np.all(fractions >= starts - 1e-12) and np.all(fractions <= ends[found] + 1e-12)


@pytest.mark.parametrize('capacity', CAPACITIES)
def test_a_zero_is_never_found(capacity):
  tree = make(capacity)
  only = capacity // 2
  tree.set(np.array([only]), np.array([1e-6]))
  found = tree.find(np.array([0.0, 0.5, np.nextafter(1.0, 0.0)]))
  assert found.tolist() == [only] * 3 and tree.shares(found).tolist() == [1.0] * 3


def test_a_zero_is_not_found_where_a_node_and_its_leaves_sum_differently():
  rng, end, differ = np.random.default_rng(0), np.array([np.nextafter(1.0, 0.0)]), 0
  for _ in range(500):
    values = np.append(0.0, rng.random(31))
    differ += values.sum() > values.cumsum()[-1]
    tree = make(64)
    tree.set(np.arange(32), values)
    assert tree.find(end) == [31]
  assert differ > 50


def test_of_an_index_given_twice_the_last_value_stays():
  tree = make(3)
  tree.set(np.array([1, 2, 1]), np.array([5.0, 1.0, 3.0]))
  assert tree.find(np.array([0.0, 0.9])).tolist() == [1, 2]
  assert tree.shares(np.array([0, 1, 2])).tolist() == [0.0, 0.75, 0.25]


def test_sums_do_not_drift():
  rng = np.random.default_rng(0)
  tree = make(2000)
  tree.set(np.arange(2000), np.full(2000, 1e6))
  for _ in range(300):
    tree.set(rng.integers(0, 2000, 64), 10.0 ** rng.uniform(-6, 6, 64))
  tree.set(np.arange(2000), np.full(2000, 0.1))
  np.testing.assert_allclose(tree.shares(tree.find(rng.random(100))), 1 / 2000, rtol=1e-13)


def test_the_size_said_is_the_size_needed():
  assert sum_tree.num_nodes(1) == 32
  assert sum_tree.num_nodes(1024) == 1024 + 32
  assert sum_tree.num_nodes(1025) == 1056 + 64 + 32
