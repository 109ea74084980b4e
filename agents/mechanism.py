"""What an intervention may do beyond settings: pure functions that the learner calls.

In one update the learner adds the penalties to the loss, multiplies the gradient by the masks, lets
the wrapped optimizer make a step, multiplies that by the masks too, makes the changes, and then
refreshes the target network where that is due. What is None costs nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from agents.state import LearnerState
from networks import types

Array = jax.Array


class Context(NamedTuple):
  """What a penalty may look at beside the parameters, on one batch."""
  memory: Any  # the mechanism's own
  online: types.QOutput  # of the parameters at `observations`
  observations: Array  # [B, *observation], obs_tm1
  network_key: Array  # what `online` drew its noise from
  own_loss: Callable[[types.Params], Array]  # the agent's loss on this batch, without penalties


class Batch(NamedTuple):
  """What a change may look at beside the state."""
  observations: Array  # [2 B, *observation], obs_tm1 and obs_t
  online: types.QOutput  # of the parameters before the update at obs_tm1


Change = Callable[[Array, LearnerState, Any, Batch], tuple[LearnerState, Any]]


class Mechanism(NamedTuple):
  """What the learner calls; each part may be missing."""
  # Initial parameters -> what the mechanism keeps, a tree of arrays that is checkpointed.
  remember: Callable[[types.Params], Any] | None = None
  # Parameters, context -> a scalar to be added to the loss.
  penalty: Callable[[types.Params, Context], Array] | None = None
  # Parameters -> factors for each parameter's gradient and step, in the same tree.
  mask: Callable[[types.Params], types.Params] | None = None
  # Key, state after the update, own memory, batch -> state and memory.
  change: Change | None = None
  projects: bool = False  # the change puts parameters back into a set: it comes after all others


def every(period: int, change: Change) -> Change:
  """The change, at every `period`-th update only."""
  if period == 1:
    return change
  return when(lambda num_updates: num_updates % period == 0, change)


def when(is_due: Callable[[Array], Array], change: Change) -> Change:
  """The change, after those updates only; elsewhere nothing of it is computed."""
  def sometimes(key, state, memory, batch):
    return jax.lax.cond(
        is_due(state.num_updates), change, lambda key, state, memory, batch: (state, memory),
        key, state, memory, batch)

  return sometimes


def reset_moments(
    opt_state: optax.OptState, params: types.Params, where: types.Params) -> optax.OptState:
  """The optimizer's state with what it keeps of each weight, moments and counts, at 0 where True.

  Every transformation that is used here starts them at 0. Statistics of another shape than the
  parameters', as of whole matrices, stay.

  Args:
    opt_state: of any chain of optax, masked parts included.
    params: the parameters, Haiku's two-level dictionary.
    where: bool, of the parameters' shapes.
  """
  def is_of_params(node):
    return isinstance(node, dict) and node.keys() == params.keys()

  def reset(node):
    if not is_of_params(node):
      return node
    return {module: {name: _zero(leaf, where[module][name]) for name, leaf in leaves.items()}
            for module, leaves in node.items()}

  return jax.tree.map(reset, opt_state, is_leaf=is_of_params)


def _zero(leaf: Any, where: Array) -> Any:
  return jnp.where(where, 0, leaf) if getattr(leaf, 'shape', None) == where.shape else leaf
