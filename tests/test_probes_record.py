"""One probe as a row: its names, its determinism, that it changes nothing, broken networks."""

import io

import jax
import numpy as np
import optax
import pytest

from networks import heads, layers, q_network
from probes import random_target, record

SIZE = random_target.ProbeSize(num_targets=3, num_steps=10, batch_size=8, pool_size=8)
OPTIMIZER = optax.adam(1e-3)
NETWORK = q_network.make(
    torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 3),
    style=layers.Style(norm='layer'))
OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
PARAMS = NETWORK.init(jax.random.key(0))


@pytest.fixture(scope='module')
def measured():
  return record.measure(NETWORK, PARAMS, OPTIMIZER, OBSERVATIONS, jax.random.key(1), SIZE)


def test_the_row_is_flat_and_numbers_add_up(measured):
  row, _ = measured
  assert all(isinstance(value, int | float) for value in row.values())
  assert row['num_observations'] == 50
  assert row['pool_size'] == 8
  assert row['plasticity_lost'] == pytest.approx(row['plasticity_fresh'] - row['plasticity'])
  assert row['plasticity_lost_low'] <= row['plasticity_lost'] <= row['plasticity_lost_high']
  assert row['invalid_targets'] == row['fresh_invalid_targets'] == 0
  parts = [value for name, value in row.items()
           if name.startswith('norm/') and name != 'norm/total']
  assert row['norm/total'] == pytest.approx(np.sqrt(np.sum(np.square(parts))))
  assert row['probe_seconds'] > 0


def test_the_schema_says_what_every_column_means(measured):
  row, _ = measured
  names = {name for metric in record.SCHEMA for name in metric.name.split(', ')}
  for column in row:
    plain = column.removeprefix('fresh_')
    group = plain.split('/')[0] + ('/<module>' if plain.startswith('norm/') else '/<layer>')
    assert plain in names or group in names, column
  assert {name for name in names if '<' not in name} <= set(row)


def test_the_fresh_network_is_another_one(measured):
  row, _ = measured
  assert row['fresh_norm/dense1'] != row['norm/dense1']
  assert row['fresh_norm/dense1'] == pytest.approx(row['norm/dense1'], rel=0.1)
  for name in ('dead/dense1', 'linear/total', 'norm/dense2_norm'):
    assert f'fresh_{name}' in row


def test_the_arrays_are_plain_and_of_both_networks(measured):
  _, arrays = measured
  file = io.BytesIO()
  np.savez(file, **arrays)
  file.seek(0)
  loaded = np.load(file, allow_pickle=False)
  assert loaded['agent_curves'].shape == loaded['fresh_curves'].shape == (3, 10)
  np.testing.assert_array_equal(
      loaded['agent_target_variances'], loaded['fresh_target_variances'])


def test_equal_keys_give_equal_rows_and_others_others(measured):
  row, arrays = measured
  again, arrays_again = record.measure(
      NETWORK, PARAMS, OPTIMIZER, OBSERVATIONS, jax.random.key(1), SIZE)
  assert row | {'probe_seconds': 0} == again | {'probe_seconds': 0}
  for name in arrays:
    np.testing.assert_array_equal(arrays[name], arrays_again[name])
  other, _ = record.measure(NETWORK, PARAMS, OPTIMIZER, OBSERVATIONS, jax.random.key(2), SIZE)
  for name in ('plasticity', 'plasticity_fresh', 'fresh_norm/total'):
    assert row[name] != other[name]
  assert row['norm/total'] == other['norm/total']


def test_nothing_is_changed():
  before = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(PARAMS)]
  observations = OBSERVATIONS.copy()
  record.measure(NETWORK, PARAMS, OPTIMIZER, observations, jax.random.key(3), SIZE)
  assert before == [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(PARAMS)]
  np.testing.assert_array_equal(observations, OBSERVATIONS)


def test_a_network_of_nan_is_counted_and_not_averaged():
  params = jax.tree.map(lambda leaf: leaf * np.nan, PARAMS)
  row, _ = record.measure(NETWORK, params, OPTIMIZER, OBSERVATIONS, jax.random.key(1), SIZE)
  assert row['invalid_targets'] == 3
  assert row['fresh_invalid_targets'] == 0
  assert np.isfinite(row['plasticity_fresh'])
  for name in ('plasticity', 'plasticity_lost', 'plasticity_lost_low', 'dead/total'):
    assert np.isnan(row[name]), name
