"""What is measured step by step after a change, against the probe's own numbers and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from networks import heads, layers, q_network
from probes import states, subject, transient
from tests.test_probes_random_target import normal_observations

NETWORK = q_network.make(
    torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 3),
    style=layers.Style())


def losses(params, key, target, batch, training):
  observations, values = batch
  q_values = NETWORK.apply(params, key, observations, training=training).q_values[:, 0]
  return jnp.sum(jnp.square(q_values - values), axis=-1)


MODEL = subject.Subject(NETWORK, optax.adam(1e-3), losses)
INPUTS = subject.Inputs(
    normal_observations(64), (normal_observations(9), np.ones((9, 3), np.float32)))


@pytest.fixture(scope='module')
def params():
  params = NETWORK.init(jax.random.key(0))
  params['dense1']['b'] = params['dense1']['b'].at[:16].set(-1e3)  # a quarter of 64 units
  params['dense2']['b'] = params['dense2']['b'].at[:8].set(1e3)
  return params


def test_units_and_entropy_by_hand(params):
  found = transient.measure(MODEL, params, INPUTS, jax.random.key(0))
  out = NETWORK.apply(params, jax.random.key(0), INPUTS.observations)
  for name, least in (('dense1', (0.25, 0.0)), ('dense2', (0.0, 0.125))):
    values = np.asarray(out.features[name].preactivation)
    # Some units are dead or linear on these observations by chance.
    shares = np.mean((values <= 0).all(axis=0)), np.mean((values > 0).all(axis=0))
    assert (found[f'dead/{name}'], found[f'linear/{name}']) == shares
    assert all(share >= bound for share, bound in zip(shares, least, strict=True))
  logits = np.asarray(out.q_values[:, 0])
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  p /= p.sum(axis=1, keepdims=True)
  assert found['entropy'] == pytest.approx(
      -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1).mean(), rel=1e-4)


def test_its_numbers_are_those_of_a_whole_probe(params):
  key = jax.random.key(0)
  found = transient.measure(MODEL, params, INPUTS, key)
  state = subject.State(params, {}, params)
  whole = states.measure(MODEL, state, INPUTS, key, states.Sizes(num_inputs=9, lanczos_steps=2))
  for name in found.keys() - {'entropy'}:
    assert found[name] == pytest.approx(whole.numbers[name], rel=1e-5), name


def test_equal_logits_have_the_largest_entropy():
  flat = jax.tree.map(jnp.zeros_like, NETWORK.init(jax.random.key(0)))
  found = transient.measure(MODEL, flat, INPUTS, jax.random.key(0))
  assert found['entropy'] == pytest.approx(np.log(3), rel=1e-5)
