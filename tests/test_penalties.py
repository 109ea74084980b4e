"""Penalties against NumPy, and what they must leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from agents import penalties
from agents.mechanism import Context
from networks import types
from tests.tiny_networks import make

KEY = jax.random.key(5)


def context(network, params, x, memory=None, own_loss=None):
  online = network.apply(params, KEY, x, training=True)
  return Context(memory, online, jnp.asarray(x), KEY, own_loss)


def value(mechanism, network, params, x, start=None):
  memory = mechanism.remember(start) if mechanism.remember else None
  return float(jax.jit(lambda p: mechanism.penalty(p, context(network, p, x, memory)))(params))


def trained(params):
  return {(module, name): np.asarray(leaf, np.float64) for module, leaves in params.items()
          for name, leaf in leaves.items() if name not in types.STATISTICS}


@pytest.fixture(scope='module', params=['rainbow', 'plain'])
def rich(request):
  """Batch normalization and spectral vectors, which are no parameters, noise and convolutions."""
  network, x = make('data_efficient', request.param, norm='batch', spectral_norm=True)
  return network, x, network.init(jax.random.key(0)), network.init(jax.random.key(1))


def test_l2_is_of_everything_trained_or_of_kernels(rich):
  network, x, params, _ = rich
  leaves = trained(params)
  everything = sum(np.sum(leaf**2) for leaf in leaves.values())
  kernels = sum(np.sum(leaf**2) for (_, name), leaf in leaves.items() if name == 'w')
  assert value(penalties.l2(network, 0.5, 'all'), network, params, x) == pytest.approx(
      0.5 * everything, rel=1e-4)
  assert value(penalties.l2(network, 0.5, 'kernels'), network, params, x) == pytest.approx(
      0.5 * kernels, rel=1e-4)


def test_l2_init_pulls_to_the_initial_parameters(rich):
  network, x, params, start = rich
  first = trained(start)
  expected = sum(np.sum((leaf - first[key])**2) for key, leaf in trained(params).items())
  mechanism = penalties.l2_init(network, 3.0)
  assert value(mechanism, network, params, x, start) == pytest.approx(3 * expected, rel=1e-4)
  assert value(mechanism, network, start, x, start) == 0


def test_wasserstein_forgives_what_only_changed_places(rich):
  network, x, params, start = rich
  first = trained(start)
  expected = sum(np.sum((np.sort(leaf, None) - np.sort(first[key], None))**2)
                 for key, leaf in trained(params).items())
  mechanism = penalties.wasserstein(network, 1.0)
  assert value(mechanism, network, params, x, start) == pytest.approx(expected, rel=1e-3)
  turned = jax.tree.map(lambda leaf: jnp.flip(leaf), start)
  assert value(mechanism, network, turned, x, start) == 0


def test_parseval_is_zero_for_orthogonal_hidden_kernels_whatever_the_outputs():
  network, x = make('mlp', 'hidden')
  params = network.init(jax.random.key(0))
  expected = 0.0
  for module in ('dense1', 'dense2', 'hidden1', 'hidden2'):
    w = np.asarray(params[module]['w'], np.float64)
    w = w if w.shape[0] >= w.shape[1] else w.T
    expected += np.sum((w.T @ w - 2 * np.eye(w.shape[1]))**2)
  mechanism = penalties.parseval(network, 1.0, 2.0)
  assert value(mechanism, network, params, x) == pytest.approx(expected, rel=1e-4)
  orthogonal = jax.nn.initializers.orthogonal(np.sqrt(2.0))
  perfect = {module: leaves | {'w': orthogonal(KEY, leaves['w'].shape)}
             for module, leaves in params.items()}
  perfect['head'] = {'w': 100 * params['head']['w'], 'b': params['head']['b']}
  assert value(mechanism, network, perfect, x) < 1e-6


def test_parseval_takes_a_convolution_as_a_matrix():
  network, x = make('data_efficient', 'plain')
  params = network.init(jax.random.key(0))
  expected = 0.0
  for module in ('conv1', 'conv2'):
    w = np.asarray(params[module]['w'], np.float64).reshape(-1, params[module]['w'].shape[-1])
    expected += np.sum((w.T @ w - np.eye(w.shape[1]))**2)
  got = value(penalties.parseval(network, 1.0, 1.0), network, params, x)
  assert got == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('num_critics', [1, 2])
def test_feature_norm_is_of_the_penultimate_layer_of_each_critic(num_critics):
  network, x = make('residual_mlp', 'hidden', num_critics)
  params = network.init(jax.random.key(0))
  features = network.apply(params, KEY, x).features
  names = ['hidden2'] if num_critics == 1 else ['critic1/hidden2', 'critic2/hidden2']
  expected = sum(np.mean(np.sum(np.square(features[name].activation), axis=1)) for name in names)
  mechanism = penalties.feature_norm(network, 0.5)
  assert value(mechanism, network, params, x) == pytest.approx(0.5 * expected, rel=1e-5)


def test_infer_holds_auxiliary_outputs_at_beta_times_their_first_values():
  network, x = make('residual_mlp', 'hidden', 2, num_auxiliary=4)
  params, start = network.init(jax.random.key(0)), network.init(jax.random.key(1))
  g, g_0 = (np.asarray(network.apply(p, KEY, x).auxiliary, np.float64) for p in (params, start))
  mechanism = penalties.infer(network, 0.1, 100.0)
  expected = 0.1 * np.mean(np.sum((g - 100 * g_0)**2, axis=1))
  assert value(mechanism, network, params, x, start) == pytest.approx(expected, rel=1e-4)
  gradient = jax.jit(jax.grad(
      lambda memory: mechanism.penalty(params, context(network, params, x, memory))))(start)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
  moved = jax.jit(jax.grad(
      lambda p: mechanism.penalty(p, context(network, p, x, start))))(params)
  assert np.any(moved['critic1/dense1']['w']) and np.any(moved['auxiliary1']['w'])


def test_gradient_penalty_is_differentiated_twice():
  """Of f = a^2 b: the gradient is (2ab, a^2), its squared norm 4 a^2 b^2 + a^4."""
  params = {'m': {'a': jnp.float32(3.0), 'running_mean': jnp.float32(9.0), 'b': jnp.float32(2.0)}}

  def own_loss(p):
    return p['m']['a']**2 * p['m']['b'] + 5 * p['m']['running_mean']

  def penalty(p):
    return penalties.gradient_norm(None, 0.5).penalty(
        p, Context(None, None, None, None, own_loss))

  assert float(penalty(params)) == pytest.approx(0.5 * (4 * 9 * 4 + 81))
  gradient = jax.grad(penalty)(params)['m']
  assert float(gradient['a']) == pytest.approx(0.5 * (8 * 3 * 4 + 4 * 27))
  assert float(gradient['b']) == pytest.approx(0.5 * (8 * 9 * 2))


def test_gradient_penalty_passes_through_a_clipped_error():
  """Where the TD error's gradient is clipped it is constant, and the penalty's gradient is 0."""
  def penalty(w, bound):
    def own_loss(p):
      return rlax.l2_loss(rlax.clip_gradient(p['m']['w'] - 1.0, -bound, bound))
    return penalties.gradient_norm(None, 1.0).penalty(
        {'m': {'w': w}}, Context(None, None, None, None, own_loss))

  assert float(penalty(jnp.float32(4.0), 100.0)) == pytest.approx(9.0)
  assert float(jax.grad(penalty)(jnp.float32(4.0), 100.0)) == pytest.approx(6.0)
  assert float(penalty(jnp.float32(4.0), 0.5)) == pytest.approx(0.25)
  assert float(jax.grad(penalty)(jnp.float32(4.0), 0.5)) == 0
