"""One probe as a row: its names, its determinism, that it changes nothing, broken networks."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from networks import heads, layers, q_network, types
from probes import norms, ntk, random_target, record, schema, spectrum, states, subject
from tests.tiny_networks import switched

SIZES = record.Sizes(
    random_target.ProbeSize(num_targets=3, num_steps=10, batch_size=8, pool_size=8),
    states.Sizes(num_inputs=6, lanczos_steps=5, trace_kernel=True))
NETWORK = q_network.make(
    torso='mlp', observation_shape=(6,), observation_dtype='float32', head=heads.Head(1, 3),
    style=layers.Style(norm='layer'))
OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
PARAMS = NETWORK.init(jax.random.key(0))


def losses(params, key, target, batch, training):
  observations, values = batch
  q_values = NETWORK.apply(params, key, observations, training=training).q_values[:, 0]
  return target * jnp.sum(jnp.square(q_values - values), axis=-1)


SUBJECT = subject.Subject(NETWORK, optax.adam(1e-3), losses)
INPUTS = subject.Inputs(
    OBSERVATIONS, (OBSERVATIONS[:9], np.random.default_rng(1).normal(size=(9, 3))))


def state(params, growth=1.01):
  return subject.State(params, jnp.ones(()), jax.tree.map(lambda leaf: growth * leaf, params))


FRESH = state(NETWORK.init(jax.random.key(9)))


def measure(params=PARAMS, seed=1, observations=OBSERVATIONS, first=None):
  return record.measure(
      SUBJECT, state(params), FRESH, INPUTS._replace(observations=observations),
      record.References(PARAMS, first), jax.random.key(seed), SIZES)


@pytest.fixture(scope='module')
def measured():
  return measure()


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


def documented(table):
  return {name for metric in table for name in metric.name.split(', ')}


def plain(name):
  """The name by which the schema knows a column: its layer's or module's is left open."""
  group, slash, part = name.partition('/')
  if not slash or group in ('ntk', 'ntk_trace', 'loss_ntk'):
    return name
  if part == 'total':
    return '<group>/total'
  return f'{group}/<module>' if f'{group}/<module>' in documented(
      schema.SCHEMA) else f'{group}/<layer>'


def test_the_schema_says_what_every_column_and_array_means(measured):
  row, arrays = measured
  columns = {plain(name.removeprefix('fresh_')) for name in row}
  assert columns == documented(schema.SCHEMA)
  assert {plain(name.split('_', 1)[1]) for name in arrays} == documented(schema.ARRAYS)
  ours = {name for name in row if not name.startswith(('fresh_', 'plasticity'))}
  probe = documented(schema.PROBE) - {'invalid_targets'}
  assert {name for name in ours - probe if f'fresh_{name}' not in row} == set()


def test_numbers_are_those_of_the_metrics(measured):
  row, arrays = measured
  assert row['num_inputs'] == 6
  output = NETWORK.apply(PARAMS, jax.random.key(0), OBSERVATIONS)
  features = spectrum.feature_spectrum(np.asarray(output.critics[0].penultimate))
  assert row['feature_rank'] == features.feature_rank
  np.testing.assert_allclose(arrays['agent_singular_values'], features.singular_values, rtol=1e-4)
  assert row['output_scale'] == pytest.approx(float(jnp.abs(output.q_values).mean()), rel=1e-5)
  gradients = [jax.grad(lambda params, i=i: losses(
      params, None, 1.0, jax.tree.map(lambda leaf: leaf[i:i + 1], INPUTS.batch), True)[0])(PARAMS)
               for i in range(6)]
  flat = np.stack([np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one)])
                   for one in gradients]).astype(np.float64)
  np.testing.assert_allclose(arrays['agent_loss_ntk'], flat @ flat.T, rtol=1e-3, atol=1e-4)
  assert row['gradient/total'] == pytest.approx(np.linalg.norm(flat.mean(axis=0)), rel=1e-4)
  kernel = ntk.kernel_stats(arrays['agent_ntk'])
  assert row['ntk/mean_abs_cosine'] == kernel.mean_abs_cosine
  assert np.trace(arrays['agent_ntk_trace']) != pytest.approx(np.trace(arrays['agent_ntk']))
  assert row['step/total'] == pytest.approx(0.01, rel=1e-3)
  assert row['distance/total'] == 0
  apart = norms.distances(FRESH.params, PARAMS)
  assert row['fresh_distance/total'] == pytest.approx(apart['total'])


def test_shifts_are_since_the_first_probe(measured):
  row, first = measured
  assert row['shift/dense1'] == row['fresh_shift_scale/dense2'] == 0
  moved = {**PARAMS, 'dense1_norm': {
      'scale': 2 * PARAMS['dense1_norm']['scale'], 'offset': PARAMS['dense1_norm']['offset'] + 3}}
  row, _ = measure(moved, first=first)
  deviation = np.sqrt(first['agent_preactivation_variance/dense1'].mean())
  means = first['agent_preactivation_mean/dense1']
  assert row['shift_direction/dense1'] == pytest.approx(np.mean(means + 3) / deviation, rel=1e-4)
  assert row['shift_scale/dense1'] == pytest.approx(np.log(2), rel=1e-4)
  assert row['fresh_shift/dense1'] == 0


def test_a_first_probe_that_cannot_be_read_leaves_shifts_unknown():
  row, _ = measure(first={})
  shifts = {name: value for name, value in row.items() if 'shift' in name}
  assert shifts and all(np.isnan(value) for value in shifts.values())
  assert np.isfinite(row['plasticity_lost'])


def test_statistics_are_no_trained_parameters():
  """A leaf that no optimizer changes is in no norm, distance, gradient, Hessian or kernel."""
  def apply(params, key, observations, training=False):
    scale = params['norm']['running_variance']
    q_values = observations @ (params['out']['w'] * scale)
    critic = types.Critic(q_values[:, None], penultimate=observations)
    return types.QOutput(q_values[:, None], {}, (critic,))

  def one_loss(params, key, target, batch, training):
    return jnp.sum(apply(params, key, batch).q_values, axis=(1, 2))**2 / 2

  network = types.QNetwork(lambda key: None, apply)
  params = {'norm': {'running_variance': jnp.array(2.0)}, 'out': {'w': jnp.ones((6, 1))}}
  one = subject.State(params, None, params)
  trained, data = subject.trained(params), (
      subject.Shared(subject.statistics(params), jax.random.key(0), one.target), OBSERVATIONS)
  assert trained.keys() == {'out'}
  x = OBSERVATIONS[:4].astype(np.float64)
  kernel = ntk.gram(subject.output(network.apply, 'sum'), trained, data[0], OBSERVATIONS[:4])
  np.testing.assert_allclose(kernel, 4 * x @ x.T, rtol=1e-5)
  gradient = subject.gradient(one_loss, trained, data)
  wanted = 4 * np.mean(OBSERVATIONS.sum(axis=1, keepdims=True) * OBSERVATIONS, axis=0)
  np.testing.assert_allclose(gradient['out']['w'][:, 0], wanted, rtol=1e-4)


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
  again, arrays_again = measure()
  assert row | {'probe_seconds': 0} == again | {'probe_seconds': 0}
  for name in arrays:
    np.testing.assert_array_equal(arrays[name], arrays_again[name])
  other, _ = measure(seed=2)
  for name in ('plasticity', 'plasticity_fresh'):
    assert row[name] != other[name]
  assert row['norm/total'] == other['norm/total']


def test_nothing_is_changed():
  before = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(PARAMS)]
  observations = OBSERVATIONS.copy()
  measure(seed=3, observations=observations)
  assert before == [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(PARAMS)]
  np.testing.assert_array_equal(observations, OBSERVATIONS)


def test_a_network_of_nan_is_counted_and_not_averaged():
  row, _ = measure(jax.tree.map(lambda leaf: leaf * np.nan, PARAMS))
  assert row['invalid_targets'] == 3
  assert row['fresh_invalid_targets'] == 0
  for name in ('plasticity_fresh', 'fresh_sharpness', 'fresh_ntk/mean_norm'):
    assert np.isfinite(row[name]), name
  for name in ('plasticity', 'plasticity_lost', 'plasticity_lost_low', 'dead/total', 'sharpness',
               'feature_rank', 'ntk/mean_norm', 'loss_ntk/srank', 'gradient_dormant/total',
               'shift/dense1', 'aligned'):
    assert np.isnan(row[name]), name


def test_what_was_lost_since_the_first_probe_is_paired_by_target(measured):
  first_row, first = measured
  assert [first_row[f'lost_since_first{end}'] for end in ('', '_low', '_high')] == [0, 0, 0]
  row, arrays = measure(jax.tree.map(lambda leaf: 0.1 * leaf, PARAMS), first=first)
  each = [random_target.lost(*(random_target.RandomTargetFit(
      *(found[f'{name}_{field}'] for field in random_target.RandomTargetFit._fields))
      for name in ('agent', 'fresh'))) for found in (arrays, first)]
  differences = each[0] - each[1]
  assert row['lost_since_first'] == pytest.approx(differences.mean())
  assert differences.min() <= row['lost_since_first_low'] <= row['lost_since_first_high']
  assert row['lost_since_first'] != row['plasticity_lost']


@pytest.mark.parametrize('first', [{}, {'agent_final_losses': np.zeros(2)}])
def test_a_first_probe_of_another_size_gives_no_loss_since(first):
  row, _ = measure(first=first)
  assert np.isnan([row['lost_since_first'], row['lost_since_first_low']]).all()
  assert np.isfinite(row['plasticity_lost'])


@pytest.mark.parametrize('kind', record.KINDS)
def test_every_kind_of_target_gives_a_row(kind):
  sizes = SIZES._replace(kind=kind, state=SIZES.state._replace(trace_kernel=False))
  row, _ = record.measure(SUBJECT, state(PARAMS), FRESH, INPUTS, record.References(PARAMS, None),
                          jax.random.key(1), sizes)
  assert row['plasticity_lost'] == pytest.approx(row['plasticity_fresh'] - row['plasticity'])
  assert np.isfinite(row['plasticity_lost_high'])


@pytest.mark.parametrize('injected', [False, True])
def test_of_heads_that_an_injection_rests_nothing_is_in_gradients_and_kernels(injected):
  network = q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32',
      head=heads.Head(1, 3, injection=True), style=layers.Style())
  params, parts = switched(network, network.init(jax.random.key(0)), injected), network.injection
  moving, resting = (parts.new, parts.own) if injected else (parts.own, parts.new)
  resting = (*resting, *parts.first)

  def losses_of(params, key, target, batch, training):
    q_values = network.apply(params, key, batch[0], training=training).q_values[:, 0]
    return jnp.sum(jnp.square(q_values - batch[1]), axis=-1)

  # The same network where it is told that what rests is constant.
  def held(params, key, observations, training=False):
    fixed = {name: jax.lax.stop_gradient(params[name]) for name in resting}
    return network.apply(params | fixed, key, observations, training=training)

  key = jax.random.key(1)
  found = states.measure(
      subject.Subject(network, optax.adam(1e-3), losses_of),
      subject.State(params, None, params), INPUTS, key, SIZES.state).numbers
  assert all(found[f'gradient/{name}'] > 0 for name in moving)
  assert all(found[f'gradient/{name}'] == 0 for name in resting)
  assert all(np.isnan(found[f'gradient_dormant/{name}']) for name in resting)
  assert np.isfinite(found['gradient_dormant/total']) and np.isfinite(found['sharpness'])
  shared = subject.Shared(subject.statistics(params), key, None)
  kernel = ntk.gram(subject.output(held, 'sum'), subject.trained(params), shared,
                    OBSERVATIONS[:SIZES.state.num_inputs])
  assert found['ntk/mean_norm'] == pytest.approx(ntk.kernel_stats(kernel).mean_norm, rel=1e-4)
