"""Learning from a stream of tasks: several seeds side by side, each with a run folder of its own.

The streams themselves (envs/streams.py) are pure functions of a seed and a task's index, and the
examples of a step follow from seed and step, so that a run goes on from learners alone.
"""

import dataclasses
import functools
import pathlib
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents import checkpoint, learner, metrics, objectives, optimizers, probing, schedule
from agents import parts as parts_lib
from agents.actions import ActionMap
from agents.config import Config
from agents.display import Display, log
from agents.state import LearnerState
from networks import torsos
from probes import subject, transient
from probes.subject import Inputs

_KEEP = 2  # newest checkpoints that are kept, beside the probed ones
_FILES = ('results', 'probes', 'trace')
# Settings that are numbers of the optimizer alone: lanes of one program may differ in them.
SCALARS = ('learning_rate', 'optimizer_epsilon')
_MOST_STEPS = 1_000  # in one dispatch: a stop is noticed between two of them


class Tasks(NamedTuple):
  """One task of each of S seeds, on the device."""
  inputs: jax.Array  # [S, N, 1, H, W, C]
  targets: jax.Array  # [S, N]
  size: jax.Array  # [S], as many of them are drawn


class Lane(NamedTuple):
  """One seed of one way."""
  config: Config
  folder: pathlib.Path
  task: Callable[[int], Any]  # index -> envs.streams.Task


class Program(NamedTuple):
  """What lanes share whose configs differ in seed and scalars; compiled once for all tasks."""
  model_of: Callable[[Config], learner.Model]  # a lane's
  num_outputs: int
  # Learners, keys and each of SCALARS [S], tasks, first step, number of steps -> learners, sums of
  # metrics [S].
  train: Callable[..., tuple[LearnerState, dict[str, jax.Array]]]
  # Parameters, keys [S], tasks -> loss and scores [S].
  evaluate: Callable[..., dict[str, jax.Array]]


def side_by_side(config: Config) -> bool:
  """Whether seeds are faster in one program."""
  return not torsos.slow_in_loops(config.torso)


def make_program(config: Config, input_shape: tuple[int, ...], num_outputs: int) -> Program:
  """Of uint8 images [H, W, C], which the network sees as stacks of one frame."""
  @functools.cache  # compiled code is cached on a model's functions
  def model(*scalars):
    one = dataclasses.replace(config, **dict(zip(SCALARS, scalars, strict=True)))
    return learner.make(one, (1, *input_shape), 'uint8', ActionMap(1, num_outputs, None))

  network = model(*_scalars(config)).network
  objective = objectives.make(config, network)
  weights = np.ones(config.batch_size, np.float32)

  def learn(state, key, scalars, task, step):
    settings = vars(config) | dict(zip(SCALARS, scalars, strict=True))
    optimizer = optimizers.make(types.SimpleNamespace(**settings))  # no Config holds traced numbers
    agent = learner.make_agent(config, network, optimizer, norms_every=1)  # sums are over all
    rows = jax.random.randint(jax.random.fold_in(key, step), weights.shape, 0, task.size)
    state, _, measured = agent.learn(
        state, objectives.Example(task.inputs[rows], task.targets[rows]), weights)
    return state, measured

  def train(states, keys, scalars, tasks, first_step, num_steps):
    def body(states, step):
      return jax.vmap(learn, in_axes=(0, 0, 0, 0, None))(states, keys, scalars, tasks, step)
    states, measured = jax.lax.scan(body, states, first_step + jnp.arange(num_steps))
    return states, jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), measured)

  def evaluate(params, keys, tasks):
    def one(params, key, task):
      # Where there are fewer examples some are counted again.
      rows = jnp.arange(min(config.eval_length, len(task.inputs))) % task.size
      examples = objectives.Example(task.inputs[rows], task.targets[rows])
      loss, aux = objective.loss(params, {}, key, examples, 1.0, False)
      return aux.metrics | dict(loss=loss)
    return jax.vmap(one)(params, keys, tasks)

  return Program(
      lambda one: model(*_scalars(one)), num_outputs,
      jax.jit(train, static_argnums=5, donate_argnums=0), jax.jit(evaluate))


def _scalars(config: Config) -> tuple[float, ...]:
  return tuple(getattr(config, name) for name in SCALARS)


def without_scalars(config: Config) -> Config:
  """What lanes of one program have in common, but for the seed."""
  return dataclasses.replace(config, **dict.fromkeys(SCALARS, 1.0))


def alike(lanes: Sequence[Lane]) -> list[list[Lane]]:
  """Lanes that have come equally far, so that none starts over for another's sake."""
  found: dict[int, list[Lane]] = {}
  for lane in lanes:
    newest = max(checkpoint.frames(lane.folder / 'checkpoints'), default=-1)
    found.setdefault(newest, []).append(lane)
  return list(found.values())


class Trainer:
  """Trains some lanes, task after task; at the end of each task comes a row of results."""

  def __init__(self, lanes: Sequence[Lane], program: Program, stop: threading.Event):
    """Goes on from the newest checkpoint that all lanes have; `stop` ends the run early."""
    self._lanes, self._program, self._stop = lanes, program, stop
    self._config = config = lanes[0].config
    self._prober = functools.cache(
        lambda i: probing.make(lanes[i].config, program.model_of(lanes[i].config)))
    # What trains on a task, is probed on it and saves it asks for the same one, in that order.
    self._tasks = functools.lru_cache(maxsize=1)(self._draw)
    self._scalars = tuple(map(jnp.array, zip(*(_scalars(lane.config) for lane in lanes),
                                             strict=True)))
    self._keys = jnp.stack([parts_lib.key(lane.config, parts_lib.ACT) for lane in lanes])
    saved = [set(checkpoint.frames(lane.folder / 'checkpoints')) for lane in lanes]
    common = set.intersection(*saved)
    self._step = max(common, default=0)
    self._checkpointed = max(common, default=-1)
    found = [self._start(lane, bool(common)) for lane in lanes]
    self._states = _stack([state for state, _ in found])
    self._sums = [counters['sums'] for _, counters in found]
    self._results, self._probes, self._traces = (
        [metrics.CsvFile(lane.folder / f'{name}.csv', counters['rows'][name])
         for lane, (_, counters) in zip(lanes, found, strict=True)]
        for name in _FILES)
    self._most = 1 if not side_by_side(config) else _MOST_STEPS
    self._display = Display(config.run_length, config.unit, self._step, self._step, 'loss {:.3g}')

  def _start(self, lane: Lane, is_saved: bool) -> tuple[LearnerState, dict[str, Any]]:
    """A lane's learner and counters at the step that the trainer starts from."""
    init = self._program.model_of(lane.config).agent.init
    if not is_saved:
      key = parts_lib.key(lane.config, parts_lib.INIT)
      return init(key), dict(sums={}, rows=dict.fromkeys(_FILES, 0))
    folder = lane.folder / 'checkpoints' / str(self._step)
    tensors, content = checkpoint.load(folder)
    template = jax.eval_shape(init, jax.random.key(0))
    return checkpoint.from_tensors(template, tensors), content['counters']

  @property
  def states(self) -> LearnerState:
    """The learners, leaves [S, ...]."""
    return self._states

  def run(self) -> bool:
    """Trains to the end; False where it was stopped before, which saves a checkpoint."""
    config, length = self._config, self._config.steps_per_task
    is_late = self._step == self._checkpointed and self._probes_due()  # a stop had cut them short
    self._do_due()
    if is_late and not self._stop.is_set():
      self._save()  # their rows are the checkpoint's
    for index in range(self._step // length, config.run_length // length):
      tasks = self._tasks(index)
      while self._step < (index + 1) * length and not self._stop.is_set():
        self._trace(tasks, index)
        self._train(tasks, self._until_next(index))
      if self._step < (index + 1) * length:
        break
      self._add_results(index, tasks)
      self._do_due()
    if self._stop.is_set() and self._step > self._checkpointed:
      self._save()
    self._display.close()
    return not self._stop.is_set()

  def _until_next(self, index: int) -> int:
    """Updates to the end of the task, or to what is traced or may be stopped before."""
    config, done = self._config, self._step - index * self._config.steps_per_task
    left = min(self._most, config.steps_per_task - done)
    return min(left, config.trace_every) if done < config.trace_steps else left

  def _trace(self, tasks: Tasks, index: int) -> None:
    """A row a lane where the first updates on a task are looked at one by one."""
    config, done = self._config, self._step - index * self._config.steps_per_task
    is_due = done < config.trace_steps and done % config.trace_every == 0
    if not is_due or self._step <= self._traces[0].last_frame:
      return
    for i, file in enumerate(self._traces):
      key = parts_lib.key(self._lanes[i].config, parts_lib.PROBE)
      found = transient.measure(
          self._prober(i).subject, _at(self._states, i).params, self._inputs(tasks, i), key)
      file.append(dict(iteration=index, frame=self._step, since_change=done, **found))

  def _newest_tasks(self) -> Tasks:
    """What the newest step was of."""
    return self._tasks(max(self._step - 1, 0) // self._config.steps_per_task)

  def _draw(self, index: int) -> Tasks:
    drawn = [lane.task(index) for lane in self._lanes]
    return Tasks(
        jnp.stack([task.inputs[:, None] for task in drawn]),
        jnp.stack([task.targets for task in drawn]), jnp.array([task.size for task in drawn]))

  def _train(self, tasks: Tasks, num_steps: int) -> None:
    self._states, sums = self._program.train(
        self._states, self._keys, self._scalars, tasks, self._step, num_steps)
    self._step += num_steps
    sums = jax.device_get(sums)
    for i, lane_sums in enumerate(self._sums):
      for name, values in sums.items():
        lane_sums[name] = lane_sums.get(name, 0.0) + float(values[i])
    self._display.update(self._step, self._step, float(np.mean(sums['loss'])) / num_steps)

  def _add_results(self, index: int, tasks: Tasks) -> None:
    """A row a lane: at the end of the task, on its examples, and means over its steps."""
    length = self._config.steps_per_task
    ends = self._program.evaluate(self._states.params, self._keys, tasks)
    norms = jax.vmap(optax.global_norm)(subject.trained(self._states.params))
    for i, results in enumerate(self._results):
      row = dict(iteration=index, frame=self._step, norm=float(norms[i]))
      row |= {name: float(values[i]) for name, values in ends.items()}
      row |= {f'mean_{name}': total / length for name, total in self._sums[i].items()}
      results.append(row)
      self._sums[i] = {}
    log.info('%s: %s', f'{self._step:,} {self._config.unit}', ', '.join(
        f'{name} {float(jnp.mean(values)):.4g}' for name, values in sorted(ends.items())))

  def _do_due(self) -> None:
    """Probes and checkpoints that are due after the newest step."""
    config = self._config
    for i in self._probes_due():
      if not self._stop.is_set():
        probing.probe(
            self._prober(i), _at(self._states, i), self._inputs(self._newest_tasks(), i),
            self._step, self._probes[i], self._lanes[i].folder, self._stop)
    if schedule.is_due(
        config.checkpoint_every, self._checkpointed, self._step, config.run_length):
      self._save()

  def _probes_due(self) -> list[int]:
    """Lanes whose probe is due."""
    config = self._config
    return [i for i, probes in enumerate(self._probes) if schedule.is_due(
        config.probe_every, probes.last_frame, self._step, config.run_length)]

  def _inputs(self, tasks: Tasks, i: int) -> Inputs:
    """The task's first examples."""
    config = self._config
    count = max(config.probe_inputs, config.batch_size)
    inputs = np.asarray(tasks.inputs[i, :max(count, config.probe_observations)])
    return Inputs(inputs[:config.probe_observations],
                  objectives.Example(inputs[:count], np.asarray(tasks.targets[i, :count])))

  def _save(self) -> None:
    tasks = self._newest_tasks()
    for i, lane in enumerate(self._lanes):
      root = lane.folder / 'checkpoints'
      counters = dict(sums=self._sums[i], rows=dict(
          results=self._results[i].num_rows, probes=self._probes[i].num_rows,
          trace=self._traces[i].num_rows))
      content = dict(version=1, counters=counters, num_action_dims=1,
                     num_choices=self._program.num_outputs)
      checkpoint.save(
          root, self._step, checkpoint.to_tensors(_at(self._states, i)), content, lambda _: None,
          checkpoint.to_tensors(self._inputs(tasks, i)))
      checkpoint.prune(root, _KEEP, self._probes[i].frames)
    self._checkpointed = self._step


def _stack(states: Sequence[LearnerState]) -> LearnerState:
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _at(states: LearnerState, i: int) -> LearnerState:
  return jax.tree.map(lambda leaf: leaf[i], states)
