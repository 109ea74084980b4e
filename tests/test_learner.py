"""The update, the optimiser and acting."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dm_env import specs

from agents import actions, learner, losses, objectives, optimizers
from agents import config as config_lib
from networks import torsos
from networks import types as network_types
from replay import types
from tests import catch_runs

pytestmark = pytest.mark.optimized

DIMS, CHOICES = 2, 3


# Shape and type of an observation.
STATE = ((4,), 'float32')
PIXELS = ((4, 25, 25), 'uint8')


def make(names=(), observation=STATE, **overrides):
  """Equal arguments share what is compiled."""
  return _make(tuple(names), observation, tuple(overrides.items()))


@functools.cache
def _make(names, observation, overrides):
  overrides = dict(torso='mlp', bins=CHOICES) | dict(overrides)
  config = config_lib.resolve('control', 'test', 'double_dqn', names, overrides)
  action_map = actions.action_map(specs.BoundedArray((DIMS,), np.float32, -1, 1), config.bins)
  network = learner.make_network(config, *observation, action_map)
  optimizer = optimizers.make(config)
  return config, network, learner.make_agent(config, network, optimizer)


def transitions(size=8, seed=0):
  rng = np.random.default_rng(seed)
  return types.Transition(
      rng.normal(size=(size, 4)).astype(np.float32),
      rng.integers(0, CHOICES, (size, DIMS), np.int32),
      rng.normal(size=size).astype(np.float32), np.full(size, 0.9, np.float32),
      rng.normal(size=(size, 4)).astype(np.float32))


EQUAL = np.ones(8, np.float32)


@pytest.mark.parametrize('optimizer', ['adam', 'rmsprop'])
def test_with_zero_gradient_decay_shrinks_kernels_by_the_right_factor_and_nothing_else(optimizer):
  config, network, _ = make(
      optimizer=optimizer, weight_decay=0.1, learning_rate=0.5, norm='layer')
  transform = optimizers.make(config)
  params = network.init(jax.random.key(0))
  params = jax.tree.map(lambda x: x + 1.0, params)  # so that no bias is zero
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = transform.update(zeros, transform.init(params), params)
  after = optax.apply_updates(params, updates)
  for module, tensors in params.items():
    for name, before in tensors.items():
      factor = 1 - 0.5 * 0.1 if name == 'w' else 1.0
      np.testing.assert_allclose(after[module][name], before * factor, rtol=1e-6)


def test_without_decay_the_optimizer_has_no_trace_of_it():
  config, network, _ = make()
  params = network.init(jax.random.key(0))
  plain = optimizers.make(config).init(params)
  decayed = optimizers.make(
      make(weight_decay=0.1)[0]).init(params)
  assert len(decayed) == len(plain) + 1


def test_gradient_is_clipped_by_its_global_norm():
  config, network, _ = make(max_gradient_norm=1.0, optimizer='rmsprop', learning_rate=1.0)
  unclipped, _, _ = make(max_gradient_norm=0.0, optimizer='rmsprop', learning_rate=1.0)
  params = network.init(jax.random.key(0))
  gradient = jax.tree.map(lambda x: jnp.full_like(x, 7.0), params)
  norm = optax.global_norm(gradient)
  scaled = jax.tree.map(lambda g: g / norm, gradient)

  def step(config, gradient):
    transform = optimizers.make(config)
    return transform.update(gradient, transform.init(params), params)[0]

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
               step(config, gradient), step(unclipped, scaled))


@pytest.mark.parametrize('norm', [{}, dict(norm='batch', hidden_bias=False)], ids=str)
def test_update_follows_the_hubers_gradient_of_the_td_errors(norm):
  """Statistics are the batch's where utilities are learnt, and the running ones elsewhere."""
  config, network, agent = make(learning_rate=1e-3, **norm)
  state = agent.init(jax.random.key(0))
  state = state._replace(target_params=jax.tree.map(lambda x: x * 1.5, state.params))
  batch = transitions()

  def loss(params):
    q_tm1 = network.apply(params, None, batch.obs_tm1, training=True).q_values
    chooser = network.apply(state.params, None, batch.obs_t).q_values
    values = network.apply(state.target_params, None, batch.obs_t).q_values
    best = jnp.argmax(chooser, axis=-1)
    future = jnp.take_along_axis(values, best[..., None], axis=-1)[..., 0].mean(axis=1)
    taken = jnp.take_along_axis(q_tm1, batch.a_tm1[..., None], axis=-1)[..., 0].mean(axis=1)
    error = batch.r_t + batch.discount_t * future - taken
    return jnp.mean(jnp.where(jnp.abs(error) < 1, 0.5 * error**2, jnp.abs(error) - 0.5)), error

  (expected_loss, expected_errors), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
  transform = optimizers.make(config)
  updates, _ = transform.update(gradient, state.opt_state, state.params)
  kept = network.apply(state.params, None, batch.obs_tm1, training=True).statistics
  expected = {module: leaves | kept.get(module, {})
              for module, leaves in optax.apply_updates(state.params, updates).items()}
  after, td_errors, metrics = agent.learn(state, batch, EQUAL)
  assert float(metrics['loss']) == pytest.approx(float(expected_loss), rel=1e-5)
  np.testing.assert_allclose(td_errors, np.abs(expected_errors), rtol=1e-4, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               after.params, expected)


def test_target_is_copied_every_period_and_only_then():
  _, _, agent = make(target_update_period=3)
  state = agent.init(jax.random.key(0))
  initial = jax.tree.map(np.array, state.params)
  for update in range(1, 7):
    state, _, _ = agent.learn(state, transitions(seed=update), EQUAL)
    same = jax.tree.map(lambda a, b: bool(np.all(a == b)), state.target_params, state.params)
    assert all(jax.tree.leaves(same)) == (update % 3 == 0)
    if update < 3:
      jax.tree.map(np.testing.assert_array_equal, state.target_params, initial)
  assert int(state.num_updates) == 6


def joined(batches):
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches)


def pictured(transition, seed):
  shape, dtype = PIXELS
  frames = np.random.default_rng(seed).integers(0, 255, (2, 8, *shape), dtype)
  return transition._replace(obs_tm1=frames[0], obs_t=frames[1])


@pytest.mark.parametrize('overrides', [
    {}, dict(noisy=True, distribution='quantile'), dict(target_update_period=2),
    dict(observation=PIXELS, torso='data_efficient')], ids=str)
def test_several_updates_in_one_program_are_those_of_one_each(overrides):
  _, _, agent = make(['redo(period=2,tau=0.1)', 'wd'], optimizer_epsilon=1e-3, **overrides)
  batches = [transitions(seed=i) for i in range(5)]
  if 'observation' in overrides:  # whose updates are no loop
    assert torsos.slow_in_loops(overrides['torso'])
    batches = [pictured(batch, i) for i, batch in enumerate(batches)]
  weights = np.random.default_rng(0).uniform(0.1, 1, (5, 8)).astype(np.float32)
  state, each = agent.init(jax.random.key(0)), []
  for batch, weight in zip(batches, weights, strict=True):
    state, errors, metrics = agent.learn(state, batch, weight)
    each.append((errors, metrics))
  found = agent.learn(agent.init(jax.random.key(0)), joined(batches), weights)
  expected = state, *jax.tree.map(lambda *leaves: np.stack(leaves), *each)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      _numbers(a), _numbers(b), rtol=2e-5, atol=1e-6), found, expected)


class Watched(config_lib.Config):
  """A Config that notes which of its fields are read."""

  def __getattribute__(self, name):
    object.__getattribute__(self, '__dict__').setdefault('seen', set()).add(name)
    return super().__getattribute__(name)


@pytest.mark.parametrize('agent, names', [
    ('rainbow', ['redo', 'wd']), ('decqn', ['so', 'ls', 'cbp']), ('iqn', ['inject(at=9)', 'crelu']),
    ('qr_dqn', ['nap', 'infer', 'sn']), ('double_dqn', ['muon', 'gradpen', 'bn'])])
def test_models_are_not_made_of_what_runs_that_share_them_may_differ_in(agent, names):
  config = config_lib.resolve('control', 'test', agent, names, {})
  watched = object.__new__(Watched)
  watched.__dict__.update(vars(config))
  action_map = actions.ActionMap(DIMS, config.bins, None)
  model = learner.make(watched, (4,), 'float32', action_map)
  state, batch = jax.eval_shape(model.agent.init, jax.random.key(0)), transitions()
  jax.eval_shape(model.agent.learn, state, batch, EQUAL)
  jax.eval_shape(model.agent.act, state.params, jax.random.key(0), batch.obs_tm1, 0.1)
  jax.eval_shape(functools.partial(model.losses, training=True), state.params, jax.random.key(0),
                 state.target_params, batch)
  assert {'learning_rate', 'distribution', 'target_update_period'} <= watched.seen
  assert not watched.seen & catch_runs.NOT_THE_MODELS  # saved_run's among them


def test_weights_of_other_shapes_are_refused():
  _, _, agent = make()
  with pytest.raises(ValueError, match=r'weights: got \[2, 2, 2\], must be \[B\] or \[K, B\]'):
    agent.learn(agent.init(jax.random.key(0)), transitions(), np.ones((2, 2, 2), np.float32))


def _numbers(leaf):
  is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _all_numbers(state):
  return jax.tree.map(_numbers, state)


def test_several_updates_of_convolutions_are_no_loop_on_a_cpu():
  config = config_lib.resolve('atari', 'pong', 'dqn', [], {})
  network = learner.make_network(config, (4, 84, 84), 'uint8', actions.ActionMap(1, 3, None))
  agent = learner.make_agent(config, network, optimizers.make(config))
  frames = np.zeros((4, 4, 84, 84), np.uint8)
  batch = types.Transition(
      frames, np.zeros((4, 1), np.int32), *np.zeros((2, 4), np.float32), frames)
  state = jax.eval_shape(agent.init, jax.random.key(0))
  program = agent.learn.lower(state, batch, np.ones((2, 2), np.float32)).compile().as_text()
  assert 'f32[3136,512]' in program  # the dense kernel, which a loop over updates would carry
  loops = [line for line in program.splitlines() if ' while(' in line]
  assert not any('f32[3136,512]' in line for line in loops)
  # What XLA calls convolutions of their own that it splits among threads: ten times as slow.
  assert 'parallel_convolution' not in program


def test_weights_scale_the_losses_of_their_examples():
  _, _, agent = make()
  batch = transitions()

  def loss(weights):
    return float(agent.learn(agent.init(jax.random.key(0)), batch, weights)[2]['loss'])

  ones = np.eye(8, dtype=np.float32)
  assert loss(EQUAL) == pytest.approx(sum(loss(one) for one in ones), rel=1e-5)
  assert loss(3 * EQUAL) == pytest.approx(3 * loss(EQUAL), rel=1e-6)


def test_two_updates_of_one_seed_agree_to_the_bit_and_of_two_seeds_differ():
  def params(seed):
    _, _, agent = make()
    return agent.learn(agent.init(jax.random.key(seed)), transitions(), EQUAL)[0].params

  jax.tree.map(np.testing.assert_array_equal, params(1), params(1))
  assert np.any(params(1)['head']['w'] != params(2)['head']['w'])


@pytest.mark.parametrize('epsilon', [0.0, 0.3, 1.0])
def test_each_dimension_explores_with_epsilon_over_dimensions(epsilon):
  _, network, agent = make()
  params = agent.init(jax.random.key(0)).params
  observation = np.repeat(transitions(1).obs_tm1, 20_000, axis=0)
  _, choices, values = agent.act(params, jax.random.key(2), observation, epsilon)
  q_values = network.apply(params, None, observation).q_values
  np.testing.assert_allclose(values, q_values.max(axis=-1).mean(axis=-1), rtol=1e-6)
  off = np.mean(np.asarray(choices) != np.argmax(q_values, axis=-1), axis=0)
  # A random choice is the greedy one with chance 1 / CHOICES.
  expected = epsilon / DIMS * (1 - 1 / CHOICES)
  np.testing.assert_allclose(off, expected, atol=0.011)
  assert choices.dtype == np.int32


def test_acting_uses_its_key_up():
  _, _, agent = make()
  params = agent.init(jax.random.key(0)).params
  observation = np.repeat(transitions(1).obs_tm1, 64, axis=0)
  key, first, _ = agent.act(params, jax.random.key(3), observation, 1.0)
  _, second, _ = agent.act(params, key, observation, 1.0)
  assert np.any(first != second)


def test_bounded_actions_become_evenly_spaced_bins():
  spec = specs.BoundedArray((2,), np.float32, [-1, 0], [1, 4])
  action_map = actions.action_map(spec, 3)
  np.testing.assert_array_equal(action_map.bins, [[-1, 0, 1], [0, 2, 4]])
  choices = np.array([[0, 2], [1, 0]], np.int32)
  values = action_map.to_environment(choices)
  np.testing.assert_array_equal(values, [[-1, 4], [0, 0]])
  assert values.dtype == np.float32


def test_a_discrete_action_is_one_dimension():
  action_map = actions.action_map(specs.DiscreteArray(6), 2)
  assert (action_map.num_dims, action_map.num_choices) == (1, 6)
  np.testing.assert_array_equal(action_map.to_environment(np.array([[4], [1]])), [4, 1])


@pytest.mark.parametrize('spec, rule', [
    (specs.BoundedArray((2,), np.float32, -np.inf, 1), 'must have finite bounds'),
    (specs.Array((2,), np.float32), 'must be discrete or a bounded vector')])
def test_an_action_without_bounds_is_refused(spec, rule):
  with pytest.raises(ValueError, match=rule):
    actions.action_map(spec, 2)


def test_acting_goes_by_the_largest_critic():
  _, network, agent = make(num_critics=2)
  params = agent.init(jax.random.key(0)).params
  observation = transitions(64).obs_tm1
  _, choices, _ = agent.act(params, jax.random.key(2), observation, 0.0)
  critics = [critic.q_values for critic in network.apply(params, None, observation).critics]
  np.testing.assert_array_equal(choices, np.argmax(np.maximum(*critics), axis=-1))
  assert np.any(choices != np.argmax(critics[0], axis=-1))


def test_two_critics_learn_from_their_mean_with_weights_and_mean_errors():
  config, network, agent = make(num_critics=2, learning_rate=1e-3)
  state = agent.init(jax.random.key(0))
  params = jax.tree.map(jnp.copy, state.params)
  state = state._replace(target_params=jax.tree.map(lambda x: x * 1.5, state.params))
  batch, weights = transitions(), np.linspace(0.1, 1, 8, dtype=np.float32)
  targets = network.apply(state.target_params, None, batch.obs_t).critics
  mean = (targets[0].q_values + targets[1].q_values) / 2
  errors = []
  for critic in ('critic1', 'critic2'):
    index = int(critic[-1]) - 1
    taken = network.apply(params, None, batch.obs_tm1).critics[index].q_values
    best = jnp.argmax(network.apply(params, None, batch.obs_t).critics[index].q_values, axis=-1)
    future = jnp.take_along_axis(mean, best[..., None], axis=-1)[..., 0].mean(axis=1)
    taken = jnp.take_along_axis(taken, batch.a_tm1[..., None], axis=-1)[..., 0].mean(axis=1)
    errors.append(np.asarray(batch.r_t + batch.discount_t * future - taken))
  sizes = np.abs(errors)
  huber = np.where(sizes < 1, sizes**2 / 2, sizes - 0.5)
  _, found, metrics = agent.learn(state, batch, weights)
  assert float(metrics['loss']) == pytest.approx(np.mean(weights * huber.sum(axis=0)), rel=1e-4)
  np.testing.assert_allclose(found, sizes.mean(axis=0), rtol=1e-4, atol=1e-5)


def showing_quantiles():
  """A network of one state whose returns are 10 times the quantiles that its key draws."""
  def apply(params, key, observation, training=False):
    taus = jax.random.uniform(key, (len(observation), 4))
    # What is selected depends on the draw: choice 1 wins where the mean quantile is above 1 / 2.
    returns = jnp.stack([jnp.full_like(taus, 5.0), 10 * taus], axis=1)[:, None] * params['scale']
    critic = network_types.Critic(jnp.mean(returns, axis=-1), returns, taus)
    return network_types.QOutput(critic.q_values, {}, (critic,))

  return network_types.QNetwork(lambda key: {'scale': jnp.ones(())}, apply, {})


def test_implicit_quantiles_select_with_another_draw_than_they_value_with():
  config = config_lib.resolve('control', 'test', 'iqn', [], {})
  network = showing_quantiles()
  agent = learner.make_agent(config, network, optax.sgd(0.0))
  batch = types.Transition(
      np.zeros((256, 4), np.float32), np.zeros((256, 1), np.int32), np.zeros(256, np.float32),
      np.ones(256, np.float32), np.zeros((256, 4), np.float32))
  state = agent.init(jax.random.key(0))
  _, loss_key, _ = jax.random.split(state.key, 3)
  online_key, selector_key, target_key = jax.random.split(loss_key, 3)
  online, chooser, target = (
      network.apply({'scale': 1.0}, key, batch.obs_t).critics[0]
      for key in (online_key, selector_key, target_key))
  expected = [
      np.asarray(losses.quantile(online.distribution, online.taus, batch, target.distribution, by))
      for by in (chooser.q_values, target.q_values)]
  _, errors, _ = agent.learn(state, batch, np.ones(256, np.float32))
  np.testing.assert_allclose(errors, expected[0], rtol=1e-5)
  assert np.any(np.abs(expected[0] - expected[1]) > 0.1)


def test_frames_are_shifted_before_they_are_learnt_from():
  def loss(frames, random_shift):
    config = config_lib.resolve('atari', 'test', 'dqn', [], dict(
        torso='data_efficient', hidden_size=8, random_shift=random_shift))
    network = learner.make_network(config, (4, 84, 84), 'uint8', actions.ActionMap(1, 3, None))
    agent = learner.make_agent(config, network, optax.sgd(0.0))
    batch = types.Transition(
        frames, np.zeros((2, 1), np.int32), np.ones(2, np.float32), np.ones(2, np.float32), frames)
    return float(agent.learn(agent.init(jax.random.key(0)), batch, EQUAL[:2])[2]['loss'])

  plain = np.full((2, 4, 84, 84), 90, np.uint8)
  random = np.random.default_rng(0).integers(0, 256, plain.shape, np.uint8)
  assert loss(plain, 4) == pytest.approx(loss(plain, 0), rel=1e-5)
  assert loss(random, 4) != pytest.approx(loss(random, 0), rel=1e-5)


@pytest.mark.parametrize('drawn_anew', [False, True])
def test_drawn_kernels_are_scaled_and_nothing_else(drawn_anew):
  """At the start, and by what resets weights later."""
  def drawn(scale):
    _, _, agent = make(['ln', 'reset(scope=all,period=1)'], initial_scale=scale)
    state = agent.init(jax.random.key(0))
    return (agent.learn(state, transitions(), EQUAL)[0] if drawn_anew else state).params

  plain, scaled = drawn(1.0), drawn(3.0)
  for module, leaves in plain.items():
    for name, leaf in leaves.items():
      np.testing.assert_allclose(
          scaled[module][name], leaf * (3 if name == 'w' else 1), rtol=1e-5, atol=1e-6)


def test_a_penalty_adds_its_own_gradient_to_the_step():
  """That of 0.5 * |theta|^2 is theta."""
  config, network, _ = make()
  penalized, _, _ = make(['l2(strength=0.5)'])
  plain, other = (learner.make_agent(c, network, optax.sgd(0.1)) for c in (config, penalized))
  before = plain.init(jax.random.key(0)).params
  without, with_it = (agent.learn(agent.init(jax.random.key(0)), transitions(), EQUAL)[0].params
                      for agent in (plain, other))
  jax.tree.map(
      lambda a, b, theta: np.testing.assert_allclose(b - a, -0.1 * theta, rtol=1e-3, atol=1e-6),
      without, with_it, before)


def test_of_injected_heads_the_old_one_trains_until_the_injection_and_then_the_new_one_alone():
  """Also where the optimizer would go on with the old one by its momentum."""
  _, network, agent = make(['inject(at=2)'])
  state, parts = agent.init(jax.random.key(0)), network.injection
  for update in range(1, 5):
    before = jax.tree.map(np.array, state.params)
    state, _, _ = agent.learn(state, transitions(seed=update), EQUAL)
    moved = {name for name, leaves in before.items()
             if any(np.any(state.params[name][leaf] != leaves[leaf]) for leaf in leaves)}
    heads = {*parts.own} if update <= 2 else {*parts.new}
    switches = {*parts.switches} if update == 2 else set()
    assert moved == {'dense1', 'dense2'} | heads | switches


def test_of_the_gradient_of_frozen_heads_nothing_is_clipped_or_measured():
  config, network, agent = make([f'inject(at={learner.NORMS_EVERY})'])
  state = agent.init(jax.random.key(0))
  for _ in range(learner.NORMS_EVERY):
    state, _, metrics = agent.learn(state, transitions(), EQUAL)
  assert not metrics['gradient_norm'].measured
  parts, batch = network.injection, transitions(seed=1)
  frozen = {*parts.own, *parts.first, *parts.switches}
  objective = objectives.make(config, network)
  gradient = jax.grad(lambda params: objective.loss(
      params, state.target_params, jax.random.key(0), batch, EQUAL)[0])(state.params)
  assert any(np.any(leaf) for name in frozen for leaf in jax.tree.leaves(gradient[name]))
  expected = optax.global_norm({name: gradient[name] for name in gradient.keys() - frozen})
  _, _, metrics = agent.learn(state, batch, EQUAL)
  assert metrics['gradient_norm'].measured
  np.testing.assert_allclose(metrics['gradient_norm'].value, expected, rtol=1e-5)


def test_the_steps_norm_is_of_trained_leaves_alone_also_where_the_way_is_tuned():
  config, network, _ = make(['trac', 'bn'])
  agent = learner.make_agent(config, network, optimizers.make(config), norms_every=1)
  state = agent.init(jax.random.key(0))
  for update in range(3):
    before = jax.tree.map(np.array, state.params)
    state, _, metrics = agent.learn(state, transitions(seed=update), EQUAL)
    moved = jax.tree.map(np.subtract, state.params, before)
    trained, rest = ({(module, name): leaf for module, leaves in moved.items()
                      for name, leaf in leaves.items()
                      if (name in network_types.STATISTICS) == rests} for rests in (False, True))
    assert all(np.any(leaf) for leaf in rest.values()) and rest
    np.testing.assert_allclose(metrics['update_norm'], optax.global_norm(trained), rtol=1e-5)


def test_norms_are_of_the_first_update_and_every_17th_after_it():
  _, _, agent = make(max_gradient_norm=0.5, optimizer='rmsprop', learning_rate=1.0)
  state, at = agent.init(jax.random.key(0)), []
  for update in range(35):
    before = jax.tree.map(np.array, state.params)
    state, _, metrics = agent.learn(state, transitions(seed=update), EQUAL)
    if metrics['update_norm'].measured:
      at.append(update)
      step = jax.tree.map(np.subtract, state.params, before)
      np.testing.assert_allclose(metrics['update_norm'].value, optax.global_norm(step), rtol=1e-5)
      assert metrics['gradient_norm'].value > 0
  assert at == [0, 17, 34]


MANY = ['ln', 'wd', 'redo(period=2,tau=0.1)']


# Slow: with the optimizing compiler, see `make test-slow`.
@pytest.mark.parametrize('names', [[], MANY, pytest.param(MANY, marks=pytest.mark.slow)])
def test_neither_rare_norms_nor_buffers_given_away_change_what_is_learnt(names):
  config, network, agent = make(names)
  always = learner.make_agent(config, network, optimizers.make(config), norms_every=1)
  keeping = jax.jit(agent.learn.__wrapped__)
  states = [agent.init(jax.random.key(0)) for _ in range(3)]
  for update in range(4):
    batch = transitions(seed=update)
    found = [learn(state, batch, EQUAL) for learn, state in zip(
        (agent.learn, always.learn, keeping), states, strict=True)]
    gone = [all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params)) for state in states]
    assert gone == [True, True, False]
    states = [state for state, _, _ in found]
    for state, errors, _ in found[1:]:
      np.testing.assert_array_equal(errors, found[0][1])
      jax.tree.map(np.testing.assert_array_equal, *map(_all_numbers, (state, states[0])))


@pytest.mark.parametrize('others', [[], ['sp(shrink=0.5,perturb=0.5)'], ['redo(period=1,tau=0.9)']])
def test_a_projection_is_the_last_change_and_what_the_target_network_gets(others):
  _, network, agent = make(['nap', *others], target_update_period=1)
  state = agent.init(jax.random.key(0))
  before = jax.tree.map(np.array, state.params)
  state, _, _ = agent.learn(state, transitions(), EQUAL)
  for params in (state.params, state.target_params):
    for module in before.keys() - {*network.output_modules}:
      if 'w' in before[module]:
        np.testing.assert_allclose(np.linalg.norm(params[module]['w']),
                                   np.linalg.norm(before[module]['w']), rtol=1e-5)


def test_changes_are_made_after_each_update_and_what_they_remember_is_kept():
  _, _, agent = make(['cbp'])
  state = agent.init(jax.random.key(0))
  for update in (1, 2):
    state, _, _ = agent.learn(state, transitions(seed=update), EQUAL)
    assert all(np.all(layer['age'] == update) for layer in state.memory['cbp'].values())


@pytest.mark.parametrize('name, has', [
    ('ln', {'w', 'b', 'scale', 'offset'}), ('nap', {'w', 'scale', 'offset'}),
    ('ln(affine=false)', {'w', 'b'}), ('sn', {'w', 'b', 'singular_vector'})])
def test_hidden_layers_have_the_parameters_that_an_intervention_leaves_them(name, has):
  _, network, _ = make([name])
  params = jax.eval_shape(network.init, jax.random.key(0))
  found = {leaf for module, leaves in params.items() if module not in network.output_modules
           for leaf in leaves}
  assert found == has


def test_an_agents_nonlinearities_are_those_of_its_intervention():
  assert {*make()[1].activations.values()} == {'relu'}
  assert {*make(['crelu'])[1].activations.values()} == {'crelu'}


def test_mechanisms_see_both_observations_of_each_transition():
  config, network, _ = make()
  batch = transitions()
  np.testing.assert_array_equal(
      objectives.make(config, network).observations(batch),
      np.concatenate([batch.obs_tm1, batch.obs_t]))


def test_acting_normalizes_by_running_statistics():
  """A batch of one, whose own mean would be all there is of it, is acted on as among others."""
  _, _, agent = make(norm='batch')
  params, observation = agent.init(jax.random.key(0)).params, transitions().obs_tm1
  _, _, values = agent.act(params, jax.random.key(2), observation, 0.0)
  _, _, alone = agent.act(params, jax.random.key(2), observation[:1], 0.0)
  np.testing.assert_allclose(alone, values[:1], rtol=1e-5)
  assert np.ptp(values) > 1e-3
