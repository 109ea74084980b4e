"""Pictures in, an MP4 out."""

import importlib.util
import itertools
import os
import pathlib
import subprocess
from collections.abc import Iterable

import numpy as np

from agents import errors


def check() -> None:
  """Raises UsageError where no film can be written."""
  if importlib.util.find_spec('imageio_ffmpeg') is None:
    raise errors.UsageError(
        "video=true: needs imageio-ffmpeg; install it with pip install -e '.[video]'")


def write(path: pathlib.Path, frames: Iterable[np.ndarray], frames_per_second: float) -> None:
  """Writes at least one frame, uint8 [H, W, 3] with H and W even; the file appears when whole.

  Raises:
    OSError: it could not be written; what frames there were is lost.
  """
  import imageio_ffmpeg  # only who films pays for its import

  frames = iter(frames)
  first = next(frames)
  height, width, _ = first.shape
  path.parent.mkdir(exist_ok=True)
  aside = path.with_suffix('.writing')
  # yuv420p is what every player shows.
  command = [
      imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-loglevel', 'error', '-f', 'rawvideo',
      '-pix_fmt', 'rgb24', '-s', f'{width}x{height}', '-r', str(frames_per_second), '-i', '-',
      '-codec:v', 'libx264', '-pix_fmt', 'yuv420p', '-f', 'mp4', str(aside)]
  # Ctrl-C is for the run alone, hence the session.
  with subprocess.Popen(
      command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
    try:
      for frame in itertools.chain([first], frames):
        process.stdin.write(frame.tobytes())
    except BrokenPipeError:
      pass  # ffmpeg has ended, and says why
    _, said = process.communicate()
  if process.returncode:
    aside.unlink(missing_ok=True)
    raise OSError(f'{path}: not written; {said.decode(errors="replace").strip()}')
  os.replace(aside, path)
