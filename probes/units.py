"""Units that no longer compute anything: dead ones, and those that have become linear."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from networks import types
from probes import batches

# A preactivation up to which a unit passes (almost) no gradient: a slope of 0 for ReLU, below 1e-3
# for ELU, whose slope is exp(a) there. Above 0 both are the identity.
_SATURATED_BELOW = {'relu': 0.0, 'elu': math.log(1e-3)}


class UnitFractions(NamedTuple):
  """Fractions of units by layer, and over all layers under 'total'; NaN if any is not finite."""
  dead: dict[str, float]  # saturated on every input
  linear: dict[str, float]  # above 0, so the identity, on every input


class _Extremes(NamedTuple):
  """Preactivations of one layer's units, over inputs and positions, [units] each."""
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
    threshold = _SATURATED_BELOW[network.activations[name]]
    dead[name] = np.where(finite, high <= threshold, np.nan)
    linear[name] = np.where(finite, low > 0, np.nan)
  return UnitFractions(_means(dead), _means(linear))


def _extremes(network: types.QNetwork, params: types.Params, observations: np.ndarray,
              key: jax.Array) -> dict[str, _Extremes]:
  pieces = [_batch_extremes(network.apply, params, key, batch)
            for batch in batches.batches(observations)]
  return {name: _Extremes(np.min([piece[name].low for piece in pieces], axis=0),
                          np.max([piece[name].high for piece in pieces], axis=0))
          for name in pieces[0]}


@functools.partial(jax.jit, static_argnums=0)
def _batch_extremes(apply: Callable, params: types.Params, key: jax.Array,
                    observations: jax.Array) -> dict[str, _Extremes]:
  extremes = {}
  for name, layer in apply(params, key, observations).features.items():
    axes = tuple(range(layer.preactivation.ndim - 1))
    extremes[name] = _Extremes(jnp.min(layer.preactivation, axes),
                               jnp.max(layer.preactivation, axes))
  return extremes


def _means(flags: dict[str, np.ndarray]) -> dict[str, float]:
  means = {name: float(np.mean(layer)) for name, layer in flags.items()}
  return {**means, 'total': float(np.mean(np.concatenate(list(flags.values()))))}
