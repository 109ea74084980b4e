"""What is probed, and its functions in the form in which metrics take them.

Metrics that differentiate see the trained parameters alone; the leaves named in
`networks.types.STATISTICS`, which no optimizer changes, are handed on beside them, and so are heads
that an injection has frozen or not yet begun (networks/injection.py).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from networks import types
from probes import ntk

# Parameters, key, target, batch [B], training -> the learner's loss of each example, [B].
Losses = Callable[[types.Params, jax.Array, Any, Any, bool], jax.Array]


class Subject(NamedTuple):
  """Fixed over a run: compiled code is cached on these functions, so build them once."""
  network: types.QNetwork
  optimizer: optax.GradientTransformation  # trains the copies of the random-target probe
  losses: Losses


class State(NamedTuple):
  """A network at one time."""
  params: types.Params
  target: Any  # what `Subject.losses` takes beside them, as target parameters
  next_params: types.Params  # after one more update


class Inputs(NamedTuple):
  """What it is probed on."""
  observations: Any  # [B, *observation], 1,024 or more for the counts of units
  batch: Any  # a tree of arrays [b, ...], examples of the learner's loss


class Shared(NamedTuple):
  """What all examples of a loss share beside the trained parameters."""
  rest: types.Params  # all other parameters
  key: jax.Array
  target: Any


def trained(params: types.Params) -> types.Params:
  """The leaves that an optimizer changes; modules without any are left out."""
  return _select(params, lambda name: name not in types.STATISTICS)


def resting(network: types.QNetwork, params: types.Params) -> frozenset[str]:
  """Modules whose leaves no update changes as things are."""
  parts = network.injection
  if not parts.switches:
    return frozenset()
  injected = params[parts.switches[0]][types.INJECTED] > 0
  return frozenset((*parts.switches, *parts.first, *(parts.own if injected else parts.new)))


def split(
    network: types.QNetwork, params: types.Params) -> tuple[types.Params, types.Params]:
  """The leaves that an update changes, and all others."""
  rest = resting(network, params)
  moving = {module: leaves for module, leaves in trained(params).items() if module not in rest}
  return moving, statistics(params) | {module: params[module] for module in rest}


def whole(trained: types.Params, statistics: types.Params) -> types.Params:
  """Trained leaves, or what is like them, with the others: what a network takes."""
  return {module: trained.get(module, {}) | statistics.get(module, {})
          for module in trained.keys() | statistics.keys()}


def statistics(params: types.Params) -> types.Params:
  """The leaves that none changes."""
  return _select(params, lambda name: name in types.STATISTICS)


@functools.cache
def output(apply: Callable, reduction: str) -> ntk.PerExample:
  """Utilities of one observation; `reduction` is a row of `ntk.REDUCTIONS`."""
  reduced = ntk.outputs(apply, reduction)

  def per_example(params: types.Params, shared: Shared, observation: jax.Array) -> jax.Array:
    return reduced(whole(params, shared.rest), shared.key, observation)

  return per_example


@functools.cache
def example_loss(losses: Losses) -> ntk.PerExample:
  """The loss of one example; not training, since a batch of one has no statistics."""
  def per_example(params: types.Params, shared: Shared, example: Any) -> jax.Array:
    batch = jax.tree.map(lambda leaf: leaf[None], example)
    return losses(
        whole(params, shared.rest), shared.key, shared.target, batch, False)[0]

  return per_example


@functools.cache
def batch_loss(losses: Losses) -> Callable[[types.Params, tuple[Shared, Any]], jax.Array]:
  """The mean loss of a batch, as an update sees it."""
  def loss(params: types.Params, data: tuple[Shared, Any]) -> jax.Array:
    shared, batch = data
    return jnp.mean(losses(
        whole(params, shared.rest), shared.key, shared.target, batch, True))

  return loss


@functools.partial(jax.jit, static_argnums=0)
def gradient(losses: Losses, params: types.Params, data: tuple[Shared, Any]) -> types.Params:
  """Of the mean loss, like the trained parameters."""
  return jax.grad(batch_loss(losses))(params, data)


def _select(params: types.Params, wanted: Callable[[str], bool]) -> types.Params:
  chosen = {module: {name: leaf for name, leaf in leaves.items() if wanted(name)}
            for module, leaves in params.items()}
  return {module: leaves for module, leaves in chosen.items() if leaves}
