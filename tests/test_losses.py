"""TD errors by hand and against a NumPy twin, jitted and not, for one and many dimensions."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import rlax

from agents import losses
from replay import types

WAYS = pytest.mark.parametrize('wrap', [jax.jit, lambda f: f], ids=['jit', 'plain'])


def batch(actions, rewards, discounts):
  return types.Transition(
      None, np.array(actions, np.int32), np.array(rewards, np.float32),
      np.array(discounts, np.float32), None)


@WAYS
def test_one_dimension_by_hand(wrap):
  q_tm1 = np.array([[[1., 2., 3.]], [[0., -1., 5.]]], np.float32)
  value = np.array([[[10., 20., 30.]], [[7., 8., 9.]]], np.float32)
  selector = np.array([[[0., 1., 0.]], [[4., 3., 2.]]], np.float32)
  transition = batch([[2], [1]], [0.5, -1.], [0.9, 0.])
  # 0.5 + 0.9 * 20 - 3 = 15.5, and a termination: -1 + 0 - (-1) = 0.
  errors = wrap(losses.td_errors)(q_tm1, transition, value, selector)
  np.testing.assert_allclose(errors, [15.5, 0.], rtol=1e-6)
  # Without double, the target network selects: 0.5 + 0.9 * 30 - 3 = 24.5.
  errors = wrap(losses.td_errors)(q_tm1, transition, value, value)
  np.testing.assert_allclose(errors, [24.5, 0.], rtol=1e-6)


@WAYS
def test_two_dimensions_by_hand(wrap):
  q_tm1 = np.array([[[1., 3.], [5., 7.]]], np.float32)
  value = np.array([[[2., 4.], [10., 6.]]], np.float32)
  # Each dimension's own maximum: (4 + 10) / 2 = 7; taken utilities: (3 + 5) / 2 = 4.
  errors = wrap(losses.td_errors)(q_tm1, batch([[1, 0]], [1.], [0.5]), value, value)
  np.testing.assert_allclose(errors, [1. + 0.5 * 7. - 4.], rtol=1e-6)


@st.composite
def problems(draw):
  size = tuple(draw(st.integers(1, n)) for n in (5, 4, 4))
  floats = st.floats(-100, 100, width=32)
  q = [draw(hnp.arrays(np.float32, size, elements=floats)) for _ in range(3)]
  actions = draw(hnp.arrays(np.int32, size[:2], elements=st.integers(0, size[2] - 1)))
  rewards = draw(hnp.arrays(np.float32, size[0], elements=floats))
  discounts = draw(hnp.arrays(np.float32, size[0], elements=st.floats(0, 1, width=32)))
  return *q, actions, rewards, discounts


@hypothesis.given(problems())
@WAYS
def test_equals_loops_in_numpy(wrap, problem):
  q_tm1, value, selector, actions, rewards, discounts = problem
  num_dims = q_tm1.shape[1]
  expected = []
  for b in range(len(rewards)):
    taken = np.mean([q_tm1[b, m, actions[b, m]] for m in range(num_dims)], dtype=np.float64)
    best = [int(np.argmax(selector[b, m])) for m in range(num_dims)]
    future = np.mean([value[b, m, best[m]] for m in range(num_dims)], dtype=np.float64)
    expected.append(rewards[b] + discounts[b] * future - taken)
  errors = wrap(losses.td_errors)(q_tm1, batch(actions, rewards, discounts), value, selector)
  np.testing.assert_allclose(errors, expected, rtol=1e-4, atol=1e-3)


@hypothesis.given(problems())
def test_one_dimension_is_double_q_learning_to_the_last_bit(problem):
  q_tm1, value, selector, actions, rewards, discounts = problem
  q_tm1, value, selector, actions = q_tm1[:, :1], value[:, :1], selector[:, :1], actions[:, :1]
  plain = jax.vmap(rlax.double_q_learning)(
      q_tm1[:, 0], actions[:, 0], rewards, discounts, value[:, 0], selector[:, 0])
  factored = losses.td_errors(q_tm1, batch(actions, rewards, discounts), value, selector)
  np.testing.assert_array_equal(factored, plain)


@WAYS
def test_targets_are_constants(wrap):
  q = np.array([[[1., 2.]]], np.float32)
  transition = batch([[0]], [1.], [0.9])
  gradient = wrap(jax.grad(lambda x: losses.td_errors(q, transition, x, x).sum()))(q)
  np.testing.assert_array_equal(gradient, 0)


def test_importance_weights_by_hand():
  weights = losses.importance_weights(np.array([0.25, 0.01, 0.04]), 0.5)
  np.testing.assert_allclose(weights, [0.2, 1.0, 0.5], rtol=1e-6)
  assert weights.dtype == np.float32
