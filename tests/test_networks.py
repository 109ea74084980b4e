"""Shapes, initial distributions and normalization of the Q-networks."""

import math

import jax
import numpy as np
import pytest

from networks import heads, layers, norms, q_network, torsos

FRAMES, PIXELS = ((4, 84, 84), 'uint8'), ((3, 84, 84, 3), 'uint8')
IMAGES = (1, 8, 8, 3), 'uint8'
SHAPES = {'drq': PIXELS, 'image_mlp': IMAGES, 'small_image_mlp': IMAGES,
          'small_cnn': IMAGES, 'resnet18': IMAGES,
          'residual_mlp': ((5,), 'float32'), 'mlp': ((10, 5), 'float32')}


def make(torso, norm='none', initializer='uniform_fan_in', num_critics=1, width=1, **head):
  shape, dtype = SHAPES.get(torso, FRAMES)
  return q_network.make(
      torso=torso, observation_shape=shape, observation_dtype=dtype, num_critics=num_critics,
      head=heads.Head(num_action_dims=2, num_choices=3, **head),
      style=layers.Style(initializer, norm, width))


def observations(torso, count=16, seed=0):
  shape, dtype = SHAPES.get(torso, FRAMES)
  values = np.random.default_rng(seed).normal(size=(count, *shape)) * 40 + 100
  return values.clip(0, 255).astype(dtype)


# Seconds each, with every norm.
LARGE = {'impala', 'resnet18'}


@pytest.mark.parametrize('torso, norm', [
    pytest.param(torso, norm, marks=pytest.mark.slow if torso in LARGE and norm != 'none' else [])
    for torso in torsos.TORSOS for norm in norms.NORMS])
def test_utilities_and_features_have_their_shapes(torso, norm):
  network = make(torso, norm)
  params = network.init(jax.random.key(0))
  out = network.apply(params, jax.random.key(1), observations(torso))
  assert out.q_values.shape == (16, 2, 3)
  assert out.q_values.dtype == np.float32
  assert set(out.features) == set(network.activations)
  for name, layer in out.features.items():
    function = layers.ACTIVATIONS[network.activations[name]]
    np.testing.assert_array_equal(function(layer.preactivation), layer.activation)


def test_nature_has_the_published_parameters():
  shapes = {module: {name: value.shape for name, value in tensors.items()}
            for module, tensors in make('nature', hidden_layers=1).init(jax.random.key(0)).items()}
  assert shapes == {
      'conv1': {'w': (8, 8, 4, 32), 'b': (32,)},
      'conv2': {'w': (4, 4, 32, 64), 'b': (64,)},
      'conv3': {'w': (3, 3, 64, 64), 'b': (64,)},
      'hidden1': {'w': (3136, 512), 'b': (512,)},
      'head': {'w': (512, 6), 'b': (6,)}}


@pytest.mark.parametrize('module, fan_in', [
    ('conv1', 8 * 8 * 4), ('conv2', 4 * 4 * 32), ('conv3', 3 * 3 * 64), ('hidden1', 3136),
    ('head', 512)])
def test_weights_and_biases_are_uniform_within_one_over_root_fan_in(module, fan_in):
  tensors = make('nature', hidden_layers=1).init(jax.random.key(3))[module]
  bound = 1 / np.sqrt(fan_in)
  for values in tensors.values():
    assert np.abs(values).max() <= bound
  weights = np.asarray(tensors['w'])
  assert np.abs(weights).max() > 0.99 * bound
  # A uniform variable's standard deviation is its half-width over the root of 3.
  assert weights.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
  assert len(np.unique(tensors['b'])) > 1


def test_fan_out_initializer_scales_with_fan_out_and_leaves_biases_zero():
  tensors = make('residual_mlp', initializer='uniform_fan_out').init(jax.random.key(0))['dense1']
  bound = np.sqrt(3 * 0.333 / 512)
  assert 0.98 * bound < np.abs(tensors['w']).max() <= bound
  assert not np.any(tensors['b'])


def test_shared_bias_is_one_number_for_every_output():
  network = make('mlp', shared_bias=True)
  params = network.init(jax.random.key(0))
  assert 'b' not in params['head']
  assert params['head_bias']['b'].shape == ()
  before = network.apply(params, jax.random.key(1), observations('mlp')).q_values
  moved = params | {'head_bias': {'b': params['head_bias']['b'] + 2.0}}
  after = network.apply(moved, jax.random.key(1), observations('mlp')).q_values
  np.testing.assert_allclose(after - before, 2.0, atol=1e-4)


@pytest.mark.parametrize('torso', torsos.TORSOS)
def test_layer_norm_precedes_every_nonlinearity(torso):
  network = make(torso, 'layer')
  params = network.init(jax.random.key(0))
  out = network.apply(params, jax.random.key(1), observations(torso))
  for name, layer in out.features.items():
    assert set(params[f'{name}_norm']) == {'scale', 'offset'}
    flat = np.asarray(layer.preactivation).reshape(16, -1)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(flat.std(axis=1), 1, atol=2e-2)


def test_without_a_norm_there_is_no_parameter_of_one():
  params = make('nature', hidden_layers=1).init(jax.random.key(0))
  assert not any('norm' in module for module in params)


def test_residual_sum_is_taken_before_the_last_nonlinearity():
  network = make('residual_mlp')
  params = network.init(jax.random.key(0))
  x = observations('residual_mlp')
  weights = jax.tree.map(np.asarray, params)

  def linear(name, value):
    return value @ weights[name]['w'] + weights[name]['b']

  skip = linear('dense1', x)
  hidden = np.maximum(linear('dense2', skip), 0)
  total = skip + linear('dense3', hidden)
  elu = np.where(total > 0, total, np.expm1(np.minimum(total, 0)))
  out = network.apply(params, jax.random.key(1), x)
  expected = linear('head', elu).reshape(16, 2, 3)
  np.testing.assert_allclose(out.q_values, expected, rtol=2e-4, atol=2e-3)


def test_one_seed_is_one_network():
  network = make('mlp')
  first, second, other = (network.init(jax.random.key(k)) for k in (5, 5, 6))
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert np.any(first['dense1']['w'] != other['dense1']['w'])


def test_unknown_torso_is_refused_by_name():
  with pytest.raises(ValueError, match='torso=vgg: unknown; known are nature'):
    q_network.make(
        torso='vgg', observation_shape=(1,), observation_dtype='float32', head=heads.Head(1, 2),
        style=layers.Style())


@pytest.mark.parametrize('torso', torsos.TORSOS)
def test_width_multiplies_every_hidden_layer(torso):
  def sizes(width):
    network = make(torso, width=width)
    out = jax.eval_shape(
        lambda key: network.apply(network.init(key), key, observations(torso, 2)),
        jax.random.key(0))
    return {name: layer.activation.shape[-1] for name, layer in out.features.items()}

  narrow, wide = sizes(1), sizes(3)
  assert wide == {name: 3 * size for name, size in narrow.items()}


def test_impala_has_the_published_parameters():
  params = jax.eval_shape(make('impala').init, jax.random.key(0))
  kernels = {name: tensors['w'].shape for name, tensors in params.items() if 'stack' in name}
  expected, before = {}, 4
  for i, channels in enumerate((16, 32, 32), 1):
    expected[f'stack{i}_conv'] = (3, 3, before, channels)
    expected |= {f'stack{i}_block{j}_conv{k}': (3, 3, channels, channels)
                 for j in (1, 2) for k in (1, 2)}
    before = channels
  assert kernels == expected
  assert params['head']['w'].shape == (11 * 11 * 32, 6)  # 84 -> 42 -> 21 -> 11


def test_resnet18_has_the_published_parameters():
  params = jax.eval_shape(make('resnet18').init, jax.random.key(0))
  kernels = {name: leaves['w'].shape for name, leaves in params.items()}
  expected, before = {'stem': (3, 3, 3, 64), 'head': (512, 6)}, 64
  for i, channels in enumerate((64, 128, 256, 512), 1):
    for block in (1, 2):
      name = f'stage{i}_block{block}'
      expected |= {f'{name}_conv1': (3, 3, before, channels),
                   f'{name}_conv2': (3, 3, channels, channels)}
      if before != channels:
        expected[f'{name}_projection'] = (1, 1, before, channels)
      before = channels
  assert kernels == expected
  assert len([name for name in kernels if 'projection' not in name]) == 18


@pytest.mark.parametrize('torso', torsos.TORSOS)
@pytest.mark.parametrize('activation', ['leaky', 'gelu', 'tanh', 'crelu', 'fourier'])
def test_an_activation_replaces_every_nonlinearity_of_torso_and_head(torso, activation):
  shape, dtype = SHAPES.get(torso, FRAMES)
  network = q_network.make(
      torso=torso, observation_shape=shape, observation_dtype=dtype,
      head=heads.Head(2, 3, hidden_layers=1, distribution='implicit', num_atoms=3),
      style=layers.Style(activation=activation))
  assert set(network.activations.values()) == {activation}
  out = jax.eval_shape(
      lambda key: network.apply(network.init(key), key, observations(torso, 2)), jax.random.key(0))
  factor = 2 if activation in ('crelu', 'fourier') else 1
  for layer in out.features.values():
    assert layer.activation.shape[-1] == factor * layer.preactivation.shape[-1]
  assert out.q_values.shape == (2, 2, 3)


def test_activations_are_their_definitions():
  x = np.linspace(-3, 3, 13, dtype=np.float32)
  phi = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
  expected = {
      'leaky': np.where(x > 0, x, 0.01 * x), 'gelu': x * phi,
      'tanh': np.expm1(2 * x) / (np.exp(2 * x) + 1),
      'crelu': np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]),
      'fourier': np.concatenate([np.sin(x), np.cos(x)])}
  for name, y in expected.items():
    # jax.nn.gelu is the approximation by tanh, within 5e-4 of the definition.
    np.testing.assert_allclose(layers.ACTIVATIONS[name](x), y, atol=1e-3, rtol=0)


def test_images_that_a_kernel_does_not_fit_are_refused():
  with pytest.raises(ValueError, match=r'torso=nature: must take observations of shape '
                     r'\(1, 28, 28, 1\); it does not, its conv3 needs 3x3 pixels and gets 2x2'):
    q_network.make(torso='nature', observation_shape=(1, 28, 28, 1), observation_dtype='uint8',
                   head=heads.Head(1, 2), style=layers.Style())
