"""A run between two steps, to disk and back: all that decides what it does next."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from agents import checkpoint, loop
from agents import parts as parts_lib
from probes.subject import Inputs

_ENV, _ACCUMULATOR, _ACTOR_KEY = 'env/', 'accumulator/', 'actor_key'


def save(
    root: pathlib.Path, parts: parts_lib.Parts, state: loop.LoopState, frame: int,
    counters: Mapping[str, Any], inputs: Inputs) -> None:
  """Writes checkpoint `frame`: learner, actor, environments, accumulator, replay, `counters`.

  `inputs` and the action map are what a probe needs that has no environment and no replay.
  """
  tensors = checkpoint.to_tensors(state.learner)
  tensors[_ACTOR_KEY] = np.asarray(jax.random.key_data(state.actor_key))
  if parts.env:
    tensors |= {_ENV + k: np.asarray(v) for k, v in parts.env.state().items()}
    tensors |= {_ACCUMULATOR + k: np.asarray(v) for k, v in parts.accumulator.state().items()}
  action_map = parts.player.action_map
  content = dict(version=1, num_steps=state.num_steps, counters=counters,
                 num_action_dims=action_map.num_dims, num_choices=action_map.num_choices)
  checkpoint.save(root, frame, tensors, content, parts.replay.save, checkpoint.to_tensors(inputs))


def restore(
    folder: pathlib.Path, parts: parts_lib.Parts) -> tuple[loop.LoopState, dict[str, Any]]:
  """The run as `save` saw it, and its counters; the parts' own state is put back too."""
  tensors, content = checkpoint.load(folder)
  template = jax.eval_shape(parts.player.agent.init, jax.random.key(0))
  learner = checkpoint.from_tensors(template, tensors)
  timestep = None
  if parts.env:
    timestep = parts.env.restore(_under(_ENV, tensors))
    parts.accumulator.restore(_under(_ACCUMULATOR, tensors))
  parts.replay.restore(folder / checkpoint.REPLAY)
  actor_key = jax.random.wrap_key_data(tensors[_ACTOR_KEY])
  state = loop.LoopState(learner, actor_key, timestep, content['num_steps'])
  return state, content['counters']


def start(parts: parts_lib.Parts) -> loop.LoopState:
  """A run before its first step."""
  timestep = None
  if parts.env:
    timestep = parts.env.reset()
    for step in parts.accumulator.step(timestep, None):
      parts.replay.add(step)
  learner = parts.player.agent.init(parts_lib.key(parts.config, parts_lib.INIT))
  return loop.LoopState(learner, parts_lib.key(parts.config, parts_lib.ACT), timestep, 0)


def _under(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
