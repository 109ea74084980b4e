"""Optimizers that are interventions: against optax, SciPy and slow versions of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from agents import config as config_lib
from agents import mechanism, optimizers, trac
from tests.tiny_networks import make

pytestmark = pytest.mark.optimized

PARAMS = {'a': {'w': jnp.arange(6.0).reshape(3, 2), 'b': jnp.ones(2)}, 'b': {'w': jnp.ones((2, 2))}}


def gradients(count, params=PARAMS, seed=0):
  rng = np.random.default_rng(seed)
  return [jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), params)
          for _ in range(count)]


def config(*interventions, domain='atari', agent='dqn', **overrides):
  return config_lib.resolve(domain, 'task', agent, interventions, overrides)


def run(optimizer, each, params=PARAMS):
  state = optimizer.init(params)
  for gradient in each:
    updates, state = jax.jit(optimizer.update)(gradient, state, params)
    params = optax.apply_updates(params, updates)
  return params, updates, state


def close(tree, other, rtol=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), tree, other)


def test_rmsprop_is_centred_with_dqn_zoos_decay_and_epsilon_inside_the_root():
  each = gradients(5)
  settings = config()
  ours, _, _ = run(optimizers.make(settings), each)
  theirs, _, _ = run(optax.rmsprop(2.5e-4, decay=0.95, eps=0.01 / 32**2, centered=True), each)
  close(ours, theirs)
  # By hand, for one weight: mean and mean square start at 0.
  weight, mean, square = 0.0, 0.0, 0.0
  for gradient in each:
    g = float(gradient['a']['b'][0])
    mean, square = 0.95 * mean + 0.05 * g, 0.95 * square + 0.05 * g * g
    weight -= 2.5e-4 * g / np.sqrt(square - mean**2 + 0.01 / 32**2)
  assert float(ours['a']['b'][0]) - 1 == pytest.approx(weight, rel=1e-3)


def test_own_ages_are_adams_where_nothing_is_reset():
  each = gradients(5)
  close(run(optimizers.scale_by_own_age(0.9, 0.99, 1e-3), each)[1],
        run(optax.scale_by_adam(0.9, 0.99, 1e-3), each)[1])


@pytest.mark.parametrize('names', [('redo',), ('wd', 'redo'), ('redo', 'muon')])
def test_a_reset_weight_moves_as_at_the_first_update(names):
  """Also inside of a chain, and beside another optimizer's part."""
  optimizer = optimizers.make(config(*names, agent='c51'))
  *before, gradient = gradients(8)
  params, _, state = run(optimizer, before)
  where = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), PARAMS)
  where['a']['b'] = jnp.array([True, False])
  state = mechanism.reset_moments(state, PARAMS, where)
  after, _ = optimizer.update(gradient, state, params)
  fresh, _ = optimizer.update(gradient, optimizer.init(PARAMS), params)
  old, _ = optimizer.update(gradient, run(optimizer, before)[2], params)
  assert after['a']['b'][0] == pytest.approx(float(fresh['a']['b'][0]), rel=1e-5)
  assert after['a']['b'][0] != pytest.approx(float(old['a']['b'][0]), rel=1e-2)
  assert after['a']['b'][1] == pytest.approx(float(old['a']['b'][1]), rel=1e-5)


def test_adamfix_matches_moments_and_enlarges_epsilon():
  each = gradients(4)
  fixed = config('adamfix', learning_rate=0.1)
  close(run(optimizers.make(fixed), each)[0], run(optax.adam(0.1, 0.9, 0.9, 1e-3), each)[0])
  assert fixed.optimizer == 'adam'


def test_erfi_is_scipys():
  x = np.concatenate([np.linspace(-8.9, 8.9, 201), [1e-8, -1e-8, 0.0]])
  np.testing.assert_allclose(trac.erfi(jnp.float32(x)), scipy.special.erfi(np.float32(x)),
                             rtol=2e-5)
  assert np.isfinite(trac.erfi(jnp.float32([-50.0, 50.0]))).all()


def slow_trac(each, rate):
  """Algorithms 1 and 2 around gradient descent, in float64, on one vector."""
  start = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(PARAMS)])
  decays = np.array([0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999])
  base, sigma, variance, theta = start.copy(), np.full(6, 1e-8), np.zeros(6), start.copy()
  for tree in each:
    gradient = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)
    h = gradient @ (base - start)
    base -= rate * gradient
    variance = decays**2 * variance + h**2
    sigma = decays * sigma - h
    scales = 1e-8 / scipy.special.erfi(1 / np.sqrt(2)) * scipy.special.erfi(
        sigma / (np.sqrt(2 * variance) + 1e-8))
    theta = start + scales.sum() * (base - start)
  return theta


def test_trac_is_the_papers_algorithm():
  # One direction again and again, so that the scale grows to what can be seen.
  each = gradients(1) * 40 + gradients(2, seed=1)
  got = run(trac.tuned(optax.sgd(0.1)), each)[0]
  got = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(got)])
  expected = slow_trac(each, 0.1)
  start = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(PARAMS)])
  assert np.abs(expected - start).max() > 0.03
  np.testing.assert_allclose(got - start, expected - start, rtol=1e-3, atol=1e-6)


def test_trac_hardly_moves_at_first_and_is_there_only_when_asked_for():
  plain, tuned = (run(optimizers.make(config(*names, learning_rate=0.1)), gradients(1))
                  for names in ((), ('trac',)))
  moved = np.abs(tuned[0]['a']['w'] - PARAMS['a']['w']).max()
  assert moved < 1e-6 < np.abs(plain[0]['a']['w'] - PARAMS['a']['w']).max()
  assert isinstance(tuned[2], trac.TunedState) and not isinstance(plain[2], trac.TunedState)


def test_muon_makes_matrices_orthogonal_and_leaves_the_rest_to_adam():
  network, _ = make('data_efficient', 'rainbow')
  params = network.init(jax.random.key(0))
  each = gradients(1, params)
  optimizer = optimizers.OPTIMIZERS['muon'](config('muon'))
  updates = run(optimizer, each, params)[1]
  adam = run(optax.scale_by_adam(eps=config('muon').optimizer_epsilon), each, params)[1]
  for module, leaves in params.items():
    for name in leaves:
      step = np.asarray(updates[module][name])
      if name != 'w' or step.ndim != 2:
        np.testing.assert_allclose(step, adam[module][name], rtol=1e-5)
        continue
      assert np.sqrt(np.mean(step**2)) == pytest.approx(0.2, rel=1e-4)
      singular = np.linalg.svd(step, compute_uv=False)
      # Five Newton-Schulz steps bring singular values near one another, not to one value.
      assert singular.min() > 0.4 * singular.max()
      of_gradient = np.linalg.svd(each[0][module][name], compute_uv=False)
      assert of_gradient.min() / of_gradient.max() < singular.min() / singular.max()


def test_muon_makes_the_momentum_orthogonal_and_looks_ahead_along_it():
  """Any sum of I and J, a quarter turn, is orthogonal but for its size.

  Of I and then J the momentum of 0.95 is 0.0475 I + 0.05 J. It counts 0.95 / (1 - 0.95^3), as it
  will be one update later, and J itself 0.05 / (1 - 0.95^2).
  """
  eye, turn = np.eye(2, dtype=np.float32), np.float32([[0, 1], [-1, 0]])
  params = {'m': {'w': jnp.zeros((2, 2))}}
  each = [{'m': {'w': jnp.asarray(leaf)}} for leaf in (eye, turn)]
  step = run(optimizers.OPTIMIZERS['muon'](config('muon')), each, params)[1]['m']['w']
  total = 0.31640 * eye + (0.33304 + 0.51282) * turn
  np.testing.assert_allclose(step, 0.2 * total / np.sqrt(np.mean(total**2)), rtol=1e-3)


def test_decay_is_of_kernels_alone_by_the_learning_rate():
  """With zero gradient, weights shrink by exactly 1 - rate * strength and biases not at all."""
  zero = jax.tree.map(jnp.zeros_like, PARAMS)
  decayed, _, _ = run(optimizers.make(config('wd(strength=0.5)', learning_rate=0.1)), [zero])
  np.testing.assert_allclose(decayed['a']['w'], 0.95 * PARAMS['a']['w'], rtol=1e-6)
  np.testing.assert_array_equal(decayed['a']['b'], PARAMS['a']['b'])
