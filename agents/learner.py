"""The one learner: an agent is a value made of pure functions, from a Config and specs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from agents import augment, choice, objectives, optimizers
from agents.actions import ActionMap
from agents.config import Config
from agents.mechanism import Batch, Context, Mechanism
from agents.metrics import Sometimes
from agents.state import LearnerState
from networks import heads, layers, q_network, torsos
from networks import types as network_types
from replay import types as replay_types

Array = jax.Array
Metrics = dict[str, Array | Sometimes]
# Updates between measurements of norms, which would take a tenth of the time of `dopamine_dqn`'s;
# prime to all default periods, so that updates after a new target are measured no more often.
NORMS_EVERY = 17


class Agent(NamedTuple):
  """Pure functions; an agent has no state of its own.

  init: key -> LearnerState.
  act: parameters, key, observation [N, ...], epsilon -> next key, choices [N, M] int32,
    greedy values [N].
  learn: LearnerState, batch as `agents.objectives` has it, weights of its examples [B] ->
    LearnerState, errors [B], of which priorities are made, metrics. The state that goes in is used
    up.
    Or weights [K, B] of K updates, one after the other in one program, whose batches come as one
    [K * B] -> LearnerState, errors [K, B], metrics [K].
  """
  init: Callable[[Array], LearnerState]
  act: Callable[[network_types.Params, Array, Any, float], tuple[Array, Array, Array]]
  learn: Callable[[LearnerState, Any, Any], tuple[LearnerState, Array, Metrics]]


class Model(NamedTuple):
  """What a config makes of a shape of observations; compiled code is cached on its functions."""
  network: network_types.QNetwork
  optimizer: optax.GradientTransformation
  agent: Agent
  losses: Callable[..., Array]  # see `make_losses`


def make(
    config: Config, observation_shape: tuple[int, ...], observation_dtype: str,
    action_map: ActionMap) -> Model:
  """Network, optimizer and agent, each from the one before."""
  network = make_network(config, observation_shape, observation_dtype, action_map)
  optimizer = optimizers.make(config)
  return Model(
      network, optimizer, make_agent(config, network, optimizer), make_losses(config, network))


def make_network(
    config: Config, observation_shape: tuple[int, ...], observation_dtype: str,
    action_map: ActionMap) -> network_types.QNetwork:
  """The Q-network that `config` describes."""
  head = heads.Head(
      num_action_dims=action_map.num_dims, num_choices=action_map.num_choices,
      hidden_layers=config.hidden_layers, hidden_size=config.hidden_size, dueling=config.dueling,
      dueling_gradient=config.dueling_gradient, shared_hidden=config.shared_hidden,
      noisy_sigma=config.noisy_sigma if config.noisy else 0.0, shared_bias=config.shared_bias,
      distribution=config.distribution, num_atoms=config.num_atoms, v_min=config.v_min,
      v_max=config.v_max, margin=config.atom_margin, symlog=config.symlog,
      injection=config.injection)
  style = layers.Style(
      config.initializer, config.norm, config.width, config.norm_affine, config.activation,
      config.hidden_bias, config.spectral_norm, config.compute_dtype)
  return q_network.make(
      torso=config.torso, observation_shape=observation_shape,
      observation_dtype=observation_dtype, head=head, style=style,
      num_critics=config.num_critics, num_auxiliary=config.auxiliary_outputs)


def make_agent(
    config: Config, network: network_types.QNetwork, optimizer: optax.GradientTransformation,
    norms_every: int = NORMS_EVERY) -> Agent:
  """Learns utilities [B, M, A] by the objective and with the mechanisms that `config` names.

  Norms of gradient and step are measured at the first update and every `norms_every`th after it.
  """
  # What is drawn anew is drawn as at the start; probes ask the same of every scale.
  network = network._replace(init=_scaled(network.init, config.initial_scale))
  objective = objectives.make(config, network)
  mechanisms = choice.mechanisms(
      config.interventions, config.intervention_parameters, network)

  def init(key: Array) -> LearnerState:
    key, init_key = jax.random.split(key)
    params = network.init(init_key)
    # The target is a copy of its own: an update may not give one buffer away twice.
    target_params = jax.tree.map(jnp.copy, params) if objective.has_target else {}
    memory = {name: jax.tree.map(jnp.copy, mechanism.remember(params))
              for name, mechanism in mechanisms.items() if mechanism.remember}
    return LearnerState(
        params, target_params, optimizer.init(params), key, jnp.zeros((), jnp.int32), memory)

  def act(params, key, observation, epsilon):
    key, network_key, explore_key, choice_key = jax.random.split(key, 4)
    critics = network.apply(params, network_key, observation).critics
    # The largest that any critic says, as in DecQN.
    q_values = jnp.max(jnp.stack([critic.q_values for critic in critics]), axis=0)
    num_dims, num_choices = q_values.shape[1:]
    greedy = jnp.argmax(q_values, axis=-1).astype(jnp.int32)
    random = jax.random.randint(choice_key, greedy.shape, 0, num_choices, jnp.int32)
    # Each dimension explores with epsilon / M, so that one of them does with about epsilon. (The
    # sampler of DecQN's code renormalizes: epsilon / M over 1 - epsilon + epsilon / M.)
    explore = jax.random.bernoulli(explore_key, epsilon / num_dims, greedy.shape)
    values = jnp.mean(jnp.max(q_values, axis=-1), axis=-1)
    return key, jnp.where(explore, random, greedy), values

  def update(state, batch, weights):
    key, loss_key, shift_key = jax.random.split(state.key, 3)
    if config.random_shift:
      batch = _shift(shift_key, batch, config.random_shift)

    def own_loss(params):
      return objective.loss(params, state.target_params, loss_key, batch, weights)

    def total_loss(params):
      loss, aux = own_loss(params)
      penalty = _penalty(
          mechanisms, params, state.memory, aux.online, objective.inputs(batch), aux.online_key,
          lambda params: own_loss(params)[0])
      return loss + penalty, (loss, penalty, aux)

    gradient, (loss, penalty, aux) = jax.grad(total_loss, has_aux=True)(state.params)
    # What is frozen has no part in clipping, and does not decay either.
    gradient = _masked(mechanisms, state.params, gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    updates = _masked(mechanisms, state.params, updates)
    # These are written below; TRAC's way back to their start would count in the step's norm.
    updates = _write(updates, jax.tree.map(jnp.zeros_like, aux.online.statistics))
    stepped = optax.apply_updates(state.params, updates)
    params = _write(stepped, aux.online.statistics)
    norms = _norms(state.num_updates, norms_every, gradient, state.params, stepped)
    metrics = aux.metrics | norms | dict(loss=loss, penalty=penalty)
    state = LearnerState(
        params, state.target_params, opt_state, key, state.num_updates + 1, state.memory)
    seen = Batch(objective.observations(batch), aux.online)
    state = _change(mechanisms, state, seen)
    if objective.has_target:
      state = state._replace(target_params=optax.periodic_update(
          state.params, state.target_params, state.num_updates, config.target_update_period))
    return state, aux.errors, metrics

  learn = _one_or_several(update, unrolled=torsos.slow_in_loops(config.torso))
  return Agent(jax.jit(init), jax.jit(act), jax.jit(learn, donate_argnums=0))


def make_losses(config: Config, network: network_types.QNetwork) -> Callable[..., Array]:
  """The agent's own loss of each example, as `probes.subject.Subject` takes it.

  Without penalties, weights and shifts of frames; `target` are target parameters.
  """
  objective = objectives.make(config, network)

  def losses_of(params, key, target, batch, training):
    return objective.loss(params, target, key, batch, 1.0, training)[1].each

  return losses_of


def _one_or_several(update: Callable[..., tuple], unrolled: bool) -> Callable[..., tuple]:
  """`Agent.learn`, of the update for weights [B]; several of them are a loop or `unrolled`."""
  def learn(state, batch, weights):
    if weights.ndim == 1:
      return update(state, batch, weights)
    if weights.ndim != 2:
      raise ValueError(f'weights: got {list(weights.shape)}, must be [B] or [K, B]')

    def step(state, one):
      state, errors, metrics = update(state, *one)
      return state, (errors, metrics)

    batches = jax.tree.map(lambda leaf: leaf.reshape(*weights.shape, *leaf.shape[1:]), batch)
    if unrolled:  # In what `scan` makes of it convolutions are slow even without a loop.
      each = []
      for i in range(len(weights)):
        state, found = step(state, jax.tree.map(lambda leaf, i=i: leaf[i], (batches, weights)))
        each.append(found)
      errors, metrics = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    else:
      state, (errors, metrics) = jax.lax.scan(step, state, (batches, weights))
    return state, errors, metrics

  return learn


def _scaled(init: Callable[[Array], network_types.Params],
            factor: float) -> Callable[[Array], network_types.Params]:
  """The initializer with the kernels that it draws multiplied."""
  if factor == 1:
    return init

  def scaled(key: Array) -> network_types.Params:
    return {module: {name: factor * leaf if name == 'w' else leaf for name, leaf in leaves.items()}
            for module, leaves in init(key).items()}

  return scaled


def _penalty(
    mechanisms: Mapping[str, Mechanism], params: network_types.Params, memory: dict[str, Any],
    online: network_types.QOutput, observations: Array, network_key: Array,
    own_loss: Callable[[network_types.Params], Array]) -> Array:
  """The sum of what the mechanisms add to the loss."""
  total = jnp.zeros(())
  for name, mechanism in mechanisms.items():
    if mechanism.penalty:
      context = Context(memory.get(name), online, observations, network_key, own_loss)
      total += mechanism.penalty(params, context)
  return total


def _masked(
    mechanisms: Mapping[str, Mechanism], params: network_types.Params,
    steps: network_types.Params) -> network_types.Params:
  """A tree of the parameters' shapes times the factors of all mechanisms."""
  for mechanism in mechanisms.values():
    if mechanism.mask:
      steps = jax.tree.map(jnp.multiply, steps, mechanism.mask(params))
  return steps


def _norms(
    num_updates: Array, every: int, gradient: network_types.Params, before: network_types.Params,
    after: network_types.Params) -> Metrics:
  """Of the gradient and of the step, at the first update and every so many after it."""
  def measure():
    step = jax.tree.map(jnp.subtract, after, before)
    return dict(gradient_norm=optax.global_norm(gradient), update_norm=optax.global_norm(step))

  if every == 1:
    return measure()
  is_due = num_updates % every == 0
  found = jax.lax.cond(
      is_due, measure, lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(measure)))
  return {name: Sometimes(value, is_due) for name, value in found.items()}


def _change(
    mechanisms: Mapping[str, Mechanism], state: LearnerState, batch: Batch) -> LearnerState:
  """What the mechanisms do between updates, one after the other; what projects comes last."""
  changing = sorted(((name, row) for name, row in mechanisms.items() if row.change),
                    key=lambda named: named[1].projects)
  if not changing:
    return state
  key, *keys = jax.random.split(state.key, 1 + len(changing))
  state = state._replace(key=key)
  for change_key, (name, mechanism) in zip(keys, changing, strict=True):
    state, memory = mechanism.change(change_key, state, state.memory.get(name), batch)
    if memory is not None:
      state = state._replace(memory=state.memory | {name: memory})
  return state


def _write(
    params: network_types.Params, statistics: network_types.Params) -> network_types.Params:
  """The parameters with some leaves replaced."""
  if not statistics:
    return params
  return {module: leaves | statistics.get(module, {}) for module, leaves in params.items()}


def _shift(
    key: Array, transition: replay_types.Transition, pad: int) -> replay_types.Transition:
  key_tm1, key_t = jax.random.split(key)
  return transition._replace(
      obs_tm1=augment.random_shift(key_tm1, transition.obs_tm1, pad),
      obs_t=augment.random_shift(key_t, transition.obs_t, pad))
