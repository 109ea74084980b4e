"""Optimizers, as a Config describes them."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from agents import trac
from networks import types

Array = jax.Array
_MUON_RMS = 0.2  # of Muon's steps, which is about Adam's, so that learning rates carry over


def _adam(config: Any) -> optax.GradientTransformation:
  settings = dict(b1=config.adam_b1, b2=config.adam_b2, eps=config.optimizer_epsilon)
  return scale_by_own_age(**settings) if config.count_each else optax.scale_by_adam(**settings)


def _muon(config: Any) -> optax.GradientTransformation:
  """Muon (Jordan et al. 2024) on kernels that are matrices, Adam on all else.

  Momentum is made orthogonal, which is Shampoo without accumulation (Bernstein & Newhouse 2024);
  steps then get one size for all shapes (Liu et al. 2025, section 2.2).
  """
  # A learning rate of -1, since `make` turns the sign and scales.
  matrices = optax.chain(optax.contrib.muon(-1.0), optax.stateless(_to_one_size))
  return optax.multi_transform({True: matrices, False: _adam(config)}, _is_matrix)


OPTIMIZERS = {
    'adam': _adam,
    # Centred, as in Mnih et al. 2015.
    'rmsprop': lambda config: optax.scale_by_stddev(decay=0.95, eps=config.optimizer_epsilon),
    'muon': _muon,
}


def make(config: Any) -> optax.GradientTransformation:
  """Clip, precondition, decay, scale; what a setting turns off is not in the chain."""
  chain = []
  if config.max_gradient_norm:
    chain.append(optax.clip_by_global_norm(config.max_gradient_norm))
  chain.append(OPTIMIZERS[config.optimizer](config))
  if config.weight_decay:
    chain.append(optax.add_decayed_weights(config.weight_decay, mask=_is_kernel))
  chain.append(optax.scale_by_learning_rate(config.learning_rate))
  optimizer = optax.chain(*chain)
  return trac.tuned(optimizer) if config.parameter_free else optimizer


def scale_by_own_age(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """Adam whose bias correction counts each weight's updates apart.

  So a weight that is drawn anew starts as at the first update, once its moments and count are 0.
  Where none is, this is optax.scale_by_adam up to rounding.
  """
  def init(params: types.Params) -> optax.ScaleByAdamState:
    zeros = jax.tree.map(jnp.zeros_like, params)
    return optax.ScaleByAdamState(zeros, zeros, zeros)

  def update(gradient: types.Params, state: optax.ScaleByAdamState, params: Any = None):
    del params
    count = jax.tree.map(lambda count: count + 1, state.count)
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, gradient)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, gradient)

    def scale(m: Array, v: Array, n: Array) -> Array:
      return m / (1 - b1 ** n) / (jnp.sqrt(v / (1 - b2 ** n)) + eps)

    return jax.tree.map(scale, mu, nu, count), optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def _to_one_size(updates: types.Params, params: Any) -> types.Params:
  del params
  return jax.tree.map(
      lambda u: u * _MUON_RMS / jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(u))), 1e-12), updates)


def _is_kernel(params: types.Params) -> Any:
  """True for weights of linear and convolutional layers; biases, scales and offsets are not."""
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'w', params)


def _is_matrix(params: types.Params) -> Any:
  """True for weights of linear layers."""
  return jax.tree_util.tree_map_with_path(
      lambda path, leaf: path[-1].key == 'w' and leaf.ndim == 2, params)
