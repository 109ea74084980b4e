"""Training copies of a network on a few examples, and seeing how far it gets."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from networks import types

# Called before each step of a fit; what it raises ends the probe, which has changed nothing.
OnStep = Callable[[], None]


def ignore() -> None:
  """The OnStep of whoever does not care."""


class ProbeSize(NamedTuple):
  """How much is fitted."""
  num_targets: int  # independent target functions
  num_steps: int  # optimizer steps on each
  batch_size: int  # observations in a step, drawn with replacement from the pool
  pool_size: int  # observations to memorize


def spread(rows: np.ndarray, size: ProbeSize) -> np.ndarray:
  """The pool: `size.pool_size` rows of all, evenly spaced."""
  if len(rows) < size.pool_size:
    raise ValueError(f'observations: {len(rows)} given, but the probe fits a pool of '
                     f'size.pool_size={size.pool_size}')
  return rows[np.linspace(0, len(rows) - 1, size.pool_size).astype(int)]


def descend(loss: Callable, optimizer: optax.GradientTransformation, params: types.Params,
            shared: Any, data: Any, key: jax.Array, size: ProbeSize,
            on_step: OnStep = ignore) -> tuple[np.ndarray, types.Params]:
  """Trains on minibatches drawn from `data`, a tree of arrays [pool, ...].

  `loss`: parameters, key, shared, minibatch -> a scalar; compiled code is cached on it.

  Returns:
    The learning curve [T] and the fitted parameters.
  """
  curve = np.empty(size.num_steps, np.float32)
  opt_state = optimizer.init(params)
  # A Python loop, since XLA runs a convolution inside `lax.scan` on one core of a CPU.
  for step in range(size.num_steps):
    on_step()
    params, opt_state, curve[step] = _step(
        loss, optimizer.update, size.batch_size, params, opt_state, shared, data, key, step)
  return curve, params


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step(loss: Callable, update: Callable, batch_size: int, params: types.Params,
          opt_state: optax.OptState, shared: Any, data: Any, key: jax.Array,
          step: int) -> tuple[types.Params, optax.OptState, jax.Array]:
  rows_key, apply_key = jax.random.split(jax.random.fold_in(key, step))
  rows = jax.random.randint(rows_key, (batch_size,), 0, len(jax.tree.leaves(data)[0]))
  batch = jax.tree.map(lambda leaf: leaf[rows], data)
  value, gradients = jax.value_and_grad(loss)(params, apply_key, shared, batch)
  updates, opt_state = update(gradients, opt_state, params)
  return optax.apply_updates(params, updates), opt_state, value
