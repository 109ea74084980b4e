"""What an update minimizes, as one value: Q-learning on transitions, or learning from examples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agents import losses
from networks import types as network_types
from replay import types as replay_types

Array = jax.Array


class Example(NamedTuple):
  """A batch of supervised learning."""
  inputs: Any  # [B, *observation]
  targets: Any  # [B], int32 classes or float32 values


class Aux(NamedTuple):
  """What a loss leaves beside its value."""
  each: Array  # [B] loss of each example, unweighted
  errors: Array  # [B], of which priorities are made
  metrics: dict[str, Array]  # scalars to be shown
  online: network_types.QOutput  # of the parameters at `Objective.inputs`
  online_key: Array  # what its noise came from


class Objective(NamedTuple):
  """How a batch becomes a loss, and what of it the online network saw.

  loss: parameters, target parameters, key, batch, weights of its examples [B] or 1, training ->
    weighted mean, Aux.
  inputs: batch -> observations [B, ...] of `Aux.online`.
  observations: batch -> all that is in it, [B or 2 B, ...].
  has_target: whether the loss looks at target parameters.
  """
  loss: Callable[..., tuple[Array, Aux]]
  inputs: Callable[[Any], Array]
  observations: Callable[[Any], Array]
  has_target: bool


class Kind(NamedTuple):
  """A row of OBJECTIVES."""
  batch: type  # a NamedTuple of arrays
  make: Callable[[Any, network_types.QNetwork], Objective]  # Config, network


def _q_learning(config: Any, network: network_types.QNetwork) -> Objective:
  """On `replay.types.Transition`."""
  critic_loss = losses.make(config)

  def select(params, target_params, key, obs_t, target):
    """The output whose maxima are the bootstrapped actions."""
    if config.double:
      return network.apply(params, key, obs_t)
    if config.distribution == 'implicit':  # Other quantiles than those of the value.
      return network.apply(target_params, key, obs_t)
    return target

  def loss(params, target_params, key, transition, weights, training=True):
    online_key, selector_key, target_key = jax.random.split(key, 3)
    online = network.apply(params, online_key, transition.obs_tm1, training=training)
    target = network.apply(target_params, target_key, transition.obs_t)
    selector = select(params, target_params, selector_key, transition.obs_t, target)
    each, errors = losses.of_critics(
        critic_loss, online.critics, target.critics, selector.critics, transition)
    metrics = dict(q_value=jnp.mean(jnp.max(online.q_values, axis=-1)))
    return jnp.mean(weights * each), Aux(each, errors, metrics, online, online_key)

  return Objective(
      loss, lambda transition: transition.obs_tm1,
      lambda transition: jnp.concatenate([transition.obs_tm1, transition.obs_t]), True)


def _supervised(each_of: Callable[..., tuple[Array, dict[str, Array]]]) -> Callable[..., Objective]:
  """On `Example`; `each_of`: output, targets -> losses [B], scalars to be shown."""
  def make(config: Any, network: network_types.QNetwork) -> Objective:
    each_in = each_of(config)

    def loss(params, target_params, key, example, weights, training=True):
      del target_params
      online = network.apply(params, key, example.inputs, training=training)
      each, metrics = each_in(online, example.targets)
      return jnp.mean(weights * each), Aux(each, each, metrics, online, key)

    return Objective(
        loss, lambda example: example.inputs, lambda example: example.inputs, False)

  return make


def _classes(config: Any) -> Callable[..., tuple[Array, dict[str, Array]]]:
  """Utilities are the classes' logits."""
  def each(online: network_types.QOutput, targets: Array) -> tuple[Array, dict[str, Array]]:
    logits = online.q_values[:, 0]
    wanted = jax.nn.one_hot(targets, logits.shape[-1])
    over = jax.vmap(losses.cross_entropy, in_axes=(0, 0, None))
    right = jnp.argmax(logits, axis=-1) == targets
    return over(wanted, logits[:, None], config.label_smoothing), dict(accuracy=jnp.mean(right))

  return each


def _values(config: Any) -> Callable[..., tuple[Array, dict[str, Array]]]:
  """The only utility is the prediction."""
  critic_loss = losses.make(config)

  def each(online: network_types.QOutput, targets: Array) -> tuple[Array, dict[str, Array]]:
    # A value is the return of an episode that ends at once.
    zeros = jnp.zeros_like(targets)
    ended = replay_types.Transition(None, zeros[:, None].astype(int), targets, zeros, None)
    errors = online.q_values[:, 0, 0] - targets
    found = losses.of_critics(
        critic_loss, online.critics, online.critics, online.critics, ended)
    return found.losses, dict(squared_error=jnp.mean(jnp.square(errors)))

  return each


OBJECTIVES = {
    'q_learning': Kind(replay_types.Transition, _q_learning),
    'classification': Kind(Example, _supervised(_classes)),
    'regression': Kind(Example, _supervised(_values)),
}


def make(config: Any, network: network_types.QNetwork) -> Objective:
  """The row of OBJECTIVES that the config names."""
  return OBJECTIVES[config.objective].make(config, network)
