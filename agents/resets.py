"""Interventions that draw weights anew between updates.

All of them reset what the optimizer keeps of a weight that they draw anew (mechanism.reset_moments)
and leave the priorities in replay as they are. The target network keeps its weights until its next
refresh, but where the paper resets it too, as said there.
"""

from collections.abc import Container, Iterable, Mapping

import jax
import jax.numpy as jnp

from agents.mechanism import Batch, Mechanism, every, reset_moments, when
from agents.state import LearnerState
from networks import types

Array = jax.Array
Flags = Mapping[str, Array]  # hidden layer -> bool [units]


def redo(network: types.QNetwork, period: int, tau: float) -> Mechanism:
  """Recycles dormant neurons (ReDo, Sokar et al. 2023, algorithm 1).

  A unit is tau-dormant where its mean |activation| over the batch (and positions) is at most tau
  times its layer's mean of that. Both observations of each transition count.
  """
  def change(key: Array, state: LearnerState, memory: None, batch: Batch):
    noise_key, init_key = jax.random.split(key)
    features = network.apply(state.params, noise_key, batch.observations).features
    activity = _activity(network, features)
    dormant = {layer: score <= tau * jnp.mean(score) for layer, score in activity.items()}
    return recycle(network, state, dormant, init_key), memory

  return Mechanism(change=every(period, change))


def cbp(network: types.QNetwork, rate: float, maturity: int, decay: float) -> Mechanism:
  """Continual backprop (Dohare et al. 2024, algorithm 1).

  At each update `rate` of a layer's units older than `maturity` updates are due, those of least
  utility: a running mean of |activation| times the sum of |outgoing weights|, its bias corrected.
  """
  def remember(params: types.Params):
    del params
    return {layer: dict(age=jnp.zeros(units.size), utility=jnp.zeros(units.size),
                        due=jnp.zeros(())) for layer, units in network.units.items()}

  def change(key: Array, state: LearnerState, memory: Mapping[str, Mapping[str, Array]],
             batch: Batch):
    activity, chosen, kept = _activity(network, batch.online.features), {}, {}
    for layer, units in network.units.items():
      age, utility, due = (memory[layer][name] for name in ('age', 'utility', 'due'))
      age += 1
      useful = activity[layer] * _outgoing(state.params, units)
      utility = decay * utility + (1 - decay) * useful
      mature = age > maturity
      due += rate * jnp.sum(mature)
      num = jnp.floor(due)
      corrected = utility / (1 - decay ** age)
      rank = jnp.argsort(jnp.argsort(jnp.where(mature, corrected, jnp.inf)))
      chosen[layer] = mature & (rank < num)
      kept[layer] = dict(age=jnp.where(chosen[layer], 0, age), due=due - num,
                         utility=jnp.where(chosen[layer], 0, utility))
    any_chosen = jnp.any(jnp.stack([jnp.any(flags) for flags in chosen.values()]))
    state = jax.lax.cond(
        any_chosen, lambda state: recycle(network, state, chosen, key), lambda state: state, state)
    return state, kept

  return Mechanism(remember=remember, change=change)


def recycle(
    network: types.QNetwork, state: LearnerState, chosen: Flags, key: Array) -> LearnerState:
  """Draws the chosen units' incoming weights anew and sets their outgoing ones to 0.

  Biases, noise scales, and scale and offset of a normalization are incoming weights. A weight
  between two chosen units is 0. Outputs have no row in `network.units`: they are never chosen.
  """
  incoming, outgoing = _flags(network, state.params, chosen)
  params = jax.tree.map(jnp.where, incoming, network.init(key), state.params)
  params = jax.tree.map(lambda flags, leaf: jnp.where(flags, 0, leaf), outgoing, params)
  touched = jax.tree.map(jnp.logical_or, incoming, outgoing)
  return state._replace(
      params=params, opt_state=reset_moments(state.opt_state, params, touched))


def _flags(
    network: types.QNetwork, params: types.Params,
    chosen: Flags) -> tuple[types.Params, types.Params]:
  """Which weights go into, and which come out of, the chosen units."""
  nowhere = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), params)
  incoming, outgoing = ({module: dict(leaves) for module, leaves in nowhere.items()}
                        for _ in range(2))
  for layer, flags in chosen.items():
    units = network.units[layer]
    for module in filter(None, (units.producer, units.norm)):
      for name in params[module].keys() - {*types.STATISTICS}:
        incoming[module][name] |= flags  # A unit is an index of the last axis.
    for module, name in _kernels(params, units.consumers):
      rows = flags[jnp.arange(params[module][name].shape[-2]) % units.size]
      outgoing[module][name] |= rows[:, None]
  return incoming, outgoing


def _kernels(params: types.Params, modules: Iterable[str]) -> list[tuple[str, str]]:
  """Weights that multiply what a module reads; in noisy layers a mean and a scale do."""
  return [(module, name) for module in modules for name in ('w', 'w_sigma')
          if name in params[module]]


def _activity(network: types.QNetwork, features: Mapping[str, types.Layer]) -> dict[str, Array]:
  """Mean |activation| of each unit, by layer: [units]."""
  return {layer: jnp.mean(jnp.abs(features[layer].activation).reshape(-1, units.size), axis=0)
          for layer, units in network.units.items()}


def _outgoing(params: types.Params, units: types.Units) -> Array:
  """[units] sums of |weights| that leave a unit."""
  total = jnp.zeros(units.size)
  for module in units.consumers:
    rows = jnp.sum(jnp.abs(params[module]['w']), axis=-1).reshape(-1, units.size)
    total += jnp.sum(rows, axis=0)
  return total


def sp(network: types.QNetwork, shrink: float, perturb: float, period: int) -> Mechanism:
  """theta <- shrink * theta + perturb * fresh theta (shrink and perturb, Ash & Adams 2020).

  Nothing is drawn anew, so that the optimizer's moments stay.
  """
  def change(key: Array, state: LearnerState, memory: None, batch: Batch):
    del batch
    mixed = jax.tree.map(
        lambda old, fresh: shrink * old + perturb * fresh, state.params, network.init(key))
    params = {
        module: {name: leaf if name in types.STATISTICS else mixed[module][name]
                 for name, leaf in leaves.items()} for module, leaves in state.params.items()}
    return state._replace(params=params), memory

  return Mechanism(change=every(period, change))


def reset(network: types.QNetwork, scope: str, period: int) -> Mechanism:
  """Draws whole modules anew (Nikishin et al. 2022): the outputs, the head or all.

  The target network gets the same new weights.
  """
  head = {*network.head_modules}
  modules = {'head': head, 'outputs': head & {*network.output_modules}}

  def change(key: Array, state: LearnerState, memory: None, batch: Batch):
    del batch
    fresh = {module: leaves for module, leaves in network.init(key).items()
             if scope == 'all' or module in modules[scope]}
    return _replaced(state, fresh)._replace(
        opt_state=reset_moments(
            state.opt_state, state.params, _of_modules(state.params, fresh))), memory

  return Mechanism(change=every(period, change))


def _replaced(state: LearnerState, modules: types.Params) -> LearnerState:
  """The state with whole modules replaced, those of the target network too where there is one."""
  target = {name: modules.get(name, leaves) for name, leaves in state.target_params.items()}
  return state._replace(params=state.params | modules, target_params=target)


def _of_modules(params: types.Params, modules: Container[str]) -> types.Params:
  """True for each weight of the modules, False elsewhere."""
  return {module: {name: jnp.full(leaf.shape, module in modules) for name, leaf in leaves.items()}
          for module, leaves in params.items()}


def inject(network: types.QNetwork, at: int) -> Mechanism:
  """Plasticity injection, once, after `at` updates (Nikishin et al. 2023; networks/injection.py).

  Freezes the head, and trains a new copy of it beside it; the target network changes alike.
  """
  parts = network.injection

  def mask(params: types.Params) -> types.Params:
    injected = params[parts.switches[0]][types.INJECTED]
    factors = {**dict.fromkeys(parts.own, 1 - injected), **dict.fromkeys(parts.new, injected),
               **dict.fromkeys((*parts.first, *parts.switches), 0.0)}
    return {module: dict.fromkeys(leaves, factors.get(module, 1.0))
            for module, leaves in params.items()}

  def change(key: Array, state: LearnerState, memory: None, batch: Batch):
    del key, batch
    switch = {module: {types.INJECTED: jnp.ones(())} for module in parts.switches}
    return _replaced(state, switch)._replace(
        opt_state=reset_moments(
            state.opt_state, state.params, _of_modules(state.params, parts.new))), memory

  return Mechanism(mask=mask, change=when(lambda num_updates: num_updates == at, change))
