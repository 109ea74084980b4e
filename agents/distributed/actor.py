"""The role that plays: environments in, transitions and reports of episodes out."""

import contextlib
import threading
import time
from typing import Any

import jax
import numpy as np

from agents import parts as parts_lib
from agents.display import log
from agents.distributed import epsilon, job, letters
from agents.distributed import reports as reports_lib
from replay import types as replay_types

_FIRST_WEIGHTS_SECONDS = 300.0  # of a learner that still reads its checkpoint


def run(the_job: job.Job, number: int, generation: int, stop: threading.Event) -> None:
  """Plays until it is stopped, or held back for ever by a server whose learner is gone.

  Args:
    the_job: the run.
    number: which actor, 0 to num_actors - 1.
    generation: how many times it was started before; with it the random numbers are others.
    stop: ends it between two steps.

  Raises:
    ReplayError: the server does not answer, or no weights came.
  """
  config, task = job.config(the_job), job.task(the_job)
  key = parts_lib.key(config, parts_lib.REMOTE, max(the_job.frame, 0))
  key = jax.random.fold_in(jax.random.fold_in(key, number), generation)
  seed = np.random.SeedSequence(
      [config.seed, parts_lib.REMOTE, number, generation, the_job.frame + 1]).generate_state(1)[0]
  with contextlib.closing(task.make_env(config.num_envs, int(seed >> 1))) as env:
    parts = parts_lib.describe(config, task, env)
    replay = job.connect(the_job, parts.signature, config.num_envs)
    weights = _Weights(replay, the_job.epoch, parts)
    who = the_job.epoch, number, generation
    reports = reports_lib.Reports(replay.client, who, config.num_envs)
    if weights.wait(stop):
      log.debug('has weights and starts to play')
      _play(parts._replace(env=env, replay=replay), number, key, weights, reports, stop)


def _play(
    parts: parts_lib.Parts, number: int, key: jax.Array, weights: '_Weights',
    reports: reports_lib.Reports, stop: threading.Event) -> None:
  config, env, replay = parts.config, parts.env, parts.replay
  accumulator = parts_lib.make_accumulator(config, env, config.num_envs)
  timestep, choices = env.reset(), None
  while True:
    for step in accumulator.step(timestep, choices):
      replay.add(step)
    reports.add(timestep)
    if reports.are_due():
      replay.flush()  # an episode is told of when its transitions have arrived
      reports.send(weights.num_updates)
      weights.poll()
    if stop.is_set():
      return
    now = epsilon.of_actor(config, number, weights.num_steps)
    key, choices, values, timestep = parts.player.step(env, weights.params, key, timestep, now)
    reports.add_values(values)


class _Weights:
  """The newest weights that came, and where the learner was when it sent them."""

  def __init__(self, replay: Any, epoch: int, parts: parts_lib.Parts):
    self._replay = replay
    self._receiver = letters.Receiver(replay.client, job.WEIGHTS, epoch)
    self._template = jax.eval_shape(parts.model.agent.init, jax.random.key(0)).params
    self.params, self.num_updates, self.num_steps = None, 0, 0

  def poll(self) -> None:
    """Takes what is new."""
    letter = self._receiver.receive()
    if letter:
      num_updates, num_steps, max_priority, mean_weight, _ = letter.numbers
      self.params = letters.unpack(self._template, letter.blob)
      self.num_updates, self.num_steps = int(num_updates), int(num_steps)
      self._replay.adopt(max_priority, mean_weight)

  def wait(self, stop: threading.Event) -> bool:
    """Waits for the first; False where stopped."""
    until = time.monotonic() + _FIRST_WEIGHTS_SECONDS
    while not stop.wait(0.1):
      if self._replay.count().letters[job.WEIGHTS + '_version']:
        self.poll()
      if self.params is not None:
        return True
      if time.monotonic() > until:
        raise replay_types.ReplayError(f'no weights came within {_FIRST_WEIGHTS_SECONDS:g} s')
    return False
