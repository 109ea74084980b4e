"""Units that no longer compute anything: dead ones, and those that have become linear."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from networks import layers, types
from probes import batches

# A unit whose slope is below this passes (almost) no gradient; one whose slope is this near to 1 is
# (almost) the identity. ReLU's slope is 0 or 1, ELU's exp(a) below 0, tanh's 1 - tanh(a)^2.
_TOLERANCE = 1e-3


class UnitFractions(NamedTuple):
  """Fractions of units by layer, and over all layers under 'total'; NaN if any is not finite."""
  dead: dict[str, float]  # saturated on every input
  linear: dict[str, float]  # the identity on every input


class _Extremes(NamedTuple):
  """Slopes of one layer's units, over inputs and positions, [units] each; NaN is catching."""
  low: np.ndarray
  high: np.ndarray


def unit_fractions(network: types.QNetwork, params: types.Params, observations: np.ndarray,
                   key: jax.Array) -> UnitFractions:
  """Counts dead and linearized units: mechanisms M1a and M1b of Lyle et al. 2024 (2402.18762).

  In a convolution a channel is one unit, over all its positions.

  Args:
    network: the network.
    params: its parameters.
    observations: [B, *observation]; over fewer than 1,024 rarely active units pass for dead.
    key: for networks with noise.
  """
  dead, linear = {}, {}
  for name, (low, high) in _extremes(network, params, observations, key).items():
    finite = np.isfinite(low) & np.isfinite(high)
    dead[name] = np.where(finite, high <= _TOLERANCE, np.nan)
    linear[name] = np.where(finite, low >= 1 - _TOLERANCE, np.nan)
  return UnitFractions(_means(dead), _means(linear))


def _extremes(network: types.QNetwork, params: types.Params, observations: np.ndarray,
              key: jax.Array) -> dict[str, _Extremes]:
  pieces = [_batch_extremes(network.apply, tuple(network.activations.items()), params, key, batch)
            for batch in batches.batches(observations)]
  return {name: _Extremes(np.min([piece[name].low for piece in pieces], axis=0),
                          np.max([piece[name].high for piece in pieces], axis=0))
          for name in pieces[0]}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _batch_extremes(apply: Callable, activations: tuple[tuple[str, str], ...], params: types.Params,
                    key: jax.Array, observations: jax.Array) -> dict[str, _Extremes]:
  extremes, features = {}, apply(params, key, observations).features
  for name, activation in activations:
    x = features[name].preactivation
    _, slopes = jax.jvp(layers.ACTIVATIONS[activation], (x,), (jnp.ones_like(x),))
    slopes = jnp.where(jnp.isfinite(x), slopes, jnp.nan)
    axes = tuple(range(x.ndim - 1))
    extremes[name] = _Extremes(jnp.min(slopes, axes), jnp.max(slopes, axes))
  return extremes


def _means(flags: dict[str, np.ndarray]) -> dict[str, float]:
  means = {name: float(np.mean(layer)) for name, layer in flags.items()}
  return {**means, 'total': float(np.mean(np.concatenate(list(flags.values()))))}
