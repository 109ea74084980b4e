"""TD errors by hand and against a NumPy twin, jitted and not, for one and many dimensions."""

import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import rlax

from agents import config as config_lib
from agents import losses
from networks import types as types_lib
from networks.distributions import DISTRIBUTIONS
from replay import types
from tests.ways import WAYS

pytestmark = pytest.mark.optimized


def batch(actions, rewards, discounts):
  return types.Transition(
      None, np.array(actions, np.int32), np.array(rewards, np.float32),
      np.array(discounts, np.float32), None)


@WAYS
def test_one_dimension_by_hand(wrap):
  q_tm1 = np.array([[[1., 2., 3.]], [[0., -1., 5.]]], np.float32)
  value = np.array([[[10., 20., 30.]], [[7., 8., 9.]]], np.float32)
  selector = np.array([[[0., 1., 0.]], [[4., 3., 2.]]], np.float32)
  transition = batch([[2], [1]], [0.5, -1.], [0.9, 0.])
  # 0.5 + 0.9 * 20 - 3 = 15.5, and a termination: -1 + 0 - (-1) = 0.
  errors = wrap(losses.td_errors)(q_tm1, transition, value, selector)
  np.testing.assert_allclose(errors, [15.5, 0.], rtol=1e-6)
  # Without double, the target network selects: 0.5 + 0.9 * 30 - 3 = 24.5.
  errors = wrap(losses.td_errors)(q_tm1, transition, value, value)
  np.testing.assert_allclose(errors, [24.5, 0.], rtol=1e-6)


@WAYS
def test_two_dimensions_by_hand(wrap):
  q_tm1 = np.array([[[1., 3.], [5., 7.]]], np.float32)
  value = np.array([[[2., 4.], [10., 6.]]], np.float32)
  # Each dimension's own maximum: (4 + 10) / 2 = 7; taken utilities: (3 + 5) / 2 = 4.
  errors = wrap(losses.td_errors)(q_tm1, batch([[1, 0]], [1.], [0.5]), value, value)
  np.testing.assert_allclose(errors, [1. + 0.5 * 7. - 4.], rtol=1e-6)


@st.composite
def problems(draw):
  size = draw(st.sampled_from([(1, 1, 2), (5, 1, 3), (4, 3, 4)]))  # Few: each is compiled.
  # XLA takes subnormal numbers for 0, which makes another action the best.
  floats = st.floats(-100, 100, width=32, allow_subnormal=False)
  q = [draw(hnp.arrays(np.float32, size, elements=floats)) for _ in range(3)]
  actions = draw(hnp.arrays(np.int32, size[:2], elements=st.integers(0, size[2] - 1)))
  rewards = draw(hnp.arrays(np.float32, size[0], elements=floats))
  discounts = draw(hnp.arrays(np.float32, size[0], elements=st.floats(0, 1, width=32)))
  return *q, actions, rewards, discounts


@hypothesis.given(problems())
@WAYS
def test_equals_loops_in_numpy(wrap, problem):
  q_tm1, value, selector, actions, rewards, discounts = problem
  num_dims = q_tm1.shape[1]
  expected = []
  for b in range(len(rewards)):
    taken = np.mean([q_tm1[b, m, actions[b, m]] for m in range(num_dims)], dtype=np.float64)
    best = [int(np.argmax(selector[b, m])) for m in range(num_dims)]
    future = np.mean([value[b, m, best[m]] for m in range(num_dims)], dtype=np.float64)
    expected.append(rewards[b] + discounts[b] * future - taken)
  errors = wrap(losses.td_errors)(q_tm1, batch(actions, rewards, discounts), value, selector)
  np.testing.assert_allclose(errors, expected, rtol=1e-4, atol=1e-3)


# One function for all examples is compiled once.
double_q_learning = jax.vmap(rlax.double_q_learning)


@hypothesis.given(problems())
@WAYS
def test_one_dimension_is_double_q_learning_to_the_last_bit(wrap, problem):
  q_tm1, value, selector, actions, rewards, discounts = problem
  q_tm1, value, selector, actions = q_tm1[:, :1], value[:, :1], selector[:, :1], actions[:, :1]
  plain = wrap(double_q_learning)(
      q_tm1[:, 0], actions[:, 0], rewards, discounts, value[:, 0], selector[:, 0])
  factored = wrap(losses.td_errors)(q_tm1, batch(actions, rewards, discounts), value, selector)
  np.testing.assert_array_equal(factored, plain)


@WAYS
def test_targets_are_constants(wrap):
  q = np.array([[[1., 2.]]], np.float32)
  transition = batch([[0]], [1.], [0.9])
  gradient = wrap(jax.grad(lambda x: losses.td_errors(q, transition, x, x).sum()))(q)
  np.testing.assert_array_equal(gradient, 0)


def test_importance_weights_by_hand():
  weights = losses.importance_weights(np.array([0.25, 0.01, 0.04]), 0.5)
  np.testing.assert_allclose(weights, [0.2, 1.0, 0.5], rtol=1e-6)
  assert weights.dtype == np.float32
  several = losses.importance_weights(np.array([[0.25, 0.01], [0.25, 0.0625]]), 0.5)
  np.testing.assert_allclose(several, [[0.2, 1.0], [0.5, 1.0]], rtol=1e-6)


# Distributions. One atom more or less is 1 here, so that projections can be done by hand.
ATOMS = np.arange(3, dtype=np.float32)


def logits(probabilities):
  return np.log(np.array(probabilities, np.float32))


@WAYS
def test_categorical_by_hand(wrap):
  # Predicted for choice 1; the target's choice 0 is selected: 0.5 at 0 and 0.5 at 2 become, at
  # 1 + 0.5 z, 0.5 at 1 and 0.5 at 2.
  online = logits([[[[.1, .1, .8], [.2, .3, .5]]]])
  target = np.array([[[[.5, 0., .5], [1., 0., 0.]]]], np.float32)
  selector = np.array([[[2., 1.]]], np.float32)
  loss = wrap(losses.categorical)(online, batch([[1]], [1.], [.5]), target, selector, ATOMS)
  np.testing.assert_allclose(loss, [-.5 * np.log(.3) - .5 * np.log(.5)], rtol=1e-6)
  # 0.25 + 0 z is between two atoms, and 9 + z is beyond the last.
  loss = wrap(losses.categorical)(online, batch([[1]], [.25], [0.]), target, selector, ATOMS)
  np.testing.assert_allclose(loss, [-.75 * np.log(.2) - .25 * np.log(.3)], rtol=1e-6)
  loss = wrap(losses.categorical)(online, batch([[1]], [9.], [1.]), target, selector, ATOMS)
  np.testing.assert_allclose(loss, [-np.log(.5)], rtol=1e-6)


@WAYS
def test_categorical_dimensions_share_one_target_by_hand(wrap):
  online = logits([[[[.2, .3, .5], [.1, .1, .8]], [[.6, .3, .1], [.1, .2, .7]]]])
  target = np.array([[[[1., 0., 0.], [0., 1., 0.]], [[0., 0., 1.], [0., 1., 0.]]]], np.float32)
  selector = np.array([[[1., 0.], [1., 0.]]], np.float32)
  # The selected distributions are certain of 0 and of 2: the target is half of each.
  loss = wrap(losses.categorical)(online, batch([[0, 1]], [0.], [1.]), target, selector, ATOMS)
  first = -.5 * (np.log(.2) + np.log(.5))
  second = -.5 * (np.log(.1) + np.log(.7))
  np.testing.assert_allclose(loss, [(first + second) / 2], rtol=1e-6)


@WAYS
def test_quantile_by_hand(wrap):
  online = np.array([[[[0., 3.], [0., 0.]]]], np.float32)
  taus = np.array([[.25, .75]], np.float32)
  target = np.array([[[[9., 9.], [1., 2.]]]], np.float32)
  selector = np.array([[[0., 1.]]], np.float32)
  loss = wrap(losses.quantile)(online, taus, batch([[0]], [1.], [.5]), target, selector)
  # Targets 1.5 and 2. At 0 with tau .25: .25 * (1.5 - .5) and .25 * (2 - .5), mean .3125. At 3
  # with tau .75, from above, weight .25: .25 * (1.5 - .5) and .25 * (.5 * 1), mean .1875.
  np.testing.assert_allclose(loss, [.3125 + .1875], rtol=1e-6)


@WAYS
def test_quantile_dimensions_share_one_target_by_hand(wrap):
  online = np.array([[[[0.], [5.]], [[1.], [5.]]]], np.float32)
  target = np.array([[[[1.], [3.]], [[9.], [5.]]]], np.float32)
  selector = np.array([[[0., 1.], [0., 1.]]], np.float32)
  taus = np.array([[.5]], np.float32)
  # (3 + 5) / 2 = 4 is the target of both: .5 * 3.5 and .5 * 2.5.
  loss = wrap(losses.quantile)(online, taus, batch([[0, 0]], [0.], [1.]), target, selector)
  np.testing.assert_allclose(loss, [(1.75 + 1.25) / 2], rtol=1e-6)


@st.composite
def distributional_problems(draw):
  *size, num_atoms = draw(st.sampled_from([(1, 1, 2, 2), (3, 2, 3, 5)]))  # Few: each is compiled.
  floats = st.floats(-5, 5, width=32, allow_subnormal=False)
  online, target = (
      draw(hnp.arrays(np.float32, (*size, num_atoms), elements=floats)) for _ in range(2))
  selector = draw(hnp.arrays(np.float32, size, elements=floats))
  actions = draw(hnp.arrays(np.int32, size[:2], elements=st.integers(0, size[2] - 1)))
  rewards = draw(hnp.arrays(np.float32, size[0], elements=floats))
  discounts = draw(hnp.arrays(np.float32, size[0], elements=st.floats(0, 1, width=32)))
  taus = draw(hnp.arrays(
      np.float32, (size[0], num_atoms), elements=st.floats(0, 1, width=32)))
  return online, target, selector, batch(actions, rewards, discounts), taus


def softmax(x):
  exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
  return exponentials / exponentials.sum(axis=-1, keepdims=True)


def selected(values, selector, b):
  """The mean over dimensions of `values` at each one's best choice."""
  return np.mean([values[b, m, np.argmax(selector[b, m])] for m in range(len(values[b]))], axis=0)


def slow_categorical(online, target, selector, transition, atoms):
  found = []
  for b, (actions, reward, discount) in enumerate(zip(*transition[1:4], strict=True)):
    projected = np.zeros(len(atoms))
    for mass, atom in zip(selected(target, selector, b), atoms, strict=True):
      value = np.clip(reward + discount * atom, atoms[0], atoms[-1])
      position = (value - atoms[0]) / (atoms[1] - atoms[0])
      low = min(int(np.floor(position)), len(atoms) - 2)
      projected[low] += mass * (1 - (position - low))
      projected[low + 1] += mass * (position - low)
    entropies = [-np.sum(projected * np.log(softmax(online[b, m, a])))
                 for m, a in enumerate(actions)]
    found.append(np.mean(entropies))
  return found


def slow_quantile(online, taus, target, selector, transition):
  found = []
  for b, (actions, reward, discount) in enumerate(zip(*transition[1:4], strict=True)):
    goals = reward + discount * selected(target, selector, b)
    total = 0.0
    for m, a in enumerate(actions):
      for tau, guess in zip(taus[b], online[b, m, a], strict=True):
        for goal in goals:
          error = goal - guess
          huber = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
          total += abs(tau - (error < 0)) * huber / len(goals)
    found.append(total / len(actions))
  return found


@hypothesis.given(distributional_problems())
@WAYS
def test_categorical_equals_loops_in_numpy(wrap, problem):
  online, target, selector, transition, _ = problem
  atoms = np.linspace(-4, 4, online.shape[-1], dtype=np.float32)
  target = softmax(target)
  found = wrap(losses.categorical)(online, transition, target, selector, atoms)
  wide = [x.astype(np.float64) for x in (online, target, selector)]
  np.testing.assert_allclose(
      found, slow_categorical(*wide, transition, atoms.astype(np.float64)), rtol=1e-3, atol=1e-4)


@hypothesis.given(distributional_problems())
@WAYS
def test_quantile_equals_loops_in_numpy(wrap, problem):
  online, target, selector, transition, taus = problem
  found = wrap(losses.quantile)(online, taus, transition, target, selector)
  wide = [x.astype(np.float64) for x in (online, taus, target, selector)]
  np.testing.assert_allclose(found, slow_quantile(*wide, transition), rtol=1e-3, atol=1e-4)


def one_dimension(problem):
  online, target, selector, transition, taus = problem
  transition = transition._replace(a_tm1=transition.a_tm1[:, :1])
  return online[:, :1], target[:, :1], selector[:, :1], transition, taus


def rlax_categorical(online, transition, target, selector, atoms):
  return jax.vmap(rlax.categorical_double_q_learning, (None, 0, 0, 0, 0, None, 0, 0))(
      atoms, online[:, 0], transition.a_tm1[:, 0], transition.r_t, transition.discount_t, atoms,
      target[:, 0], selector[:, 0])


def our_categorical(online, transition, target, selector, atoms):
  return losses.categorical(online, transition, jax.nn.softmax(target), selector, atoms)


@hypothesis.given(distributional_problems())
@WAYS
def test_one_dimension_is_categorical_double_q_learning_to_the_last_bit(wrap, problem):
  online, target, selector, transition, _ = one_dimension(problem)
  atoms = np.linspace(-4, 4, online.shape[-1], dtype=np.float32)
  arguments = online, transition, target, selector, atoms
  np.testing.assert_array_equal(
      wrap(our_categorical)(*arguments), wrap(rlax_categorical)(*arguments))


def rlax_quantile(online, taus, transition, target):
  # rlax has quantiles first, and a distribution for a selector.
  online, target = (x[:, 0].swapaxes(1, 2) for x in (online, target))
  return jax.vmap(rlax.quantile_q_learning, (0, 0, 0, 0, 0, 0, 0, None))(
      online, taus, transition.a_tm1[:, 0], transition.r_t, transition.discount_t, target, target,
      1.0)


def our_quantile(online, taus, transition, target):
  return losses.quantile(online, taus, transition, target, target.mean(axis=-1))


@hypothesis.given(distributional_problems())
@WAYS
def test_one_dimension_is_quantile_q_learning_to_the_last_bit(wrap, problem):
  online, target, _, transition, taus = one_dimension(problem)
  arguments = online, taus, transition, target
  np.testing.assert_array_equal(wrap(our_quantile)(*arguments), wrap(rlax_quantile)(*arguments))


def make_loss(distribution, error_loss='huber'):
  config = config_lib.resolve('control', 'task', 'dqn', [], dict(
      distribution=distribution, error_loss=error_loss, num_atoms=len(ATOMS),
      hl_gauss_sigma=0.1,  # of so few atoms
      v_min=float(ATOMS[0]), v_max=float(ATOMS[-1]), discount=0.0))
  return losses.make(config)


@pytest.mark.parametrize('distribution', DISTRIBUTIONS)
def test_distributional_targets_are_constants(distribution):
  loss = make_loss(distribution)
  rng = np.random.default_rng(0)
  q_values = rng.normal(size=(2, 2, 2)).astype(np.float32)
  returns = rng.normal(size=(2, 2, 2, 3)).astype(np.float32)
  taus = np.full((2, 3), 0.5, np.float32)
  transition = batch([[0, 1], [1, 0]], [1., 0.], [0.9, 0.9])

  def total(online, target, selector):
    online, target = (types_lib.Critic(*x, taus) for x in (online, target))
    return loss(online, (target,), selector, transition).losses.sum()

  online, target, selector = jax.grad(total, (0, 1, 2))(
      (q_values, returns), (q_values, returns), q_values)
  assert any(np.any(x) for x in online)
  jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), (target, selector))


def test_priorities_of_cross_entropies_end_at_a_hundred_as_dqn_zoos():
  critic = types_lib.Critic(
      np.zeros((2, 1, 1), np.float32), np.array([[[[0, 0, 0.]]], [[[0, -500, 0.]]]], np.float32))
  found = make_loss('categorical')(
      critic, (critic._replace(distribution=np.array([[[[0, 50, 0.]]]] * 2, np.float32)),),
      critic.q_values, batch([[0]] * 2, [0., 0.], [1., 1.]))
  np.testing.assert_allclose(found.losses, [np.log(3), 500 + np.log(2)], rtol=1e-5)
  np.testing.assert_allclose(found.errors, [np.log(3), 100.], rtol=1e-5)


def test_critics_learn_from_their_mean_by_their_own_choice_by_hand():
  online = [types_lib.Critic(np.array([[[q, 0.]]], np.float32)) for q in (1., 2.)]
  targets = [types_lib.Critic(np.array([[q]], np.float32)) for q in ([4., 0.], [8., 2.])]
  selectors = [types_lib.Critic(np.array([[q]], np.float32)) for q in ([1., 0.], [0., 1.])]
  transition = batch([[0]], [1.], [0.5])
  found = losses.of_critics(
      make_loss('none', 'squared'), online, targets, selectors, transition)
  # The first selects 0: 1 + 0.5 * (4 + 8) / 2 - 1 = 3. The second 1: 1 + 0.5 * 1 - 2 = -0.5.
  np.testing.assert_allclose(found.losses, [3.**2 + 0.5**2])
  np.testing.assert_allclose(found.errors, [(3. + 0.5) / 2])


def test_critics_with_distributions_learn_from_their_mean_by_hand():
  def critic(*rows):
    return types_lib.Critic(np.array([[[1., 0.]]], np.float32), logits([[rows]]))

  online = [critic([.2, .3, .5], [1., 1., 1.])] * 2
  targets = [critic([1., 1e-30, 1e-30], [1., 1., 1.]), critic([1e-30, 1e-30, 1.], [1., 1., 1.])]
  loss = make_loss('categorical')
  found = losses.of_critics(loss, online, targets, online, batch([[0]], [0.], [1.]))
  each = -.5 * np.log(.2) - .5 * np.log(.5)
  np.testing.assert_allclose(found.losses, [2 * each], rtol=1e-5)
  np.testing.assert_allclose(found.errors, [each], rtol=1e-5)


@st.composite
def problems_of_two_critics(draw):
  size = draw(st.sampled_from([(2, 1, 3), (3, 3, 2)]))  # Few: each is compiled.
  floats = st.floats(-5, 5, width=32, allow_subnormal=False)
  q_values = draw(hnp.arrays(np.float32, (3, 2, *size), elements=floats))
  logits = draw(hnp.arrays(np.float32, (2, 2, *size, len(ATOMS)), elements=floats))
  actions = draw(hnp.arrays(np.int32, size[:2], elements=st.integers(0, size[2] - 1)))
  rewards = draw(hnp.arrays(np.float32, size[0], elements=floats))
  discounts = draw(hnp.arrays(np.float32, size[0], elements=st.floats(0, 1, width=32)))
  return q_values, logits, batch(actions, rewards, discounts)


@functools.cache
def of_two_critics(wrap, distribution):
  loss = make_loss(distribution)

  def found(q_values, logits, transition):
    online, targets = (
        [types_lib.Critic(*each) for each in zip(q_values[i], logits[i], strict=True)]
        for i in (0, 1))
    selectors = [types_lib.Critic(q) for q in q_values[2]]
    return losses.of_critics(loss, online, targets, selectors, transition)

  return wrap(found)


@hypothesis.given(problems_of_two_critics())
@pytest.mark.parametrize('distribution', ['none', 'categorical'])
@WAYS
def test_two_critics_equal_loops_in_numpy(wrap, distribution, problem):
  q_values, logits, transition = problem
  found = of_two_critics(wrap, distribution)(*problem)
  each = []  # of a critic: its losses, its errors
  for c in (0, 1):
    selector = q_values[2][c].astype(float)
    if distribution == 'categorical':
      target = (softmax(logits[1][0].astype(float)) + softmax(logits[1][1].astype(float))) / 2
      entropies = slow_categorical(
          logits[0][c].astype(float), target, selector, transition, ATOMS.astype(float))
      each.append((np.array(entropies), np.array(entropies)))
      continue
    errors = []
    for b, (actions, reward, discount) in enumerate(zip(*transition[1:4], strict=True)):
      target = (q_values[1][0].astype(float) + q_values[1][1]) / 2
      taken = np.mean([float(q_values[0][c][b, m, a]) for m, a in enumerate(actions)])
      errors.append(float(reward) + float(discount) * selected(target, selector, b) - taken)
    sizes = np.abs(errors)
    each.append((np.where(sizes <= 1, sizes**2 / 2, sizes - 0.5), sizes))
  np.testing.assert_allclose(found.losses, each[0][0] + each[1][0], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(found.errors, (each[0][1] + each[1][1]) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name, expected', [
    ('huber', [0.125, 1.5]), ('squared', [0.25, 4.0]), ('clipped', [0.125, 2.0])])
def test_losses_of_errors_by_hand(name, expected):
  np.testing.assert_allclose(losses.ERROR_LOSSES[name](np.array([0.5, -2.0])), expected)


@functools.cache
def gradient_of_errors(name):
  return jax.grad(lambda errors, weights: (weights * losses.ERROR_LOSSES[name](errors)).mean())


@hypothesis.given(errors=hnp.arrays(np.float32, 4, elements=st.floats(-50, 50, width=32)),
                  weights=hnp.arrays(np.float32, 4, elements=st.floats(0, 1, width=32)))
@pytest.mark.parametrize('name', losses.ERROR_LOSSES)
@WAYS
def test_losses_of_errors_and_their_gradients_equal_loops_in_numpy(wrap, name, errors, weights):
  values, gradients = [], []
  for error, weight in zip(errors.astype(float), weights.astype(float), strict=True):
    half = error * error / 2
    if name == 'squared':
      values.append(2 * half)
      gradients.append(weight * 2 * error / 4)
    elif name == 'huber':
      values.append(half if abs(error) <= 1 else abs(error) - 0.5)
      gradients.append(weight * min(max(error, -1), 1) / 4)
    else:
      values.append(half)
      gradients.append(min(max(weight * error / 4, -1 / 4), 1 / 4))
  np.testing.assert_allclose(wrap(losses.ERROR_LOSSES[name])(errors), values, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      wrap(gradient_of_errors(name))(errors, weights), gradients, rtol=1e-5, atol=1e-6)


def test_clipped_errors_count_their_weights_before_the_clipping():
  # dqn_zoo clips the gradient of mean(weights * errors^2 / 2) to 1 / batch_size each.
  errors, weights = np.array([0.5, -3.0, 3.0, 8.0]), np.array([1.0, 1.0, 0.25, 0.25])
  gradient = gradient_of_errors('clipped')(errors, weights)
  np.testing.assert_allclose(4 * gradient, [0.5, -1.0, 0.75, 1.0], rtol=1e-6)
  # Huber's clips before.
  gradient = gradient_of_errors('huber')(errors, weights)
  np.testing.assert_allclose(4 * gradient, [0.5, -1.0, 0.25, 0.25], rtol=1e-6)
