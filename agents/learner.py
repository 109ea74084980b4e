"""The one learner: an agent is a value made of pure functions, from a Config and specs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from agents import losses
from agents.actions import ActionMap
from agents.config import Config
from networks import layers, q_network
from networks import types as network_types
from replay import types as replay_types

Array = jax.Array
Metrics = dict[str, Array]


class LearnerState(NamedTuple):
  """All that an update reads and writes."""
  params: network_types.Params
  target_params: network_types.Params
  opt_state: optax.OptState
  key: Array
  num_updates: Array  # int32


class Agent(NamedTuple):
  """Pure functions; an agent has no state of its own.

  init: key -> LearnerState.
  act: parameters, key, observation [N, ...], epsilon -> next key, choices [N, M] int32,
    greedy values [N].
  learn: LearnerState, transition, probabilities [B] -> LearnerState, td_errors [B], metrics. The
    state that goes in is used up.
  """
  init: Callable[[Array], LearnerState]
  act: Callable[[network_types.Params, Array, Any, float], tuple[Array, Array, Array]]
  learn: Callable[
      [LearnerState, replay_types.Transition, Any], tuple[LearnerState, Array, Metrics]]


def make_network(
    config: Config, observation_shape: tuple[int, ...], observation_dtype: str,
    action_map: ActionMap) -> network_types.QNetwork:
  """The Q-network that `config` describes."""
  return q_network.make(
      torso=config.torso, observation_shape=observation_shape,
      observation_dtype=observation_dtype, num_action_dims=action_map.num_dims,
      num_choices=action_map.num_choices, shared_bias=config.shared_bias,
      style=layers.Style(initializer=config.initializer, norm=config.norm))


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """Clip, precondition, decay, scale; what a setting turns off is not in the chain."""
  chain = []
  if config.max_gradient_norm:
    chain.append(optax.clip_by_global_norm(config.max_gradient_norm))
  if config.optimizer == 'adam':
    chain.append(optax.scale_by_adam(eps=config.optimizer_epsilon))
  else:
    chain.append(optax.scale_by_stddev(decay=0.95, eps=config.optimizer_epsilon))
  if config.weight_decay:
    chain.append(optax.add_decayed_weights(config.weight_decay, mask=_is_kernel))
  chain.append(optax.scale_by_learning_rate(config.learning_rate))
  return optax.chain(*chain)


def _is_kernel(params: network_types.Params) -> Any:
  """True for weights of linear and convolutional layers; biases, scales and offsets are not."""
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'w', params)


def make_agent(
    config: Config, network: network_types.QNetwork,
    optimizer: optax.GradientTransformation) -> Agent:
  """(Double) Q-learning on utilities [B, M, A], with a target network."""

  def init(key: Array) -> LearnerState:
    key, init_key = jax.random.split(key)
    params = network.init(init_key)
    # The target is a copy of its own: an update may not give one buffer away twice.
    target_params = jax.tree.map(jnp.copy, params)
    return LearnerState(
        params, target_params, optimizer.init(params), key, jnp.zeros((), jnp.int32))

  def act(params, key, observation, epsilon):
    key, network_key, explore_key, choice_key = jax.random.split(key, 4)
    q_values = network.apply(params, network_key, observation).q_values
    num_dims, num_choices = q_values.shape[1:]
    greedy = jnp.argmax(q_values, axis=-1).astype(jnp.int32)
    random = jax.random.randint(choice_key, greedy.shape, 0, num_choices, jnp.int32)
    # Each dimension explores with epsilon / M, so that one of them does with about epsilon.
    explore = jax.random.bernoulli(explore_key, epsilon / num_dims, greedy.shape)
    values = jnp.mean(jnp.max(q_values, axis=-1), axis=-1)
    return key, jnp.where(explore, random, greedy), values

  def loss_fn(params, target_params, key, transition, weights):
    online_key, selector_key, target_key = jax.random.split(key, 3)
    q_tm1 = network.apply(params, online_key, transition.obs_tm1).q_values
    q_t_value = network.apply(target_params, target_key, transition.obs_t).q_values
    q_t_selector = q_t_value
    if config.double:
      q_t_selector = network.apply(params, selector_key, transition.obs_t).q_values
    errors = losses.td_errors(q_tm1, transition, q_t_value, q_t_selector)
    loss = jnp.mean(weights * losses.ERROR_LOSSES[config.error_loss](errors))
    return loss, (errors, jnp.mean(jnp.max(q_tm1, axis=-1)))

  def learn(state, transition, probabilities):
    key, loss_key = jax.random.split(state.key)
    weights = jnp.ones_like(transition.r_t)
    if config.prioritized:
      weights = losses.importance_weights(probabilities, config.importance_exponent)
    (loss, (errors, value)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        state.params, state.target_params, loss_key, transition, weights)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    num_updates = state.num_updates + 1
    target_params = optax.periodic_update(
        params, state.target_params, num_updates, config.target_update_period)
    metrics = dict(
        loss=loss, gradient_norm=optax.global_norm(gradient), q_value=value,
        update_norm=optax.global_norm(updates))
    return LearnerState(params, target_params, opt_state, key, num_updates), errors, metrics

  return Agent(jax.jit(init), jax.jit(act), jax.jit(learn, donate_argnums=0))
