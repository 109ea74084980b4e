"""Trains an agent on a DM Control task: python run_control.py --task=walker_walk."""

import importlib.util
import math
import sys
from collections.abc import Mapping
from typing import Any

from absl import flags

from agents import cli, command_line, errors, parts
from agents.config import Config
from envs import control

if not importlib.util.find_spec('dm_control'):
  # labmaze, which it needs, has no wheel for Python 3.13.
  sys.exit('run_control.py: needs dm-control, which Python 3.12 and older can have')


_OBSERVATIONS = ('state', 'pixels')


def settings(values: flags.FlagValues, preset: Mapping[str, Any]) -> dict[str, Any]:
  """The task and what is seen of it."""
  del preset
  if values.observations not in _OBSERVATIONS:
    raise errors.unknown('observations', values.observations, _OBSERVATIONS)
  if values.observations == 'pixels':
    _need_pictures('observations=pixels')
  elif values.video:
    _need_pictures('video=true')
  return {'task': control.canonical_name(values.task), 'observations': values.observations}


def _need_pictures(argument: str) -> None:
  try:
    control.enable_rendering()
  except RuntimeError as error:
    raise errors.UsageError(f'{argument}: {error}') from None


def task(config: Config) -> parts.Task:
  """The task of a config."""
  pixels = config.observations == 'pixels'
  return parts.Task(
      make_env=lambda num_envs, seed: control.make(config.task, num_envs, seed, pixels),
      normalize=lambda episode_return: math.nan)


CONTROL = command_line.Domain(
    name='control', task_flag='task', default_task='cartpole_swingup', settings=settings,
    task=task, flags={'observations': ('state', 'state or pixels; pixels need OpenGL')},
    lists={'tasks': control.task_names})


if __name__ == '__main__':
  sys.exit(cli.main(CONTROL, sys.argv))
