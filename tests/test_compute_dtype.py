"""Hidden layers that multiply in bfloat16, and everything else that stays float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import heads, layers, q_network
from tests import catch_runs

_FRAMES = ('nature', (4, 84, 84), 'uint8')
_STATES = ('residual_mlp', (6,), 'float32')


def _make(kind, compute_dtype, spectral_norm=False, **head):
  torso, shape, dtype = kind
  return q_network.make(
      torso=torso, observation_shape=shape, observation_dtype=dtype,
      head=heads.Head(2, 3, hidden_layers=1, **head),
      style=layers.Style(spectral_norm=spectral_norm, compute_dtype=compute_dtype))


def _observations(kind):
  _, shape, dtype = kind
  drawn = np.random.default_rng(0).uniform(0, 255, (8, *shape))
  return drawn.astype(dtype) if dtype == 'uint8' else (drawn / 255).astype(dtype)


def _types(tree):
  return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize('kind', [_FRAMES, _STATES], ids=lambda kind: kind[0])
@pytest.mark.parametrize('settings', [
    {}, dict(noisy_sigma=0.5), dict(distribution='implicit', num_atoms=4),
    dict(spectral_norm=True)], ids=str)
def test_hidden_layers_multiply_in_it_and_all_else_is_float32(kind, settings):
  plain, low = _make(kind, 'float32', **settings), _make(kind, 'bfloat16', **settings)
  params, also = (network.init(jax.random.key(1)) for network in (plain, low))
  key, observations = jax.random.key(2), _observations(kind)
  assert jax.tree.all(jax.tree.map(
      lambda a, b: bool((a == b).all()) and a.dtype == b.dtype, params, also))

  def loss(params, network):
    found = network.apply(params, key, observations, training=True)
    return jnp.mean(found.q_values**2), found

  outputs, gradients = {}, {}
  for name, network in (('plain', plain), ('low', low)):
    gradients[name], outputs[name] = jax.grad(loss, has_aux=True)(params, network)
  assert _types(gradients['low']) == _types(outputs['low']) == {'float32'}
  # Eight bits of each factor: hundredths of what is largest.
  for a, b in zip(jax.tree.leaves(outputs['plain']), jax.tree.leaves(outputs['low']), strict=True):
    np.testing.assert_allclose(a, b, rtol=0.05, atol=0.05 * np.abs(a).max())
  assert (outputs['plain'].q_values != outputs['low'].q_values).any()
  for network, count in ((plain, 0), (low, 1)):
    program = jax.jit(network.apply).lower(params, key, observations).as_text()
    assert (program.count('bf16') > 0) == count


def test_a_layer_s_numbers_are_those_of_rounded_factors():
  network = _make(_STATES, 'bfloat16')
  params, x = network.init(jax.random.key(1)), _observations(_STATES)
  found = network.apply(params, jax.random.key(2), x).features['dense2'].preactivation

  def product(x, layer):
    x, w, b = (np.asarray(jnp.asarray(a).astype(jnp.bfloat16), np.float64)
               for a in (x, params[layer]['w'], params[layer]['b']))
    return x @ w + b

  wanted = product(product(x, 'dense1'), 'dense2')
  np.testing.assert_allclose(found, wanted, atol=2.0**-7 * np.abs(wanted).max())


def test_an_agent_learns_catch_in_it():
  run = catch_runs.build(
      catch_runs.make_config(compute_dtype='bfloat16', eval_length=250, run_length=10_000))
  catch_runs.learn(run, 0.8)
