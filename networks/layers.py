"""The pieces every torso is made of: initialisers, normalization, nonlinearity."""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import numpy as np

from networks import conv, types

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'relu': jax.nn.relu,
    'elu': jax.nn.elu,
}


class Initializer(NamedTuple):
  """Initial weights and biases of a layer, each a function of the layer's fan-in."""
  weights: Callable[[int], hk.initializers.Initializer]
  biases: Callable[[int], hk.initializers.Initializer]


def _uniform_fan_in(fan_in: int) -> hk.initializers.Initializer:
  bound = 1.0 / np.sqrt(fan_in)
  return hk.initializers.RandomUniform(-bound, bound)


INITIALIZERS = {
    # dqn_zoo's, for weights and biases alike.
    'uniform_fan_in': Initializer(_uniform_fan_in, _uniform_fan_in),
    # Acme's and so DecQN's.
    'uniform_fan_out': Initializer(
        lambda fan_in: hk.initializers.VarianceScaling(0.333, 'fan_out', 'uniform'),
        lambda fan_in: hk.initializers.Constant(0.0)),
    # Dopamine's (Flax's xavier_uniform).
    'glorot_uniform': Initializer(
        lambda fan_in: hk.initializers.VarianceScaling(1.0, 'fan_avg', 'uniform'),
        lambda fan_in: hk.initializers.Constant(0.0)),
}


def _layer_norm(x: jax.Array, name: str) -> jax.Array:
  # Over all units of a sample: channels and positions alike after a convolution, as in "units
  # within a sample" of Lyle et al. 2024; scale and offset are per channel.
  axes = tuple(range(1, x.ndim))
  return hk.LayerNorm(axes, create_scale=True, create_offset=True, param_axis=-1, name=name)(x)


NORMS: dict[str, Callable[[jax.Array, str], jax.Array]] = {
    'none': lambda x, name: x,
    'layer': _layer_norm,
}


class Style(NamedTuple):
  """What is common to a network's layers."""
  initializer: str = 'uniform_fan_in'  # a row of INITIALIZERS
  norm: str = 'none'  # a row of NORMS, applied before every nonlinearity

  def linear(self, x: jax.Array, size: int, name: str, with_bias: bool = True) -> jax.Array:
    """[B, fan_in] -> [B, size]."""
    init = INITIALIZERS[self.initializer]
    fan_in = x.shape[-1]
    return hk.Linear(size, with_bias, init.weights(fan_in), init.biases(fan_in), name=name)(x)

  def conv(
      self, x: jax.Array, channels: int, kernel: int, stride: int, name: str,
      padding: str = 'VALID') -> jax.Array:
    """[B, H, W, C] -> [B, H', W', channels]."""
    init = INITIALIZERS[self.initializer]
    fan_in = kernel * kernel * x.shape[-1]
    return conv.Conv2D(
        channels, kernel, stride, padding, init.weights(fan_in), init.biases(fan_in), name)(x)

  def nonlinear(self, x: jax.Array, name: str, activation: str) -> types.Layer:
    """Normalizes, then applies the nonlinearity; `name` is the layer's."""
    preactivation = NORMS[self.norm](x, f'{name}_norm')
    return types.Layer(preactivation, ACTIVATIONS[activation](preactivation))
