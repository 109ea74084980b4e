"""Batches are drawn in a thread of their own, while the learner learns."""

from concurrent import futures

import numpy as np

from replay import types


class Prefetched:
  """The sampling side of a replay, one batch ahead: its priorities are one update old."""

  def __init__(self, replay: types.Replay):
    self._replay = replay
    self._thread = futures.ThreadPoolExecutor(1, 'prefetch')
    self._next: futures.Future | None = None

  def sample(self, batch_size: int) -> types.Sample:
    """See `types.Replay`."""
    now = self._next or self._thread.submit(self._replay.sample, batch_size)
    sample = now.result()
    self._next = self._thread.submit(self._replay.sample, batch_size)
    return sample

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """See `types.Replay`."""
    self._replay.update(keys, td_errors)
