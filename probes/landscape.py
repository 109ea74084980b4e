"""How sharp the loss is around the parameters: Hessian eigenvalues, spectrum of gradients.

Lyle et al. 2024 (arXiv 2402.18762), mechanism M3; the survey of Klein et al. 2024
(arXiv 2411.04832) asks for both.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import flatten_util

from networks import types

Loss = Callable[[types.Params, Any], jax.Array]  # parameters, data -> scalar


class RitzValues(NamedTuple):
  """Estimates of K eigenvalues; those at both ends of the spectrum come first and best."""
  values: np.ndarray  # [K], largest first; the sharpness is values[0]
  errors: np.ndarray  # [K] an eigenvalue is this near to the estimate, or nearer


def hessian_eigenvalues(loss: Loss, params: types.Params, data: Any, key: jax.Array,
                        num_iterations: int = 20) -> RitzValues:
  """Eigenvalues of the loss's Hessian by Lanczos, with full re-orthogonalisation.

  Golub and Van Loan 2013, section 10.3. Never more than the true largest. NaN if not finite.

  Args:
    loss: the same function each time: the compiled product is cached on it.
    params: P numbers, where the Hessian is taken; `num_iterations` * P float32 are held.
    data: handed on to `loss`.
    key: draws the vector to begin from.
    num_iterations: K, or fewer where the Hessian has no more distinct eigenvalues.
  """
  size = sum(leaf.size for leaf in jax.tree.leaves(params))
  vector = np.asarray(jax.random.normal(key, (size,)))
  basis = np.empty((min(num_iterations, size), size), np.float32)
  diagonal, beside = [], []
  length = np.linalg.norm(vector)
  for step in range(len(basis)):
    basis[step] = vector / length
    product = np.asarray(_hessian_product(loss, params, data, basis[step]))
    diagonal.append(np.dot(basis[step], product))
    vector = _orthogonal(_orthogonal(product, basis[:step + 1]), basis[:step + 1])  # Once rounds.
    length = np.linalg.norm(vector)
    beside.append(length)
    if not length > 1e-6 * np.linalg.norm(product):  # Nothing new, or nothing finite.
      break
  return _ritz(np.array(diagonal, np.float64), np.array(beside, np.float64))


def gradient_spectrum(gram: np.ndarray) -> np.ndarray:
  """Singular values [n], largest first, of n gradients [n, P] from their Gram matrix [n, n]."""
  if not np.isfinite(gram).all():
    return np.full(len(gram), np.nan)
  return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))


@functools.partial(jax.jit, static_argnums=0)
def _hessian_product(loss: Loss, params: types.Params, data: Any, vector: jax.Array) -> jax.Array:
  """[P] -> [P]."""
  flat, unravel = flatten_util.ravel_pytree(params)

  def gradient(flat: jax.Array) -> jax.Array:
    return jax.grad(lambda flat: loss(unravel(flat), data))(flat)

  return jax.jvp(gradient, (flat,), (vector,))[1]


def _orthogonal(vector: np.ndarray, basis: np.ndarray) -> np.ndarray:
  """[P] less its part in the span of orthonormal rows [k, P]."""
  return vector - (basis @ vector) @ basis


def _ritz(diagonal: np.ndarray, beside: np.ndarray) -> RitzValues:
  """Of the tridiagonal matrix of `diagonal` [K] and all but the last of `beside` [K]."""
  if not np.isfinite([diagonal, beside]).all():
    return RitzValues(*np.full((2, len(diagonal)), np.nan))
  matrix = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
  values, vectors = np.linalg.eigh(matrix)
  return RitzValues(values[::-1], (beside[-1] * np.abs(vectors[-1]))[::-1])
