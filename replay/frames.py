"""Where the local replay's frames lie: in the host's memory, or in the accelerator's.

Both hold frames by slot, [num_slots, *frame], and start as zeros.
"""

import functools
import math
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

_PENDING = 256  # frames that wait on the host at most
_CHUNK_BYTES = 2**28  # of what is copied from or to the device at once
_LARGEST_PART = 0.9  # of a device's free memory; networks and their updates need some too


class Frames(Protocol):
  """Frames by slot."""

  @staticmethod
  def on_host() -> bool:
    """Whether they take memory of the host."""

  def put(self, slot: int, frame: np.ndarray) -> None:
    """Stores a copy of a frame."""

  def take(self, slots: np.ndarray) -> Any:
    """Slots [*batch] -> frames [*batch, *frame], where they lie: NumPy's or JAX's."""

  def save(self, path: pathlib.Path, count: int) -> None:
    """Writes the first `count` slots as one array."""

  def restore(self, path: pathlib.Path) -> None:
    """Replaces the first slots by what `save` wrote."""


class HostFrames:
  """A NumPy array."""

  @staticmethod
  def on_host() -> bool:
    """See `Frames`."""
    return True

  def __init__(self, shape: tuple[int, ...], dtype: str):
    # The system gives np.zeros its memory only page by page, as it is written to.
    self._array = np.zeros(shape, dtype)

  def put(self, slot: int, frame: np.ndarray) -> None:
    """See `Frames`."""
    self._array[slot] = frame

  def take(self, slots: np.ndarray) -> np.ndarray:
    """See `Frames`."""
    return self._array.take(slots, axis=0)

  def save(self, path: pathlib.Path, count: int) -> None:
    """See `Frames`."""
    np.save(path, self._array[:count])

  def restore(self, path: pathlib.Path) -> None:
    """See `Frames`."""
    saved = np.load(path, mmap_mode='r', allow_pickle=False)
    self._array[:len(saved)] = saved


class DeviceFrames:
  """An array in the memory of JAX's first device, so that no batch crosses from the host.

  New frames wait on the host for the next draw and are written together, in place.

  Raises:
    ValueError: the device has not so much memory.
  """

  def __init__(self, shape: tuple[int, ...], dtype: str):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    check_fits(size, jax.devices()[0].memory_stats())
    self._array = jnp.zeros(shape, dtype)
    self._pending: dict[int, np.ndarray] = {}  # the newest frame of each slot

  @staticmethod
  def on_host() -> bool:
    """See `Frames`."""
    return jax.default_backend() == 'cpu'

  def put(self, slot: int, frame: np.ndarray) -> None:
    """See `Frames`."""
    self._pending[slot] = frame.copy()
    if len(self._pending) == _PENDING:
      self._flush()

  def take(self, slots: np.ndarray) -> jax.Array:
    """See `Frames`."""
    self._flush()
    return _take(self._array, slots)

  def save(self, path: pathlib.Path, count: int) -> None:
    """See `Frames`. Copies piece by piece: the host may have less memory than the device."""
    self._flush()
    form = np.lib.format
    with path.open('xb') as file:  # Not mapped: a full disk is to be an OSError.
      form.write_array_header_1_0(file, dict(
          descr=form.dtype_to_descr(self._array.dtype), fortran_order=False,
          shape=(count, *self._array.shape[1:])))
      for begin, end in self._pieces(count):
        np.asarray(_slice(self._array, begin, end - begin)).tofile(file)

  def restore(self, path: pathlib.Path) -> None:
    """See `Frames`."""
    self._pending.clear()
    saved = np.load(path, mmap_mode='r', allow_pickle=False)
    for begin, end in self._pieces(len(saved)):
      # One after the other, so that one is in the device's memory at a time.
      self._array = _write(
          self._array, np.arange(begin, end), saved[begin:end]).block_until_ready()

  def _flush(self) -> None:
    """Writes what waits; in few sizes, each of which is compiled once."""
    if not self._pending:
      return
    slots, frames = list(self._pending), list(self._pending.values())
    missing = (1 << (len(slots) - 1).bit_length()) - len(slots)  # to the next power of two
    self._array = _write(
        self._array, np.array(slots + missing * slots[-1:]),
        np.stack(frames + missing * frames[-1:]))
    self._pending.clear()

  def _pieces(self, count: int) -> list[tuple[int, int]]:
    """Ranges that make up `count` slots, each of `_CHUNK_BYTES` or one frame."""
    length = max(_CHUNK_BYTES * len(self._array) // self._array.nbytes, 1)
    return [(begin, min(begin + length, count)) for begin in range(0, count, length)]


@jax.jit
def _take(array: jax.Array, slots: jax.Array) -> jax.Array:
  return array[slots]


@functools.partial(jax.jit, donate_argnums=0)
def _write(array: jax.Array, slots: jax.Array, frames: jax.Array) -> jax.Array:
  return array.at[slots].set(frames)


@functools.partial(jax.jit, static_argnums=2)
def _slice(array: jax.Array, begin: int, length: int) -> jax.Array:
  return jax.lax.dynamic_slice_in_dim(array, begin, length)


def check_fits(size: int, memory: Mapping[str, int] | None) -> None:
  """Raises ValueError where `size` bytes leave too little of a device's `memory` for the rest.

  What does not say how much it has, as a CPU, whose memory is the host's, is not asked.
  """
  if not memory or 'bytes_limit' not in memory:
    return
  free = _LARGEST_PART * (memory['bytes_limit'] - memory.get('bytes_in_use', 0))
  if size > free:
    raise ValueError(
        f'replay_capacity: must fit in memory; its frames take {size / 1e9:.2f} GB, and may take '
        f'{free / 1e9:.2f} GB of the device; set less with --set replay_capacity=N, or use '
        '--replay=local')
