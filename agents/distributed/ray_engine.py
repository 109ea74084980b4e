"""Roles as Ray actors: the one module that imports Ray."""

import contextlib
import math
import os
import pathlib
import secrets
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from agents import errors
from agents.commands import Resources
from agents.distributed import driver, host, roles

_OBJECT_STORE_BYTES = 80_000_000  # the least that Ray takes; what is large goes through Reverb
_LAST_WORDS_SECONDS = 5.0
_CONNECT_SECONDS = 10.0


@contextlib.contextmanager
def opened(address: str, num_actors: int, resources: Resources) -> Iterator['RayEngine']:
  """Joins the cluster at `address`, or starts one of this machine alone, which ends with this.

  Raises:
    RunError: there is no such cluster, or none could be started.
  """
  _import(address)
  handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  private = tempfile.mkdtemp(prefix='ray-')  # 0700; what Ray makes in it is open to all
  try:
    num_cpus = math.ceil(resources.actor_cpus * (num_actors + 1) + resources.learner_cpus)
    _init(address, num_cpus, pathlib.Path(private))
    for number, handler in handlers.items():  # Ray has put its own there
      signal.signal(number, handler)
    yield RayEngine(address, resources)
  finally:
    ray.shutdown()
    shutil.rmtree(private, ignore_errors=True)


def _import(address: str) -> None:
  """Imports Ray, which reads its settings then."""
  global ray, scheduling_strategies
  os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # it tells its makers nothing
  os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')  # accelerators stay visible
  os.environ.setdefault('RAY_worker_niceness', '0')  # else they give way to all that runs here
  if not address:  # A cluster of our own has a token of its own, and writes none into the home.
    os.environ['RAY_AUTH_MODE'], os.environ['RAY_AUTH_TOKEN'] = 'token', secrets.token_hex(32)
  warnings.filterwarnings('ignore', r'os\.fork\(\) was called')  # of Ray's own, which then execs
  import ray
  from ray.util import scheduling_strategies


def _init(address: str, num_cpus: int, private: pathlib.Path) -> None:
  shared = dict(log_to_driver=False, logging_level='error')
  try:
    if address:
      if ':' in address:  # Ray itself would wait for minutes, and say what it waits for.
        host_name, _, port = address.rpartition(':')
        socket.create_connection((host_name, int(port)), _CONNECT_SECONDS).close()
      ray.init(address, **shared)
      return
    ray.init(
        num_cpus=num_cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=str(private / 'ray'), _node_ip_address='127.0.0.1', **shared)
  except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
    cause = ' '.join(str(error).split())
    raise errors.RunError(f'ray_address={address or "(own)"}: {cause}') from error


class RayEngine:
  """Keeps `driver.Engine`'s protocol."""

  def __init__(self, address: str, resources: Resources):
    """Args: `address` is empty for a cluster of our own."""
    self._is_own, self._resources = not address, resources
    self._hosts: dict[str, Any] = {}
    self._runs: dict[str, Any] = {}
    self._says: dict[str, Any] = {}
    self._here = ray.get_runtime_context().get_node_id()

  @property
  def host(self) -> str:
    """By which roles reach this machine."""
    return 'localhost' if self._is_own else ray.util.get_node_ip_address()

  def listeners(self) -> list[str]:
    """What listens for the cluster that we started, as 'gcs_server *:40125'."""
    found = []
    for process in psutil.Process().children(recursive=True) if self._is_own else ():
      with contextlib.suppress(psutil.Error):
        found += [f'{process.name()} {one.laddr.ip}:{one.laddr.port}'
                  for one in process.net_connections('tcp') if one.status == 'LISTEN']
    return found

  def start(self, name: str, role: str, arguments: Sequence[Any]) -> None:
    """See `driver.Engine`. The learner runs on this machine, where the run folder is."""
    wanted = self._resources
    options = dict(num_cpus=wanted.actor_cpus, max_restarts=0, max_concurrency=3)
    if role == roles.LEARNER:
      num_gpus = wanted.learner_gpus
      if num_gpus is None:
        num_gpus = min(1, self._gpus_here())
      options |= dict(
          num_cpus=wanted.learner_cpus, num_gpus=num_gpus,
          scheduling_strategy=scheduling_strategies.NodeAffinitySchedulingStrategy(
              self._here, soft=False))
    self._hosts[name] = ray.remote(host.Host).options(**options).remote()
    self._runs[name] = self._hosts[name].run.remote(role, tuple(arguments))
    self._says[name] = self._hosts[name].say.remote()

  def _gpus_here(self) -> float:
    return sum(node['Resources'].get('GPU', 0) for node in ray.nodes()
               if node['NodeID'] == self._here)

  def watch(self, timeout_s: float) -> list[driver.Event]:
    """See `driver.Engine`."""
    ray.wait(list(self._runs.values()), num_returns=1, timeout=timeout_s)
    events = []
    for name in list(self._hosts):
      events += self._events(name)
    return events

  def _events(self, name: str) -> list[driver.Event]:
    try:
      events = []
      if _is_ready(self._says[name]):
        events.append(driver.Event(name, said=ray.get(self._says[name])))
        self._says[name] = self._hosts[name].say.remote()
      if _is_ready(self._runs[name]):
        end = ray.get(self._runs[name])
        last = ray.get(self._says[name], timeout=_LAST_WORDS_SECONDS)
        events += [driver.Event(name, said=last), driver.Event(name, end=end)]
        self.kill(name)
      return events
    except (ray.exceptions.ActorUnschedulableError, ray.exceptions.RuntimeEnvSetupError) as error:
      raise errors.RunError(f'{name} has no place in the cluster: {_cause(error)}') from None
    except ray.exceptions.RayError as error:  # killed, out of memory, its machine gone, silent
      self.kill(name)
      return [driver.Event(name, death=_cause(error))]

  def stop(self, name: str) -> None:
    """See `driver.Engine`."""
    self._hosts[name].stop.remote()

  def kill(self, name: str) -> None:
    """See `driver.Engine`."""
    ray.kill(self._hosts.pop(name))
    del self._runs[name], self._says[name]


def _is_ready(ref: Any) -> bool:
  return bool(ray.wait([ref], timeout=0)[0])


def _cause(error: Exception) -> str:
  text = ' '.join(str(error).split())
  return text.partition('The actor is dead because ')[2] or text
