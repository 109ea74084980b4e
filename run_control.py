"""Trains an agent on a DM Control task: python run_control.py --task=walker_walk."""

import importlib.util
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from agents import command_line, errors

if not importlib.util.find_spec('dm_control'):
  # labmaze, which it needs, has no wheel for Python 3.13.
  sys.exit('run_control.py: needs dm-control, which Python 3.12 and older can have; after '
           '`make setup` it is in the environment of .venv/bin/python')

# What is slow to import is imported where it is used, so that --help comes at once.

_OBSERVATIONS = ('state', 'pixels')


def settings(values: flags.FlagValues, preset: Mapping[str, Any]) -> dict[str, Any]:
  """The task and what is seen of it."""
  from envs import control

  del preset
  if values.observations not in _OBSERVATIONS:
    raise errors.unknown('observations', values.observations, _OBSERVATIONS)
  if values.observations == 'pixels':
    _need_pictures('observations=pixels')
  elif values.video:
    _need_pictures('video=true')
  return {'task': control.canonical_name(values.task), 'observations': values.observations}


def _need_pictures(argument: str) -> None:
  from envs import control

  try:
    control.enable_rendering()
  except RuntimeError as error:
    raise errors.UsageError(f'{argument}: {error}') from None


def task(config):
  """The task of an agents.config.Config, an agents.parts.Task."""
  from agents import parts
  from envs import control

  pixels = config.observations == 'pixels'
  return parts.Task(
      make_env=lambda num_envs, seed: control.make(config.task, num_envs, seed, pixels),
      normalize=lambda episode_return: math.nan)


def _tasks() -> Iterable[str]:
  from envs import control

  return control.task_names()


CONTROL = command_line.Domain(
    name='control', task_flag='task', default_task='walker_walk', settings=settings,
    task=task, flags={'observations': ('state', 'state or pixels; pixels need OpenGL')},
    lists={'tasks': _tasks})


if __name__ == '__main__':
  sys.exit(command_line.main(CONTROL, sys.argv))
