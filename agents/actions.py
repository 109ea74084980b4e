"""Between an environment's actions and the agent's choices: M dimensions of A choices each."""

from typing import NamedTuple

import numpy as np
from dm_env import specs

from agents import errors


class ActionMap(NamedTuple):
  """A discrete action is one dimension; a bounded one has a row of evenly spaced bins each."""
  num_dims: int  # M
  num_choices: int  # A
  bins: np.ndarray | None  # [M, A] float32, the values of the choices; None: discrete

  def to_environment(self, choices: np.ndarray) -> np.ndarray:
    """[N, M] int32 -> what `step` takes: [N] int32, or [N, M] float32."""
    if self.bins is None:
      return choices[:, 0]
    return self.bins[np.arange(self.num_dims), choices]


def action_map(spec: specs.Array, num_bins: int) -> ActionMap:
  """The choices an action spec gives; `num_bins` values for each dimension of a bounded one."""
  if isinstance(spec, specs.DiscreteArray):
    return ActionMap(1, spec.num_values, None)
  if not isinstance(spec, specs.BoundedArray) or len(spec.shape) != 1:
    raise errors.UsageError(f'task: its action spec {spec} must be discrete or a bounded vector')
  low, high = np.broadcast_to(spec.minimum, spec.shape), np.broadcast_to(spec.maximum, spec.shape)
  if not np.all(np.isfinite(low) & np.isfinite(high)):
    raise errors.UsageError(f'task: its action spec {spec} must have finite bounds')
  bins = np.linspace(low, high, num_bins, axis=1, dtype=np.float32)
  return ActionMap(spec.shape[0], num_bins, bins)
