"""Can the features still serve? The agent's own loss with a head that is drawn anew.

The torso keeps its weights, the head gets a fresh network's, and both are trained on examples of
the agent's loss whose target network stays the agent's: a harder question to a body than random
targets are where these are too easy, and the question that a reset of the last layers asks
(Nikishin et al. 2022). Ours; the comparison is as in `probes.random_target`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from networks import types
from probes import fitting
from probes.random_target import RandomTargetFit
from probes.subject import State, Subject


def fit_own_loss(
    model: Subject, params: types.Params, fresh: types.Params, agent: State, examples: Any,
    key: jax.Array, size: fitting.ProbeSize,
    on_step: fitting.OnStep = fitting.ignore) -> RandomTargetFit:
  """Trains copies of `params` with K heads drawn anew; `params` itself is left as it was.

  What stands for the loss of the best constant is that of `fresh` before it is trained, with the
  same head: the same for both networks, so that they compare in pairs.

  Args:
    model: network, optimizer and loss.
    params: parameters to start from.
    fresh: those of the control.
    agent: whose target network gives the targets.
    examples: of the loss, a tree of arrays [b, ...]; the pool is the first `size.pool_size`.
    key: draws heads, minibatches and the network's noise.
    size: how much is fitted.
    on_step: called before each step.
  """
  count = len(jax.tree.leaves(examples)[0])
  pool = jax.tree.map(lambda leaf: jnp.asarray(leaf[:size.pool_size]), examples)
  if count < size.pool_size:
    raise ValueError(f'examples: {count} given, but the probe fits a pool of '
                     f'size.pool_size={size.pool_size}')
  loss, fits = _loss(model.losses), []
  for head_key in jax.random.split(key, size.num_targets):
    init_key, fit_key = jax.random.split(head_key)
    drawn = model.network.init(init_key)
    head = {name: drawn[name] for name in model.network.head_modules}
    curve, fitted = fitting.descend(
        loss, model.optimizer, params | head, agent.target, pool, fit_key, size, on_step)
    ends = (_whole(loss, tried, fit_key, agent.target, pool) for tried in (fitted, fresh | head))
    fits.append((curve, *ends))
  return RandomTargetFit(*map(np.stack, zip(*fits, strict=True)))


@functools.cache
def _loss(losses: Callable) -> Callable:
  def loss(params: types.Params, key: jax.Array, target: Any, batch: Any) -> jax.Array:
    return jnp.mean(losses(params, key, target, batch, True))

  return loss


@functools.partial(jax.jit, static_argnums=0)
def _whole(loss: Callable, *arguments: Any) -> jax.Array:
  return loss(*arguments)
