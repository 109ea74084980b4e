"""Linear layers whose weights are drawn anew at each use."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from networks import linear, types


class NoisyLinear(hk.Module):
  """y = (w + w_sigma * noise) x + b + b_sigma * noise, factorised Gaussian noise.

  Fortunato et al. 2018 (arXiv 1706.10295), equations 9 to 11, as dqn_zoo has it: one draw for the
  whole batch, cut off at two standard deviations; the bias has noise even where it has no mean.
  """

  def __init__(
      self, size: int, sigma: float, with_bias: bool, w_init: hk.initializers.Initializer,
      b_init: hk.initializers.Initializer, name: str):
    """Args: `sigma` / sqrt(fan-in) is what every weight's noise is scaled by at first."""
    super().__init__(name)
    self._size, self._sigma, self._with_bias = size, sigma, with_bias
    self._w_init, self._b_init = w_init, b_init

  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, fan_in] -> [B, size]."""
    fan_in = x.shape[-1]
    sigma_init = hk.initializers.Constant(self._sigma / np.sqrt(fan_in))
    w = hk.get_parameter('w', (fan_in, self._size), init=self._w_init)
    w_sigma = hk.get_parameter('w_sigma', w.shape, init=sigma_init)
    b_sigma = hk.get_parameter('b_sigma', (self._size,), init=sigma_init)
    noise_in, noise_out = (_noise(size).astype(x.dtype) for size in (fan_in, self._size))
    own, noise = map(linear.gradient_by_columns, (x, x * noise_in))
    y = jnp.dot(own, w) + (jnp.dot(noise, w_sigma) + b_sigma) * noise_out
    if self._with_bias:
      y += hk.get_parameter('b', (self._size,), init=self._b_init)
    return y


def silenced(params: types.Params) -> types.Params:
  """Parameters with which noisy layers have no noise."""
  return {module: {name: jnp.zeros_like(leaf) if name in ('w_sigma', 'b_sigma') else leaf
                   for name, leaf in leaves.items()} for module, leaves in params.items()}


def _noise(size: int) -> jax.Array:
  draw = jax.random.truncated_normal(hk.next_rng_key(), -2.0, 2.0, (size,))
  return jnp.sign(draw) * jnp.sqrt(jnp.abs(draw))
