"""Dead, linear and dormant units, how preactivations moved, and the batches they are taken over."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from networks import heads, layers, q_network, types
from probes import batches, histograms, units

KEY = jax.random.key(0)


def showing(activations):
  """A network whose layers' preactivations are what the observation holds under their names."""
  def apply(params, key, observations):
    del key
    features = {name: types.Layer(observations[..., columns] * params['scale'], jnp.nan)
                for name, columns in columns_of(activations).items()}
    return types.QOutput(jnp.zeros((len(observations), 1, 1)), features)

  return types.QNetwork(lambda key: {'scale': 1.0}, apply, activations)


def columns_of(activations):
  """Three columns of the observation for each layer."""
  return {name: slice(3 * i, 3 * i + 3) for i, name in enumerate(activations)}


def fractions(activations, observations):
  observations = np.asarray(observations, np.float32)
  return units.unit_fractions(showing(activations), {'scale': 1.0}, observations, KEY)


def test_by_hand():
  #                       dead   mixed  linear
  found = fractions({'dense1': 'relu'}, [[-1.0, -1.0, 2.0], [0.0, 3.0, 1.0]])
  assert found.dead == pytest.approx({'dense1': 1 / 3, 'total': 1 / 3})
  assert found.linear == pytest.approx({'dense1': 1 / 3, 'total': 1 / 3})


def test_a_channel_lives_if_it_is_active_at_any_position():
  observations = np.full((4, 2, 2, 3), -1.0)
  observations[3, 1, 0, 1] = 0.5
  found = fractions({'conv1': 'relu'}, observations)
  assert found.dead['conv1'] == pytest.approx(2 / 3)
  assert found.linear['conv1'] == 0.0


@pytest.mark.parametrize('row', [0, 200, 299])
def test_one_active_observation_of_any_batch_is_enough(row):
  assert batches.BATCH_SIZE < 200
  observations = np.full((300, 3), -1.0)
  observations[row, 0] = 1e-3
  assert fractions({'dense1': 'relu'}, observations).dead['dense1'] == pytest.approx(2 / 3)


def test_an_elu_unit_is_dead_where_its_slope_is_below_a_thousandth():
  deep, shallow = np.log(1e-3) - 0.1, np.log(1e-3) + 0.1
  found = fractions({'dense1': 'elu'}, [[deep, shallow, -0.5], [deep - 1, deep, -0.5]])
  assert found.dead['dense1'] == pytest.approx(1 / 3)


def test_a_unit_that_is_not_finite_makes_its_layer_unknown():
  found = fractions(
      {'dense1': 'relu', 'dense2': 'relu'}, [[np.nan, -1.0, -1.0, -1.0, -1.0, 1.0]])
  assert np.isnan([found.dead['dense1'], found.linear['dense1'], found.dead['total']]).all()
  assert found.dead['dense2'] == pytest.approx(2 / 3)


TWO_LAYERS = showing({'dense1': 'relu', 'dense2': 'relu'})  # One, so that it is compiled once.


@hypothesis.given(st.lists(
    st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1.0]), min_size=6, max_size=6), min_size=1,
    max_size=8))
def test_against_a_slow_count(observations):
  found = units.unit_fractions(
      TWO_LAYERS, {'scale': 1.0}, np.array(observations, np.float32), KEY)
  columns = list(zip(*observations, strict=True))
  dead = [all(value <= 0 for value in column) for column in columns]
  linear = [all(value > 0 for value in column) for column in columns]
  for flags, by_layer in ((dead, found.dead), (linear, found.linear)):
    expected = {'dense1': sum(flags[:3]) / 3, 'dense2': sum(flags[3:]) / 3, 'total': sum(flags) / 6}
    assert by_layer == pytest.approx(expected)


MLP = q_network.make(
    torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 2),
    style=layers.Style())


@pytest.mark.parametrize('num_dead, num_linear', [(0, 0), (1, 0), (17, 5), (0, 64), (64, 0)])
def test_a_real_network_with_that_many_units_killed_and_linearized(num_dead, num_linear):
  params = MLP.init(KEY)
  observations = np.random.default_rng(0).normal(size=(1024, 6)).astype(np.float32)
  params['dense1']['b'] = params['dense1']['b'].at[:num_dead].set(-100.0)
  params['dense1']['b'] = params['dense1']['b'].at[num_dead:num_dead + num_linear].set(100.0)
  found = units.unit_fractions(MLP, params, observations, KEY)
  assert found.dead['dense1'] == num_dead / 64
  assert found.linear['dense1'] == num_linear / 64


# Activations that have twice the units of the preactivation, or that networks may come to have.
STAND_INS = {
    'leaky': jax.nn.leaky_relu,
    'gelu': jax.nn.gelu,
    'crelu': lambda x: jnp.concatenate([jax.nn.relu(x), jax.nn.relu(-x)], axis=-1),
    'waves': lambda x: jnp.concatenate([jnp.sin(x), jnp.cos(x)], axis=-1),
}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
  for name, activation in STAND_INS.items():
    monkeypatch.setitem(layers.ACTIVATIONS, f'test_{name}', activation)


@pytest.mark.parametrize('activation, dead, linear', [
    #               below,   above,  both signs
    ('relu', [1, 0, 0], [0, 1, 0]),
    ('test_leaky', [0, 0, 0], [1, 1, 0]),
    ('test_crelu', [0, 0, 0], [1, 1, 0]),
])
def test_without_curvature_one_sign_is_linear_and_nothing_else(activation, dead, linear):
  # The last unit is above zero but for a hair: its affine residual is far below any threshold.
  below, above = np.linspace(-3, -1, 200), np.linspace(1, 3, 200)
  observations = np.stack([below, above, np.r_[-1e-6, above[1:]]], axis=1).astype(np.float32)
  (layer,) = units.layer_stats(
      showing({'dense1': activation}), {'scale': 1.0}, observations, KEY).values()
  np.testing.assert_array_equal(layer.dead, dead)
  np.testing.assert_array_equal(layer.linear, linear)


@pytest.mark.parametrize('activation, centers, width, linear', [
    ('tanh', [0, 1, -2], 0.02, [1, 1, 1]),
    ('tanh', [0, 1, -2], 1.0, [0, 0, 0]),
    ('elu', [3, 0, -2], 1.0, [1, 0, 0]),  # residual 0.1 across zero
    ('test_gelu', [20, 0, -1], 2.0, [1, 0, 0]),
    ('test_waves', [0, 1, 2], 0.02, [1, 1, 1]),
    ('test_waves', [0, 1, 2], 2.0, [0, 0, 0]),
])
def test_a_smooth_unit_is_linear_where_it_hardly_bends(activation, centers, width, linear):
  observations = np.array(centers) + width * np.linspace(-1, 1, 300)[:, None]
  (layer,) = units.layer_stats(showing({'dense1': activation}), {'scale': 1.0},
                               observations.astype(np.float32), KEY).values()
  np.testing.assert_array_equal(layer.linear, linear)


def test_a_dead_smooth_unit_is_not_linear_and_a_constant_one_is():
  observations = np.tile(np.array([-30.0, 0.5, 2.0], np.float32), (4, 1))
  (layer,) = units.layer_stats(
      showing({'dense1': 'elu'}), {'scale': 1.0}, observations, KEY).values()
  np.testing.assert_array_equal(layer.dead, [1, 0, 0])
  np.testing.assert_array_equal(layer.linear, [0, 1, 1])


def slow_residual(a, outputs):
  """Variance that the best lines through `a` [n] leave of `outputs` [n, parts], over all of it."""
  left = total = 0.0
  for h in outputs.T:
    line = np.polyfit(a, h, 1)
    left += np.mean((h - np.polyval(line, a))**2)
    total += np.var(h)
  return left / total


@pytest.mark.parametrize('activation', ['relu', 'tanh', 'test_waves'])
@pytest.mark.parametrize('shape', [(300, 3), (130, 2, 2, 3)])
def test_statistics_against_slow_ones(activation, shape):
  rng = np.random.default_rng(0)
  # Rows drift, so that batches have other means, and the last batch is mostly filling.
  drift = np.linspace(0, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
  observations = (rng.normal(size=shape) * [0.005, 0.1, 2.0] + drift * 0.1).astype(np.float32)
  (layer,) = units.layer_stats(
      showing({'dense1': activation}), {'scale': 1.0}, observations, KEY).values()
  h = np.asarray(layers.ACTIVATIONS[activation](jnp.asarray(observations)), np.float64)
  a, h = observations.reshape(-1, 3).astype(np.float64), h.reshape(-1, h.shape[-1])
  np.testing.assert_allclose(layer.mean, [np.mean(column) for column in a.T], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(layer.variance, [np.var(column) for column in a.T], rtol=1e-5)
  np.testing.assert_allclose(layer.activity, [np.mean(np.abs(column)) for column in h.T], rtol=1e-5)
  edges = np.r_[-np.inf, np.float32(histograms.EDGES), np.inf]
  np.testing.assert_array_equal(layer.histogram, np.histogram(a, edges)[0])
  if activation != 'relu':
    linear = [slow_residual(a[:, j], h[:, j::3]) < 1e-3 for j in range(3)]
    assert 0 < sum(linear) < 3
    np.testing.assert_array_equal(layer.linear, linear)


def stats_of(activity=(1.0,), mean=(0.0,), variance=(1.0,)):
  unknown = np.array([np.nan])
  return {'dense1': units.LayerStats(
      unknown, unknown, np.array(mean), np.array(variance), np.array(activity), unknown)}


@pytest.mark.parametrize('activity, tau, expected', [
    ([0.0, 0.099, 0.101, 3.8], 0.1, 0.5),  # the mean is 1
    ([0.0, 0.099, 0.101, 3.8], 0.0, 0.25),
    ([0.0, 0.025, 1.0, 2.975], 0.025, 0.5),
    ([0.0, 0.0], 0.025, 1.0),  # a layer that does nothing
    ([1.0, np.nan], 0.025, np.nan),
])
def test_dormant_by_hand(activity, tau, expected):
  found = units.dormant(stats_of(activity), tau)
  assert found == pytest.approx({'dense1': expected, 'total': expected}, nan_ok=True)


def test_with_two_outputs_a_unit_can_be_half_dormant():
  observations = np.array([[1.0, -1.0, 1.0], [2.0, -2.0, -1.0]], np.float32)
  stats = units.layer_stats(showing({'dense1': 'test_crelu'}), {'scale': 1.0}, observations, KEY)
  assert units.dormant(stats)['dense1'] == pytest.approx(2 / 6)


def test_gradient_dormancy_by_hand():
  rng = np.random.default_rng(0)
  kernel, matrix = rng.normal(size=(3, 3, 2, 8)), rng.normal(size=(5, 4))
  kernel[..., :3] *= 1e-4
  matrix[:, 1] = 0
  gradients = {'conv1': {'w': jnp.array(kernel), 'b': jnp.zeros(8)},
               'conv1_norm': {'scale': jnp.ones(8)}, 'head': {'w': jnp.array(matrix)}}
  for (name, weights) in (('conv1', kernel), ('head', matrix)):
    norms = [np.sqrt(sum(x**2 for x in weights[..., j].ravel())) for j in range(weights.shape[-1])]
    expected = np.mean([norm / np.mean(norms) <= 0.9 for norm in norms])
    assert units.gradient_dormant(gradients, tau=0.9)[name] == pytest.approx(expected)
  found = units.gradient_dormant(gradients)
  assert found == pytest.approx({'conv1': 3 / 8, 'head': 1 / 4, 'total': 4 / 12})


def test_shift_by_hand():
  before = stats_of(mean=[0.0, 1.0, 2.0], variance=[1.0, 4.0, 7.0])  # deviation 2
  after = stats_of(mean=[1.0, 0.0, 5.0], variance=[16.0, 16.0, 16.0])
  assert units.preactivation_shift(after, before)['dense1'] == pytest.approx(
      (5 / 3 / 2, 1 / 2, np.log(2)))
  assert units.preactivation_shift(before, before)['dense1'] == (0, 0, 0)


def test_shift_from_what_never_varied_is_infinite_or_unknown():
  still = stats_of(variance=[0.0])
  assert units.preactivation_shift(stats_of(mean=[1.0]), still)['dense1'].distance == np.inf
  assert np.isnan(units.preactivation_shift(still, still)['dense1']).all()


@hypothesis.given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=7, max_size=7))
@hypothesis.example([0.0, -0.0, 1e-7, -1e-7, 1.0, 1e5, -1e5])
def test_histograms_against_a_slow_count(values):
  found = np.asarray(histograms.count(jnp.array(values, jnp.float32)))
  edges = [float(edge) for edge in np.float32(histograms.EDGES)]
  expected = np.zeros(len(edges) + 1, int)
  for value in values:
    expected[sum(value >= edge for edge in edges)] += 1
  np.testing.assert_array_equal(found, expected)


def test_bins_are_symmetric_and_rise():
  np.testing.assert_array_equal(histograms.EDGES, -histograms.EDGES[::-1])
  assert (np.diff(histograms.EDGES) > 0).all()
  assert np.searchsorted(histograms.EDGES, 0.0) == histograms.NUM_BINS // 2


@hypothesis.given(st.integers(1, 40), st.integers(1, 12))
def test_batches_are_equal_and_leave_nothing_out(count, batch_size):
  observations = np.arange(count)[:, None]
  found = list(batches.batches(observations, batch_size))
  assert {batch.shape for batch in found} == {(batch_size, 1)}
  assert len(found) == -(-count // batch_size)
  np.testing.assert_array_equal(np.concatenate(found)[:count], observations)
