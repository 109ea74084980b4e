"""A client of a Reverb server on which nothing waits without a deadline.

Reverb's own calls do: a dead or stopped server raises nothing in a sampler, a priority update or a
new writer, which then wait for ever. Here they wait in a daemon thread, while the server is asked
whether it lives.
"""

import importlib.metadata
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import reverb

from replay import reverb_process, reverb_server, types

Writer, Column = reverb.TrajectoryWriter, reverb.TrajectoryColumn

# The sampler below is private: known to work in this version, and not used in another.
_HAS_NEW_SAMPLER = importlib.metadata.version('dm-reverb') == '0.14.0'
NO_PROXY = 'no_grpc_proxy'
_WEDGED_SECONDS = 20.0  # that a table's worker may be at one thing
_LOOK_SECONDS = 0.2
_START_SECONDS = 30.0  # that a server of ours which listens may take to begin to answer
_PROXY_VARIABLES = ('grpc_proxy', 'https_proxy', 'http_proxy')


class Client:
  """The client of one server."""

  def __init__(self, server: reverb_process.Server, deadline_s: float, patience_s: float):
    """Connects and checks that the server is our run's.

    Args:
      server: whose process we started.
      deadline_s: how long a living server may take to say that it lives.
      patience_s: how long one that lives may take to do what it is asked.
    """
    self._server, self._deadline_s, self._patience_s = server, deadline_s, patience_s
    endpoint = server.endpoint
    if endpoint.pid == os.getpid() and endpoint.pid_namespace != reverb_process.pid_namespace():
      raise types.ReplayError(
          f'the replay server at {endpoint.address} has our process id, {endpoint.pid}, in another '
          'PID namespace; Reverb would take it for this process and crash: start either again')
    bypass_proxies(endpoint.host)
    run_ids = run_ids_of(self._introduction())
    if endpoint.run_id not in run_ids:
      raise types.ReplayError(f'the replay server at {endpoint.address} belongs to run '
                              f'{" and ".join(run_ids) or "none"}, not to {endpoint.run_id}')

  def _introduction(self) -> dict[str, Any]:
    """The server's tables by name; one that we started may be slow to begin to answer."""
    until = time.monotonic() + (_START_SECONDS if self._server.process else 0.0)
    while True:
      self._client = reverb.Client(self._server.endpoint.address)  # a connection can be lost, too
      try:
        return self.info('introduce itself')
      except types.ReplayError:
        if time.monotonic() >= until or self._server.end():
          raise
        time.sleep(_LOOK_SECONDS)

  def info(self, task: str) -> dict[str, Any]:
    """The server's tables by name. Raises ReplayError where it does not answer."""
    if self._server.end():
      raise self._error(task, 'is dead')
    try:
      return self._client.server_info(timeout=max(1, round(self._deadline_s)))
    except (RuntimeError, reverb.ReverbError) as error:
      raise self._error(task, f'does not answer within {self._deadline_s:g} s') from error

  def writer(self, num_refs: int, chunk_lengths: dict[str, int]) -> Writer:
    """A writer that checks items against the tables' signatures."""
    writer = self._call('open a writer', lambda: self._client.trajectory_writer(num_refs))
    for column, length in chunk_lengths.items():
      writer.configure((column,), num_keep_alive_refs=num_refs, max_chunk_length=length)
    return writer

  def flush(self, writer: Writer, max_pending: int) -> None:
    """Waits until at most `max_pending` of the writer's items are unconfirmed."""
    def done(seconds):
      try:
        writer.flush(max_pending, timeout_ms=round(1000 * seconds))
      except reverb.DeadlineExceededError:
        return False
      except RuntimeError as error:
        raise self._error('take transitions', f'failed: {error}') from error
      return True
    self._wait('take transitions', done, self._patience_s)

  def sample(self, batch_size: int) -> list[tuple]:
    """Draws [(key, probability, mean_weight, frames, scalars)]; see `draw`."""
    return self._call(f'sample {batch_size} transitions',
                      lambda: list(draw(self._client, batch_size, _HAS_NEW_SAMPLER)))

  def set_weights(self, weights: dict[int, float]) -> None:
    """Sets what chances are proportional to, by key. For `ReverbReplay.update` alone."""
    self._call(f'set {len(weights)} priorities',
               lambda: self._client.mutate_priorities(reverb_server.TABLE, weights))

  def put(self, table: str, header: Sequence[float], blob: bytes = b'') -> None:
    """Sends a letter: at most `reverb_server.HEADER` numbers, and bytes."""
    numbers = np.zeros(reverb_server.HEADER, np.float64)
    numbers[:len(header)] = header
    # A writer of its own, since one writer takes blobs of one length only.
    writer = self.writer(1, {'header': 1, 'blob': 1})
    writer.append({'header': numbers, 'blob': np.frombuffer(blob, np.uint8)})
    newest = {name: column[-1] for name, column in writer.history.items()}
    writer.create_item(table, 1.0, newest)
    self.flush(writer, 0)
    self._call('close a writer', writer.close)

  def letters(self, table: str, count: int) -> list[tuple[np.ndarray, bytes]]:
    """The oldest `count` letters, which must be there: of a slot the one, of a queue for good."""
    drawn = self._call(f'give {count} of {table}', lambda: list(
        self._client.sample(table, count, emit_timesteps=False)))
    return [(item.data[1], item.data[0].tobytes()) for item in drawn]

  def checkpoint(self, patience_s: float) -> str:
    """Writes a checkpoint and returns its folder; of no wedged table, which could not be read."""
    task = 'write a checkpoint'
    before, since = self.info(task), time.monotonic()
    def works(seconds):
      time.sleep(min(seconds, _LOOK_SECONDS))
      return not wedged(before, self.info(task), time.monotonic() - since)
    self._wait(task, works, self._patience_s)
    return self._call(task, self._client.checkpoint, patience_s)

  def _call(self, task: str, function: Callable[[], Any], patience_s: float = 0) -> Any:
    """Runs a function that has no deadline of its own, in a thread that is left if it hangs."""
    results = []
    def run():
      try:
        results.append((function(), None))
      except Exception as error:  # Whatever it is, it is the caller's.
        results.append((None, error))
    thread = threading.Thread(target=run, daemon=True)
    def done(seconds):
      thread.join(seconds)
      return not thread.is_alive()
    thread.start()
    self._wait(task, done, patience_s or self._patience_s)
    [(result, error)] = results
    if error is not None:
      raise self._error(task, f'failed: {error}') from error
    return result

  def _wait(self, task: str, done: Callable[[float], bool], patience_s: float) -> None:
    """Waits until `done(seconds)` within its seconds, or until the server is dead or wedged."""
    begun = since = time.monotonic()
    before = None
    while not done(min(1.0, self._deadline_s)):
      tables, now = self.info(task), time.monotonic()
      stuck = wedged(before, tables, now - since) if before else []
      if stuck and now - since > _WEDGED_SECONDS:
        raise self._error(task, f'answers, but its table {stuck[0]} is wedged')
      if not stuck:
        before, since = tables, now
      if now - begun > patience_s:
        raise self._error(task, f'answers, but did not finish within {patience_s:g} s')

  def _error(self, task: str, cause: str) -> types.ReplayError:
    endpoint, end = self._server.endpoint, self._server.end()
    message = (f'the replay server of run {endpoint.run_id} at {endpoint.address} {cause}; '
               f'it was asked to {task}')
    if end:
      message += f'; {end}'
    proxies = [name for name in _PROXY_VARIABLES if name in os.environ]
    return types.ReplayError(message + (f'; set here: {", ".join(proxies)}' if proxies else ''))


def draw(client: reverb.Client, batch_size: int,
         has_new_sampler: bool) -> Iterator[tuple[int, float, float, np.ndarray, np.ndarray]]:
  """Draws items, none ahead of time: a prefetched one has stale priorities.

  Yields:
    Key, probability, the mean weight of all items when it was drawn, frames and scalars.
  """
  if not has_new_sampler:
    for item in client.sample(reverb_server.TABLE, batch_size, emit_timesteps=False):
      info = item.info
      mean_weight = info.priority / (info.probability * info.table_size)
      yield info.key, info.probability, mean_weight, *item.data
    return
  # client.sample, but with a buffer of a whole batch, not of one item: three times as fast.
  sampler = client._client.NewSampler(reverb_server.TABLE, batch_size, batch_size)
  for _ in range(batch_size):
    key, probability, table_size, weight, _, frames, scalars = sampler.GetNextTrajectory()
    mean_weight = float(weight) / (float(probability) * int(table_size))
    yield int(key), float(probability), mean_weight, frames, scalars


def wedged(before: dict[str, Any], after: dict[str, Any], seconds: float) -> list[str]:
  """Tables that did nothing, and did not rest, in the seconds between two answers of a server.

  A negative priority ends a table's worker; it is then said to run for ever, while the server
  answers as before.
  """
  def work(table):
    spent, limiter = table.table_worker_time, table.rate_limiter_info
    return (spent.sleeping_ms, spent.inserting_ms, spent.sampling_ms,
            limiter.insert_stats.completed, limiter.sample_stats.completed)
  return [
      name for name, table in after.items() if name in before
      and work(table) == work(before[name]) and 900 * seconds < (
          table.table_worker_time.running_ms - before[name].table_worker_time.running_ms)]


def run_ids_of(tables: dict[str, Any]) -> list[str]:
  """The runs whose server this is, the newest first."""
  prefix = reverb_server.run_table('')
  return [name.removeprefix(prefix) for name in tables if name.startswith(prefix)]


def bypass_proxies(host: str = 'localhost') -> None:
  """Keeps gRPC from sending what is for a server to an http_proxy, where it would hang."""
  hosts = [name for name in os.environ.get(NO_PROXY, '').split(',') if name]
  os.environ[NO_PROXY] = ','.join(dict.fromkeys([*hosts, 'localhost', '127.0.0.1', '::1', host]))


def check_port(port: int) -> None:
  """Raises ValueError where something listens on `port` already, and says what."""
  cause = reverb_process.taken(port)
  if cause is None:
    return
  bypass_proxies()
  try:
    run_ids = run_ids_of(reverb.Client(f'localhost:{port}').server_info(timeout=3))
  except (RuntimeError, reverb.ReverbError):
    run_ids = []
  if run_ids:
    raise ValueError(f'replay_port={port}: in use by the replay server of run {run_ids[0]}; '
                     'end that run, or use another port, or 0 for any free one')
  raise ValueError(f'replay_port={port}: {cause}, and it is no replay server of ours that listens '
                   'there; use another port, or 0 for any free one')
