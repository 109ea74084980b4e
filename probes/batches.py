"""Observations in equal pieces, so that a compiled function sees one shape."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from networks import types

BATCH_SIZE = 128  # Wide convolutions on more inputs than this take memory and save no time.


def batches(observations: np.ndarray, batch_size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
  """Yields [batch_size, *observation], beginning again from the first to fill up the last one."""
  num_observations = len(observations)
  num_batches = -(-num_observations // batch_size)
  for rows in np.resize(np.arange(num_observations), (num_batches, batch_size)):
    yield observations[rows]


def outputs(network: types.QNetwork, params: types.Params, key: jax.Array,
            batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Features [B, D] that the first critic's utilities are linear in, and utilities [B, M, A]."""
  return tuple(map(np.asarray, _outputs(network.apply, params, key, batch)))


@functools.partial(jax.jit, static_argnums=0)
def _outputs(apply: Callable, params: types.Params, key: jax.Array,
             batch: jax.Array) -> tuple[jax.Array, jax.Array]:
  output = apply(params, key, batch)
  return output.critics[0].penultimate, output.q_values
