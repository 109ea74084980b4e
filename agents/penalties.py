"""Interventions that add a term to the loss."""

import jax
import jax.numpy as jnp

from agents.mechanism import Context, Mechanism
from networks import types

Array = jax.Array


def l2(network: types.QNetwork, strength: float, scope: str) -> Mechanism:
  """strength * |theta|^2, of all parameters (Lyle et al. 2024) or of kernels alone."""
  del network

  def penalty(params: types.Params, context: Context) -> Array:
    del context
    return strength * sum(jnp.sum(jnp.square(leaf)) for leaf in _scoped(params, scope))

  return Mechanism(penalty=penalty)


def _scoped(params: types.Params, scope: str) -> list[Array]:
  """The parameters that are trained: all of them, or the kernels."""
  return [
      leaf for leaves in params.values() for name, leaf in leaves.items()
      if name not in types.STATISTICS and (scope == 'all' or name == 'w')]
