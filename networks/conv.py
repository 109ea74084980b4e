"""Convolution, in the form that is fastest here; the parameters are the same in both."""

import haiku as hk
import jax
import jax.numpy as jnp

from networks import backend


def plain(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """[B, H, W, C] and [K, K, C, O] -> [B, H', W', O], no padding."""
  return jax.lax.conv_general_dilated(
      x, w, (stride, stride), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def space_to_depth(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """The same numbers up to rounding, for sizes that are multiples of the stride.

  Squares of stride x stride pixels become channels, so that the convolution has no stride.
  """
  batch, height, width, channels = x.shape
  kernel, _, _, outputs = w.shape
  s, h, k = stride, height // stride, kernel // stride
  x = x.reshape(batch, h, s, width // s, s, channels).transpose(0, 1, 3, 2, 4, 5)
  w = w.reshape(k, s, k, s, channels, outputs).transpose(0, 2, 1, 3, 4, 5)
  depth = s * s * channels
  return plain(
      x.reshape(batch, h, width // s, depth), w.reshape(k, k, depth, outputs), stride=1)


def _form(x: jax.Array, w: jax.Array, stride: int):
  sizes = (*x.shape[1:3], w.shape[0])
  fits = stride > 1 and not any(size % stride for size in sizes)
  # On a CPU, JAX 0.4.34 takes 19 ms instead of 30 for the Nature CNN's gradient so, JAX 0.10.2 27
  # instead of 21 (batch 32, two cores); an update of `dqn` with 0.6.2 takes 27 instead of 29.
  wins = backend.on_cpu() and backend.VERSION < (0, 7)
  return space_to_depth if fits and wins else plain


class TooSmallError(ValueError):
  """An image that nothing would be left of."""


class Conv2D(hk.Module):
  """A convolution of square kernels, with hk.Conv2D's parameters and paddings.

  Raises:
    TooSmallError: the image is smaller than the kernel.
  """

  def __init__(
      self, channels: int, kernel: int, stride: int, padding: str,
      w_init: hk.initializers.Initializer, b_init: hk.initializers.Initializer,
      with_bias: bool = True, name: str = 'conv'):
    super().__init__(name)
    self._channels, self._kernel, self._stride = channels, kernel, stride
    self._padding, self._w_init, self._b_init = padding, w_init, b_init
    self._with_bias = with_bias

  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (self._kernel, self._kernel, x.shape[-1], self._channels)
    w = hk.get_parameter('w', shape, jnp.float32, self._w_init)
    pads = jax.lax.padtype_to_pads(
        x.shape[1:3], (self._kernel,) * 2, (self._stride,) * 2, self._padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    if min(x.shape[1:3]) < self._kernel:
      raise TooSmallError(
          f'its {self.name} needs {self._kernel}x{self._kernel} pixels and gets '
          f'{x.shape[1]}x{x.shape[2]}')
    y = _form(x, w, self._stride)(x, w, self._stride)
    if not self._with_bias:
      return y
    return y + hk.get_parameter('b', (self._channels,), jnp.float32, self._b_init)
