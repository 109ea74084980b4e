"""Every preset: its published settings, its published network, and that it learns."""

import jax
import numpy as np
import pytest
from dm_env import specs

from agents import actions, errors, learner, loop, optimizers, presets
from agents import config as config_lib
from replay import types
from tests import catch_runs

NUM_ACTIONS = 6


def resolve(agent, domain='atari', **overrides):
  return config_lib.resolve(domain, 'test', agent, [], overrides)


# dqn_zoo's run_atari.py, agent by agent; its periods in frames are 4 to an agent step and 16 to an
# update.
SHARED = dict(
    torso='nature', hidden_layers=1, hidden_size=512, norm='none', discount=0.99, reward_clip=1.0,
    batch_size=32, steps_per_update=16 // 4, replay_capacity=1_000_000, n_step=1, double=False,
    dueling=False, noisy=False, prioritized=False, distribution='none', shared_bias=False,
    error_loss='clipped', initializer='uniform_fan_in', run_length=200_000_000, num_critics=1,
    adam_b1=0.9, adam_b2=0.999, new_priority=0.0)
EPSILON = dict(
    exploration_epsilon_begin=1.0, exploration_epsilon_end=0.01,
    exploration_decay_steps=0)  # 2% of the run: see below
PRIORITIES = dict(
    prioritized=True, uniform_probability=1e-3, importance_exponent_begin=0.4,
    importance_exponent_end=1.0)
CATEGORIES = dict(distribution='categorical', num_atoms=51, v_min=-10.0, v_max=10.0)
CENTRED = dict(optimizer='rmsprop', learning_rate=0.00025, optimizer_epsilon=0.01 / 32**2,
               max_gradient_norm=0.0)
ZOO = {
    'dqn': EPSILON | CENTRED | dict(
        exploration_epsilon_end=0.1, eval_epsilon=0.05, target_update_period=40_000 // 16,
        min_replay_size=50_000),
    'double_dqn': EPSILON | CENTRED | dict(
        double=True, eval_epsilon=0.01, target_update_period=120_000 // 16,
        min_replay_size=50_000, shared_bias=True),
    'prioritized': EPSILON | CENTRED | PRIORITIES | dict(
        double=True, eval_epsilon=0.01, target_update_period=120_000 // 16,
        min_replay_size=50_000, shared_bias=True, learning_rate=0.00025 / 4,
        optimizer_epsilon=(0.01 / 32**2) * (1 / 4)**2, priority_exponent=0.6),
    'c51': EPSILON | CATEGORIES | dict(
        eval_epsilon=0.001, target_update_period=40_000 // 16, min_replay_size=50_000,
        optimizer='adam', learning_rate=0.00025, optimizer_epsilon=0.01 / 32,
        max_gradient_norm=10.0),
    'qr_dqn': EPSILON | dict(
        distribution='quantile', num_atoms=201, eval_epsilon=0.001,
        target_update_period=40_000 // 16, min_replay_size=50_000, optimizer='adam',
        learning_rate=0.00005, optimizer_epsilon=0.01 / 32, max_gradient_norm=10.0),
    'iqn': EPSILON | dict(
        distribution='implicit', num_atoms=64, eval_epsilon=0.001,
        target_update_period=40_000 // 16, min_replay_size=20_000, optimizer='adam',
        learning_rate=0.00005, optimizer_epsilon=0.01 / 32, max_gradient_norm=0.0),
    'rainbow': CATEGORIES | PRIORITIES | dict(
        double=True, dueling=True, dueling_gradient=1.0, noisy=True, noisy_sigma=0.1, n_step=3,
        eval_epsilon=0.0, target_update_period=32_000 // 16, min_replay_size=20_000,
        optimizer='adam', learning_rate=0.00025 / 4, optimizer_epsilon=0.005 / 32,
        max_gradient_norm=10.0, priority_exponent=0.5, eval_noise=True,
        # Without noise 250,000 frames: Hessel et al. 2018, section 4.
        exploration_epsilon_end=0.01, exploration_decay_steps=250_000 // 4),
}
# Dopamine's gin files, whose periods are in agent steps, 4 to an update.
DOPAMINE = EPSILON | dict(
    torso='nature_same', optimizer='adam', learning_rate=6.25e-5, optimizer_epsilon=1.5e-4,
    max_gradient_norm=0.0, min_replay_size=20_000, target_update_period=8_000 // 4,
    exploration_decay_steps=250_000, eval_epsilon=0.001)
OTHERS = {
    'dopamine_dqn': DOPAMINE | dict(initializer='glorot_uniform', error_loss='squared'),
    'dopamine_rainbow': DOPAMINE | CATEGORIES | dict(
        n_step=3, prioritized=True, priority_exponent=0.5, importance_exponent_begin=0.5,
        importance_exponent_end=0.5, uniform_probability=0.0, initializer='narrow_fan_in'),
    # Wang et al. 2016, section 4.2, on the settings of Double DQN.
    'dueling': EPSILON | CENTRED | dict(
        double=True, dueling=True, dueling_gradient=1 / 2**0.5, learning_rate=6.25e-5,
        max_gradient_norm=10.0,
        target_update_period=120_000 // 16, eval_epsilon=0.01),
    # van Hasselt et al. 2019; noise off in evaluation: Dopamine's DER.gin.
    'rainbow_der': CATEGORIES | dict(
        torso='data_efficient', hidden_size=256, double=True, dueling=True, noisy=True,
        noisy_sigma=0.1, n_step=20, prioritized=True, priority_exponent=0.5,
        importance_exponent_begin=0.4, importance_exponent_end=1.0, min_replay_size=1_600,
        steps_per_update=1, target_update_period=2_000, optimizer='adam', learning_rate=1e-4,
        optimizer_epsilon=1.5e-4, max_gradient_norm=10.0, replay_capacity=100_000,
        eval_noise=False, exploration_epsilon_end=0.01, exploration_decay_steps=2_000),
}
# tseyde/decqn, config_default.py, and its network.
DECQN = dict(
    torso='residual_mlp', hidden_layers=0, initializer='uniform_fan_out', bins=2, num_critics=2,
    double=True, distribution='none', error_loss='huber', discount=0.99, n_step=3,
    batch_size=256, steps_per_update=256 // 32, target_update_period=100, optimizer='adam',
    learning_rate=1e-4, max_gradient_norm=40.0, replay_capacity=1_000_000, min_replay_size=1_000,
    prioritized=True, priority_exponent=0.6, importance_exponent_begin=0.2,
    importance_exponent_end=0.2, uniform_probability=0.0, new_priority=1.0,
    adam_b1=0.9, adam_b2=0.999, optimizer_epsilon=1e-8, exploration_epsilon_begin=0.1,
    exploration_epsilon_end=0.1, eval_epsilon=0.0, reward_clip=0.0)
TABLE = [
    *(('atari', name, SHARED | row) for name, row in (ZOO | OTHERS).items()),
    ('control', 'decqn', DECQN | dict(norm='own')),
    ('control', 'decqn_plain', DECQN | dict(norm='none'))]


@pytest.mark.parametrize('domain, agent, published', TABLE, ids=[row[1] for row in TABLE])
def test_settings_are_the_published_ones(domain, agent, published):
  config = resolve(agent, domain)
  found = {name: getattr(config, name) for name in published}
  assert found == pytest.approx(published)


@pytest.mark.parametrize('run_length', [200_000_000, 2_000_000])
def test_exploration_decays_over_the_first_fiftieth_of_a_run(run_length):
  config = resolve('double_dqn', run_length=run_length, min_replay_size=1_000)
  end = 1_000 + run_length * 2 // 100 // 4  # dqn_zoo's exploration_epsilon_decay_frame_fraction
  found = [loop.exploration_epsilon(config, step) for step in (1_000, (1_000 + end) // 2, end)]
  assert found == pytest.approx([1.0, 0.505, 0.01], abs=1e-3)
  assert loop.exploration_epsilon(config, end - end // 100) > 0.011


def test_every_preset_is_in_these_tables():
  torsos = {name: dict(row.domains['supervised']) for name, row in presets.PRESETS.items()
            if 'supervised' in row.domains}
  assert torsos == {'mlp': {'torso': 'image_mlp'},
                    'small_mlp': {'torso': 'small_image_mlp', 'batch_size': 64},
                    'cnn': {'torso': 'small_cnn'},
                    'resnet18': {'torso': 'resnet18'}}
  assert {row[1] for row in TABLE} == set(presets.PRESETS) - set(torsos)


def params_of(agent, domain='atari', seed=0, pixels=False):
  config = config_lib.resolve(
      domain, 'test', agent, [], {}, observations='pixels' if pixels else 'state')
  spec, shape, dtype = specs.BoundedArray((3,), np.float32, -1, 1), (24,), 'float32'
  if domain == 'atari':
    spec, shape, dtype = specs.DiscreteArray(NUM_ACTIONS), (4, 84, 84), 'uint8'
  elif pixels:
    shape, dtype = (3, 84, 84, 3), 'uint8'
  network = learner.make_network(config, shape, dtype, actions.action_map(spec, config.bins))
  return network.init(jax.random.key(seed))


def shapes_of(params):
  return {f'{module}/{name}': value.shape
          for module, tensors in params.items() for name, value in tensors.items()}


def linear(name, fan_in, size, bias=True):
  return {f'{name}/w': (fan_in, size)} | ({f'{name}/b': (size,)} if bias else {})


def noisy(name, fan_in, size, bias=True):
  return linear(name, fan_in, size, bias) | {
      f'{name}/w_sigma': (fan_in, size), f'{name}/b_sigma': (size,)}


CONVS = {
    'conv1/w': (8, 8, 4, 32), 'conv1/b': (32,), 'conv2/w': (4, 4, 32, 64), 'conv2/b': (64,),
    'conv3/w': (3, 3, 64, 64), 'conv3/b': (64,)}
HIDDEN = linear('hidden1', 3136, 512)
WIDE = linear('hidden1', 11 * 11 * 64, 512)  # Padded: 84 / 4 = 21, 21 / 2 = 10.5.
SHARED_BIAS = linear('head', 512, NUM_ACTIONS, bias=False) | {'head_bias/b': ()}


def streams(layer, fan_in, hidden, size, num_outputs, bias):
  return (
      layer('value_hidden1', fan_in, hidden) | layer('value_head', hidden, num_outputs, bias)
      | layer('advantage_hidden1', fan_in, hidden)
      | layer('advantage_head', hidden, size * num_outputs, bias))


SHAPES = {
    'dqn': CONVS | HIDDEN | linear('head', 512, NUM_ACTIONS),
    'double_dqn': CONVS | HIDDEN | SHARED_BIAS,
    'prioritized': CONVS | HIDDEN | SHARED_BIAS,
    'dueling': CONVS | streams(linear, 3136, 512, NUM_ACTIONS, 1, True),
    'c51': CONVS | HIDDEN | linear('head', 512, NUM_ACTIONS * 51),
    'qr_dqn': CONVS | HIDDEN | linear('head', 512, NUM_ACTIONS * 201),
    'iqn': CONVS | HIDDEN | linear('head', 512, NUM_ACTIONS) | linear('taus', 64, 3136),
    'rainbow': CONVS | streams(noisy, 3136, 512, NUM_ACTIONS, 51, False),
    'dopamine_dqn': CONVS | WIDE | linear('head', 512, NUM_ACTIONS),
    'dopamine_rainbow': CONVS | WIDE | linear('head', 512, NUM_ACTIONS * 51),
    'rainbow_der': {
        'conv1/w': (5, 5, 4, 32), 'conv1/b': (32,), 'conv2/w': (5, 5, 32, 64), 'conv2/b': (64,)}
        | streams(noisy, 3 * 3 * 64, 256, NUM_ACTIONS, 51, False),
}


@pytest.mark.parametrize('agent', SHAPES)
def test_network_has_the_published_shapes(agent):
  assert shapes_of(params_of(agent)) == SHAPES[agent]


@pytest.mark.parametrize('agent', ['decqn', 'decqn_plain'])
def test_decqn_has_the_published_shapes(agent):
  expected = {}
  for critic in ('critic1/', 'critic2/'):
    expected |= linear(f'{critic}dense1', 24, 512) | linear(f'{critic}dense2', 512, 512)
    expected |= linear(f'{critic}dense3', 512, 512) | linear(f'{critic}head', 512, 3 * 2)
    if agent == 'decqn':
      expected |= {f'{critic}dense3_norm/scale': (512,), f'{critic}dense3_norm/offset': (512,)}
  assert shapes_of(params_of(agent, 'control')) == expected


# How a kernel is drawn: (bound or None, standard deviation), from fan-in and fan-out.
def _uniform(bound):
  return bound, bound / np.sqrt(3)


DRAWS = {
    'uniform_fan_in': lambda fan_in, fan_out: _uniform(np.sqrt(1 / fan_in)),
    'uniform_fan_out': lambda fan_in, fan_out: _uniform(np.sqrt(3 * 0.333 / fan_out)),
    'glorot_uniform': lambda fan_in, fan_out: _uniform(np.sqrt(6 / (fan_in + fan_out))),
    # The normal distribution within two deviations has 0.8796 of its own.
    'truncated_fan_in': lambda fan_in, fan_out: (2 / np.sqrt(fan_in), 0.8796 / np.sqrt(fan_in)),
    'narrow_fan_in': lambda fan_in, fan_out: _uniform(np.sqrt(np.sqrt(3) / fan_in)),
}


@pytest.mark.parametrize('domain, agent', [row[:2] for row in TABLE], ids=[r[1] for r in TABLE])
def test_network_has_the_published_initial_distribution(domain, agent):
  check_draws(resolve(agent, domain).initializer, params_of(agent, domain, seed=3))


def test_from_pixels_the_network_starts_as_sonnets():
  check_draws('truncated_fan_in', params_of('decqn', 'control', seed=3, pixels=True))


def check_draws(initializer, params):
  draw = DRAWS[initializer]
  for module, tensors in params.items():
    for name, value in tensors.items():
      value = np.asarray(value)
      if name == 'w':
        area = int(np.prod(value.shape[:-2]))
        bound, deviation = draw(area * value.shape[-2], area * value.shape[-1])
        assert np.abs(value).max() <= bound * (1 + 1e-6), module
        assert value.std() == pytest.approx(deviation, rel=0.1), module
        assert value.mean() == pytest.approx(0, abs=4 * deviation / np.sqrt(value.size)), module
      elif name.endswith('_sigma'):  # dqn_zoo: 0.1 / sqrt(fan-in), Fortunato et al. 2018.
        fan_in = tensors['w'].shape[0]
        np.testing.assert_allclose(value, 0.1 / np.sqrt(fan_in), rtol=1e-6)
      elif name == 'b' and draw is DRAWS['uniform_fan_in']:
        fan_in = np.prod(tensors['w'].shape[:-1]) if 'w' in tensors else 512
        assert np.abs(value).max() <= np.sqrt(1 / fan_in)
        assert np.any(value), module
      elif name in ('b', 'offset'):
        assert not np.any(value), module


def test_two_critics_start_apart():
  params = params_of('decqn', 'control')
  assert np.any(params['critic1/dense1']['w'] != params['critic2/dense1']['w'])


# What Catch needs to be learnt in seconds: a small network, early and frequent updates.
SMALL = dict(
    torso='mlp', hidden_layers=1, hidden_size=64, initializer='uniform_fan_in',
    min_replay_size=100, replay_capacity=4000, steps_per_update=2, target_update_period=50,
    optimizer='adam', learning_rate=1e-3, optimizer_epsilon=1e-8, exploration_decay_steps=1000,
    exploration_epsilon_begin=1.0, exploration_epsilon_end=0.05, discount=0.95, eval_length=250,
    unit='steps', eval_epsilon=0.0, run_length=15_000, batch_size=32)
FEWER = {
    # Returns are in [-1, 1]. A cross-entropy moves expectations less than a TD error does.
    'categorical': dict(num_atoms=11, v_min=-1.0, v_max=1.0, learning_rate=3e-3),
    'quantile': dict(num_atoms=16), 'implicit': dict(num_atoms=8), 'none': {}}
# With its own network and learning rate, which do well here.
OWN_NETWORK = dict(torso='residual_mlp', hidden_layers=0, learning_rate=1e-4)


def on_catch(domain, agent, **overrides):
  published = resolve(agent, domain)
  changes = SMALL | FEWER[published.distribution] | dict(n_step=min(published.n_step, 3))
  if domain == 'control':
    changes |= OWN_NETWORK
  config = config_lib.resolve(domain, 'catch', agent, [], changes | overrides)
  assert config.norm == published.norm
  return catch_runs.build(config)


# One of each loss, and the two defaults; the others are parts or mixtures of these.
QUICK = {'dqn', 'c51', 'qr_dqn', 'iqn', 'rainbow', 'decqn'}


@pytest.mark.timeout(400)  # A seed may need the whole bound, and machines are slower or faster.
@pytest.mark.parametrize('domain, agent', [
    pytest.param(*row[:2], id=row[1], marks=[] if row[1] in QUICK else pytest.mark.slow)
    for row in TABLE])
def test_learns_catch(domain, agent):
  catch_runs.learn(on_catch(domain, agent), 0.8)


@pytest.mark.timeout(400)
def test_centred_rmsprop_and_clipped_errors_learn_catch():
  run = on_catch('atari', 'dqn', optimizer='rmsprop', optimizer_epsilon=0.01 / 32**2)
  assert run.config.error_loss == 'clipped'
  catch_runs.learn(run, 0.8)


def build(agent, domain, action_spec, shape, dtype, **overrides):
  config = resolve(agent, domain, **overrides)
  network = learner.make_network(
      config, shape, dtype, actions.action_map(action_spec, config.bins))
  return config, learner.make_agent(config, network, optimizers.make(config))


def random_batch(config, size, shape, dtype, num_dims):
  rng = np.random.default_rng(0)
  obs_tm1, obs_t = rng.uniform(0, 255, (2, size, *shape)).astype(dtype)
  return types.Transition(
      obs_tm1, rng.integers(0, config.bins, (size, num_dims), np.int32),
      rng.uniform(0, 1, size).astype(np.float32), np.full(size, 0.9, np.float32), obs_t)


ON_CONTROL = [name for name, row in presets.PRESETS.items() if 'control' in row.domains]


@pytest.mark.parametrize('agent', ON_CONTROL)
def test_acts_and_learns_in_three_action_dimensions(agent):
  spec = specs.BoundedArray((3,), np.float32, -1, 1)
  config, made = build(agent, 'control', spec, (5,), 'float32')
  batch = random_batch(config, 8, (5,), np.float32, 3)
  params = made.init(jax.random.key(0)).params
  _, choices, values = made.act(params, jax.random.key(1), batch.obs_t, 0.5)
  assert choices.shape == (8, 3) and values.shape == (8,)
  assert_all_parameters_learn(made, batch)


def assert_all_parameters_learn(made, batch):
  size, state = len(batch.r_t), made.init(jax.random.key(0))
  before = jax.tree.map(np.array, state.params)
  state, errors, metrics = made.learn(state, batch, np.ones(size, np.float32))
  assert errors.shape == (size,) and np.isfinite(errors).all() and np.isfinite(metrics['loss'])
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, state.params)
  assert all(jax.tree.leaves(moved))


def test_decqn_learns_from_shifted_pixels():
  config = config_lib.resolve('control', 'test', 'decqn', [], {}, observations='pixels')
  action_map = actions.action_map(specs.BoundedArray((2,), np.float32, -1, 1), config.bins)
  network = learner.make_network(config, (3, 84, 84, 3), 'uint8', action_map)
  made = learner.make_agent(config, network, optimizers.make(config))
  assert_all_parameters_learn(made, random_batch(config, 2, (3, 84, 84, 3), np.uint8, 2))


@pytest.mark.parametrize('agent', ON_CONTROL)
def test_from_pixels_every_agent_has_decqns_encoder_and_two_layers(agent):
  config = config_lib.resolve('control', 'test', agent, [], {}, observations='pixels')
  assert (config.torso, config.hidden_layers, config.hidden_size, config.random_shift) == (
      'drq', 2, 1024, 4)
  spec = actions.action_map(specs.BoundedArray((2,), np.float32, -1, 1), config.bins)
  network = learner.make_network(config, (3, 84, 84, 3), 'uint8', spec)
  shapes = shapes_of(jax.eval_shape(network.init, jax.random.key(0)))
  convs = {name: shape for name, shape in shapes.items() if name.startswith('conv')}
  assert convs == {'conv1/w': (3, 3, 9, 32), 'conv1/b': (32,)} | {
      f'conv{i}/{name}': shape for i in (2, 3, 4)
      for name, shape in (('w', (3, 3, 32, 32)), ('b', (32,)))}
  assert shapes['bottleneck/w'] == (42 * 42 * 32, 100)
  assert ('bottleneck_norm/scale' in shapes) == (agent == 'decqn')
  hidden = {shape for name, shape in shapes.items() if 'hidden' in name and name.endswith('/w')}
  assert hidden == {(100, 1024), (1024, 1024)}


@pytest.mark.parametrize('agent, domain, others', [
    ('dopamine_dqn', 'control', 'decqn'), ('rainbow_der', 'control', 'decqn'),
    ('decqn', 'atari', 'rainbow'), ('decqn_plain', 'atari', 'rainbow')])
def test_a_preset_on_the_wrong_domain_is_refused(agent, domain, others):
  with pytest.raises(errors.UsageError) as caught:
    resolve(agent, domain)
  text = str(caught.value)
  assert text.startswith(f'agent={agent}: is not for {domain}; use one of ') and others in text


ABLATIONS = {
    'double': 'false', 'dueling': 'false', 'prioritized': 'false', 'n_step': '1',
    'distribution': 'none', 'noisy': 'false'}


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_of_rainbow_is_one_setting(name):
  overrides = config_lib.parse_overrides([f'{name}={ABLATIONS[name]}'])
  for domain in ('atari', 'control'):
    assert overrides[name] != getattr(resolve('rainbow', domain), name)
    assert getattr(resolve('rainbow', domain, **overrides), name) == overrides[name]
  spec = specs.BoundedArray((3,), np.float32, -1, 1)
  config, made = build('rainbow', 'control', spec, (5,), 'float32', torso='mlp', hidden_size=8,
                       **overrides)
  state, errors, _ = made.learn(
      made.init(jax.random.key(0)), random_batch(config, 4, (5,), np.float32, 3),
      np.ones(4, np.float32))
  assert np.isfinite(errors).all() and int(state.num_updates) == 1


@pytest.mark.parametrize('agent', ['c51', 'qr_dqn', 'iqn', 'rainbow', 'prioritized', 'dueling'])
def test_the_same_flag_works_on_control(agent):
  config = resolve(agent, 'control')
  assert (config.n_step, config.batch_size, config.bins) == (3, 256, 3)
  if config.distribution == 'categorical':
    assert (config.v_min, config.v_max) == (0.0, 100.0)
