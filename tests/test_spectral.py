"""Spectral normalization: kernels as they are used have a largest singular value of 1."""

import jax
import numpy as np

from networks import heads, layers, q_network

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def make(spectral_norm=True):
  return q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 3),
      style=layers.Style(spectral_norm=spectral_norm))


def test_it_equals_a_plain_network_of_kernels_divided_by_their_largest_singular_value():
  network = make()
  params = network.init(jax.random.key(0))
  plain = {}
  for module, leaves in params.items():
    w = np.asarray(leaves['w'])
    if module != 'head':  # Outputs keep their scale.
      w = w / np.linalg.norm(w, 2)
    plain[module] = {'w': w, 'b': leaves['b']}
  np.testing.assert_allclose(
      network.apply(params, None, X).q_values, make(False).apply(plain, None, X).q_values,
      rtol=1e-3, atol=1e-4)
  assert 'singular_vector' not in params['head']


def test_the_vector_follows_the_kernel_in_training_alone():
  network = make()
  params = network.init(jax.random.key(0))
  w = np.random.default_rng(1).normal(size=params['dense1']['w'].shape).astype(np.float32)
  params = params | {'dense1': params['dense1'] | {'w': w}}
  assert not network.apply(params, None, X).statistics
  for _ in range(200):
    statistics = network.apply(params, None, X, training=True).statistics
    params = {name: leaves | statistics.get(name, {}) for name, leaves in params.items()}
  right = np.asarray(params['dense1']['singular_vector'])
  expected = np.linalg.svd(w)[2][0]
  np.testing.assert_allclose(right * np.sign(right @ expected), expected, atol=1e-3)


def test_scaling_a_kernel_changes_nothing_and_gradients_are_orthogonal_to_it():
  network = make()
  params = network.init(jax.random.key(0))
  scaled = params | {'dense1': params['dense1'] | {'w': 1000 * params['dense1']['w']}}
  before, after = (network.apply(p, None, X).q_values for p in (params, scaled))
  np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
  # Of squares: of the outputs' sum the inner product is small in any case.
  gradient = jax.grad(lambda p: (network.apply(p, None, X).q_values**2).sum())(params)['dense1']
  w = np.asarray(params['dense1']['w'])
  inner = np.sum(np.asarray(gradient['w']) * w)
  assert abs(inner) < 1e-3 * np.linalg.norm(gradient['w']) * np.linalg.norm(w)
  assert np.linalg.norm(gradient['w']) > 0 and not np.any(gradient['singular_vector'])


def test_a_kernel_of_zeros_learns_and_is_normalized_once_it_is_none():
  network = make()
  params = network.init(jax.random.key(0))
  shape = params['dense2']['w'].shape
  params['dense2']['w'] = np.zeros(shape, np.float32)

  def loss(p):
    out = network.apply(p, None, X, training=True)
    return (out.q_values**2).sum(), out.statistics

  gradient, statistics = jax.grad(loss, has_aux=True)(params)
  assert all(np.abs(leaf).max() < 1e3 for leaf in jax.tree.leaves(gradient))
  params = {name: leaves | statistics.get(name, {}) for name, leaves in params.items()}
  params['dense2']['w'] = 1e-3 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
  plain = dict(params)
  for _ in range(100):
    statistics = network.apply(params, None, X, training=True).statistics
    params = {name: leaves | statistics.get(name, {}) for name, leaves in params.items()}
  for name in ('dense1', 'dense2'):
    w = np.asarray(params[name]['w'])
    plain[name] = dict(w=w / np.linalg.norm(w, 2), b=params[name]['b'])
  np.testing.assert_allclose(
      network.apply(params, None, X).q_values, make(False).apply(plain, None, X).q_values,
      rtol=1e-3, atol=1e-4)


def test_a_convolution_counts_as_a_matrix_of_its_channels():
  network = q_network.make(
      torso='data_efficient', observation_shape=(2, 25, 25), observation_dtype='uint8',
      head=heads.Head(1, 3), style=layers.Style(spectral_norm=True))
  params = network.init(jax.random.key(0))
  x = np.random.default_rng(0).integers(0, 255, (2, 2, 25, 25)).astype(np.uint8)
  features = network.apply(params, None, x).features
  w = np.asarray(params['conv1']['w'])
  patch = np.moveaxis(x, 1, 3)[:, :5, :5].reshape(2, -1) / 255
  sigma = np.linalg.norm(w.reshape(-1, w.shape[-1]), 2)
  expected = patch @ (w / sigma).reshape(-1, w.shape[-1]) + params['conv1']['b']
  np.testing.assert_allclose(
      features['conv1'].preactivation[:, 0, 0], expected, rtol=1e-3, atol=1e-4)
