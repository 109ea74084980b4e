"""The pieces every network is made of: initialisers, normalization, nonlinearity."""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from networks import conv, noisy, types

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'relu': jax.nn.relu,
    'elu': jax.nn.elu,
    'tanh': jnp.tanh,
}


class Initializer(NamedTuple):
  """Initial weights and biases of a layer, each a function of the layer's fan-in."""
  weights: Callable[[int], hk.initializers.Initializer]
  biases: Callable[[int], hk.initializers.Initializer]


def _uniform_fan_in(fan_in: int) -> hk.initializers.Initializer:
  bound = 1.0 / np.sqrt(fan_in)
  return hk.initializers.RandomUniform(-bound, bound)


def _scaled(scale: float, mode: str, distribution: str) -> Initializer:
  """Variance scaling with biases of zero."""
  return Initializer(
      lambda fan_in: hk.initializers.VarianceScaling(scale, mode, distribution),
      lambda fan_in: hk.initializers.Constant(0.0))


INITIALIZERS = {
    # dqn_zoo's, for weights and biases alike.
    'uniform_fan_in': Initializer(_uniform_fan_in, _uniform_fan_in),
    # Acme's and so DecQN's from states.
    'uniform_fan_out': _scaled(0.333, 'fan_out', 'uniform'),
    # Sonnet's and so DecQN's from pixels.
    'truncated_fan_in': Initializer(
        lambda fan_in: hk.initializers.TruncatedNormal(1.0 / np.sqrt(fan_in)),
        lambda fan_in: hk.initializers.Constant(0.0)),
    # Dopamine's for DQN (Flax's xavier_uniform) and for its distributional agents.
    'glorot_uniform': _scaled(1.0, 'fan_avg', 'uniform'),
    'narrow_fan_in': _scaled(1.0 / np.sqrt(3.0), 'fan_in', 'uniform'),
}


def _layer_norm(x: jax.Array, name: str) -> jax.Array:
  # Over all units of a sample: channels and positions alike after a convolution, as in "units
  # within a sample" of Lyle et al. 2024; scale and offset are per channel.
  axes = tuple(range(1, x.ndim))
  return hk.LayerNorm(axes, create_scale=True, create_offset=True, param_axis=-1, name=name)(x)


def _keep(x: jax.Array, name: str) -> jax.Array:
  del name
  return x


class Norm(NamedTuple):
  """What stands before a nonlinearity: before most, and where the torso's paper has one."""
  anywhere: Callable[[jax.Array, str], jax.Array]
  own: Callable[[jax.Array, str], jax.Array]


NORMS: dict[str, Norm] = {
    'none': Norm(_keep, _keep),
    'own': Norm(_keep, _layer_norm),
    'layer': Norm(_layer_norm, _layer_norm),
}


class Hidden(NamedTuple):
  """A hidden layer and its nonlinearity's name."""
  layer: types.Layer
  nonlinearity: str  # a row of ACTIVATIONS

  @property
  def activation(self) -> jax.Array:
    return self.layer.activation


Features = dict[str, Hidden]


class Style(NamedTuple):
  """What is common to a network's layers."""
  initializer: str = 'uniform_fan_in'  # a row of INITIALIZERS
  norm: str = 'none'  # a row of NORMS, applied before every nonlinearity
  width: int = 1  # multiplies the torso's channels and units

  def linear(
      self, x: jax.Array, size: int, name: str, with_bias: bool = True,
      noisy_sigma: float = 0.0) -> jax.Array:
    """[B, fan_in] -> [B, size]; with noisy weights where `noisy_sigma` is above 0."""
    init = INITIALIZERS[self.initializer]
    w_init, b_init = init.weights(x.shape[-1]), init.biases(x.shape[-1])
    if noisy_sigma:
      return noisy.NoisyLinear(size, noisy_sigma, with_bias, w_init, b_init, name)(x)
    return hk.Linear(size, with_bias, w_init, b_init, name=name)(x)

  def conv(
      self, x: jax.Array, channels: int, kernel: int, stride: int, name: str,
      padding: str = 'VALID') -> jax.Array:
    """[B, H, W, C] -> [B, H', W', width * channels]."""
    init = INITIALIZERS[self.initializer]
    fan_in = kernel * kernel * x.shape[-1]
    return conv.Conv2D(
        self.width * channels, kernel, stride, padding, init.weights(fan_in), init.biases(fan_in),
        name)(x)

  def nonlinear(self, x: jax.Array, name: str, activation: str, own_norm: bool = False) -> Hidden:
    """Normalizes, then applies the nonlinearity; `name` is the layer's.

    Args:
      x: [B, ..., units].
      name: the layer's.
      activation: a row of ACTIVATIONS.
      own_norm: whether the network's paper has a normalization here.
    """
    norm = NORMS[self.norm].own if own_norm else NORMS[self.norm].anywhere
    preactivation = norm(x, f'{name}_norm')
    return Hidden(types.Layer(preactivation, ACTIVATIONS[activation](preactivation)), activation)
