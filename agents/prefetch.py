"""Batches are drawn in a thread of their own, while the learner learns."""

from concurrent import futures

import numpy as np

from replay import types


class Prefetched:
  """A replay as the loop uses it, whose batches are drawn one dispatch ahead.

  A batch lacks what was added since the last one, and knows no priorities set since then. The
  replay's `sample` must bear the other methods at the same time, as Reverb's does.
  """

  def __init__(self, replay: types.Replay):
    self._replay = replay
    self._thread = futures.ThreadPoolExecutor(1, 'prefetch')
    self._next: futures.Future | None = None

  def add(self, step: types.Step) -> None:
    """See `types.Replay`."""
    self._replay.add(step)

  def size(self) -> int:
    """See `types.Replay`."""
    return self._replay.size()

  def sample(self, batch_size: int) -> types.Sample:
    """See `types.Replay`; always of the same size."""
    now = self._next or self._thread.submit(self._replay.sample, batch_size)
    sample = now.result()
    self._next = self._thread.submit(self._replay.sample, batch_size)
    return sample

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """See `types.Replay`."""
    self._replay.update(keys, td_errors)
