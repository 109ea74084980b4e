"""How large the parameters have grown. Lyle et al. 2024 (arXiv 2402.18762), mechanism M3."""

import jax
import numpy as np

from networks import types


def parameter_norms(params: types.Params) -> dict[str, float]:
  """Returns the L2 norm of each module's parameters, and of all of them under 'total'."""
  squares = {module: _sum_of_squares(values) for module, values in params.items()}
  norms = {module: float(np.sqrt(square)) for module, square in squares.items()}
  return {**norms, 'total': float(np.sqrt(sum(squares.values())))}


def _sum_of_squares(tree: types.Params) -> float:
  # In float64: a float32 sum over millions of parameters drifts in its fourth digit.
  leaves = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree))
  return float(sum(np.sum(np.square(leaf)) for leaf in leaves))
