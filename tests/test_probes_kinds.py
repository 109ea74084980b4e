"""What else a copy of the network can be given to fit: each kind by an independent computation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from networks import heads, layers, q_network
from probes import own_loss, random_target, subject
from tests.test_probes_random_target import linear_network, normal_observations

SIZE = random_target.ProbeSize(num_targets=2, num_steps=15, batch_size=4, pool_size=8)
OBSERVATIONS = np.random.default_rng(1).integers(-3, 4, (8, 2)).astype(np.float32)


def target_keys(key):
  return [jax.random.split(target_key) for target_key in jax.random.split(key, SIZE.num_targets)]


def rows_of(fit_key):
  for step in range(SIZE.num_steps):
    rows_key, _ = jax.random.split(jax.random.fold_in(fit_key, step))
    yield np.asarray(jax.random.randint(rows_key, (SIZE.batch_size,), 0, SIZE.pool_size))


def test_another_networks_outputs_are_fitted_by_gradient_descent():
  network, key = linear_network(), jax.random.key(5)
  params = network.init(jax.random.key(0))
  fit = random_target.fit_random_targets(
      network, params, optax.sgd(0.01), OBSERVATIONS, key, SIZE, 'network')
  x = OBSERVATIONS.astype(np.float64)
  for i, (init_key, fit_key) in enumerate(target_keys(key)):
    targets = x @ np.asarray(network.init(init_key)['head']['w'], np.float64)
    w, b = np.asarray(params['head']['w'], np.float64).copy(), np.zeros(2)
    for step, rows in enumerate(rows_of(fit_key)):
      error = x[rows] @ w + b - targets[rows]
      assert fit.curves[i, step] == pytest.approx((error**2).mean(), rel=1e-4)
      w -= 0.01 * 2 * x[rows].T @ error / error.size
      b -= 0.01 * 2 * error.sum(0) / error.size
    assert fit.final_losses[i] == pytest.approx(((x @ w + b - targets)**2).mean(), rel=1e-3)
    assert fit.target_variances[i] == pytest.approx(targets.var(), rel=1e-5)


def test_labels_are_fitted_by_cross_entropy():
  network, key = linear_network(), jax.random.key(5)
  params = network.init(jax.random.key(0))
  fit = random_target.fit_random_targets(
      network, params, optax.sgd(0.1), OBSERVATIONS, key, SIZE, 'labels')
  x = OBSERVATIONS.astype(np.float64)
  for i, (init_key, fit_key) in enumerate(target_keys(key)):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(init_key)))
    labels = rng.integers(2, size=(8, 1))[:, 0]
    w, b = np.asarray(params['head']['w'], np.float64).copy(), np.zeros(2)

    def chances(some):
      logits = np.exp(x[some] @ w + b)  # noqa: B023
      return logits / logits.sum(axis=1, keepdims=True)

    for step, rows in enumerate(rows_of(fit_key)):
      p = chances(rows)
      assert fit.curves[i, step] == pytest.approx(
          -np.log(p[np.arange(4), labels[rows]]).mean(), rel=1e-4)
      slope = (p - np.eye(2)[labels[rows]]) / 4
      w, b = w - 0.1 * x[rows].T @ slope, b - 0.1 * slope.sum(0)
    everything = np.arange(8)
    assert fit.final_losses[i] == pytest.approx(
        -np.log(chances(everything)[everything, labels]).mean(), rel=1e-3)
    share = np.mean(labels)  # A constant can say how often each label comes.
    entropy = -sum(p * np.log(p) for p in (share, 1 - share) if p)
    assert fit.target_variances[i] == pytest.approx(entropy)


NETWORK = q_network.make(
    torso='mlp', observation_shape=(6,), observation_dtype='float32',
    head=heads.Head(1, 3, hidden_layers=1, hidden_size=16), style=layers.Style())


def losses(params, key, target, batch, training):
  observations, values = batch
  q_values = NETWORK.apply(params, key, observations, training=training).q_values[:, 0]
  return jnp.sum(jnp.square(q_values - target * values), axis=-1)


def own(params, fresh, target=1.0, size=SIZE, optimizer=None):
  model = subject.Subject(NETWORK, optimizer or optax.adam(1e-2), losses)
  examples = normal_observations(8), np.random.default_rng(2).normal(size=(8, 3))
  agent = subject.State(params, jnp.float32(target), params)
  return own_loss.fit_own_loss(model, params, fresh, agent, examples, jax.random.key(4), size)


def test_the_head_is_drawn_anew_and_the_torso_kept():
  params, fresh = (NETWORK.init(jax.random.key(seed)) for seed in (0, 1))
  still = own(params, fresh, optimizer=optax.sgd(0.0))
  other_head = params | {'head': jax.tree.map(lambda leaf: leaf + 1, params['head']),
                         'hidden1': jax.tree.map(lambda leaf: leaf + 1, params['hidden1'])}
  np.testing.assert_array_equal(still.curves, own(
      other_head, fresh, optimizer=optax.sgd(0.0)).curves)
  other_torso = params | {'dense1': jax.tree.map(lambda leaf: leaf + 1, params['dense1'])}
  assert (still.curves != own(other_torso, fresh, optimizer=optax.sgd(0.0)).curves).all()
  # Heads differ between targets, and untrained losses are those of the networks put together.
  init_key, fit_key = target_keys(jax.random.key(4))[0]
  drawn = NETWORK.init(init_key)
  head = {name: drawn[name] for name in ('hidden1', 'head')}
  examples = normal_observations(8), np.random.default_rng(2).normal(size=(8, 3))
  for mixed, found in ((params | head, still.final_losses), (fresh | head, still.target_variances)):
    expected = float(np.mean(losses(mixed, fit_key, 1.0, examples, True)))
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert found[0] != found[1]


def test_the_agents_targets_are_learned_and_both_networks_have_one_baseline():
  params, fresh = (NETWORK.init(jax.random.key(seed)) for seed in (0, 1))
  size = SIZE._replace(num_steps=200)
  one, two = own(params, fresh, size=size), own(fresh, fresh, size=size)
  np.testing.assert_array_equal(one.target_variances, two.target_variances)
  assert (one.final_losses < 0.1 * one.target_variances).all()
  dead = params | {'dense2': jax.tree.map(lambda leaf: leaf * 0 - 1e3, params['dense2'])}
  lost = random_target.lost(own(dead, fresh, size=size), two)
  assert (lost > 0.2 * two.target_variances).all()


def test_too_few_examples_are_refused():
  params = NETWORK.init(jax.random.key(0))
  with pytest.raises(ValueError, match='examples: 8 given, but the probe fits a pool of '
                                       'size.pool_size=9'):
    own(params, params, size=SIZE._replace(pool_size=9))
