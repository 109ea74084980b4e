"""Does a gradient step push a first-layer unit the same way on every input?

Lyle et al. 2024 (arXiv 2402.18762), mechanism M1d. For unit j with the loss's weight gradient g_j,
the step changes its value on input x_i by -<g_j, x_i> times the learning rate.
"""

import functools
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from networks import types


def products(network: types.QNetwork, gradients: types.Params, observations: np.ndarray,
             key: jax.Array) -> np.ndarray:
  """Returns <g_j, x_i>: [B, ..., units], as the first layer's outputs before any normalization.

  In a convolution x_i is the patch at each position. Biases have no part in it. Where the network
  divides kernels by their singular value, all products are divided by one positive number.

  Args:
    network: the network.
    gradients: of the loss, like the network's parameters; its statistics are its own.
    observations: [B, *observation]; all at once.
    key: for networks with noise.
  """
  return np.asarray(_products(network.apply, gradients, key, observations))


def aligned_fraction(dots: np.ndarray) -> float:
  """Fraction of units [..., units] whose products are all >= 0 or all <= 0, and not all zero.

  Zeros side with neither, since patches of black pixels are common. NaN if any is not finite.
  """
  if not np.isfinite(dots).all():
    return float('nan')
  dots = dots.reshape(-1, dots.shape[-1])
  low, high = dots.min(axis=0), dots.max(axis=0)
  return float(np.mean(((low >= 0) & (high > 0)) | ((high <= 0) & (low < 0))))


@functools.partial(jax.jit, static_argnums=0)
def _products(apply: Callable, gradients: types.Params, key: jax.Array,
              observations: jax.Array) -> jax.Array:
  # The first layer's outputs, were the gradients its weights. What comes after it is not computed.
  kept = 'w', *types.STATISTICS
  weights = {module: {name: leaf if name in kept else jnp.zeros_like(leaf)
                      for name, leaf in leaves.items()} for module, leaves in gradients.items()}
  outputs = []

  def keep(call: Callable, args: tuple, kwargs: dict,
           context: hk.MethodContext) -> jax.Array:
    result = call(*args, **kwargs)
    if context.method_name == '__call__' and 'w' in weights.get(context.module.module_name, ()):
      outputs.append(result)
    return result

  with hk.intercept_methods(keep):
    apply(weights, key, observations)
  return outputs[0]
