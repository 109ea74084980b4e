"""Spectral normalization: kernels divided by their largest singular value."""

import contextlib
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from networks.trace import Trace

_TINY = 1e-12  # norms below it are none
_FIRST_ITERATIONS = 30  # from a start of ones; later ones go on from the update before


def normalized_kernels(trace: Trace) -> contextlib.AbstractContextManager:
  """Within this context modules get their kernels `w` divided so (Miyato et al. 2018, alg. 1).

  A convolution's kernel counts as a matrix [fan_in, channels]. One power iteration is made in each
  update, from the singular vector of the one before; no gradient passes through the vectors.
  """
  def getter(
      next_getter: Callable[[Any], jax.Array], value: Any,
      context: hk.GetterContext) -> jax.Array:
    w = next_getter(value)
    if context.name != 'w':
      return w
    matrix = w.reshape(-1, w.shape[-1])
    start = hk.get_parameter(
        'singular_vector', w.shape[-1:],
        init=lambda shape, dtype: _iterate(matrix, jnp.ones(shape, dtype), _FIRST_ITERATIONS))
    right = jax.lax.stop_gradient(_iterate(matrix, start, 1))
    trace.keep(context.module_name, 'singular_vector', right)
    squared = jnp.sum(jnp.square(matrix @ right))
    # A kernel of zeros, as of a layer whose units are all drawn anew, stays one.
    return w / jnp.where(squared > _TINY**2, jnp.sqrt(jnp.maximum(squared, _TINY**2)), 1.0)

  return hk.custom_getter(getter)


def _iterate(matrix: jax.Array, right: jax.Array, count: int) -> jax.Array:
  """Power iterations on the right singular vector of [fan_in, units]."""
  for _ in range(count):
    product = matrix.T @ (matrix @ right)
    norm = jnp.linalg.norm(product)
    right = jnp.where(norm > _TINY, product / jnp.maximum(norm, _TINY), right)
  return right
