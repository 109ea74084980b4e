"""A run of many processes, started as a user would, and what its processes and its server do."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psutil
import reverb

from replay import reverb_client, reverb_server

_START_SECONDS, _END_SECONDS = 240.0, 900.0


class Counters(NamedTuple):
  """What has been done since the start."""
  time: float
  inserted: int  # transitions
  sampled: int
  sent_weights: int  # letters
  loopback_bytes: int  # all that went through it, Ray's and others' too
  cpu_seconds: dict[str, float]  # by role
  rss_bytes: dict[str, int]


class Watched:
  """A run under way."""

  def __init__(self, folder: pathlib.Path, process: subprocess.Popen):
    self.folder, self.process = folder, process
    self._client: reverb.Client | None = None

  def log(self) -> str:
    """What it has logged."""
    path = self.folder / 'log.txt'
    return path.read_text() if path.exists() else ''

  def pids(self) -> dict[str, int]:
    """Its processes by role, as the log names them; each role's newest."""
    text = self.log()
    server = re.findall(r'replay server is \S+, process (\d+)', text)
    found = {name: int(pid) for name, pid in re.findall(r'(\S+) runs as process (\d+)', text)}
    return {'driver': self.process.pid} | ({'server': int(server[-1])} if server else {}) | found

  def tables(self) -> dict[str, Any]:
    """What its replay server says of its tables."""
    if self._client is None:
      [*_, address] = re.findall(r'replay server is (\S+), process', self.log())
      reverb_client.bypass_proxies()
      self._client = reverb.Client(address)
    return self._client.server_info(timeout=30)

  def weights_bytes(self) -> int:
    """Of one letter of weights."""
    [letter] = self._client.sample('weights', 1, emit_timesteps=False)
    return letter.data[0].nbytes

  def wait_for_transitions(self, num_actors: int, least_inserted: int) -> None:
    """Waits until everyone runs, and so many transitions have come in."""
    until = time.monotonic() + _START_SECONDS
    while len(self.pids()) < num_actors + 4 or (
        self.tables()[reverb_server.TABLE].rate_limiter_info.insert_stats.completed
        < least_inserted):
      if self.process.poll() is not None or time.monotonic() > until:
        raise RuntimeError(f'{self.folder}: did not come to run: {self.log()[-2000:]}')
      time.sleep(0.5)

  def count(self) -> Counters:
    """Counts."""
    tables = self.tables()
    limiter = tables[reverb_server.TABLE].rate_limiter_info
    cpu, rss = {}, {}
    for role, pid in self.pids().items():
      with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        spent = process.cpu_times()
        cpu[role], rss[role] = spent.user + spent.system, process.memory_info().rss
    return Counters(
        time.monotonic(), limiter.insert_stats.completed, limiter.sample_stats.completed,
        tables['weights'].rate_limiter_info.insert_stats.completed,
        psutil.net_io_counters(pernic=True)['lo'].bytes_sent, cpu, rss)


@contextlib.contextmanager
def started(folder: pathlib.Path, command: Sequence[str]) -> Iterator[Watched]:
  """Starts a script with `--run_dir=folder`; stops it, saved, in the end."""
  process = subprocess.Popen(
      [sys.executable, *command, f'--run_dir={folder}'], stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL)
  try:
    yield Watched(folder, process)
  finally:
    if process.poll() is None:
      process.send_signal(signal.SIGTERM)
    try:
      process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
      process.kill()
      raise
