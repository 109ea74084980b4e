"""Normalizations, and where each stands."""

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from networks.trace import Trace

_EPSILON = 1e-5
_DECAY = 0.99  # of the running mean and variance, per update

# [B, ..., units], name, whether with a trained scale and offset -> the same shape.
Apply = Callable[[jax.Array, str, bool, Trace], jax.Array]


def identity(x: jax.Array, name: str, affine: bool, trace: Trace) -> jax.Array:
  """No normalization."""
  del name, affine, trace
  return x


def _over_units(x: jax.Array) -> tuple[int, ...]:
  # All units of a sample: channels and positions alike after a convolution, as in "units within a
  # sample" of Lyle et al. 2024; scale and offset are per channel.
  return tuple(range(1, x.ndim))


def _layer(x: jax.Array, name: str, affine: bool, trace: Trace) -> jax.Array:
  """Ba et al. 2016."""
  del trace
  return hk.LayerNorm(_over_units(x), affine, affine, param_axis=-1, name=name)(x)


def _rms(x: jax.Array, name: str, affine: bool, trace: Trace) -> jax.Array:
  """Zhang & Sennrich 2019: no mean is subtracted, and there is no offset."""
  del trace
  return hk.RMSNorm(_over_units(x), _EPSILON, create_scale=affine, name=name)(x)


def _batch(x: jax.Array, name: str, affine: bool, trace: Trace) -> jax.Array:
  """Ioffe & Szegedy 2015."""
  return _OverSamples(affine, std_over_units=False, name=name)(x, trace)


def _hybrid(x: jax.Array, name: str, affine: bool, trace: Trace) -> jax.Array:
  """Batch normalization's mean, layer normalization's deviation (Lyle et al. 2024, appendix F)."""
  return _OverSamples(affine, std_over_units=True, name=name)(x, trace)


class _OverSamples(hk.Module):
  """Subtracts each unit's mean over samples, divides by a standard deviation.

  In training these are the batch's; elsewhere running ones, which start at 0 and 1.
  """

  def __init__(self, affine: bool, std_over_units: bool, name: str):
    super().__init__(name)
    self._affine, self._std_over_units = affine, std_over_units

  def __call__(self, x: jax.Array, trace: Trace) -> jax.Array:
    """[B, ..., units] -> the same shape."""
    axes = tuple(range(x.ndim - 1))
    x = x - self._running('running_mean', jnp.mean(x, axes), 0.0, trace)
    if self._std_over_units:
      variance = jnp.var(x, _over_units(x), keepdims=True)
    else:  # The mean of squares, as in training the mean is 0 by now.
      variance = self._running('running_variance', jnp.mean(jnp.square(x), axes), 1.0, trace)
    x = x * jax.lax.rsqrt(variance + _EPSILON)
    if not self._affine:
      return x
    size = x.shape[-1:]
    scale = hk.get_parameter('scale', size, init=hk.initializers.Constant(1.0))
    return x * scale + hk.get_parameter('offset', size, init=hk.initializers.Constant(0.0))

  def _running(self, name: str, of_batch: jax.Array, start: float, trace: Trace) -> jax.Array:
    running = hk.get_parameter(name, of_batch.shape, init=hk.initializers.Constant(start))
    trace.keep(self.module_name, name, _DECAY * running + (1 - _DECAY) * of_batch)
    return of_batch if trace.training else jax.lax.stop_gradient(running)


class Norm(NamedTuple):
  """What stands before a nonlinearity: before most, and where the torso's paper has one."""
  anywhere: Apply
  own: Apply


NORMS: dict[str, Norm] = {
    'none': Norm(identity, identity),
    'own': Norm(identity, _layer),
    'layer': Norm(_layer, _layer),
    'rms': Norm(_rms, _rms),
    'batch': Norm(_batch, _batch),
    'hybrid': Norm(_hybrid, _hybrid),
}
