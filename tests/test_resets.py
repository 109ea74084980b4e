"""What draws weights anew: which, from what, with which moments, and what stays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agents import resets
from agents.mechanism import Batch
from agents.state import LearnerState
from networks import types
from tests.tiny_networks import HEADS, SMALL, make

KEY = jax.random.key(7)


def start(network, seed=0):
  """A state whose moments are 1 everywhere, and whose target is another network."""
  params = network.init(jax.random.key(seed))
  adam = jax.tree.map(jnp.ones_like, optax.adam(1e-3).init(params))
  return LearnerState(
      params, network.init(jax.random.key(seed + 1)), adam, jax.random.key(2), jnp.int32(1), {})


def batch_of(network, state, x):
  return Batch(jnp.asarray(x), network.apply(state.params, KEY, x))


def moments(state):
  return state.opt_state[0].mu, state.opt_state[0].nu


def same(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize('torso', SMALL)
@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('num_critics', [1, 2])
@pytest.mark.parametrize('style', [{}, {'norm': 'layer'}, {'activation': 'crelu'}], ids=str)
def test_a_recycled_unit_is_fresh_silent_and_without_moments(torso, head, num_critics, style):
  network, x = make(torso, head, num_critics, **style)
  state, fresh = start(network), network.init(KEY)
  layer = list(network.units)[-1]
  units = network.units[layer]
  chosen = {layer: jnp.arange(units.size) == units.size - 2}
  after = resets.recycle(network, state, chosen, KEY)
  expected, counts = (jax.tree.map(np.array, tree) for tree in (state.params, moments(state)[0]))
  for module in filter(None, (units.producer, units.norm)):
    for name, leaf in expected[module].items():
      leaf[..., -2] = fresh[module][name][..., -2]
      counts[module][name][..., -2] = 0
  for module in units.consumers:
    for name in {'w', 'w_sigma'} & expected[module].keys():
      rows = np.arange(expected[module][name].shape[-2]) % units.size == units.size - 2
      expected[module][name][..., rows, :] = 0
      counts[module][name][..., rows, :] = 0
  same(after.params, expected)
  for moment in moments(after):
    same(moment, counts)
  same(after.target_params, state.target_params)
  # Nothing that the unit now says is heard.
  loud = after.params[units.producer]
  loud = {name: leaf.at[..., -2].add(3) for name, leaf in loud.items()}
  if not style.get('norm'):  # Else its layer's statistics move with it.
    before, now = (network.apply(params, KEY, x).q_values
                   for params in (after.params, after.params | {units.producer: loud}))
    np.testing.assert_allclose(before, now, rtol=1e-6, atol=1e-6)


def with_activations(network, state, values):
  """dense1 of a small MLP gives these activations whatever it sees."""
  dense1 = {'w': jnp.zeros_like(state.params['dense1']['w']), 'b': jnp.asarray(values)}
  return state._replace(params=state.params | {'dense1': dense1})


def test_dormant_is_relative_to_the_layers_mean():
  network, x = make('mlp')
  values = np.full(64, 10.0, np.float32)
  values[:4] = 0.2, 0.3, 0.0, -5.0  # Of a mean of 9.4 at tau = 0.025: at most 0.235.
  state = with_activations(network, start(network), values)
  after, _ = resets.redo(network, 1, 0.025).change(KEY, state, None, batch_of(network, state, x))
  new = np.asarray(after.params['dense1']['b'] != values)
  assert new[[0, 2, 3]].all() and not new[1] and not new[4:].any()
  after, _ = resets.redo(network, 1, 0.0).change(KEY, state, None, batch_of(network, state, x))
  assert np.flatnonzero(after.params['dense1']['b'] != values).tolist() == [2, 3]


def test_dormant_is_silent_at_both_observations_of_a_transition():
  network, x = make('mlp')
  state = with_activations(network, start(network), np.full(64, 10.0, np.float32))
  dense1 = state.params['dense1']
  # Unit 0 is the first input, which is 0 before the transition and 1 after it; unit 1 is silent.
  dense1 = {'w': dense1['w'].at[0, 0].set(1), 'b': dense1['b'].at[:2].set(jnp.array([0.0, -5.0]))}
  state = state._replace(params=state.params | {'dense1': dense1})
  obs_tm1 = jnp.zeros_like(x)
  obs_t = obs_tm1.at[:, 0].set(1)
  batch = Batch(
      jnp.concatenate([obs_tm1, obs_t]), network.apply(state.params, KEY, obs_tm1))
  after, _ = resets.redo(network, 1, 0.0).change(KEY, state, None, batch)
  assert np.flatnonzero(after.params['dense1']['b'] != dense1['b']).tolist() == [1]


def test_a_units_activity_is_the_mean_of_sizes_whatever_their_signs():
  network, _ = make('mlp', activation='tanh')
  state = with_activations(network, start(network), np.full(64, 1.0, np.float32))
  dense1 = state.params['dense1']
  # Unit 0 is tanh of the first input, unit 1 of -1 always.
  dense1 = {'w': dense1['w'].at[0, 0].set(1), 'b': dense1['b'].at[:2].set(jnp.array([0.0, -1.0]))}
  x = jnp.zeros((2, 5)).at[:, 0].set(jnp.array([2.0, -2.0]))
  features = network.apply(state.params | {'dense1': dense1}, KEY, x).features
  activity = resets._activity(network, features)['dense1']
  np.testing.assert_allclose(activity, [np.tanh(2), *[np.tanh(1)] * 63], rtol=1e-5)


@pytest.mark.parametrize('torso, style', [
    ('data_efficient', {}), ('residual_mlp', {}), ('mlp', {'activation': 'crelu'})], ids=str)
def test_recycling_dead_units_leaves_the_function_as_it_is(torso, style):
  network, x = make(torso, **style)
  state = start(network)
  dead = {}
  for layer, units in network.units.items():
    if style:  # A unit of CReLU is silent at 0 alone.
      leaves = jax.tree.map(lambda leaf: leaf.at[..., :3].set(0), state.params[units.producer])
    else:
      bias = state.params[units.producer]['b'].at[:3].set(-1e6)
      leaves = state.params[units.producer] | {'b': bias}
    state = state._replace(params=state.params | {units.producer: leaves})
    dead[layer] = units
  before = network.apply(state.params, KEY, x).q_values
  after, _ = resets.redo(network, 1, 0.0).change(KEY, state, None, batch_of(network, state, x))
  np.testing.assert_array_equal(network.apply(after.params, KEY, x).q_values, before)
  for units in dead.values():
    w = after.params[units.producer]['w']
    assert np.any(w != state.params[units.producer]['w'])
    for moment in moments(after):
      assert not np.any(moment[units.producer]['w'][..., :3])


def test_scores_are_means_over_samples_positions_and_halves():
  network, x = make('data_efficient', activation='crelu')
  state = start(network)
  features = network.apply(state.params, KEY, x).features
  activity = resets._activity(network, features)
  for layer, units in network.units.items():
    a = np.asarray(features[layer].preactivation)
    slow = [np.mean([max(v, 0) + max(-v, 0) for v in a[..., i].ravel()]) / 2
            for i in range(units.size)]
    np.testing.assert_allclose(activity[layer], slow, rtol=1e-4)


def slow_cbp(memory, activity, outgoing, rate, maturity, decay):
  """One update of one layer, in words of the paper; indices drawn anew."""
  memory['age'] += 1
  memory['utility'] = decay * memory['utility'] + (1 - decay) * activity * outgoing
  corrected = memory['utility'] / (1 - decay ** memory['age'])
  mature = [i for i, age in enumerate(memory['age']) if age > maturity]
  memory['due'] += rate * len(mature)
  count = int(memory['due'])
  memory['due'] -= count
  chosen = sorted(mature, key=lambda i: corrected[i])[:count]
  memory['age'][chosen] = memory['utility'][chosen] = 0
  return chosen


@pytest.mark.parametrize('head, num_critics', [('rainbow', 1), ('hidden', 2)])
def test_continual_backprop_is_the_papers_algorithm(head, num_critics):
  settings = dict(rate=0.02, maturity=6, decay=0.9)
  network, x = make('data_efficient', head, num_critics)
  mechanism, state = resets.cbp(network, **settings), start(network)
  memory = mechanism.remember(state.params)
  twin = {layer: dict(age=np.zeros(units.size), utility=np.zeros(units.size), due=0.0)
          for layer, units in network.units.items()}
  change, total = jax.jit(mechanism.change), 0
  for step in range(20):
    batch = batch_of(network, state, x + step)
    after, memory = change(jax.random.key(step), state, memory, batch)
    for layer, units in network.units.items():
      h = np.abs(batch.online.features[layer].activation).reshape(-1, units.size).mean(axis=0)
      w = sum(np.abs(state.params[name]['w']).sum(axis=-1).reshape(-1, units.size).sum(axis=0)
              for name in units.consumers)
      chosen = slow_cbp(twin[layer], h, w, **settings)
      total += len(chosen)
      b = np.asarray(after.params[units.producer]['b'] != state.params[units.producer]['b'])
      assert np.flatnonzero(b).tolist() == sorted(chosen)
      for name, value in twin[layer].items():
        np.testing.assert_allclose(memory[layer][name], value, rtol=1e-4, atol=1e-5)
    state = after
  assert total > 10


def test_shrink_and_perturb_mixes_in_a_fresh_network_and_nothing_else():
  network, x = make('mlp', norm='batch')
  state = start(network)
  change = resets.sp(network, 0.75, 0.5, 1).change
  after, _ = change(KEY, state, None, batch_of(network, state, x))
  fresh = network.init(KEY)
  for module, leaves in state.params.items():
    for name, leaf in leaves.items():
      mixed = leaf if name in types.STATISTICS else 0.75 * leaf + 0.5 * fresh[module][name]
      np.testing.assert_allclose(after.params[module][name], mixed, rtol=1e-6)
  same((after.target_params, moments(after)), (state.target_params, moments(state)))


@pytest.mark.parametrize('scope, modules', [
    ('outputs', {'value_head', 'advantage_head'}),
    ('head', {'value_head', 'advantage_head', 'value_hidden1', 'advantage_hidden1'}),
    ('all', None)])
def test_a_reset_draws_its_scope_anew_in_the_target_too(scope, modules):
  network, x = make('mlp', 'rainbow')
  state, fresh = start(network), network.init(KEY)
  after, _ = resets.reset(network, scope, 1).change(KEY, state, None, batch_of(network, state, x))
  for module, leaves in state.params.items():
    inside = modules is None or module in modules
    same(after.params[module], fresh[module] if inside else leaves)
    same(after.target_params[module], fresh[module] if inside else state.target_params[module])
    for moment in moments(after):
      assert all(np.all(leaf == (0 if inside else 1)) for leaf in moment[module].values())


@pytest.mark.parametrize('num_critics', [1, 2])
def test_injection_switches_once_changes_no_output_and_then_trains_the_new_head(num_critics):
  network, x = make('mlp', 'rainbow', num_critics, injection=True)
  state, mechanism, parts = start(network), resets.inject(network, 3), network.injection
  batch = batch_of(network, state, x)

  def trained(state):
    factors = mechanism.mask(state.params)
    return {module for module, leaves in factors.items() if all(leaves.values())}

  torso = state.params.keys() - {*network.head_modules}
  assert torso and trained(state) == {*torso, *parts.own}
  unchanged, _ = mechanism.change(KEY, state._replace(num_updates=jnp.int32(2)), None, batch)
  same(unchanged.params, state.params)
  after, _ = mechanism.change(KEY, state._replace(num_updates=jnp.int32(3)), None, batch)
  assert trained(after) == {*torso, *parts.new}
  for params, before in ((after.params, state.params), (after.target_params, state.target_params)):
    same(*([critic._replace(penultimate=None) for critic in network.apply(one, KEY, x).critics]
           for one in (params, before)))
    assert all(params[name][types.INJECTED] == 1 for name in parts.switches)
  for moment in moments(after):
    for module, leaves in moment.items():
      assert all(np.all(leaf == (0 if module in parts.new else 1)) for leaf in leaves.values())
  # Once: what the new head's moments have become by then stays.
  trained_on = after._replace(num_updates=jnp.int32(4), opt_state=state.opt_state)
  later, _ = mechanism.change(KEY, trained_on, None, batch)
  same((later.params, later.opt_state), (after.params, state.opt_state))


@pytest.mark.parametrize('head', ['plain', 'hidden', 'rainbow', 'shared'])
def test_auxiliary_outputs_do_not_hear_a_recycled_unit_either(head):
  network, x = make('mlp', head, num_auxiliary=3)
  state = start(network)
  last = list(network.units)[-1]
  chosen = {last: jnp.arange(network.units[last].size) < 4}
  outs = [network.apply(resets.recycle(network, state, chosen, jax.random.key(i)).params, KEY, x)
          for i in (7, 8)]
  assert any(module.startswith('auxiliary') for module in network.units[last].consumers)
  jax.tree.map(np.testing.assert_array_equal, outs[0].auxiliary, outs[1].auxiliary)
