"""Products of first-layer gradients with inputs, and whether they have one sign."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from networks import heads, layers, q_network
from probes import alignment

KEY = jax.random.key(0)


def make(torso, shape, norm='none'):
  dtype = 'uint8' if len(shape) > 1 else 'float32'
  return q_network.make(torso=torso, observation_shape=shape, observation_dtype=dtype,
                        head=heads.Head(1, 2), style=layers.Style(norm=norm))


def random_gradients(network):
  shapes, rng = jax.eval_shape(network.init, KEY), np.random.default_rng(0)
  return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes)


@pytest.mark.parametrize('torso, norm', [
    ('mlp', 'none'), ('mlp', 'layer'), ('residual_mlp', 'own')])
def test_products_of_a_dense_layer(torso, norm):
  network = make(torso, (5,), norm)
  gradients = random_gradients(network)
  observations = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
  weights = np.asarray(gradients['dense1']['w'], np.float64)
  expected = [[sum(weights[:, j] * x) for j in range(weights.shape[1])] for x in observations]
  found = alignment.products(network, gradients, observations, KEY)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('torso, name, size, stride, pad', [
    ('nature', 'conv1', 36, 4, 0), ('impala', 'stack1_conv', 8, 1, 1)])
def test_products_of_a_convolution_are_those_with_its_patches(torso, name, size, stride, pad):
  network = make(torso, (2, size, size), 'layer')
  gradients = random_gradients(network)
  observations = np.random.default_rng(1).integers(0, 256, (3, 2, size, size)).astype(np.uint8)
  kernel = np.asarray(gradients[name]['w'], np.float64)
  pixels = np.pad(observations / 255.0, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
  found = alignment.products(network, gradients, observations, KEY)
  for row in range(found.shape[1]):
    for column in range(found.shape[2]):
      top, left = stride * row, stride * column
      patches = pixels[:, :, top:top + len(kernel), left:left + len(kernel)]
      expected = [[np.sum(np.moveaxis(patch, 0, 2) * kernel[..., j])
                   for j in range(kernel.shape[-1])] for patch in patches]
      np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-4, atol=1e-4)
  assert stride * row + len(kernel) == pixels.shape[2]  # No position is missing.


def test_a_gradient_that_pushes_one_way_and_one_that_does_not():
  network = make('mlp', (4,))
  gradients = jax.tree.map(jnp.zeros_like, random_gradients(network))
  weights = np.zeros((4, 64))
  weights[:, 0], weights[:, 1], weights[:, 2] = 1, -1, [1, -1, 1, -1]
  gradients['dense1']['w'] = jnp.asarray(weights, jnp.float32)
  observations = np.random.default_rng(0).uniform(1, 2, (100, 4)).astype(np.float32)
  dots = alignment.products(network, gradients, observations, KEY)
  assert alignment.aligned_fraction(dots) == 2 / 64
  centred = alignment.products(network, gradients, observations - 1.5, KEY)
  assert alignment.aligned_fraction(centred) == 0


@hypothesis.given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), min_size=3, max_size=3),
                           min_size=1, max_size=5))
def test_the_fraction_against_a_slow_count(dots):
  signs = [{np.sign(dot) for dot in unit} - {0.0} for unit in zip(*dots, strict=True)]
  expected = sum(len(unit) == 1 for unit in signs) / 3
  assert alignment.aligned_fraction(np.array(dots)) == expected
  assert alignment.aligned_fraction(np.array(dots)[:, None, None]) == expected


def test_products_that_are_not_finite_are_unknown():
  assert np.isnan(alignment.aligned_fraction(np.array([[1.0, np.nan]])))
