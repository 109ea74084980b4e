"""Plasticity injection in the network: one head until the switch, and nothing seen of it then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import heads, layers, q_network
from tests.tiny_networks import switched

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
KEY = jax.random.key(3)
HEADS = {
    'plain': dict(hidden_layers=1, hidden_size=8),
    'rainbow': dict(hidden_layers=1, hidden_size=8, dueling=True, noisy_sigma=0.5,
                    distribution='categorical', num_atoms=5),
    'implicit': dict(hidden_layers=1, hidden_size=8, distribution='implicit', num_atoms=3),
    'shared_bias': dict(shared_bias=True)}


def make(head, num_critics=1, injection=True):
  return q_network.make(
      torso='mlp', observation_shape=(6,), observation_dtype='float32', num_critics=num_critics,
      head=heads.Head(2, 3, injection=injection, **HEADS[head]), style=layers.Style(norm='layer'))


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('num_critics', [1, 2])
def test_the_switch_changes_no_output_to_the_bit(head, num_critics):
  network = make(head, num_critics)
  params = network.init(jax.random.key(0))
  assert len(network.injection.switches) == num_critics
  outputs = [[critic._replace(penultimate=None) for critic in network.apply(p, KEY, X).critics]
             for p in (params, switched(network, params))]
  jax.tree.map(np.testing.assert_array_equal, *outputs)
  # The plain network of the same parameters, noise apart, which the copies draw too.
  if head != 'rainbow':
    plain = {name: leaves for name, leaves in params.items() if 'injected' not in name}
    np.testing.assert_array_equal(
        outputs[0][0].q_values, make(head, num_critics, False).apply(plain, KEY, X)
        .critics[0].q_values)


@pytest.mark.parametrize('head', HEADS)
def test_gradients_reach_the_old_head_before_and_all_three_after(head):
  network = make(head)
  params = network.init(jax.random.key(0))
  parts = network.injection
  heads_of = [parts.own, parts.new, parts.first]
  assert len(parts.own) == len(parts.new) == len(parts.first) > 0
  shared = {'taus', 'taus_norm'} if head == 'implicit' else set()
  assert {*parts.own, *parts.new, *parts.first, *parts.switches, *shared} == {
      *network.head_modules}

  def reached(params):
    gradient = jax.grad(lambda p: network.apply(p, KEY, X).q_values[:, 0, 0].sum())(params)
    return [any(np.any(leaf) for name in names for leaf in jax.tree.leaves(gradient[name]))
            for names in heads_of]

  assert reached(params) == [True, False, False]
  assert reached(switched(network, params)) == [True, True, True]


def test_after_it_the_output_is_old_plus_new_minus_first():
  network = make('plain')
  params = switched(network, network.init(jax.random.key(0)))
  moved = params | {name: jax.tree.map(lambda leaf: leaf + 0.3, params[name])
                    for name in network.injection.new}
  plain = make('plain', injection=False)

  def alone(names):
    own = dict(zip(network.injection.own, names, strict=True))
    torso = {name: leaves for name, leaves in moved.items() if name.startswith('dense')}
    return plain.apply(torso | {own_name: moved[name] for own_name, name in own.items()}, KEY, X)

  old, new, first = (
      alone(names).q_values
      for names in (network.injection.own, network.injection.new, network.injection.first))
  np.testing.assert_allclose(
      network.apply(moved, KEY, X).q_values, old + new - first, rtol=1e-5, atol=1e-5)
  assert np.any(new != first)


def test_the_penultimate_features_are_those_of_the_head_in_training():
  network = make('plain')
  params = network.init(jax.random.key(0))
  new = network.injection.new
  for injected, name in enumerate(('hidden1', 'injected_new/hidden1')):
    now = switched(network, params) if injected else params
    out = network.apply(now, KEY, X)
    np.testing.assert_array_equal(out.critics[0].penultimate, out.features[name].activation)
    gradient = jax.grad(  # of what a penalty on features takes
        lambda p: jnp.sum(network.apply(p, KEY, X).critics[0].penultimate ** 2))(now)
    assert any(np.any(leaf) for module in new for leaf in jax.tree.leaves(gradient[module])) == (
        injected == 1)


def test_without_injection_there_is_no_parameter_of_it():
  assert not any('injected' in name for name in make('plain', injection=False).init(KEY))
