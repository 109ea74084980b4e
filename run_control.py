"""Trains an agent on a DM Control task: python run_control.py --task=walker_walk."""

import math
import sys

from absl import flags

from agents import cli, command_line, parts
from agents.config import Config

try:
  from envs import control
except ModuleNotFoundError as missing:  # labmaze, which dm-control needs, has none for Python 3.13
  sys.exit(f'run_control.py: needs dm-control, which Python 3.12 and older can have: {missing}')


def settings(values: flags.FlagValues) -> dict:
  """The task."""
  return {'task': control.canonical_name(values.task)}


def task(config: Config) -> parts.Task:
  """The task of a config."""
  return parts.Task(
      make_env=lambda num_envs, seed: control.make(config.task, num_envs, seed),
      normalize=lambda episode_return: math.nan)


CONTROL = command_line.Domain(
    name='control', task_flag='task', default_task='cartpole_swingup', settings=settings,
    task=task, flags={}, lists={'tasks': control.task_names})


if __name__ == '__main__':
  sys.exit(cli.main(CONTROL, sys.argv))
