"""Units that no longer compute much: dead, linearized, dormant; and how preactivations moved.

A unit is one preactivation; in a convolution a channel, over all its positions. An activation that
has several outputs for each preactivation (CReLU, Fourier features) has them in `parts` blocks of
`units` along its last axis.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from networks import layers, types
from probes import batches, histograms

# A unit passes (almost) no gradient where its slope is below this. ReLU's slope is 0 or 1, ELU's
# exp(a) below 0, tanh's 1 - tanh(a)^2.
_DEAD_SLOPE = 1e-3
# A smooth unit is linear where the best affine function of its preactivation leaves no more of its
# activation's variance than this.
_AFFINE_RESIDUAL = 1e-3
TAU = 0.025  # Sokar et al. 2023, their default for DQN


class UnitFractions(NamedTuple):
  """Fractions of units by layer, and over all layers under 'total'; NaN if any is not finite."""
  dead: dict[str, float]  # saturated on every input
  linear: dict[str, float]  # affine over all inputs, and not dead


class LayerStats(NamedTuple):
  """One layer over all inputs and positions."""
  dead: np.ndarray  # [units] 1.0, 0.0, or NaN where the unit is not finite
  linear: np.ndarray  # [units] likewise
  mean: np.ndarray  # [units] of the preactivation
  variance: np.ndarray  # [units] of the preactivation
  activity: np.ndarray  # [parts * units] mean |activation|
  histogram: np.ndarray  # [histograms.num_bins] counts of preactivations, all units together


class Moments(NamedTuple):
  """What a shift is measured of; `LayerStats` has these too."""
  mean: np.ndarray  # [units] of the preactivation
  variance: np.ndarray  # [units] of the preactivation


class Shift(NamedTuple):
  """How far a layer's preactivations are from a reference, in units of its standard deviation.

  Per unit j: means m_j, variances v_j. The deviation is pooled, s = sqrt(mean_j v_j), since a unit
  that hardly varied in the reference would outweigh all others if divided by its own.
  """
  distance: float  # mean_j |m_j - m_j^ref| / s^ref
  direction: float  # mean_j (m_j - m_j^ref) / s^ref: as large if all units move the same way
  log_scale: float  # ln(s / s^ref)


class _Piece(NamedTuple):
  """One layer on one batch; moments are over inputs and positions, none where given twice."""
  low: jax.Array  # [parts, units] smallest slope; NaN is catching
  high: jax.Array  # [parts, units] largest slope
  mean_a: jax.Array  # [1, units] of preactivations a
  mean_h: jax.Array  # [parts, units] of activations h
  var_a: jax.Array  # [1, units]
  var_h: jax.Array  # [parts, units]
  cov: jax.Array  # [parts, units] of a and h
  activity: jax.Array  # [parts, units] mean |h|
  histogram: jax.Array  # [bins]


def unit_fractions(network: types.QNetwork, params: types.Params, observations: np.ndarray,
                   key: jax.Array) -> UnitFractions:
  """Counts dead and linearized units; arguments as of `layer_stats`."""
  return fractions(layer_stats(network, params, observations, key))


def fractions(stats: dict[str, LayerStats]) -> UnitFractions:
  """Fractions of dead and linearized units: M1a and M1b of Lyle et al. 2024 (2402.18762)."""
  return UnitFractions(_means({name: layer.dead for name, layer in stats.items()}),
                       _means({name: layer.linear for name, layer in stats.items()}))


def dormant(stats: dict[str, LayerStats], tau: float = TAU) -> dict[str, float]:
  """Fraction of tau-dormant units by layer and in all ('total'); NaN where not finite.

  Sokar et al. 2023 (arXiv 2302.12902), definition 3.1: mean |activation| at most tau times the
  layer's mean of it. Counts activations: with CReLU two for each preactivation.
  """
  return _means({name: _dormant(layer.activity, tau) for name, layer in stats.items()})


def gradient_dormant(gradients: types.Params, tau: float = TAU) -> dict[str, float]:
  """The same with the L2 norms of the gradient of each unit's incoming weights, by module.

  Klein et al. 2024 (arXiv 2411.04832) name it. Ours: the gradient is of a batch's mean loss, the
  weights are 'w' alone, and the outputs' module is one among the others.
  """
  scores = {name: np.linalg.norm(np.asarray(module['w'], np.float64).reshape(
      -1, module['w'].shape[-1]), axis=0) for name, module in gradients.items() if 'w' in module}
  return _means({name: _dormant(score, tau) for name, score in scores.items()})


def preactivation_shift(stats: Mapping[str, Moments | LayerStats],
                        reference: Mapping[str, Moments | LayerStats]) -> dict[str, Shift]:
  """Shift of each layer since the reference (M1c of Lyle et al. 2024; the scalars are ours).

  NaN for layers that the reference lacks.
  """
  return {name: _shift(layer, reference[name]) if name in reference else Shift(*[math.nan] * 3)
          for name, layer in stats.items()}


def _shift(now: Moments | LayerStats, then: Moments | LayerStats) -> Shift:
  moved = now.mean - then.mean
  with np.errstate(divide='ignore', invalid='ignore'):
    scale, old_scale = (np.sqrt(np.mean(each.variance)) for each in (now, then))
    numbers = (np.mean(np.abs(moved)) / old_scale, np.mean(moved) / old_scale,
               np.log(scale / old_scale))
  return Shift(*map(float, numbers))


def layer_stats(network: types.QNetwork, params: types.Params, observations: np.ndarray,
                key: jax.Array) -> dict[str, LayerStats]:
  """Statistics of every hidden layer, by name.

  Args:
    network: the network.
    params: its parameters.
    observations: [B, *observation]; over fewer than 1,024 rarely active units pass for dead.
    key: for networks with noise.
  """
  pieces, counts = [], []
  for batch in batches.batches(observations):
    # The last one begins again from the first observation, and those count once.
    counts.append(min(len(batch), len(observations) - len(batch) * len(pieces)))
    pieces.append(_batch_pieces(network.apply, tuple(network.activations.items()), params, key,
                                batch, counts[-1]))
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float64), *pieces)
  return {name: _layer_stats(stacked[name], np.array(counts), activation)
          for name, activation in network.activations.items()}


@np.errstate(invalid='ignore')  # inf - inf is unknown, and said to be.
def _layer_stats(pieces: _Piece, counts: np.ndarray, activation: str) -> LayerStats:
  """Puts the pieces of N batches [N, ...] of `counts` [N] observations together."""
  average = functools.partial(np.average, axis=0, weights=counts)
  mean_a, mean_h = average(pieces.mean_a), average(pieces.mean_h)
  da, dh = pieces.mean_a - mean_a, pieces.mean_h - mean_h
  var_a, var_h = average(pieces.var_a + da**2), average(pieces.var_h + dh**2)
  cov = average(pieces.cov + da * dh)

  low, high = pieces.low.min(axis=0), pieces.high.max(axis=0)
  dead = np.all(np.maximum(high, -low) <= _DEAD_SLOPE, axis=0)
  if _is_piecewise_linear(activation):
    linear = np.all(low == high, axis=0)
  else:
    explained = cov**2 / np.where(var_a > 0, var_a, 1)
    linear = np.sum(var_h - explained, axis=0) <= _AFFINE_RESIDUAL * np.sum(var_h, axis=0)
  known = np.isfinite([low, high, mean_h]).all(axis=(0, 1))
  return LayerStats(
      dead=np.where(known, dead, np.nan), linear=np.where(known, linear & ~dead, np.nan),
      mean=mean_a[0], variance=var_a[0], activity=average(pieces.activity).ravel(),
      histogram=pieces.histogram.sum(axis=0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _batch_pieces(apply: Callable, activations: tuple[tuple[str, str], ...], params: types.Params,
                  key: jax.Array, observations: jax.Array, count: int) -> dict[str, _Piece]:
  """Pieces by layer; of the moments only the first `count` observations are part."""
  features = apply(params, key, observations).features
  return {name: _piece(features[name].preactivation, layers.ACTIVATIONS[activation], count)
          for name, activation in activations}


def _piece(a: jax.Array, activation: Callable, count: int) -> _Piece:
  """[B, ..., units] preactivations of one layer -> its piece."""
  h, slopes = jax.jvp(activation, (a,), (jnp.ones_like(a),))
  a = a.reshape(len(a), -1, 1, a.shape[-1])  # [B, positions, 1, units]
  h, slopes = (x.reshape(*a.shape[:2], -1, a.shape[-1]) for x in (h, slopes))
  slopes = jnp.where(jnp.isfinite(a), slopes, jnp.nan)
  counted = jnp.broadcast_to((jnp.arange(len(a)) < count)[:, None, None, None], a.shape)

  def mean(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(counted, x, 0), axis=(0, 1)) / (count * a.shape[1])

  da, dh = a - mean(a), h - mean(h)
  return _Piece(
      low=jnp.min(slopes, (0, 1)), high=jnp.max(slopes, (0, 1)), mean_a=mean(a), mean_h=mean(h),
      var_a=mean(da**2), var_h=mean(dh**2), cov=mean(da * dh), activity=mean(jnp.abs(h)),
      histogram=histograms.count(a, counted))


@functools.cache
def _is_piecewise_linear(activation: str) -> bool:
  """Whether it has no curvature, as ReLU, LeakyReLU and CReLU."""
  points = jnp.array([-3.0, -1.0, -0.3, 0.3, 1.0, 3.0])[:, None]
  ones = jnp.ones_like(points)

  def slopes(x: jax.Array) -> jax.Array:
    return jax.jvp(layers.ACTIVATIONS[activation], (x,), (ones,))[1]

  return not jax.jvp(slopes, (points,), (ones,))[1].any()


def _dormant(scores: np.ndarray, tau: float) -> np.ndarray:
  """[units] non-negative scores -> 1.0, 0.0, or NaN if any is not finite."""
  mean = np.mean(scores)
  return np.where(np.isfinite(mean), scores <= tau * mean, np.nan)


def _means(flags: dict[str, np.ndarray]) -> dict[str, float]:
  means = {name: float(np.mean(layer)) for name, layer in flags.items()}
  return {**means, 'total': float(np.mean(np.concatenate(list(flags.values()))))}
