"""A probe of an agent: from its config and its learner's state to what `probes.record` takes."""

import os
import pathlib
import threading
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from agents import learner, metrics
from agents import parts as parts_lib
from agents.config import Config
from agents.display import log
from agents.state import LearnerState
from networks import types as network_types
from probes import fitting, random_target, record, schema, states
from probes.subject import Inputs, State, Subject
from replay import types as replay_types


class Prober(NamedTuple):
  """What probes of one run have in common; build it once, compiled code is cached on it."""
  config: Config
  model: learner.Model
  subject: Subject
  initial: network_types.Params


def make(config: Config, model: learner.Model) -> Prober:
  """The initial parameters are made again from the seed, as `snapshot.start` makes them."""
  small = config.probe_optimizer == 'small'
  optimizer = random_target.SMALL_OPTIMIZER if small else model.optimizer
  subject = Subject(model.network, optimizer, model.losses)
  initial = model.agent.init(parts_lib.key(config, parts_lib.INIT)).params
  return Prober(config, model, subject, initial)


def draw(parts: parts_lib.Parts, params: network_types.Params, num_steps: int) -> Inputs:
  """What the agent learns from after `num_steps`: observations, and transitions for its loss."""
  config = parts.config
  num_transitions = max(config.probe_inputs, config.batch_size)
  drawn = parts_lib.transitions(
      parts, params, num_steps, max(config.probe_observations, num_transitions))
  return Inputs(
      drawn.obs_tm1[:config.probe_observations],
      replay_types.Transition(*(leaf[:num_transitions] for leaf in drawn)))


def measure(
    prober: Prober, state: LearnerState, inputs: Inputs,
    first: Mapping[str, np.ndarray] | None,
    on_step: fitting.OnStep = fitting.ignore) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """A row, `update` in front, and arrays; `first` are those of the run's first probe.

  `state` is left as it was. The same key at every probe: the same fresh network and the same
  random targets, so that probes compare.
  """
  config = prober.config
  probe_key, fresh_key = jax.random.split(parts_lib.key(config, parts_lib.PROBE))
  fresh = prober.model.agent.init(fresh_key)
  row, arrays = record.measure(
      prober.subject, *(_with_next(prober, one, inputs) for one in (state, fresh)), inputs,
      record.References(prober.initial, first), probe_key, _sizes(config), on_step)
  return dict(update=int(state.num_updates)) | row, arrays


class _Stopped(Exception):
  """Ends a probe in its middle."""


def probe(
    prober: Prober, state: LearnerState, inputs: Inputs, frame: int, rows: metrics.CsvFile,
    folder: pathlib.Path, stop: threading.Event) -> dict[str, Any] | None:
  """Measures, and adds a row to `folder`'s probes.csv and a file to its probes/; the row.

  None where it was asked to stop: nothing is written then.
  """
  def on_step():
    if stop.is_set():
      raise _Stopped

  first = None
  if rows.frames:
    first = _first(folder, rows.frames[0])
  try:
    row, arrays = measure(prober, state, inputs, first, on_step)
  except _Stopped:
    return None
  row = dict(frame=frame, **row)
  write_arrays(folder / 'probes' / f'{frame}.npz', arrays)
  rows.append(row)
  log.info('%s %s: plasticity lost %.3f [%.3f, %.3f] (probe took %.0f s)', f'{frame:,}',
           prober.config.unit, row['plasticity_lost'], row['plasticity_lost_low'],
           row['plasticity_lost_high'], row['probe_seconds'])
  return row


def _first(folder: pathlib.Path, frame: int) -> dict[str, np.ndarray]:
  """Arrays of the run's first probe; without its fits, where an older version made them."""
  arrays = read_arrays(folder / 'probes' / f'{frame}.npz') or {}
  row, *_ = metrics.read_rows(folder / 'probes.csv')
  if row.get('record_version') == str(schema.VERSION):
    return arrays
  return {name: values for name, values in arrays.items()
          if not name.endswith(random_target.RandomTargetFit._fields)}


def _with_next(prober: Prober, state: LearnerState, inputs: Inputs) -> State:
  """A network and what one more update makes of it."""
  batch_size = prober.config.batch_size
  batch = jax.tree.map(lambda leaf: leaf[:batch_size], inputs.batch)
  # A copy: an update uses its state up.
  after, _, _ = prober.model.agent.learn(
      jax.tree.map(lambda leaf: leaf.copy(), state), batch,
      np.ones(len(jax.tree.leaves(batch)[0]), np.float32))
  return State(state.params, state.target_params, after.params)


def _sizes(config: Config) -> record.Sizes:
  return record.Sizes(
      random_target.ProbeSize(config.probe_targets, config.probe_steps, config.probe_batch_size,
                              config.probe_pool_size),
      states.Sizes(config.probe_inputs, config.probe_lanczos_steps, config.probe_trace),
      config.probe_kind)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an .npz, whole or not at all."""
  path.parent.mkdir(exist_ok=True)
  aside = path.with_suffix('.writing')
  with open(aside, 'wb') as file:
    np.savez(file, **arrays)
  os.replace(aside, path)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray] | None:
  """What `write_arrays` wrote; None where that is not there or broken."""
  try:
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile):
    return None
