"""The process of a Reverb server: begun, found, ended, and what it takes. Imports no Reverb itself.

A process of its own, because a crash in Reverb is a segmentation fault; and never a fork, because
one that follows Reverb's import hangs.
"""

import json
import logging
import math
import os
import pathlib
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import BinaryIO, NamedTuple

import numpy as np

from replay import types

START_SECONDS = 120.0  # TensorFlow's import, and a checkpoint of some million transitions.


class Spec(NamedTuple):
  """What the server process is told."""
  signature: types.Signature
  settings: types.Settings
  run_ids: tuple[str, ...]  # The run's, then those its checkpoint was written under.
  port: int  # 0: any free one; of a fixed one see `taken`
  checkpoint: str | None  # A checkpoint's folder, which is only read.
  parent: int  # The process it dies with.
  slots: tuple[str, ...] = ()  # Tables of one letter, the newest.
  queues: tuple[str, ...] = ()  # Tables of letters that are taken once, the oldest first.


class Endpoint(NamedTuple):
  """Where a server listens, and who it is."""
  host: str
  port: int
  run_id: str
  pid: int
  pid_namespace: str

  @property
  def address(self) -> str:
    return f'{self.host}:{self.port}'


class Server(NamedTuple):
  """A server process; of one that another process started only the endpoint is known."""
  endpoint: Endpoint
  folder: pathlib.Path | None = None  # Its private folder.
  process: subprocess.Popen | None = None
  log: BinaryIO | None = None  # What it writes to stderr.

  def end(self) -> str | None:
    """How it ended; None where it has not, or where nobody here would know."""
    if self.process is None or self.process.poll() is None:
      return None
    return f'it ended with status {self.process.returncode}: {last_words(self.log)}'


def new_spec(signature: types.Signature, settings: types.Settings, run_id: str, port: int) -> Spec:
  """Of a server that holds nothing yet; one that is begun with it dies with this process."""
  return Spec(signature, settings, (run_id,), port, checkpoint=None, parent=os.getpid())


def parse(argument: str) -> Spec:
  """What `begin` hands over."""
  spec = Spec(*json.loads(argument))
  shape, *rest = spec.signature
  return spec._replace(signature=types.Signature(tuple(shape), *rest),
                       settings=types.Settings(*spec.settings))


def pid_namespace() -> str:
  """This process's PID namespace, such as 'pid:[4026531836]'."""
  return os.readlink('/proc/self/ns/pid')


def taken(port: int) -> str | None:
  """Why a server cannot listen on `port`; None where it can. 0 stands for any free one.

  Two Reverb servers can share a port, and clients are then split between them at random: they set
  SO_REUSEPORT. A listener that does not set it is refused, and so notices.
  """
  dual = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if dual else socket.AF_INET
  try:
    socket.create_server(('', port), family=family, dualstack_ipv6=dual).close()
  except OSError as error:
    return os.strerror(error.errno)
  return None


def begin(spec: Spec, scratch: pathlib.Path | None) -> Server:
  """Starts a server, whose port `await_port` will tell.

  The server dies with the thread that calls this: call it from one that lives as long as it is
  needed.

  Args:
    spec: what to serve.
    scratch: where the server's private folder is made; None for the system's temporary folder.
  """
  root = pathlib.Path(__file__).resolve().parent.parent
  # Reverb deletes whatever else lies in its folder, so that is nobody else's; its mode is 0700.
  folder = tempfile.mkdtemp(prefix='replay-', dir=scratch and scratch.resolve())
  try:
    log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the server)
    process = subprocess.Popen(
        [sys.executable, '-m', 'replay.reverb_server', json.dumps(spec), folder], cwd=root,
        env={'TF_CPP_MIN_LOG_LEVEL': '2', **os.environ},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        start_new_session=True)  # Out of the reach of the terminal's Ctrl-C.
  except BaseException:
    shutil.rmtree(folder, ignore_errors=True)
    raise
  endpoint = Endpoint('localhost', 0, spec.run_ids[0], process.pid, pid_namespace())
  return Server(endpoint, pathlib.Path(folder), process, log)


def await_port(server: Server, deadline_s: float = START_SECONDS) -> Server:
  """Waits, once, until a server that was begun listens, and warns of it; returns it with its port.

  Raises:
    ReplayError: it ended, or did not listen in time; with its last words. It is stopped then.
  """
  try:
    with server.process.stdout as said:
      readable, _, _ = select.select([said], [], [], deadline_s)
      line = said.readline() if readable else b''
    if line:
      port = json.loads(line)['port']
      logging.warning('the replay server listens on port %d of all network interfaces, without '
                      'authentication: who reaches it can read, change and delete the replay', port)
      return server._replace(endpoint=server.endpoint._replace(port=port))
    cause = 'ended before it listened' if readable else f'did not listen within {deadline_s:g} s'
    raise types.ReplayError(f'the replay server {cause}: {last_words(server.log)}')
  except BaseException:
    stop(server)
    raise


def stop(server: Server) -> None:
  """Ends a server at once, wedged or not: what it holds beyond a checkpoint is not kept."""
  server.process.kill()
  server.process.wait()
  server.process.stdout.close()
  shutil.rmtree(server.folder, ignore_errors=True)


def last_words(log: BinaryIO) -> str:
  """The last line that a server wrote to stderr."""
  size = os.fstat(log.fileno()).st_size
  text = os.pread(log.fileno(), 1000, max(0, size - 1000)).decode(errors='replace')
  return text.strip().rpartition('\n')[2] or 'it wrote nothing'


def estimate_bytes(signature: types.Signature, settings: types.Settings) -> tuple[int, int]:
  """The least and the most that a full replay takes in the server's memory.

  Measured, per item: 1.2 kB with frames of 96 bytes, so 1.15 kB whatever the frames are; 1.5 kB
  with Pong's frames of 7056 bytes under a random policy, so 0.05 of a frame where frames compress
  well; 8.3 kB with noise of that size, so 1.02 of a frame where they do not. TensorFlow and
  Reverb take 0.5 GB before the first item.
  """
  frame_bytes = math.prod(signature.frame_shape) * np.dtype(signature.frame_dtype).itemsize
  low, high = (round(settings.capacity * (1150 + share * frame_bytes)) for share in (0.05, 1.02))
  return 510_000_000 + low, 510_000_000 + high
