"""Checkpoints: a folder a frame, written aside and renamed; tensors and JSON, no pickle."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from safetensors import numpy as safetensors

TENSORS, STATE, REPLAY = 'learner.safetensors', 'state.json', 'replay'
INPUTS = 'probe.safetensors'  # what a probe is made on


class CheckpointError(RuntimeError):
  """A checkpoint that cannot be read, with the cause in words."""


def to_tensors(tree: Any) -> dict[str, np.ndarray]:
  """Leaves by tree path, as in `params/conv1/w`; a random key becomes its data."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): np.asarray(_key_data(leaf)) for path, leaf in leaves}


def from_tensors(template: Any, tensors: Mapping[str, np.ndarray]) -> Any:
  """The tree whose leaves are named as in `template`, a tree of arrays or shapes.

  Raises:
    CheckpointError: a tensor is missing, or has another shape or type.
  """
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
