"""How many directions a matrix really has: singular values and the ranks drawn from them."""

from typing import NamedTuple

import numpy as np

RANK_EPSILON = 0.01  # Lyle et al. 2022
SRANK_DELTA = 0.01  # Kumar et al. 2021
_ROUNDING = float(np.finfo(np.float32).eps)  # What is measured was computed in float32.


class FeatureSpectrum(NamedTuple):
  """Of features Phi [n, d]; NaN throughout if any is not finite."""
  singular_values: np.ndarray  # [min(n, d)], largest first
  feature_rank: float
  srank: float
  effective_rank: float
  top: float  # sigma_1, which large regression targets blow up: M2 of Lyle et al. 2024 (2402.18762)
  condition: float  # sigma_1 / sigma_min(n, d)


def feature_spectrum(features: np.ndarray) -> FeatureSpectrum:
  """Spectrum of penultimate features [n, ...], flattened to [n, d]."""
  features = features.reshape(len(features), -1)
  values = singular_values(features)
  return FeatureSpectrum(
      values, feature_rank(values, len(features)), srank(values), effective_rank(values),
      float(values[0]), condition(values))


def singular_values(matrix: np.ndarray) -> np.ndarray:
  """[n, d] -> [min(n, d)], largest first, in float64; NaN if any entry is not finite."""
  matrix = np.asarray(matrix, np.float64)
  if not np.isfinite(matrix).all():
    return np.full(min(matrix.shape), np.nan)
  return np.linalg.svd(matrix, compute_uv=False)


def feature_rank(values: np.ndarray, num_rows: int, epsilon: float = RANK_EPSILON) -> float:
  """Count of singular values of Phi / sqrt(n) above epsilon (Lyle et al. 2022, 2204.09560)."""
  return _unless_nan(values, np.sum(values / np.sqrt(num_rows) > epsilon))


def srank(values: np.ndarray, delta: float = SRANK_DELTA) -> float:
  """Least k whose top k singular values sum to 1 - delta of all (Kumar et al. 2021, 2010.14498).

  0 for a matrix of zeros.
  """
  # The last may fall short of the total by rounding, so only those before it are compared.
  short = np.cumsum(values)[:-1] < (1 - delta) * np.sum(values)
  return _unless_nan(values, np.sum(short) + (values[0] > 0))


def effective_rank(values: np.ndarray) -> float:
  """exp of the entropy of singular values over their sum (Roy and Vetterli 2007); 0 for zeros."""
  total = np.sum(values)
  if total == 0:
    return 0.0
  shares = values / total
  # By hand: 0 log 0 is 0, and NaN stays NaN.
  return float(np.exp(-np.sum(shares * np.log(np.where(shares > 0, shares, 1)))))


def condition(values: np.ndarray) -> float:
  """Largest over smallest singular value; infinite where that is no more than rounding."""
  top, bottom = float(values[0]), float(values[-1])
  if bottom <= _ROUNDING * top:
    return float('inf')
  return top / bottom


def _unless_nan(values: np.ndarray, count: np.integer) -> float:
  return float('nan') if np.isnan(values).any() else float(count)
