"""Hessian eigenvalues of quadratics and of a small network, and the spectrum of gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probes import landscape

KEY = jax.random.key(0)


def quadratic(params, matrix):
  flat = jnp.concatenate([params['a']['w'].ravel(), params['b']['w']])
  return 0.5 * flat @ matrix @ flat


def with_eigenvalues(values):
  size = len(values)
  directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
  matrix = ((directions * values) @ directions.T).astype(np.float32)
  params = {'a': {'w': jnp.ones((2, 2))}, 'b': {'w': jnp.ones(size - 4)}}
  return params, jnp.asarray(matrix)


def test_all_eigenvalues_of_a_small_quadratic():
  expected = [9.0, 4.0, 1.0, 0.5, -1.0, -5.0]
  found = landscape.hessian_eigenvalues(quadratic, *with_eigenvalues(expected), KEY)
  np.testing.assert_allclose(found.values, expected, atol=1e-5)
  np.testing.assert_allclose(found.errors, 0, atol=1e-4)


def test_eigenvalues_that_repeat_are_found_once_and_nothing_is_made_up():
  expected = [9.0, 2.0, 2.0, 2.0, 0.0, 0.0, -5.0]
  found = landscape.hessian_eigenvalues(quadratic, *with_eigenvalues(expected), KEY)
  np.testing.assert_allclose(found.values, [9, 2, 0, -5], atol=1e-5)


@pytest.mark.parametrize('seed', range(3))
def test_the_top_of_a_long_spectrum_is_found_early(seed):
  expected = np.append(np.linspace(-1, 1, 298), [-4.0, 7.0])
  params, matrix = with_eigenvalues(expected)
  found = landscape.hessian_eigenvalues(quadratic, params, matrix, jax.random.key(seed), 30)
  assert len(found.values) == 30
  assert found.values[0] == pytest.approx(7.0, rel=1e-5)
  assert found.values[-1] == pytest.approx(-4.0, rel=1e-5)
  nearest = np.abs(found.values[:, None] - expected).min(axis=1)
  assert (nearest <= found.errors + 1e-5).all()
  few = landscape.hessian_eigenvalues(quadratic, params, matrix, jax.random.key(seed), 4)
  assert few.values[0] < 7.0 < few.values[0] + few.errors[0]


def small_loss(params, data, xp=jnp):
  """Of a network of one tanh layer, in NumPy or JAX."""
  inputs, targets = data
  hidden = xp.tanh(inputs @ params['dense1']['w'] + params['dense1']['b'])
  return xp.mean((hidden @ params['head']['w'] - targets)**2)


def test_a_small_network_against_finite_differences():
  rng = np.random.default_rng(0)
  params = {'dense1': {'b': rng.normal(size=4), 'w': rng.normal(size=(3, 4))},
            'head': {'w': rng.normal(size=(4, 2))}}
  data = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
  leaves, form = jax.tree.flatten(params)
  flat = np.concatenate([leaf.ravel() for leaf in leaves])
  bounds = np.cumsum([leaf.size for leaf in leaves])[:-1]

  def loss(flat):
    pieces = [piece.reshape(leaf.shape)
              for piece, leaf in zip(np.split(flat, bounds), leaves, strict=True)]
    return small_loss(jax.tree.unflatten(form, pieces), data, np)

  step, size = 1e-4 * np.eye(len(flat)), len(flat)
  hessian = [[(loss(flat + step[i] + step[j]) - loss(flat + step[i] - step[j])
               - loss(flat - step[i] + step[j]) + loss(flat - step[i] - step[j])) / 4e-8
              for i in range(size)] for j in range(size)]
  expected = np.linalg.eigvalsh(hessian)[::-1]
  found = landscape.hessian_eigenvalues(
      small_loss, *jax.tree.map(jnp.float32, (params, data)), KEY, num_iterations=size)
  np.testing.assert_allclose(found.values, expected, atol=1e-4 * expected[0])


def test_a_loss_without_curvature():
  found = landscape.hessian_eigenvalues(quadratic, *with_eigenvalues(np.zeros(6)), KEY)
  np.testing.assert_array_equal(found.values, [0.0])


def test_what_is_not_finite_is_unknown():
  params, matrix = with_eigenvalues(np.ones(6))
  found = landscape.hessian_eigenvalues(quadratic, params, matrix * np.nan, KEY)
  assert np.isnan([found.values, found.errors]).all()
  assert np.isnan(landscape.gradient_spectrum(np.full((3, 3), np.nan))).all()


def test_a_second_time_compiles_nothing():
  num_traces = []

  def loss(params, matrix):
    num_traces.append(1)
    return quadratic(params, matrix)

  for values in (np.arange(6.0), np.ones(6)):
    landscape.hessian_eigenvalues(loss, *with_eigenvalues(values), KEY)
  assert len(num_traces) == 1


@pytest.mark.parametrize('num_parameters', [3, 50])
def test_gradient_spectrum_is_that_of_the_gradients(num_parameters):
  gradients = np.random.default_rng(0).normal(size=(8, num_parameters))
  expected = np.zeros(8)
  expected[:num_parameters] = np.linalg.svd(gradients, compute_uv=False)[:8]
  np.testing.assert_allclose(
      landscape.gradient_spectrum(gradients @ gradients.T), expected, atol=1e-6)
