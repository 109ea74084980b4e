"""Dead and linear units, parameter norms, and the batches they are taken over."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from networks import heads, layers, q_network, types
from probes import batches, norms, units

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


@pytest.mark.parametrize('num_dead', [0, 1, 17, 64])
def test_a_real_network_with_that_many_units_killed(num_dead):
  network = q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 2),
      style=layers.Style())
  params = network.init(KEY)
  observations = np.random.default_rng(0).normal(size=(1024, 6)).astype(np.float32)
  alive = units.unit_fractions(network, params, observations, KEY).dead['dense1']
  assert alive == 0.0  # or the next line would not kill what it says
  params['dense1']['b'] = params['dense1']['b'].at[:num_dead].set(-100.0)
  found = units.unit_fractions(network, params, observations, KEY)
  assert found.dead['dense1'] == num_dead / 64


def test_norms_by_hand():
  params = {'conv1': {'w': jnp.full((2, 2), 2.0), 'b': jnp.array([3.0, 0.0])},
            'head': {'w': jnp.array([[12.0]])}}
  assert norms.parameter_norms(params) == pytest.approx({'conv1': 5.0, 'head': 12.0, 'total': 13.0})


def test_norms_of_many_parameters_do_not_drift():
  params = {'dense1': {'w': np.full(3_000_000, 0.1, np.float32)}}
  expected = np.sqrt(3_000_000) * float(np.float32(0.1))
  assert norms.parameter_norms(params)['total'] == pytest.approx(expected, rel=1e-12)


@hypothesis.given(st.integers(1, 40), st.integers(1, 12))
def test_batches_are_equal_and_leave_nothing_out(count, batch_size):
  observations = np.arange(count)[:, None]
  found = list(batches.batches(observations, batch_size))
  assert {batch.shape for batch in found} == {(batch_size, 1)}
  assert len(found) == -(-count // batch_size)
  np.testing.assert_array_equal(np.concatenate(found)[:count], observations)
