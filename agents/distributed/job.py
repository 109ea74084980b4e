"""What a role is told: data alone, so that any process of any machine can be told it."""

import dataclasses
import importlib
import pathlib
import sys
from typing import Any, NamedTuple

from agents import command_line, commands, parts, run_folder
from agents.config import Config
from replay import factory
from replay import types as replay_types

# Letters that the roles send each other through the replay server.
WEIGHTS, EVALUATE, EVALUATED, REPORTS = 'weights', 'evaluate', 'evaluated', 'reports'
SLOTS = (WEIGHTS, WEIGHTS + '_version', EVALUATE, EVALUATE + '_version', EVALUATED)
QUEUES = (REPORTS,)

_LEAST_AHEAD = 4  # dispatches
DEADLINE_SECONDS = 10.0  # that a living server may take to say that it lives


class Job(NamedTuple):
  """A run, as its roles know it in one epoch: between two starts of its server and learner."""
  config: dict[str, Any]  # of Config's fields, as JSON has them
  script: str  # the module whose `task` makes the environments
  folder: str  # the run's, on the learner's machine
  track: tuple[str, ...]  # sinks
  endpoint: tuple[str, int, str, int, str]  # of the replay server
  epoch: int  # letters of another one are not for us
  frame: int  # of the checkpoint it goes on from, -1 for none


def make(
    command: commands.Command, domain: command_line.Domain,
    endpoint: tuple[str, int, str, int, str], epoch: int, frame: int) -> Job:
  """The job of a command whose server is at `endpoint`."""
  return Job(
      run_folder.as_json(command.config), _module(domain), str(command.folder.resolve()),
      command.track, endpoint, epoch, frame)


def _module(domain: command_line.Domain) -> str:
  name = domain.task.__module__
  return pathlib.Path(sys.modules[name].__file__).stem if name == '__main__' else name


def config(job: Job) -> Config:
  """The run's Config."""
  return Config(**{field.name: run_folder.frozen(job.config[field.name])
                   for field in dataclasses.fields(Config)})


def task(job: Job) -> parts.Task:
  """What the run plays; imports the script that says it."""
  return importlib.import_module(job.script).task(config(job))


def describe(job: Job) -> parts.Parts:
  """The run's parts without environment, accumulator and replay."""
  return parts.describe_task(config(job), task(job))


def replay_settings(the_config: Config) -> replay_types.Settings:
  """How the server keeps and draws, and how far actors may be ahead of the learner.

  One number holds the replay ratio: an update of `batch_size` transitions for each
  `steps_per_update` agent steps. The learner counts the steps it may learn from, the server's rate
  limiter holds actors back: by `max_ahead` transitions, a tenth of what the replay starts with, and
  at least four dispatches' worth.
  """
  ahead = max(the_config.min_replay_size // 10, _LEAST_AHEAD * the_config.steps_per_dispatch)
  return parts.replay_settings(the_config)._replace(
      samples_per_insert=the_config.batch_size / the_config.steps_per_update,
      min_size=the_config.min_replay_size, max_ahead=ahead)


def connect(job: Job, signature: replay_types.Signature, num_streams: int, **options):
  """The run's replay, as a process has it that writes `num_streams` streams; see `RemoteReplay`."""
  remote = factory.remote()
  return remote.RemoteReplay(
      remote.endpoint(job.endpoint), signature._replace(num_streams=num_streams),
      replay_settings(config(job)), DEADLINE_SECONDS, **options)
