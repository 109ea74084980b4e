"""Observations in equal pieces, so that a compiled function sees one shape."""

from collections.abc import Iterator

import numpy as np

BATCH_SIZE = 128  # Wide convolutions on more inputs than this take memory and save no time.


def batches(observations: np.ndarray, batch_size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
  """Yields [batch_size, *observation], beginning again from the first to fill up the last one."""
  num_observations = len(observations)
  num_batches = -(-num_observations // batch_size)
  for rows in np.resize(np.arange(num_observations), (num_batches, batch_size)):
    yield observations[rows]
