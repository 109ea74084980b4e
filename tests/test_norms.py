"""Normalizations against NumPy: what is averaged over what, in training and elsewhere."""

import haiku as hk
import jax
import numpy as np
import pytest

from networks import heads, layers, norms, q_network, types
from networks.trace import Trace

pytestmark = pytest.mark.optimized

X = np.random.default_rng(0).normal(3, 5, (6, 4, 4, 3)).astype(np.float32)
FLAT = X[:, 0, 0]


def apply(name, x, affine=True, training=True, params=None):
  """(output, statistics by name, parameters of the norm)."""
  def forward(x):
    trace = Trace.start(training)
    return norms.NORMS[name].anywhere(x, 'n', affine, trace), trace.statistics

  transformed = hk.transform(forward)
  params = params or transformed.init(jax.random.key(0), x)
  y, statistics = transformed.apply(params, None, x)
  return np.asarray(y), jax.tree.map(np.asarray, statistics.get('n', {})), params.get('n', {})


@pytest.mark.parametrize('x', [X, FLAT], ids=['conv', 'dense'])
def test_each_norm_is_its_definition(x):
  units, samples = tuple(range(1, x.ndim)), tuple(range(x.ndim - 1))
  over_units = dict(axis=units, keepdims=True)
  centred = x - x.mean(samples)
  expected = {
      'none': x,
      'layer': (x - x.mean(**over_units)) / np.sqrt(x.var(**over_units) + 1e-5),
      'rms': x / np.sqrt(np.square(x).mean(**over_units) + 1e-5),
      'batch': centred / np.sqrt(x.var(samples) + 1e-5),
      'hybrid': centred / np.sqrt(centred.var(**over_units) + 1e-5)}
  for name, y in expected.items():
    np.testing.assert_allclose(apply(name, x)[0], y, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize('name, parameters', [
    ('none', set()), ('layer', {'scale', 'offset'}), ('rms', {'scale'}),
    ('batch', {'scale', 'offset'}), ('hybrid', {'scale', 'offset'})])
def test_scale_and_offset_are_per_channel_and_go_when_not_wanted(name, parameters):
  trained = {key: value for key, value in apply(name, X)[2].items() if key not in types.STATISTICS}
  assert trained.keys() == parameters
  assert all(value.shape == (3,) for value in trained.values())
  assert not apply(name, X, affine=False)[2].keys() - {*types.STATISTICS}


def test_running_statistics_are_used_outside_training_and_updated_in_it_alone():
  params = {'n': dict(
      running_mean=np.full(3, 2.0, np.float32), running_variance=np.full(3, 4.0, np.float32),
      scale=np.full(3, 3.0, np.float32), offset=np.full(3, 1.0, np.float32))}
  y, statistics, _ = apply('batch', FLAT, training=False, params=params)
  np.testing.assert_allclose(y, 3 * (FLAT - 2) / np.sqrt(4 + 1e-5) + 1, rtol=1e-5)
  assert not statistics
  _, statistics, _ = apply('batch', FLAT, params=params)
  np.testing.assert_allclose(
      statistics['running_mean'], 0.99 * 2 + 0.01 * FLAT.mean(0), rtol=1e-5)
  np.testing.assert_allclose(
      statistics['running_variance'], 0.99 * 4 + 0.01 * FLAT.var(0), rtol=1e-4)


def test_hybrid_keeps_a_running_mean_alone():
  _, statistics, params = apply('hybrid', X)
  assert statistics.keys() == {'running_mean'} and 'running_variance' not in params


def test_gradients_pass_through_the_batch_and_not_through_the_running_statistics():
  network = q_network.make(
      torso='mlp', observation_shape=(3,), observation_dtype='float32', head=heads.Head(1, 2),
      style=layers.Style(norm='batch'))
  params = network.init(jax.random.key(0))

  def loss(params, training):
    return network.apply(params, jax.random.key(1), FLAT, training).q_values.sum()

  for training in (True, False):
    gradient = jax.grad(loss)(params, training)['dense1_norm']
    assert not np.any(gradient['running_mean']) and not np.any(gradient['running_variance'])
    assert np.any(gradient['offset'])
  # A constant added to every sample's unit changes nothing while the batch's own mean is taken off.
  moved = params | {'dense1': params['dense1'] | {'b': params['dense1']['b'] + 7}}
  same = [network.apply(p, jax.random.key(1), FLAT, True).q_values for p in (params, moved)]
  np.testing.assert_allclose(*same, rtol=1e-3, atol=1e-4)
