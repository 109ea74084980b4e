"""Sizes of parameters, steps, gradients and outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from probes import norms

PARAMS = {'conv1': {'w': jnp.full((2, 2), 2.0), 'b': jnp.array([3.0, 0.0])},
          'head': {'w': jnp.array([[12.0]])}}


def test_norms_by_hand():
  assert norms.parameter_norms(PARAMS) == pytest.approx({'conv1': 5.0, 'head': 12.0, 'total': 13.0})


def test_norms_of_many_parameters_do_not_drift():
  params = {'dense1': {'w': np.full(3_000_000, 0.1, np.float32)}}
  expected = np.sqrt(3_000_000) * float(np.float32(0.1))
  assert norms.parameter_norms(params)['total'] == pytest.approx(expected, rel=1e-12)


def test_distances_by_hand():
  initial = {'conv1': {'w': jnp.full((2, 2), 2.0), 'b': jnp.array([0.0, 4.0])},
             'head': {'w': jnp.array([[0.0]])}}
  assert norms.distances(PARAMS, initial) == pytest.approx(
      {'conv1': 5.0, 'head': 12.0, 'total': 13.0})
  assert set(norms.distances(PARAMS, PARAMS).values()) == {0.0}


def test_steps_of_gradient_descent_are_the_learning_rate_times_the_gradients():
  gradients = jax.grad(lambda params: sum(
      jnp.sum(leaf**3) for leaf in jax.tree.leaves(params)))(PARAMS)
  optimizer = optax.sgd(0.1)
  updates, _ = optimizer.update(gradients, optimizer.init(PARAMS))
  sizes, slopes = norms.parameter_norms(PARAMS), norms.parameter_norms(gradients)
  assert slopes['head'] == pytest.approx(3 * 12**2)
  assert norms.relative_steps(updates, PARAMS) == pytest.approx(
      {module: 0.1 * slopes[module] / sizes[module] for module in sizes})


def test_parameters_of_zero_that_move_or_rest():
  params = {'a': {'w': jnp.zeros(2)}, 'b': {'w': jnp.zeros(2)}, 'c': {'w': jnp.ones(4)}}
  updates = {'a': {'w': jnp.ones(2)}, 'b': {'w': jnp.zeros(2)}, 'c': {'w': jnp.ones(4) / 2}}
  assert norms.relative_steps(updates, params) == pytest.approx(
      {'a': np.inf, 'b': np.nan, 'c': 0.5, 'total': np.sqrt(3) / 2}, nan_ok=True)


def test_output_scale_by_hand():
  found = norms.output_scale(np.array([[[3.0, -3.0]], [[1.0, -1.0]]], np.float32))
  assert found == pytest.approx((2.0, np.sqrt(5.0)))
