"""Network weights, and other letters, in one-slot tables of the replay server.

A small version table beside each slot is asked first, so that what is large travels once. A letter
says itself what it is, since the slot may change between the two questions.
"""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from safetensors import numpy as safetensors

from agents import checkpoint

_MARGIN = 1_000_000  # bytes that names and shapes may take beside the numbers


class Client(Protocol):
  """What `replay.reverb_client.Client` does for letters, with deadlines of its own."""

  def put(self, table: str, header: Sequence[float], blob: bytes = b'') -> None:
    """Sends a letter."""

  def letters(self, table: str, count: int) -> list[tuple[np.ndarray, bytes]]:
    """Takes letters that are there."""


class Letter(NamedTuple):
  """What came: up to five numbers, and bytes."""
  numbers: tuple[float, ...]
  blob: bytes


class Sender:
  """The one process that fills a slot in an epoch."""

  def __init__(self, client: Client, slot: str, epoch: int):
    self._client, self._slot, self._epoch, self._count = client, slot, epoch, 0

  def send(self, numbers: Sequence[float], blob: bytes = b'') -> None:
    """Replaces what is there."""
    self._count += 1
    header = (self._epoch, self._count, zlib.crc32(blob), *numbers)
    self._client.put(self._slot, header, blob)
    self._client.put(self._slot + '_version', header[:2])


class Receiver:
  """One of any number of processes that read a slot."""

  def __init__(self, client: Client, slot: str, epoch: int):
    self._client, self._slot, self._epoch, self._seen = client, slot, epoch, 0

  def receive(self) -> Letter | None:
    """What has not been received before; None where that is nothing, or of another epoch.

    The slot must have been filled, in this or in an older epoch.
    """
    [(version, _)] = self._client.letters(self._slot + '_version', 1)
    if version[0] != self._epoch or version[1] == self._seen:
      return None
    [(header, blob)] = self._client.letters(self._slot, 1)
    if header[0] != self._epoch or zlib.crc32(blob) != int(header[2]):
      return None  # asked again at the next call
    self._seen = header[1]
    return Letter(tuple(header[3:].tolist()), blob)


def pack(params: Any) -> bytes:
  """A tree of arrays, as safetensors."""
  tensors = checkpoint.to_tensors(jax.device_get(params))
  return safetensors.save({name: np.array(leaf, order='C') for name, leaf in tensors.items()})


def unpack(template: Any, blob: bytes) -> Any:
  """The tree whose leaves are those of `template`, a tree of shapes.

  Raises:
    CheckpointError: it has another size, another leaf, or is no safetensors.
  """
  most = sum(np.dtype(leaf.dtype).itemsize * leaf.size for leaf in jax.tree.leaves(template))
  if not most <= len(blob) <= most + _MARGIN:
    raise checkpoint.CheckpointError(f'weights: {len(blob)} bytes, must be about {most}')
  try:
    tensors = safetensors.load(blob)
  except Exception as error:  # safetensors raises its own, undocumented kinds
    raise checkpoint.CheckpointError(f'weights: cannot be read: {error}') from error
  return checkpoint.from_tensors(template, tensors)
