"""Who makes and who reads each hidden layer, shown by changing one unit's weights."""

import jax
import numpy as np
import pytest

from networks import heads, layers, q_network, torsos
from tests.tiny_networks import HEADS, SMALL, make


@pytest.mark.parametrize('torso', SMALL)
@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('num_critics', [1, 2])
@pytest.mark.parametrize('activation', ['', 'crelu'])
def test_a_unit_is_what_its_row_says(torso, head, num_critics, activation):
  network, x = make(torso, head, num_critics, activation=activation)
  params, key = network.init(jax.random.key(0)), jax.random.key(1)
  out = network.apply(params, key, x)
  assert network.units
  for layer, units in network.units.items():
    unit = units.size - 1
    producer = jax.tree.map(np.array, params[units.producer])
    for name, leaf in producer.items():
      leaf[..., unit] += 20 if name == 'b' else 0.01
    features = network.apply(params | {units.producer: producer}, key, x).features
    change = np.abs(features[layer].preactivation - out.features[layer].preactivation)
    changed = change.reshape(-1, units.size).max(axis=0) > 0
    assert changed[unit] and not changed[:unit].any()
    # Without what leaves it, the unit is not missed; with any part of it, it would be.
    silenced = {name: jax.tree.map(np.array, params[name]) for name in units.consumers}
    for name in units.consumers:
      for leaf in ('w', 'w_sigma'):
        if leaf in silenced[name]:
          kernel = silenced[name][leaf]
          kernel[..., np.arange(kernel.shape[-2]) % units.size == unit, :] = 0
    changes = params | silenced, params | silenced | {units.producer: producer}
    before, after = (network.apply(p, key, x) for p in changes)
    np.testing.assert_allclose(before.q_values, after.q_values, rtol=1e-5, atol=1e-5)
    moved = network.apply(params | {units.producer: producer}, key, x)
    assert np.abs(moved.q_values - out.q_values).max() > 0


@pytest.mark.parametrize('torso', torsos.TORSOS)
def test_sums_are_left_out_and_all_else_is_in(torso):
  network, _ = make(torso, norm='layer')
  sums = {name for name in network.activations
          if name in ('dense3', 'stem') or name.endswith(('_in', '_out'))}
  assert network.units.keys() == network.activations.keys() - sums
  assert all(units.norm == f'{units.producer}_norm' for units in network.units.values())


@pytest.mark.parametrize('head, outputs, others', [
    ('plain', {'head'}, set()), ('hidden', {'head'}, {'hidden1', 'hidden2'}),
    ('rainbow', {'value_head', 'advantage_head'}, {'value_hidden1', 'advantage_hidden1'}),
    ('shared', {'value_head', 'advantage_head'}, {'hidden1'}),
    ('implicit', {'head'}, {'taus', 'hidden1'})])
def test_outputs_and_heads_are_told_from_the_torso(head, outputs, others):
  network, _ = make('mlp', head)
  assert set(network.output_modules) == outputs
  assert set(network.head_modules) == outputs | others
  twins, _ = make('mlp', head, num_critics=2)
  assert set(twins.output_modules) == {
      f'critic{i}/{name}' for i in (1, 2) for name in outputs}


def test_auxiliary_outputs_are_linear_in_the_penultimate_features():
  network = q_network.make(
      torso='mlp', observation_shape=(5,), observation_dtype='float32', num_critics=2,
      head=heads.Head(2, 3, hidden_layers=1, hidden_size=8), style=layers.Style(), num_auxiliary=4)
  params, x = network.init(jax.random.key(0)), np.ones((3, 5), np.float32)
  out = network.apply(params, jax.random.key(1), x)
  expected = [critic.penultimate @ params[f'auxiliary{i}']['w'] + params[f'auxiliary{i}']['b']
              for i, critic in enumerate(out.critics, 1)]
  np.testing.assert_allclose(out.auxiliary, np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-6)
  both = {'auxiliary1', 'auxiliary2'}
  assert both <= {*network.output_modules} and not both & {*network.head_modules}
  for i, critic in enumerate(out.critics, 1):
    last = out.features[f'critic{i}/hidden1'].activation
    np.testing.assert_array_equal(critic.penultimate, last)


@pytest.mark.parametrize('norm, has_bias', [('none', True), ('layer', False), ('own', False)])
def test_biases_go_where_a_normalization_follows_and_only_there(norm, has_bias):
  network, _ = make('drq', norm=norm, hidden_bias=False)
  params = jax.eval_shape(network.init, jax.random.key(0))
  assert ('b' in params['bottleneck']) == has_bias
  assert ('b' in params['conv1']) == ('b' in params['hidden1']) == (norm != 'layer')
  assert 'b' in params['head']
