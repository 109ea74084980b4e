"""Regression as classification: targets on atoms by hand and against NumPy, and what it is for."""

import functools
import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import actions, learner, losses, optimizers
from agents import config as config_lib
from agents.rlax_alone import rlax
from networks import distributions
from networks.types import Critic
from replay import types
from tests.ways import WAYS

pytestmark = pytest.mark.optimized

ATOMS = np.array([-1.0, 0.0, 1.0, 2.0], np.float32)
RETURNS = st.floats(-4, 5, width=32)


def phi(x):
  return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def slow_two_hot(value, atoms):
  """Probabilities in proportion to nearness, one neighbour at a time."""
  value = min(max(value, atoms[0]), atoms[-1])
  masses = [0.0] * len(atoms)
  for i, (low, high) in enumerate(zip(atoms[:-1], atoms[1:], strict=True)):
    if low <= value <= high:
      masses[i], masses[i + 1] = (high - value) / (high - low), (value - low) / (high - low)
      return masses


def slow_hl_gauss(value, atoms, sigma):
  """The Gaussian's mass on each bin, over their sum."""
  value, width = min(max(value, atoms[0]), atoms[-1]), atoms[1] - atoms[0]
  masses = [phi((atom + width / 2 - value) / (sigma * width))
            - phi((atom - width / 2 - value) / (sigma * width)) for atom in atoms]
  return [mass / sum(masses) for mass in masses]


@pytest.mark.parametrize('value, expected', [
    (0.25, [0, 0.75, 0.25, 0]), (2.0, [0, 0, 0, 1]), (-7.0, [1, 0, 0, 0]), (9.0, [0, 0, 0, 1])])
@WAYS
def test_two_hot_by_hand(wrap, value, expected):
  found = wrap(losses.two_hot)(jnp.float32(value), ATOMS)
  np.testing.assert_allclose(found, expected, atol=1e-6)


@WAYS
def test_hl_gauss_by_hand(wrap):
  """At an atom with sigma of half a bin: bins end at 1, 3, 5 standard deviations."""
  one, three = phi(1) - phi(-1), phi(3) - phi(1)
  five = phi(5) - phi(3)
  total = five + three + one + three
  found = wrap(lambda v: losses.hl_gauss(v, ATOMS, 0.5, False))(jnp.float32(1.0))
  np.testing.assert_allclose(found, np.array([five, three, one, three]) / total, atol=1e-6)


@hypothesis.given(value=RETURNS, sigma=st.floats(0.3, 2))
def test_targets_are_their_slow_twins(value, sigma):
  hypothesis.assume(abs(value) > 1e-6 or value == 0)
  np.testing.assert_allclose(
      losses.two_hot(jnp.float32(value), ATOMS), slow_two_hot(value, ATOMS), atol=1e-5)
  np.testing.assert_allclose(
      losses.hl_gauss(jnp.float32(value), ATOMS, sigma, False),
      slow_hl_gauss(value, ATOMS, sigma), atol=1e-5)


@pytest.mark.parametrize('in_symlog', [False, True])
def test_the_mean_of_a_two_hot_target_is_the_return(in_symlog):
  atoms = distributions.support(0.0, 100.0, 51, in_symlog)
  for value in (0.0, 0.37, 12.5, 99.9):
    masses = losses.two_hot(jnp.float32(value), atoms)
    assert float(masses @ atoms) == pytest.approx(value, abs=1e-3)


def test_symlog_atoms_are_evenly_spaced_in_symlog_and_so_is_the_gaussian():
  atoms = distributions.support(-10.0, 100.0, 11, True)
  atoms = np.asarray(atoms)
  np.testing.assert_allclose(atoms[[0, -1]], [-10, 100], rtol=1e-5)
  even = np.sign(atoms) * np.log1p(np.abs(atoms))
  np.testing.assert_allclose(np.diff(even), np.diff(even)[0], rtol=1e-4)
  value = 30.0
  np.testing.assert_allclose(
      losses.hl_gauss(jnp.float32(value), atoms, 0.75, True),
      slow_hl_gauss(math.log1p(value), even, 0.75), atol=1e-5)
  np.testing.assert_allclose(
      distributions.symexp(distributions.symlog(jnp.float32([-50, 0, 0.1]))), [-50, 0, 0.1],
      rtol=1e-5)


def test_smoothing_mixes_the_target_with_the_uniform_distribution():
  logits = np.log(np.float32([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]]))
  target = jnp.float32([0.0, 1.0, 0.0, 0.0])
  mixed = [0.05, 0.85, 0.05, 0.05]
  expected = np.mean([-np.dot(mixed, row) for row in logits])
  assert float(losses.cross_entropy(target, logits, 0.2)) == pytest.approx(expected, rel=1e-5)


@st.composite
def problems(draw):
  """Logits and utilities of (B, M, A, N), actions, rewards, discounts."""
  b, m, a = 2, draw(st.integers(1, 2)), 3  # Other sizes would be compiled anew.
  # XLA takes subnormal numbers for 0.
  numbers = st.floats(-3, 3, width=32, allow_subnormal=False)
  return dict(
      logits=draw(hnp.arrays(np.float32, (b, m, a, 4), elements=numbers)),
      values=draw(hnp.arrays(np.float32, (2, b, m, a), elements=numbers)),
      a_tm1=draw(hnp.arrays(np.int32, (b, m), elements=st.integers(0, a - 1))),
      r_t=draw(hnp.arrays(np.float32, b, elements=numbers)),
      discount_t=draw(hnp.arrays(np.float32, b, elements=st.floats(0, 1, width=32))))


TARGETS = {  # ours, and its slow twin
    'two_hot': (losses.two_hot, slow_two_hot),
    'hl_gauss': (lambda value, atoms: losses.hl_gauss(value, atoms, 0.75, False),
                 lambda value, atoms: slow_hl_gauss(value, atoms, 0.75))}


@functools.cache  # One function for all examples is compiled once.
def loss_towards(target, smoothing):
  project = TARGETS[target][0]

  def loss(logits, q_tm1, transition, q_t, selector):
    returns = losses.expected_targets(transition, q_t, selector)
    return losses.classification(
        Critic(q_tm1, logits), transition, returns, lambda value: project(value, ATOMS), smoothing)

  return loss


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(problem=problems(), smoothing=st.sampled_from([0.0, 0.3]))
@pytest.mark.parametrize('target', TARGETS)
@WAYS
def test_the_loss_is_its_slow_twin(wrap, target, problem, smoothing):
  slow_project = TARGETS[target][1]
  transition = types.Transition(
      None, problem['a_tm1'], problem['r_t'], problem['discount_t'], None)
  q_t, selector = problem['values']
  p = np.exp(problem['logits'].astype(float))
  p /= p.sum(axis=-1, keepdims=True)
  q_tm1 = (p * ATOMS).sum(axis=-1)
  expected, errors = [], []
  for i, actions_taken in enumerate(problem['a_tm1']):
    dims = range(len(actions_taken))
    bootstrap = np.mean([q_t[i, j, np.argmax(selector[i, j])] for j in dims])
    y = problem['r_t'][i] + problem['discount_t'][i] * bootstrap
    mixed = np.array(slow_project(y, ATOMS)) * (1 - smoothing) + smoothing / 4
    expected.append(np.mean([-mixed @ np.log(p[i, j, actions_taken[j]]) for j in dims]))
    errors.append(y - np.mean([q_tm1[i, j, actions_taken[j]] for j in dims]))

  found = wrap(loss_towards(target, smoothing))(
      problem['logits'], q_tm1.astype(np.float32), transition, q_t, selector)
  np.testing.assert_allclose(found.losses, expected, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(found.errors, errors, rtol=1e-3, atol=1e-4)


@functools.cache
def plain_loss_towards(target):
  """The same for one dimension, by rlax."""
  project = TARGETS[target][0]

  def example(logits, transition, q_t, selector):
    y = transition.r_t + transition.discount_t * q_t[jnp.argmax(selector)]
    return rlax.categorical_cross_entropy(project(y, ATOMS), logits[transition.a_tm1])

  return jax.vmap(example)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(problem=problems())
@pytest.mark.parametrize('target', TARGETS)
@WAYS
def test_one_dimension_is_the_plain_loss_to_the_last_bit(wrap, target, problem):
  logits, (q_t, selector) = problem['logits'][:, :1], problem['values'][:, :, :1]
  transition = types.Transition(
      None, problem['a_tm1'][:, :1], problem['r_t'], problem['discount_t'], None)
  ours = wrap(loss_towards(target, 0.0))(logits, q_t, transition, q_t, selector).losses
  plain = wrap(plain_loss_towards(target))(
      logits[:, 0], transition._replace(a_tm1=transition.a_tm1[:, 0]), q_t[:, 0], selector[:, 0])
  np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize('agent, words, expected', [
    ('dqn', ['so(target=two_hot)'], [0, 0.75, 0.25, 0]),
    ('dqn', ['so(target=two_hot)', 'ls(part=0.2)'], [0.05, 0.65, 0.25, 0.05]),
    ('c51', ['ls(part=0.2)'], [0.05, 0.65, 0.25, 0.05]),
    # Ten atoms, of which three sigma are beyond each end: 3 / (9 - 2 * 2.25) = 2 / 3 apart.
    ('dqn', ['so'], slow_hl_gauss(0.25, np.linspace(-2.5, 3.5, 10), 0.75)),
    ('dqn', ['so(sigma=0.5)'], slow_hl_gauss(0.25, np.linspace(-1.75, 2.75, 10), 0.5)),
    ('dqn', ['so(symlog=true)'], slow_hl_gauss(math.log1p(0.25), np.linspace(
        -math.log(2) - math.log(6) / 2, math.log(3) + math.log(6) / 2, 10), 0.75))])
def test_a_config_learns_the_target_that_it_names(agent, words, expected):
  """Of a return of 0.25, a reward with nothing after it."""
  config = config_lib.resolve(
      'control', 'task', agent, words,
      dict(discount=0.5, v_min=-1.0, v_max=2.0, num_atoms=len(expected)))
  probabilities = np.random.default_rng(0).dirichlet(np.ones(len(expected))).astype(np.float32)
  critic = Critic(jnp.zeros((1, 1, 1)), jnp.log(probabilities)[None, None, None])
  transition = types.Transition(
      None, np.zeros((1, 1), np.int32), np.float32([0.25]), np.zeros(1, np.float32), None)
  found = losses.make(config)(critic, [critic], critic.q_values, transition)
  np.testing.assert_allclose(
      found.losses, [-np.dot(expected, np.log(probabilities))], rtol=1e-5)


@pytest.mark.parametrize('in_symlog', [False, True])
def test_an_agents_values_are_of_the_atoms_that_it_learns_on(in_symlog):
  config = config_lib.resolve('control', 'task', 'dqn', [f'so(symlog={in_symlog},atoms=9)'], {})
  network = learner.make_network(config, (5,), 'float32', actions.ActionMap(2, 3, None))
  out = network.apply(network.init(jax.random.key(0)), None, np.ones((1, 5), np.float32))
  atoms = distributions.support(0.0, 100.0, 9, in_symlog, margin=2.25)
  np.testing.assert_allclose(
      out.q_values, jax.nn.softmax(out.critics[0].distribution) @ atoms, rtol=1e-5)


def update(scale, interventions, agent, **overrides):
  """The parameters' change in one real update on rewards times `scale`."""
  settings = dict(
      torso='mlp', batch_size=8, discount=0.5, v_min=0.0, v_max=2.0 * scale, norm='none',
      hidden_layers=0) | overrides
  config = config_lib.resolve('control', 'task', agent, interventions, settings)
  network = learner.make_network(config, (5,), 'float32', actions.ActionMap(2, 3, None))
  built = learner.make_agent(config, network, optimizers.make(config))
  rng = np.random.default_rng(0)
  obs_tm1, obs_t = rng.normal(size=(2, 8, 5)).astype(np.float32)
  transition = types.Transition(
      obs_tm1, rng.integers(0, 3, (8, 2), np.int32),
      np.float32(scale) * rng.random(8).astype(np.float32), np.full(8, 0.5, np.float32), obs_t)
  state = built.init(jax.random.key(0))
  before = jax.device_get(state.params)
  state, _, _ = built.learn(state, transition, np.ones(8, np.float32))
  return jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, before)


@pytest.mark.parametrize('reward', [0.0, 0.01, 0.5, 1.0])
def test_what_is_learnt_of_a_constant_reward_is_its_sum(reward):
  """Targets of the first and last return are whole too: else bootstrapping adds what is cut off."""
  config = config_lib.resolve('control', 'task', 'decqn', ['so'], {})
  atoms = distributions.support(
      config.v_min, config.v_max, config.num_atoms, margin=config.atom_margin)
  value = jnp.float32(50)
  for _ in range(400):
    target = losses.hl_gauss(reward + 0.97 * value, atoms, config.hl_gauss_sigma, False)
    value = target @ atoms
  assert float(value) == pytest.approx(reward / 0.03, abs=0.1)


@pytest.mark.parametrize('agent, words', [
    ('dqn', ['so']), ('dqn', ['so(target=two_hot)', 'ls']), ('decqn', ['so']),
    ('iqn', ['so', 'ln'])])
def test_rewards_times_1000_with_a_matched_support_change_no_update(agent, words):
  settings = dict(optimizer='rmsprop', norm='layer' if 'ln' in words else 'none')
  one, many = (update(scale, words, agent, **settings) for scale in (1.0, 1000.0))
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(one)) > 1e-5
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=0.02, atol=1e-6), one, many)


def test_plain_regression_is_not_invariant():
  one, many = (update(scale, [], 'dqn', optimizer='rmsprop') for scale in (1.0, 1000.0))
  differ = np.abs(many['head']['w'] - one['head']['w'])
  assert differ.max() > 0.1 * np.abs(one['head']['w']).max()


@pytest.mark.parametrize('domain, agent', [
    ('atari', 'double_dqn'), ('atari', 'iqn'), ('atari', 'rainbow'), ('control', 'decqn'),
    ('control', 'qr_dqn'), ('control', 'c51')])
def test_any_agent_takes_it(domain, agent):
  config = config_lib.resolve(domain, 'task', agent, ['so'], {})
  assert config.distribution == 'hl_gauss' and config.num_atoms == 101
  least, most = (0, 100) if domain == 'control' else (-10, 10)
  assert (config.v_min, config.v_max) == (least, most)
