"""Counts in fixed symmetric-log bins, so that histograms compare over time and between networks.

From zero outwards: one bin around it, four bins a decade, and on each side one for all beyond.
"""

import jax
import jax.numpy as jnp
import numpy as np

_MAGNITUDES = np.logspace(-6, 4, 41)
EDGES = np.concatenate([-_MAGNITUDES[::-1], _MAGNITUDES])  # [82]; a bin holds its lower edge
NUM_BINS = len(EDGES) + 1


def count(values: jax.Array, counted: jax.Array | bool = True) -> jax.Array:
  """Counts [NUM_BINS] of values of any shape, those that are `counted`; NaN counts as largest."""
  bins = jnp.searchsorted(jnp.asarray(EDGES, jnp.float32), values.ravel(), side='right')
  weights = jnp.broadcast_to(counted, values.shape).ravel().astype(jnp.int32)
  return jnp.bincount(bins, weights, length=NUM_BINS)
