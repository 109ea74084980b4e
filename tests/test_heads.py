"""Heads: dueling, noise, distributions and critics, against what their papers' equations say."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import distributions, heads, layers, noisy, q_network

B, M, A, N = 5, 2, 3, 4
OBSERVATIONS = np.random.default_rng(0).normal(size=(B, 6)).astype(np.float32)
KEY = jax.random.key(1)


def make(num_critics=1, norm='none', torso='mlp', **head):
  return q_network.make(
      torso=torso, observation_shape=(6,), observation_dtype='float32', num_critics=num_critics,
      style=layers.Style(norm=norm), head=heads.Head(M, A, **{'num_atoms': N, **head}))


def run(network, seed=0, key=KEY):
  params = network.init(jax.random.key(seed))
  return jax.tree.map(np.asarray, params), network.apply(params, key, OBSERVATIONS)


def dense(params, name, x):
  return x @ params[name]['w'] + params[name]['b']


def features_of(params):
  hidden = np.maximum(dense(params, 'dense1', OBSERVATIONS), 0)
  return np.maximum(dense(params, 'dense2', hidden), 0)


@pytest.mark.parametrize('distribution', distributions.DISTRIBUTIONS)
@pytest.mark.parametrize('ingredients', [
    {}, dict(dueling=True), dict(hidden_layers=2, hidden_size=8), dict(noisy_sigma=0.1),
    dict(dueling=True, hidden_layers=1, hidden_size=8, noisy_sigma=0.1),
    dict(dueling=True, hidden_layers=1, hidden_size=8, shared_hidden=True)])
@pytest.mark.parametrize('num_critics', [1, 2])
def test_shapes(distribution, ingredients, num_critics):
  network = make(num_critics, 'layer', distribution=distribution, **ingredients)
  _, out = run(network)
  assert out.q_values.shape == (B, M, A) and len(out.critics) == num_critics
  assert set(out.features) == set(network.activations)
  for critic in out.critics:
    if distribution == 'none':
      assert critic.distribution is None
    else:
      assert critic.distribution.shape == (B, M, A, N)
    assert (critic.taus is None) == (distribution not in ('quantile', 'implicit'))
  for layer in out.features.values():
    assert layer.preactivation.shape == layer.activation.shape
    assert layer.activation.shape[0] == B


@pytest.mark.parametrize('in_symlog', [False, True])
def test_an_atoms_value_is_the_mean_of_returns_also_in_symlog(in_symlog):
  """Not symexp of the mean in symlog, which would be less."""
  _, out = run(make(distribution='two_hot', v_min=-3.0, v_max=20.0, symlog=in_symlog))
  even = np.linspace(-np.log1p(3.0), np.log1p(20.0), N)
  atoms = np.sign(even) * np.expm1(np.abs(even)) if in_symlog else np.linspace(-3, 20, N)
  weights = np.exp(np.asarray(out.critics[0].distribution, float))
  expected = (weights / weights.sum(axis=-1, keepdims=True)) @ atoms
  np.testing.assert_allclose(out.q_values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('distribution', ['none', 'categorical', 'implicit'])
def test_what_streams_pass_back_together_is_scaled(distribution):
  settings = dict(dueling=True, hidden_layers=1, hidden_size=8, distribution=distribution)
  plain, scaled = make(**settings), make(**settings, dueling_gradient=0.25)
  params, out = run(plain)
  np.testing.assert_array_equal(scaled.apply(params, KEY, OBSERVATIONS).q_values, out.q_values)
  gradient, less = (jax.grad(lambda params, network=network: jnp.sum(
      network.apply(params, KEY, OBSERVATIONS).q_values ** 2))(params)
      for network in (plain, scaled))
  for module, leaves in gradient.items():
    factor = 1.0 if module.startswith(('value_', 'advantage_')) else 0.25
    assert any(np.any(leaf) for leaf in leaves.values()), module
    for name, leaf in leaves.items():
      np.testing.assert_allclose(less[module][name], factor * leaf, rtol=1e-5, atol=1e-7)


def test_dueling_is_value_plus_advantage_less_their_mean():
  params, out = run(make(dueling=True, hidden_layers=1, hidden_size=8))
  x = features_of(params)
  hidden = {name: np.maximum(dense(params, f'{name}_hidden1', x), 0)
            for name in ('value', 'advantage')}
  value = dense(params, 'value_head', hidden['value'])[:, :, None]
  advantage = dense(params, 'advantage_head', hidden['advantage']).reshape(B, M, A)
  expected = value + advantage - advantage.mean(axis=2, keepdims=True)
  np.testing.assert_allclose(out.q_values, expected, rtol=1e-4, atol=1e-5)


def test_streams_may_read_the_same_hidden_layers():
  network = make(dueling=True, hidden_layers=2, hidden_size=8, shared_hidden=True)
  params, out = run(network)
  x = features_of(params)
  for name in ('hidden1', 'hidden2'):
    x = np.maximum(dense(params, name, x), 0)
  value = dense(params, 'value_head', x)[:, :, None]
  advantage = dense(params, 'advantage_head', x).reshape(B, M, A)
  expected = value + advantage - advantage.mean(axis=2, keepdims=True)
  np.testing.assert_allclose(out.q_values, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out.critics[0].penultimate, x, rtol=1e-4, atol=1e-5)
  assert set(params) == {
      'dense1', 'dense2', 'hidden1', 'hidden2', 'value_head', 'advantage_head'}


def test_what_streams_of_the_same_hidden_layers_pass_back_is_scaled_behind_their_outputs():
  settings = dict(dueling=True, hidden_layers=1, hidden_size=8, shared_hidden=True)
  plain, scaled = make(**settings), make(**settings, dueling_gradient=0.25)
  params, _ = run(plain)
  gradient, less = (jax.grad(lambda params, network=network: jnp.sum(
      network.apply(params, KEY, OBSERVATIONS).q_values ** 2))(params)
      for network in (plain, scaled))
  for module, factor in (('advantage_head', 1), ('hidden1', 0.25), ('dense1', 0.25)):
    np.testing.assert_allclose(
        less[module]['w'], factor * gradient[module]['w'], rtol=1e-5, atol=1e-7)


def test_categorical_values_are_expectations_over_the_support():
  params, out = run(make(distribution='categorical', v_min=-1.0, v_max=2.0))
  logits = dense(params, 'head', features_of(params)).reshape(B, M, A, N)
  np.testing.assert_allclose(out.critics[0].distribution, logits, rtol=1e-4, atol=1e-5)
  masses = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
  np.testing.assert_allclose(out.q_values, masses @ [-1, 0, 1, 2], rtol=1e-4, atol=1e-5)


def test_quantile_values_are_means_and_quantiles_are_midpoints():
  params, out = run(make(distribution='quantile'))
  returns = dense(params, 'head', features_of(params)).reshape(B, M, A, N)
  np.testing.assert_allclose(out.critics[0].distribution, returns, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out.q_values, returns.mean(axis=-1), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out.critics[0].taus, [[.125, .375, .625, .875]] * B)


def test_implicit_quantiles_multiply_features_by_embedded_cosines():
  params, out = run(make(distribution='implicit', hidden_layers=1, hidden_size=8))
  taus = np.asarray(out.critics[0].taus)
  assert taus.shape == (B, N) and len(np.unique(taus)) == B * N
  x = features_of(params)
  for b in range(B):
    for n in range(N):
      cosines = np.cos(np.pi * np.arange(1, 65) * taus[b, n])
      mixed = x[b] * np.maximum(dense(params, 'taus', cosines), 0)
      hidden = np.maximum(dense(params, 'hidden1', mixed), 0)
      np.testing.assert_allclose(
          out.critics[0].distribution[b, :, :, n], dense(params, 'head', hidden).reshape(M, A),
          rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(
      out.q_values, out.critics[0].distribution.mean(axis=-1), rtol=1e-5, atol=1e-6)


def test_implicit_quantiles_are_drawn_by_the_key():
  network = make(distribution='implicit')
  first, second, other = (
      run(network, key=jax.random.key(k))[1].critics[0].taus for k in (1, 1, 2))
  np.testing.assert_array_equal(first, second)
  assert np.all(first != other)


def test_layer_norm_is_of_one_quantile_at_a_time():
  _, out = run(make(distribution='implicit', norm='layer', hidden_layers=1, hidden_size=64))
  np.testing.assert_allclose(
      np.mean(out.features['hidden1'].preactivation, axis=-1), 0, atol=1e-5)


def noisy_layer(with_bias=True, sigma=0.5, size=3):
  init = hk.initializers.RandomNormal()
  return hk.transform(
      lambda x: noisy.NoisyLinear(size, sigma, with_bias, init, init, 'layer')(x))


def weights_in_use(layer, params, key, fan_in):
  """What the layer's weights and bias are under a key, found by asking."""
  bias = layer.apply(params, key, jnp.zeros((1, fan_in)))[0]
  return np.asarray(layer.apply(params, key, jnp.eye(fan_in)) - bias), np.asarray(bias)


def test_noise_is_factorised_and_scaled_by_its_parameters():
  layer = noisy_layer()
  params = layer.init(KEY, jnp.zeros((1, 4)))
  np.testing.assert_allclose(params['layer']['w_sigma'], 0.5 / np.sqrt(4))
  own = jax.tree.map(np.asarray, params['layer'])
  w, b = weights_in_use(layer, params, jax.random.key(7), 4)
  noise_out = (b - own['b']) / own['b_sigma']
  noise = (w - own['w']) / own['w_sigma']
  noise_in = noise[:, 0] / noise_out[0]
  np.testing.assert_allclose(noise, np.outer(noise_in, noise_out), rtol=1e-3, atol=1e-5)
  # f(x) = sign(x) sqrt|x| of draws that are cut off at 2.
  assert np.abs(np.concatenate([noise_in, noise_out])).max() <= np.sqrt(2) + 1e-4
  scaled = {'layer': {**params['layer'], 'w_sigma': 3 * params['layer']['w_sigma']}}
  again, _ = weights_in_use(layer, scaled, jax.random.key(7), 4)
  np.testing.assert_allclose(again - own['w'], 3 * (w - own['w']), rtol=1e-3, atol=1e-5)


def test_noise_is_new_with_each_key_and_one_for_the_batch():
  layer = noisy_layer()
  params = layer.init(KEY, jnp.zeros((1, 4)))
  x = jnp.ones((2, 4))
  same, again, other = (layer.apply(params, jax.random.key(k), x) for k in (1, 1, 2))
  np.testing.assert_array_equal(same, again)
  np.testing.assert_array_equal(same[0], same[1])
  assert np.all(same != other)


def test_noise_has_the_mean_weights_on_average():
  layer = noisy_layer(size=2)
  params = layer.init(KEY, jnp.zeros((1, 4)))
  outputs = jax.vmap(lambda key: layer.apply(params, key, jnp.ones((1, 4)))[0])(
      jax.random.split(KEY, 20_000))
  expected = params['layer']['w'].sum(axis=0) + params['layer']['b']
  np.testing.assert_allclose(outputs.mean(axis=0), expected, atol=0.02)


def test_noise_without_a_mean_bias_still_has_noise_on_it():
  params = noisy_layer(with_bias=False).init(KEY, jnp.zeros((1, 4)))
  assert set(params['layer']) == {'w', 'w_sigma', 'b_sigma'}


def test_critics_from_vectors_share_nothing_and_the_output_is_their_mean():
  params, out = run(make(2))
  assert {name.split('/')[0] for name in params} == {'critic1', 'critic2'}
  first, second = (critic.q_values for critic in out.critics)
  assert np.all(first != second)
  np.testing.assert_allclose(out.q_values, (first + second) / 2, rtol=1e-6)
  assert set(out.features) == {f'critic{i}/dense{j}' for i in (1, 2) for j in (1, 2)}


def test_critics_from_frames_share_the_torso():
  network = q_network.make(
      torso='data_efficient', observation_shape=(4, 84, 84), observation_dtype='uint8',
      num_critics=2, style=layers.Style(), head=heads.Head(M, A, hidden_layers=1, hidden_size=8))
  params = network.init(KEY)
  assert set(params) == {
      'conv1', 'conv2', *(f'critic{i}/{name}' for i in (1, 2) for name in ('hidden1', 'head'))}


def test_critics_see_the_same_quantiles():
  _, out = run(make(2, distribution='implicit'))
  np.testing.assert_array_equal(out.critics[0].taus, out.critics[1].taus)
