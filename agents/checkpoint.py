"""Checkpoints: a folder a frame, written aside and renamed; tensors and JSON, no pickle."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from safetensors import numpy as safetensors

from agents.display import log

TENSORS, STATE, REPLAY = 'learner.safetensors', 'state.json', 'replay'
INPUTS = 'probe.safetensors'  # what a probe is made on
_SUMS = 'sums.json'  # of every other file its size and checksum


class CheckpointError(RuntimeError):
  """A checkpoint that cannot be read, with the cause in words."""


class PrunedError(CheckpointError):
  """A checkpoint that was kept for probes alone."""


def to_tensors(tree: Any) -> dict[str, np.ndarray]:
  """Leaves by tree path, as in `params/conv1/w`; a random key becomes its data."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): np.asarray(_key_data(leaf)) for path, leaf in leaves}


def from_tensors(template: Any, tensors: Mapping[str, np.ndarray]) -> Any:
  """The tree whose leaves are named as in `template`, a tree of arrays or shapes.

  Raises:
    CheckpointError: a tensor is missing, or has another shape or type, or is of a parameter that
      the tree has not.
  """
  known = {_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(template)[0]}
  for name in tensors:
    if name.startswith('params/') and name not in known:
      raise CheckpointError(f'tensor {name}: is of no parameter of this network')

  def restore(path, leaf):
    name = _name(path)
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    wanted = jax.eval_shape(_key_data, leaf)
    if name not in tensors:
      raise CheckpointError(f'tensor {name}: missing')
    found = tensors[name]
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
      raise CheckpointError(
          f'tensor {name}: is {found.dtype}{found.shape}, must be {wanted.dtype}{wanted.shape}')
    return jax.random.wrap_key_data(found) if is_key else jax.numpy.asarray(found)
  return jax.tree_util.tree_map_with_path(restore, template)


def _key_data(leaf: Any) -> Any:
  is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return jax.random.key_data(leaf) if is_key else leaf


def _name(path: tuple[Any, ...]) -> str:
  return '/'.join(str(_label(entry)) for entry in path)


def _label(entry: Any) -> Any:
  match entry:
    case jax.tree_util.GetAttrKey():
      return entry.name
    case jax.tree_util.DictKey():
      return entry.key
    case _:
      return entry.idx


def save(
    root: pathlib.Path, frame: int, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any],
    save_replay: Callable[[pathlib.Path], None],
    inputs: Mapping[str, np.ndarray]) -> pathlib.Path:
  """Writes checkpoint `frame` under `root`: whole, or not at all."""
  aside, final = root / f'.{frame}.writing', root / str(frame)
  shutil.rmtree(aside, ignore_errors=True)
  aside.mkdir(parents=True, mode=0o700)
  _write(aside / TENSORS, tensors)
  _write(aside / INPUTS, inputs)
  save_replay(aside / REPLAY)
  (aside / STATE).write_text(json.dumps(state))
  sums = {str(path.relative_to(aside)): _sum(path) for path in aside.rglob('*') if path.is_file()}
  (aside / _SUMS).write_text(json.dumps(sums))
  _sync(aside)
  replaced = root / f'.{frame}.replaced'
  if final.exists():
    os.rename(final, replaced)
  os.rename(aside, final)
  shutil.rmtree(replaced, ignore_errors=True)
  return final


def _write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  contiguous = {name: np.array(value, order='C') for name, value in tensors.items()}
  safetensors.save_file(contiguous, path)


def _sum(path: pathlib.Path) -> list[int]:
  """Size and CRC-32."""
  size = checksum = 0
  with open(path, 'rb') as file:
    while block := file.read(1 << 20):
      size, checksum = size + len(block), zlib.crc32(block, checksum)
  return [size, checksum]


def check(folder: pathlib.Path) -> None:
  """Compares every file with what was written.

  Raises:
    PrunedError: all is there but the replay.
    CheckpointError: a file is missing or differs.
  """
  with _readable(folder):
    sums = dict(json.loads((folder / _SUMS).read_text()))
  if missing := {TENSORS, INPUTS, STATE} - sums.keys():
    raise CheckpointError(f'{folder / _SUMS}: must know {", ".join(sorted(missing))}')
  for name, wanted in sums.items():
    path = folder / name
    if not path.is_file():
      is_pruned = name.startswith(f'{REPLAY}/') and not (folder / REPLAY).exists()
      raise (PrunedError if is_pruned else CheckpointError)(f'{path}: is missing')
    with _readable(path):
      found = _sum(path)
    if found != wanted:
      raise CheckpointError(f'{path}: is not what was written, in size or content')


def set_aside_damaged(root: pathlib.Path) -> list[CheckpointError]:
  """Renames the newest checkpoint to FRAME.damaged while it is so; returns what was wrong.

  Raises:
    CheckpointError: none is left that a run can go on from.
  """
  found = []
  while folder := newest(root):
    try:
      check(folder)
      return found
    except PrunedError as error:
      raise CheckpointError(
          f'{root}: must have a checkpoint to go on from; the newest whole one has no replay '
          f'({error}), damaged: {_listed(found)}') from None
    except CheckpointError as error:
      found.append(error)
      os.rename(folder, _free(folder))
  if found:
    raise CheckpointError(
        f'{root}: must have a checkpoint to go on from; damaged: {_listed(found)}')
  return found


def newest_whole(root: pathlib.Path) -> pathlib.Path | None:
  """The newest that is as it was written; what is not is set aside, and that is said.

  Raises:
    CheckpointError: see `set_aside_damaged`.
  """
  for error in set_aside_damaged(root):
    log.warning('a damaged checkpoint is set aside: %s', error)
  return newest(root)


def _listed(damages: list[CheckpointError]) -> str:
  return '; '.join(map(str, damages)) or 'none'


def _free(folder: pathlib.Path) -> pathlib.Path:
  """A name beside it that nothing has."""
  names = (folder.with_name(f'{folder.name}.damaged{i or ""}') for i in itertools.count())
  return next(path for path in names if not path.exists())


def _sync(folder: pathlib.Path) -> None:
  for path in [*folder.rglob('*'), folder]:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def newest(root: pathlib.Path) -> pathlib.Path | None:
  """The folder of the newest whole checkpoint; None where there is none."""
  for replaced in root.glob('.*.replaced'):  # a kill between the two renames of `save`
    final = root / replaced.name.split('.')[1]
    if not final.exists():
      os.rename(replaced, final)
  found = frames(root)
  return root / str(found[-1]) if found else None


def frames(root: pathlib.Path) -> list[int]:
  """Those of whole checkpoints, oldest first."""
  return sorted(int(path.name) for path in root.glob('*') if path.name.isdecimal())


def load(folder: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Tensors and state of a checkpoint."""
  with _readable(folder):
    return safetensors.load_file(folder / TENSORS), json.loads((folder / STATE).read_text())


def load_inputs(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """What a probe is made on."""
  with _readable(folder):
    return safetensors.load_file(folder / INPUTS)


@contextlib.contextmanager
def _readable(folder: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except Exception as error:  # safetensors raises its own, undocumented kinds
    raise CheckpointError(f'{folder}: cannot be read: {error}') from error


def prune(root: pathlib.Path, keep: int, probed: Collection[int]) -> None:
  """Keeps the `keep` newest whole; of older ones those of `probed` frames, without replay."""
  for leftover in (*root.glob('.*.writing'), *root.glob('.*.replaced')):
    shutil.rmtree(leftover, ignore_errors=True)
  for frame in frames(root)[:-keep]:
    unwanted = root / str(frame) / REPLAY if frame in probed else root / str(frame)
    shutil.rmtree(unwanted, ignore_errors=True)
