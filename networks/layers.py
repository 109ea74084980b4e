"""The pieces every network is made of: initialisers, linear maps, nonlinearities."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from networks import conv, linear, noisy, norms, spectral, types
from networks.trace import Call, Trace


def _both(first: Callable, second: Callable) -> Callable[[jax.Array], jax.Array]:
  """Two functions of each unit, one behind the other: [..., units] -> [..., 2 * units]."""
  return lambda x: jnp.concatenate([first(x), second(x)], axis=-1)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'relu': jax.nn.relu,
    'elu': jax.nn.elu,
    'tanh': jnp.tanh,
    'leaky': jax.nn.leaky_relu,
    'gelu': jax.nn.gelu,
    # Shang et al. 2016; in reinforcement learning Abbas et al. 2023.
    'crelu': _both(jax.nn.relu, lambda x: jax.nn.relu(-x)),
    # Lewandowski et al. 2024, "Plastic Learning with Deep Fourier Features".
    'fourier': _both(jnp.sin, jnp.cos),
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


class Hidden(NamedTuple):
  """A hidden layer."""
  layer: types.Layer
  nonlinearity: str  # a row of ACTIVATIONS; '': no units of its own, as behind a pooling
  producer: str = ''  # the Haiku module that made the preactivation; '': a sum of several

  @property
  def activation(self) -> jax.Array:
    return self.layer.activation


COMPUTE_DTYPES = ('float32', 'bfloat16')
_WEIGHTS = ('w', 'b', 'w_sigma', 'b_sigma')  # all that a module computes with, and no statistics

Features = dict[str, Hidden]
Input = jax.Array | Hidden


class Style(NamedTuple):
  """What is common to a network's layers."""
  initializer: str = 'uniform_fan_in'  # a row of INITIALIZERS
  norm: str = 'none'  # a row of norms.NORMS, applied before every nonlinearity
  width: int = 1  # multiplies the torso's channels and units
  norm_affine: bool = True  # with a trained scale and offset
  activation: str = ''  # a row of ACTIVATIONS for every nonlinearity; '': each its own
  hidden_bias: bool = True  # of layers that a normalization follows, behind a sum, too
  spectral_norm: bool = False  # of all kernels but the outputs'
  compute_dtype: str = 'float32'  # of hidden layers' products; parameters and results are float32
  trace: Trace | None = None  # of the forward pass, given by q_network

  def linear(
      self, x: Input, size: int, name: str, with_bias: bool = True, noisy_sigma: float = 0.0,
      is_output: bool = False) -> jax.Array:
    """[B, ..., fan_in] -> [B, size]; with noisy weights where `noisy_sigma` is above 0."""
    fan_in = hk.Flatten()(_array(x)).shape[-1]
    with_bias = with_bias and (is_output or self._has_bias(True))
    return self._call(self._linear(fan_in, size, name, with_bias, noisy_sigma), x, is_output)

  def conv(
      self, x: Input, shape: tuple[int, int, int], name: str, padding: str = 'VALID') -> jax.Array:
    """[B, H, W, C] -> [B, H', W', width * channels], by `shape`: channels, kernel, stride."""
    module = self._conv(_array(x).shape[-1], shape, name, padding, self._has_bias(False))
    return self._call(module, x)

  def dense(
      self, x: Input, size: int, name: str, activation: str, own_norm: bool = False,
      noisy_sigma: float = 0.0) -> Hidden:
    """A hidden layer: `linear`, then `nonlinear`."""
    fan_in = hk.Flatten()(_array(x)).shape[-1]
    module = self._linear(fan_in, size, name, self._has_bias(own_norm), noisy_sigma)
    return self.nonlinear(self._call(module, x), name, activation, own_norm, module.module_name)

  def convolve(
      self, x: Input, shape: tuple[int, int, int], name: str, padding: str = 'VALID') -> Hidden:
    """A hidden layer: `conv`, then `nonlinear` with a ReLU."""
    module = self._conv(_array(x).shape[-1], shape, name, padding, self._has_bias(False))
    return self.nonlinear(self._call(module, x), name, 'relu', producer=module.module_name)

  def nonlinear(
      self, x: jax.Array, name: str, activation: str, own_norm: bool = False,
      producer: str = '') -> Hidden:
    """Normalizes, then applies the nonlinearity.

    Args:
      x: [B, ..., units].
      name: the layer's.
      activation: a row of ACTIVATIONS, which the style's own one replaces.
      own_norm: whether the network's paper has a normalization here.
      producer: the module whose output `x` is; '': a sum of several.
    """
    activation = self.activation or activation
    preactivation = self._norm(own_norm)(x, f'{name}_norm', self.norm_affine, self.trace)
    layer = types.Layer(preactivation, ACTIVATIONS[activation](preactivation))
    return Hidden(layer, activation, producer)

  def growth(self, activation: str) -> int:
    """How many units come out of a nonlinearity for each that goes in."""
    function = ACTIVATIONS[self.activation or activation]
    return jax.eval_shape(function, jnp.zeros((1,))).shape[0]

  def _linear(
      self, fan_in: int, size: int, name: str, with_bias: bool, noisy_sigma: float) -> hk.Module:
    init = INITIALIZERS[self.initializer]
    w_init, b_init = init.weights(fan_in), init.biases(fan_in)
    if noisy_sigma:
      return noisy.NoisyLinear(size, noisy_sigma, with_bias, w_init, b_init, name)
    return linear.Linear(size, with_bias, w_init, b_init, name)

  def _conv(
      self, inputs: int, shape: tuple[int, int, int], name: str, padding: str,
      with_bias: bool) -> hk.Module:
    channels, kernel, stride = shape
    init = INITIALIZERS[self.initializer]
    fan_in = kernel * kernel * inputs
    return conv.Conv2D(
        self.width * channels, kernel, stride, padding, init.weights(fan_in), init.biases(fan_in),
        with_bias, name)

  def _call(self, module: hk.Module, x: Input, is_output: bool = False) -> jax.Array:
    """Applies a module, and notes whom it reads."""
    source = x.producer if isinstance(x, Hidden) else ''
    self.trace.calls.append(Call(module.module_name, source, is_output))
    array = _array(x) if isinstance(module, conv.Conv2D) else hk.Flatten()(_array(x))
    if is_output:
      return module(array)
    with contextlib.ExitStack() as stack:
      if self.compute_dtype != 'float32':
        stack.enter_context(_weights_as(self.compute_dtype))
      if self.spectral_norm:
        stack.enter_context(spectral.normalized_kernels(self.trace))
      return module(array.astype(self.compute_dtype)).astype(jnp.float32)

  def _norm(self, own_norm: bool) -> norms.Apply:
    return norms.NORMS[self.norm].own if own_norm else norms.NORMS[self.norm].anywhere

  def _has_bias(self, own_norm: bool) -> bool:
    return self.hidden_bias or self._norm(own_norm) is norms.identity


def _weights_as(dtype: str) -> contextlib.AbstractContextManager:
  """Within this context modules get what they multiply and add in another type."""
  def getter(
      next_getter: Callable[[Any], jax.Array], value: Any,
      context: hk.GetterContext) -> jax.Array:
    found = next_getter(value)
    return found.astype(dtype) if context.name in _WEIGHTS else found

  return hk.custom_getter(getter)


def _array(x: Input) -> jax.Array:
  return x.activation if isinstance(x, Hidden) else x
