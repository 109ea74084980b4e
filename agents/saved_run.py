"""A run as its folder holds it, without its environment: config, checkpoints, what probes need."""

import dataclasses
import functools
import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from agents import checkpoint, errors, learner, objectives, run_folder
from agents.actions import ActionMap
from agents.config import Config
from agents.state import LearnerState
from probes.subject import Inputs

# Runs that differ in their seed and their probes alone share what is compiled.
NOT_THE_MODELS = {
    field.name: field.default for field in dataclasses.fields(Config)
    if field.name == 'seed' or field.name.startswith('probe_')}
_model = functools.lru_cache(maxsize=2)(learner.make)


class SavedRun(NamedTuple):
  """What is known without opening a checkpoint."""
  folder: pathlib.Path
  config: Config
  frames: tuple[int, ...]  # of its checkpoints, oldest first


class Saved(NamedTuple):
  """A checkpoint, as far as a probe needs it."""
  model: learner.Model
  state: LearnerState
  inputs: Inputs


def read(folder: pathlib.Path) -> SavedRun:
  """Finds a run's config and checkpoints.

  Raises:
    UsageError: the folder is no run, has no checkpoint, or is of a version with other settings.
  """
  path = folder / run_folder.CONFIG
  try:
    stored = dict(json.loads(path.read_text()))
  except OSError as error:
    raise errors.UsageError(
        f'run_dir={folder}: must be a run; its {path.name}: {error.strerror}') from None
  except (ValueError, TypeError) as error:
    raise run_folder.damaged(folder, path.name, 'a run', error) from None
  config = run_folder.config_of(folder, stored)
  frames = tuple(checkpoint.frames(folder / 'checkpoints'))
  if not frames:
    raise errors.UsageError(f'run_dir={folder}: must hold checkpoints; there is none')
  return SavedRun(folder, config, frames)


def load(run: SavedRun, frame: int) -> Saved:
  """Opens a checkpoint.

  Raises:
    CheckpointError: it cannot be read, or does not fit the run's config.
  """
  folder = run.folder / 'checkpoints' / str(frame)
  tensors, content = checkpoint.load(folder)
  inputs = _inputs(folder, run.config)
  try:
    action_map = ActionMap(int(content['num_action_dims']), int(content['num_choices']), None)
  except (KeyError, TypeError, ValueError) as error:
    raise checkpoint.CheckpointError(
        f'{folder / checkpoint.STATE}: must say how many actions there are: {error!r}') from None
  shape, dtype = inputs.observations.shape[1:], inputs.observations.dtype.name
  model = _model(dataclasses.replace(run.config, **NOT_THE_MODELS), shape, dtype, action_map)
  template = jax.eval_shape(model.agent.init, jax.random.key(0))
  return Saved(model, checkpoint.from_tensors(template, tensors), inputs)


def _inputs(folder: pathlib.Path, config: Config) -> Inputs:
  """What the run has kept for probes at this checkpoint."""
  tensors = checkpoint.load_inputs(folder)
  kind = objectives.OBJECTIVES[config.objective].batch
  names = ['observations', *(f'batch/{field}' for field in kind._fields)]
  if missing := [name for name in names if not np.size(tensors.get(name, ()))]:
    raise checkpoint.CheckpointError(
        f'{folder / checkpoint.INPUTS}: must hold {", ".join(missing)}; it does not')
  observations, *leaves = (tensors[name] for name in names)
  return Inputs(observations, kind(*leaves))
