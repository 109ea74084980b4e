"""Gram matrices of per-example gradients: the empirical NTK, and the covariance of loss gradients.

K_ij = <grad f(x_i), grad f(x_j)> over all parameters. With f the outputs it is the eNTK of Lyle et
al. 2024 (arXiv 2402.18762), mechanism M5; with f the loss its cosines are the gradient covariance
of Lyle et al. 2023 (arXiv 2303.01486).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util
from scipy.cluster import hierarchy
from scipy.spatial import distance

from networks import types
from probes import spectrum

# Parameters, what all examples share, one example without its batch axis -> a scalar, or several
# outputs [k].
PerExample = Callable[[types.Params, Any, Any], jax.Array]

REDUCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'sum': jnp.sum,  # f is the sum of all outputs: one number for each input
    'trace': jnp.ravel,  # K is the sum over outputs of their own kernels, k times the work
}
# 64 gradients of the Nature CNN or IMPALA at once, and 2 GB with everything around them.
_MAX_BYTES = 600_000_000


class KernelStats(NamedTuple):
  """Of K [n, n] = D + G, D its diagonal; NaN throughout if any entry is not finite.

  Lost plasticity shows as large cosines and unequal norms. Ranks and shares of G are of the
  absolute values of its eigenvalues. The paper names the first three; the others but one are
  inferred from its "diagonal plus low rank".
  """
  mean_abs_cosine: float  # over i != j, of K_ij / sqrt(K_ii K_jj)
  mean_norm: float  # of the gradients, sqrt(K_ii)
  norm_variation: float  # their standard deviation over their mean
  negative_share: float  # of cosines over i != j: pairs that interfere (Lyle et al. 2023)
  effective_rank: float  # of K
  srank: float  # of K
  top_share: float  # of the trace of K in its largest eigenvalue
  condition: float  # of K
  off_effective_rank: float  # of G
  off_srank: float  # of G
  off_top_share: float  # of G's Frobenius norm in its largest eigenvalue


@functools.cache
def outputs(apply: Callable, reduction: str) -> PerExample:
  """Q-values of one observation, as `gram` takes them; `reduction` is a row of REDUCTIONS."""

  def per_example(params: types.Params, key: jax.Array, observation: jax.Array) -> jax.Array:
    return REDUCTIONS[reduction](apply(params, key, observation[None]).q_values)

  return per_example


def gram(per_example: PerExample, params: types.Params, shared: Any, inputs: Any,
         max_bytes: int = _MAX_BYTES) -> np.ndarray:
  """Returns K [n, n], summed over the outputs of `per_example`.

  Gradients are taken one by one, which on a CPU is faster than a batch of them.

  Args:
    per_example: the same function each time: the compiled gradient is cached on it.
    params: P numbers.
    shared: what all examples share, as the key of a network with noise.
    inputs: a tree of arrays [n, ...].
    max_bytes: of gradients held at once; where n * P * 4 is more, all are taken again for every
      such piece of the parameters.
  """
  examples = [jax.tree.map(lambda leaf, i=i: leaf[i], inputs)
              for i in range(len(jax.tree.leaves(inputs)[0]))]
  num_outputs = jax.eval_shape(per_example, params, shared, examples[0]).size
  size = sum(leaf.size for leaf in jax.tree.leaves(params))
  width = min(size, max(1, max_bytes // (4 * len(examples))))
  gradients = np.empty((len(examples), width), np.float32)
  kernel = np.zeros((len(examples),) * 2)
  for start in range(0, size, width):
    piece = gradients[:, :min(width, size - start)]
    for output in range(num_outputs):
      for row, example in zip(piece, examples, strict=True):
        row[:] = np.asarray(
            _gradient(per_example, params, shared, example, output))[start:start + width]
      kernel += piece @ piece.T
  return kernel


def cosines(kernel: np.ndarray) -> np.ndarray:
  """[n, n] -> K_ij / sqrt(K_ii K_jj); 0 where a gradient is zero."""
  norms = np.sqrt(np.diag(kernel))
  return kernel / np.where(norms > 0, norms, 1)[:, None] / np.where(norms > 0, norms, 1)


def kernel_stats(kernel: np.ndarray) -> KernelStats:
  """Statistics of K [n, n], n of 2 or more."""
  if not np.isfinite(kernel).all():
    return KernelStats(*[float('nan')] * len(KernelStats._fields))
  off_diagonal = ~np.eye(len(kernel), dtype=bool)
  off_cosines, norms = cosines(kernel)[off_diagonal], np.sqrt(np.diag(kernel))
  values = spectrum.singular_values(kernel)
  off_values = spectrum.singular_values(np.where(off_diagonal, kernel, 0))
  return KernelStats(
      mean_abs_cosine=float(np.mean(np.abs(off_cosines))), mean_norm=float(np.mean(norms)),
      norm_variation=_ratio(np.std(norms), np.mean(norms)),
      negative_share=float(np.mean(off_cosines < 0)),
      effective_rank=spectrum.effective_rank(values), srank=spectrum.srank(values),
      top_share=_ratio(values[0], np.sum(values)), condition=spectrum.condition(values),
      off_effective_rank=spectrum.effective_rank(off_values), off_srank=spectrum.srank(off_values),
      off_top_share=_ratio(off_values[0], np.linalg.norm(off_values)))


def display_order(kernel: np.ndarray) -> np.ndarray:
  """Order [n] in which similar rows are neighbours: leaves of average-linkage clustering by cosine.

  As it is where the kernel is not finite.
  """
  if len(kernel) < 3 or not np.isfinite(kernel).all():
    return np.arange(len(kernel))
  apart = 1 - np.clip(cosines(kernel), -1, 1)
  np.fill_diagonal(apart, 0)
  condensed = distance.squareform(apart, checks=False)
  return hierarchy.leaves_list(hierarchy.linkage(condensed, 'average', optimal_ordering=True))


@functools.partial(jax.jit, static_argnums=0)
def _gradient(per_example: PerExample, params: types.Params, shared: Any, example: Any,
              output: int) -> jax.Array:
  """[P] of one output."""
  return flatten_util.ravel_pytree(jax.grad(
      lambda params: jnp.ravel(per_example(params, shared, example))[output])(params))[0]


def _ratio(part: float, whole: float) -> float:
  return float(part / whole) if whole > 0 else float('nan')
