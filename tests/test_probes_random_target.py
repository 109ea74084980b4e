"""The random-target probe: a slow twin, pairing, what it must and must not find."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from networks import heads, layers, q_network, types
from probes import random_target, subject
from tests.tiny_networks import switched

SIZE = random_target.ProbeSize(num_targets=3, num_steps=20, batch_size=4, pool_size=8)
OPTIMIZER = optax.adam(1e-3)


def mlp(norm='none'):
  return q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(2, 3),
      style=layers.Style(norm=norm))


def normal_observations(count=64, seed=0):
  return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def linear_network():
  """q = x w + b with one action dimension of two choices, on observations of two numbers.

  Its initial weights are multiples of 2^-7, so that q on small whole numbers has no rounding.
  """
  def init(key):
    return {'head': {'w': jax.random.randint(key, (2, 2), -90, 90) / 128.0, 'b': jnp.zeros(2)}}

  def apply(params, key, observations, training=False):
    del key
    q_values = observations @ params['head']['w'] + params['head']['b']
    return types.QOutput(q_values[:, None], {})

  return types.QNetwork(init, apply, {})


def slow_fit(network, params, observations, key, size, learning_rate):
  """Gradient descent written out in float64; yields curve, final loss and variance of a target."""
  x = observations.astype(np.float64)
  w_start, b_start = (np.asarray(params['head'][name], np.float64) for name in ('w', 'b'))
  mean = (x @ w_start + b_start).mean()
  for target_key in jax.random.split(key, size.num_targets):
    init_key, fit_key = jax.random.split(target_key)
    other = network.init(init_key)['head']
    phase = np.float32(1e5) * (observations @ np.asarray(other['w']))
    targets = mean + np.sin(phase.astype(np.float64))
    w, b, curve = w_start.copy(), b_start.copy(), []
    for step in range(size.num_steps):
      rows_key, _ = jax.random.split(jax.random.fold_in(fit_key, step))
      rows = np.asarray(jax.random.randint(rows_key, (size.batch_size,), 0, size.pool_size))
      error = x[rows] @ w + b - targets[rows]
      curve.append((error**2).mean())
      w -= learning_rate * 2 * x[rows].T @ error / error.size
      b -= learning_rate * 2 * error.sum(0) / error.size
    yield curve, ((x @ w + b - targets)**2).mean(), targets.var()


def test_a_linear_network_is_fitted_as_by_hand():
  network, size = linear_network(), SIZE._replace(num_steps=50)
  observations = np.random.default_rng(1).integers(-3, 4, (8, 2)).astype(np.float32)
  params = {'head': {'w': jnp.array([[0.5, -1.0], [0.25, 2.0]]), 'b': jnp.array([3.0, 5.0])}}
  key = jax.random.key(2)
  fit = random_target.fit_random_targets(
      network, params, optax.sgd(0.05), observations, key, size)
  twins = list(slow_fit(network, params, observations, key, size, 0.05))
  for found, expected in zip(fit, zip(*twins, strict=True), strict=True):
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('injected', [False, True])
def test_of_injected_heads_the_one_in_training_is_fitted_alone(injected):
  network = q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32',
      head=heads.Head(2, 3, injection=True), style=layers.Style())
  params, parts = switched(network, network.init(jax.random.key(0)), injected), network.injection
  resting = {*parts.first, *parts.switches, *(parts.own if injected else parts.new)}
  assert subject.resting(network, params) == resting
  seen = []

  def update(gradient, state, params):
    seen.append(params.keys())
    return OPTIMIZER.update(gradient, state, params)

  random_target.fit_random_targets(
      network, params, optax.GradientTransformation(OPTIMIZER.init, update), normal_observations(),
      jax.random.key(1), SIZE)
  assert seen and all(names == params.keys() - resting for names in seen)
  moving, rest = subject.split(network, params)
  assert moving.keys() == params.keys() - resting and rest.keys() == resting


@pytest.mark.parametrize('mean, expected', [(0.02, 1), (0.7, 1), (4.5, 4.5), (10, 9)])
def test_targets_are_where_outputs_can_be(mean, expected):
  assert random_target.within((0.0, 10.0), mean) == pytest.approx(expected)
  assert random_target.within((-np.inf, np.inf), mean) == mean
  assert random_target.within((0.0, 1.0), mean) == 0.5


@pytest.mark.parametrize('settings, bounds', [
    (dict(distribution='categorical', v_min=0.0, v_max=100.0), (0, 100)),
    (dict(distribution='hl_gauss', v_min=0.0, v_max=100.0, num_atoms=101, margin=2.25),
     (-2.25 * 100 / 95.5, 100 + 2.25 * 100 / 95.5)),
    (dict(distribution='two_hot', v_min=-5.0, v_max=20.0, symlog=True), (-5, 20)),
    (dict(distribution='quantile'), (-np.inf, np.inf)), ({}, (-np.inf, np.inf))])
def test_a_network_knows_what_its_outputs_can_be(settings, bounds):
  network = q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32',
      head=heads.Head(2, 3, **settings), style=layers.Style())
  assert network.bounds == pytest.approx(bounds, rel=1e-5)


def test_a_network_at_the_edge_of_its_support_can_fit_its_targets():
  network = q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32',
      head=heads.Head(2, 3, distribution='two_hot', num_atoms=11, v_min=0.0, v_max=10.0),
      style=layers.Style())
  params = network.init(jax.random.key(0))
  params['head']['b'] = params['head']['b'].reshape(-1, 11).at[:, 0].add(8.0).ravel()  # Q is near 0
  size = SIZE._replace(num_targets=2, num_steps=1500)
  fit = random_target.fit_random_targets(
      network, params, optax.adam(3e-3), normal_observations(8), jax.random.key(1), size)
  # With targets from -1 up it would stay above E[max(0, -s)^2], a half of their variance.
  assert np.all(fit.final_losses < 0.2 * fit.target_variances)


def test_shapes_and_the_range_of_the_targets():
  network = mlp()
  fit = random_target.fit_random_targets(
      network, network.init(jax.random.key(0)), OPTIMIZER, normal_observations(), jax.random.key(1),
      SIZE)
  assert fit.curves.shape == (3, 20)
  assert fit.final_losses.shape == fit.target_variances.shape == (3,)
  np.testing.assert_allclose(fit.target_variances, 0.5, atol=0.25)  # of sin of a random phase


def test_one_key_gives_one_fit_and_another_key_another():
  network, observations = mlp(), normal_observations()
  params = network.init(jax.random.key(0))
  first, again, other = (
      random_target.fit_random_targets(
          network, params, OPTIMIZER, observations, jax.random.key(seed), SIZE)
      for seed in (3, 3, 4))
  for name in first._fields:
    np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (getattr(first, name) != getattr(other, name)).any()


def test_the_networks_compared_get_the_same_targets():
  network, observations = mlp(), normal_observations()
  one, two = (
      random_target.fit_random_targets(
          network, network.init(jax.random.key(seed)), OPTIMIZER, observations, jax.random.key(5),
          SIZE)
      for seed in (0, 1))
  np.testing.assert_array_equal(one.target_variances, two.target_variances)
  assert (one.curves != two.curves).all()


def test_parameters_stay_as_they_were():
  network = mlp()
  params = network.init(jax.random.key(0))
  before = [np.array(leaf) for leaf in jax.tree.leaves(params)]
  random_target.fit_random_targets(
      network, params, OPTIMIZER, normal_observations(), jax.random.key(1), SIZE)
  for old, new in zip(before, jax.tree.leaves(params), strict=True):
    assert old.tobytes() == np.asarray(new).tobytes()


def test_a_second_probe_compiles_nothing():
  network, num_traces = mlp(), []

  def apply(params, key, observations, training=False):
    num_traces.append(1)
    return network.apply(params, key, observations)

  counted = network._replace(apply=apply)
  params, observations = network.init(jax.random.key(0)), normal_observations()
  random_target.fit_random_targets(
      counted, params, OPTIMIZER, observations, jax.random.key(1), SIZE)
  after_first = len(num_traces)
  random_target.fit_random_targets(
      counted, params, OPTIMIZER, observations, jax.random.key(2), SIZE)
  assert after_first == len(num_traces) == 2  # the step and the prediction


def test_a_network_far_from_zero_is_not_at_a_disadvantage():
  network, observations = linear_network(), normal_observations()[:, :2]
  params = network.init(jax.random.key(0))
  shifted = {'head': params['head'] | {'b': params['head']['b'] + 100.0}}
  near, far = (
      random_target.fit_random_targets(
          network, start, optax.sgd(0.05), observations, jax.random.key(1), SIZE)
      for start in (params, shifted))
  np.testing.assert_allclose(near.final_losses, far.final_losses, atol=1e-3)


def test_the_pool_is_spread_over_the_observations():
  network = mlp()
  observations = np.full((29, 6), np.nan, np.float32)
  observations[::4] = normal_observations(8)  # every fourth of 29: the 8 of the pool
  fit = random_target.fit_random_targets(
      network, network.init(jax.random.key(0)), OPTIMIZER, observations, jax.random.key(1), SIZE)
  assert np.isfinite(fit.final_losses).all()


def test_a_pool_that_cannot_be_filled_is_refused():
  network = mlp()
  with pytest.raises(ValueError, match=r'observations: 7 given, .* size.pool_size=8'):
    random_target.fit_random_targets(
        network, network.init(jax.random.key(0)), OPTIMIZER, normal_observations(7),
        jax.random.key(1), SIZE)


def fit_with(final_losses, variances=0.5):
  losses = np.array(final_losses, float)
  return random_target.RandomTargetFit(
      np.zeros((len(losses), 1)), losses, np.full(len(losses), variances))


def test_plasticity_is_variance_less_final_loss():
  np.testing.assert_allclose(
      random_target.plasticity(fit_with([0.1, 0.5, np.nan, np.inf, 0.7])),
      [0.4, 0.0, np.nan, np.nan, -0.2], atol=1e-12)


def lost_of(agent, control):
  return random_target.mean_interval(random_target.lost(agent, control), np.random.default_rng(0))


def test_plasticity_lost_by_hand():
  agent, control = fit_with([0.40, 0.30, 0.20, 0.35]), fit_with([0.10, 0.05, 0.10, 0.05])
  lost = lost_of(agent, control)
  assert lost.estimate == pytest.approx(0.2375)  # differences 0.3, 0.25, 0.1, 0.3
  assert 0.1 <= lost.low < 0.2375 < lost.high < 0.31


def test_a_target_without_a_finite_loss_is_left_out_of_both():
  agent, control = fit_with([0.3, np.inf, 0.3]), fit_with([0.1, 0.1, np.nan])
  lost = lost_of(agent, control)
  assert lost.estimate == pytest.approx(0.2)
  assert np.isnan([lost.low, lost.high]).all()  # one pair gives no interval


def test_no_finite_target_gives_no_number():
  lost = lost_of(fit_with([np.nan] * 3), fit_with([0.1] * 3))
  assert np.isnan(lost).all()


def test_equal_differences_give_an_interval_of_no_width():
  lost = lost_of(fit_with([0.3, 0.3]), fit_with([0.1, 0.1]))
  np.testing.assert_allclose(lost, 0.2)


def compare(network, params, seed=0):
  size = random_target.ProbeSize(num_targets=5, num_steps=200, batch_size=16, pool_size=16)
  agent, control = (
      random_target.fit_random_targets(
          network, start, OPTIMIZER, normal_observations(), jax.random.key(seed), size)
      for start in (params, network.init(jax.random.key(100))))
  return lost_of(agent, control), control


def test_fresh_networks_have_lost_nothing():
  network = mlp()
  found = [compare(network, network.init(jax.random.key(seed)), seed) for seed in range(3)]
  for lost, control in found:
    fresh = random_target.plasticity(control).mean()
    assert fresh > 0.35
    assert -0.1 * fresh < lost.low <= lost.high < 0.1 * fresh
  assert min(lost.low for lost, _ in found) <= 0 <= max(lost.high for lost, _ in found)


def test_a_network_of_dead_units_has_lost_its_plasticity():
  network = mlp()
  params = network.init(jax.random.key(7))
  params['dense2']['b'] = jnp.full_like(params['dense2']['b'], -1e3)
  lost, control = compare(network, params)
  fresh = random_target.plasticity(control).mean()
  assert 0 < lost.low <= lost.estimate
  assert lost.estimate == pytest.approx(fresh, abs=0.05)  # only the head's biases still learn
