"""How large parameters, gradients, steps and outputs are, by Haiku module and in all ('total').

Lyle et al. 2024 (arXiv 2402.18762), mechanism M3. In float64: a float32 sum over millions of
parameters drifts in its fourth digit.
"""

from typing import NamedTuple

import jax
import numpy as np

from networks import types


class OutputScale(NamedTuple):
  """Over all inputs and outputs, in units of the return."""
  mean_abs: float
  std: float


def parameter_norms(params: types.Params) -> dict[str, float]:
  """Returns the L2 norm of each module's parameters, and of all of them under 'total'.

  Of gradients or any other tree of that form likewise.
  """
  squares = {module: _sum_of_squares(values) for module, values in params.items()}
  norms = {module: float(np.sqrt(square)) for module, square in squares.items()}
  return {**norms, 'total': float(np.sqrt(sum(squares.values())))}


def distances(params: types.Params, initial: types.Params) -> dict[str, float]:
  """Returns the L2 distance of each module's parameters from their initial ones."""
  return parameter_norms(differences(params, initial))


def differences(params: types.Params, before: types.Params) -> types.Params:
  """What changed, in float64."""
  return jax.tree.map(
      lambda now, then: np.asarray(now, np.float64) - np.asarray(then, np.float64), params, before)


def relative_steps(updates: types.Params, params: types.Params) -> dict[str, float]:
  """Returns the norm of each module's update over that of its parameters, before the update.

  Infinite where parameters of zero move, NaN where they rest.
  """
  steps, sizes = parameter_norms(updates), parameter_norms(params)
  with np.errstate(divide='ignore', invalid='ignore'):
    return {module: float(np.divide(step, sizes[module])) for module, step in steps.items()}


def output_scale(q_values: np.ndarray) -> OutputScale:
  """Returns how large outputs of any shape are, and how much they vary."""
  q_values = np.asarray(q_values, np.float64)
  return OutputScale(float(np.mean(np.abs(q_values))), float(np.std(q_values)))


def _sum_of_squares(tree: types.Params) -> float:
  leaves = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree))
  return float(sum(np.sum(np.square(leaf)) for leaf in leaves))
