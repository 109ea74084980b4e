"""A sum tree in one NumPy array: draw an index with a chance proportional to its value."""

import numpy as np

# Children of a node. A wide node costs one cumulative sum, in C, where a binary tree would cost
# five rounds of calls: a million leaves are four levels deep, not twenty.
_WIDTH = 32


class SumTree:
  """Non-negative values at 0 to capacity - 1 (Schaul et al., 2016, appendix B.2.1).

  Every parent is recomputed from its children, never adjusted by a difference, so that rounding
  errors do not add up.
  """

  def __init__(self, capacity: int, nodes: np.ndarray):
    """Args: `nodes` is the tree's memory, float64 [num_nodes(capacity)], leaves first."""
    self._nodes = nodes
    ends = np.cumsum(_level_sizes(capacity))
    self._levels = [level.reshape(-1, _WIDTH) for level in np.split(nodes, ends[:-1])]

  def set(self, indices: np.ndarray, values: np.ndarray) -> None:
    """Sets leaves `indices` [B] to `values` [B]; of an index given twice the last value stays."""
    self._nodes[indices] = values
    for children, parents in zip(self._levels[:-1], self._levels[1:], strict=True):
      indices = indices // _WIDTH
      parents.reshape(-1)[indices] = children[indices].sum(axis=1)

  def find(self, fractions: np.ndarray) -> np.ndarray:
    """Finds the leaves that hold these fractions of the total, never one whose value is zero.

    Args:
      fractions: [B] float64 in [0, 1).

    Returns:
      [B] int64 indices.
    """
    rest = fractions * self._total()  # What is left of the target within the node that was entered.
    indices, rows = np.zeros(len(fractions), np.int64), np.arange(len(fractions))
    for level in reversed(self._levels):
      sums = level[indices].cumsum(axis=1)  # [B, width]
      # A sum of sums rounds otherwise than the sum itself: stay inside this node.
      rest = np.minimum(rest, np.nextafter(sums[:, -1], 0.0))
      child = (sums > rest[:, None]).argmax(axis=1)  # The first: its own value is above zero.
      rest -= np.where(child > 0, sums[rows, child - 1], 0.0)
      indices = indices * _WIDTH + child
    return indices

  def shares(self, indices: np.ndarray) -> np.ndarray:
    """[B] float64, what part of the total each of these leaves [B] holds."""
    return self._nodes[indices] / self._total()

  def _total(self) -> float:
    return self._levels[-1].cumsum()[-1]


def num_nodes(capacity: int) -> int:
  """How many float64 a tree of `capacity` leaves holds."""
  return sum(_level_sizes(capacity))


def _level_sizes(capacity: int) -> list[int]:
  """Numbers of nodes, leaves first, each a multiple of the width; the last is one width."""
  sizes = [-(-capacity // _WIDTH) * _WIDTH]
  while sizes[-1] > _WIDTH:
    sizes.append(-(-sizes[-1] // _WIDTH**2) * _WIDTH)
  return sizes
