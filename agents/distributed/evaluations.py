"""Evaluations that were asked for and are not done: on disk, so that each is done once."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any


class Evaluations:
  """What to evaluate at which frame, and what training was like until then.

  A weights file is written last and removed first, so that an entry is whole or not there.
  """

  def __init__(self, folder: pathlib.Path, newest: int, done: list[int]):
    """Forgets what is newer than frame `newest`, since it comes again, and what is done."""
    self._folder = folder
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in [*folder.glob('*.writing'), *folder.glob('*.json')]:
      if path.suffix == '.writing' or not self._weights(int(path.stem)).exists():
        path.unlink()
    # Kept here, for they are asked for at every step, and the folder may be far away.
    self._frames = sorted(int(path.stem) for path in folder.glob('*.safetensors'))
    for frame in self.frames():
      if frame > newest or frame in done:
        self.remove(frame)

  def frames(self) -> list[int]:
    """Those that wait, the oldest first."""
    return list(self._frames)

  def add(self, frame: int, trained: Mapping[str, Any], weights: bytes) -> None:
    """Keeps one."""
    _write(self._folder / f'{frame}.json', json.dumps(dict(trained)).encode())
    _write(self._weights(frame), weights)
    self._frames = sorted({*self._frames, frame})

  def weights(self, frame: int) -> bytes:
    """What to evaluate."""
    return self._weights(frame).read_bytes()

  def trained(self, frame: int) -> dict[str, Any]:
    """What was known before the evaluation."""
    return json.loads((self._folder / f'{frame}.json').read_text())

  def remove(self, frame: int) -> None:
    """Forgets one whose row is written."""
    self._weights(frame).unlink()
    (self._folder / f'{frame}.json').unlink()
    self._frames.remove(frame)

  def _weights(self, frame: int) -> pathlib.Path:
    return self._folder / f'{frame}.safetensors'


def _write(path: pathlib.Path, content: bytes) -> None:
  aside = path.with_suffix('.writing')
  with open(aside, 'wb') as file:
    file.write(content)
    os.fsync(file.fileno())
  os.replace(aside, path)
