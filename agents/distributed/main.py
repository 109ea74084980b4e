"""A run of many processes, wired: command in, something that trains out."""

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator

from agents import command_line, commands, memory
from agents import parts as parts_lib
from agents.display import log
from agents.distributed import driver, job
from replay import factory


@contextlib.contextmanager
def opened(
    domain: command_line.Domain, command: commands.Command, run_id: str,
    stop: threading.Event) -> Iterator[Callable[[], bool]]:
  """Joins or starts the cluster; what it yields runs the run, as `Trainer.run` does.

  Raises:
    UsageError: the replay cannot fit in memory.
    RunError: there is no cluster.
  """
  config = command.config
  signature = parts_lib.describe_task(config, domain.task(config)).signature
  settings = job.replay_settings(config)
  memory.check(config, signature, settings)
  remote = factory.remote()
  from agents.distributed import ray_engine
  scratch = memory.scratch(command.folder)
  opened_engine = ray_engine.opened(command.ray_address, config.num_actors, command.resources)
  with opened_engine as engine:
    def serve(checkpoint: pathlib.Path | None) -> driver.Served:
      server = remote.serve(
          signature, settings, run_id, command.replay_port, scratch, checkpoint, engine.host,
          job.SLOTS, job.QUEUES)
      log.info('the replay server is %s, process %d', server.endpoint.address, server.endpoint.pid)
      return driver.Served(tuple(server.endpoint), server.end, lambda: remote.stop(server))

    def make_job(endpoint, epoch: int, frame: int) -> job.Job:
      return job.make(command, domain, endpoint, epoch, frame)

    def run() -> bool:
      listeners = engine.listeners()
      if listeners:
        log.warning('Ray listens behind a token of this run, on: %s', ', '.join(listeners))
      return driver.Driver(config, command.folder, engine, serve, make_job, stop).run()

    yield run
