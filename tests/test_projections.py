"""Projections: where parameters are after an update, and what stays where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import projections
from agents.state import LearnerState
from networks import heads, layers, q_network
from tests.tiny_networks import make


def project(mechanism, params, start=None):
  """Parameters after an update that left `params`, from the initial ones in `start`."""
  state = LearnerState(params, start, (), None, jnp.int32(1), {})
  memory = mechanism.remember(start) if mechanism.remember else None
  after, _ = jax.jit(mechanism.change)(None, state, memory, None)
  jax.tree.map(np.testing.assert_array_equal, after.target_params, start)
  return jax.device_get(after.params)


def moved(network, seed=0):
  """Initial parameters, and what training might make of them."""
  start = jax.device_get(network.init(jax.random.key(seed)))
  rng = np.random.default_rng(seed)
  return start, jax.tree.map(
      lambda leaf: leaf * 3 + rng.normal(size=leaf.shape).astype(np.float32), start)


def norm(*leaves):
  return np.sqrt(sum(np.sum(np.square(np.asarray(leaf, np.float64))) for leaf in leaves))


@pytest.mark.parametrize('torso, head, num_critics', [
    ('data_efficient', 'rainbow', 1), ('residual_mlp', 'hidden', 2), ('mlp', 'implicit', 1)])
def test_normalize_and_project_keeps_each_hidden_norm_and_no_output(torso, head, num_critics):
  network, _ = make(torso, head, num_critics, norm='layer', hidden_bias=False)
  start, params = moved(network)
  after = project(projections.normalize_and_project(network, 1), params, start)
  for module, leaves in params.items():
    if module in network.output_modules:
      jax.tree.map(np.testing.assert_array_equal, after[module], leaves)
      continue
    assert 'b' not in leaves
    if 'scale' in leaves:
      pair = after[module]['scale'], after[module]['offset']
      assert norm(*pair) == pytest.approx(np.sqrt(len(pair[0])), rel=1e-5)
      # Together: their ratio is what training made it.
      np.testing.assert_allclose(
          pair[0] / pair[1], leaves['scale'] / leaves['offset'], rtol=1e-3)
    else:
      assert norm(after[module]['w']) == pytest.approx(norm(start[module]['w']), rel=1e-5)
      direction = np.asarray(after[module]['w'] / leaves['w']).ravel()
      np.testing.assert_allclose(direction, direction[0], rtol=1e-3)
      for name in leaves.keys() - {'w'}:
        np.testing.assert_array_equal(after[module][name], leaves[name])


def test_rescaled_weights_have_their_layers_initial_norm_outputs_included():
  network, _ = make('data_efficient', 'rainbow')
  start, params = moved(network)
  after = project(projections.rescale_weights(network, 1), params, start)
  per_unit = []
  for module, leaves in params.items():
    assert norm(after[module]['w']) == pytest.approx(norm(start[module]['w']), rel=1e-5)
    per_unit.append(np.allclose(
        np.linalg.norm(np.asarray(after[module]['w']).reshape(-1, leaves['w'].shape[-1]), axis=0),
        np.linalg.norm(np.asarray(start[module]['w']).reshape(-1, leaves['w'].shape[-1]), axis=0)))
    for name in leaves.keys() - {'w'}:
      np.testing.assert_array_equal(after[module][name], leaves[name])
  assert not any(per_unit)


@pytest.mark.parametrize('make_mechanism', [
    projections.normalize_and_project, projections.rescale_weights])
def test_projections_happen_at_their_period(make_mechanism):
  network, _ = make('mlp', norm='layer', hidden_bias=False)
  start, params = moved(network)
  mechanism = make_mechanism(network, 3)
  memory = mechanism.remember(start)
  for num_updates in range(1, 7):
    state = LearnerState(params, start, (), None, jnp.int32(num_updates), {})
    after, _ = mechanism.change(None, state, memory, None)
    same = np.array_equal(after.params['dense1']['w'], params['dense1']['w'])
    assert same == (num_updates % 3 != 0)


@pytest.mark.parametrize('kappa', [1.0, 0.5])
def test_clipped_weights_stay_within_kappa_over_root_fan_in(kappa):
  network, _ = make('data_efficient', 'rainbow', norm='layer')
  start, params = moved(network)
  after = project(projections.clip_weights(network, kappa), params, start)
  fan_in = {'conv1': 5 * 5 * 4, 'conv2': 5 * 5 * 32, 'value_head': 8, 'advantage_head': 8}
  for module, leaves in params.items():
    bound = kappa / np.sqrt(fan_in.get(module, 576))
    for name, leaf in leaves.items():
      if name in ('w', 'b'):
        np.testing.assert_allclose(after[module][name], np.clip(leaf, -bound, bound), rtol=1e-6)
        assert np.abs(leaf).max() > bound
      else:
        np.testing.assert_array_equal(after[module][name], leaf)


def test_the_bias_that_outputs_share_is_clipped_by_their_fan_in():
  network = q_network.make(
      torso='mlp', observation_shape=(5,), observation_dtype='float32',
      head=heads.Head(2, 3, shared_bias=True), style=layers.Style())
  start, params = moved(network)
  params['head_bias']['b'] = np.float32(5)
  after = project(projections.clip_weights(network, 0.5), params, start)
  assert after['head_bias']['b'] == pytest.approx(0.5 / np.sqrt(64))
