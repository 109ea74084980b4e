"""The role that plays: environments in, transitions and reports of episodes out."""

import contextlib
import threading
import time
from typing import Any

import dm_env
import jax
import numpy as np

from agents import metrics
from agents import parts as parts_lib
from agents.display import log
from agents.distributed import epsilon, job, letters
from replay import types as replay_types

_POLL_SECONDS = 0.5  # between questions for weights, and between reports
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
    reports = Reports(replay.client, (the_job.epoch, number, generation), config.num_envs)
    if weights.wait(stop):
      log.debug('has weights and starts to play')
      _play(parts._replace(env=env, replay=replay), number, key, weights, reports, stop)


def _play(
    parts: parts_lib.Parts, number: int, key: jax.Array, weights: '_Weights', reports: 'Reports',
    stop: threading.Event) -> None:
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


class Reports:
  """What an actor tells of its episodes and steps; each is told once."""

  def __init__(self, client: letters.Client, who: tuple[int, int, int], num_envs: int):
    """Args: `who` is the epoch, the actor's number and its generation."""
    self._client, self._who, self._sent = client, who, 0
    self._episodes, self._means = metrics.EpisodeTracker(num_envs), metrics.Means()
    self._sent_at = time.monotonic()

  def add(self, timestep: dm_env.TimeStep) -> None:
    """Counts a batched timestep."""
    self._episodes.add(timestep)

  def add_values(self, values: jax.Array) -> None:
    """Counts greedy values, [N]."""
    self._means.add({'state_value': values})

  def are_due(self) -> bool:
    """Whether the last ones were sent some time ago."""
    return time.monotonic() - self._sent_at >= _POLL_SECONDS

  def send(self, num_updates: int) -> None:
    """Tells all that was not told before; `num_updates` is the age of the weights."""
    self._sent, self._sent_at = self._sent + 1, time.monotonic()
    finished, num_steps = self._episodes.drain()
    value = self._means.take(('state_value',))['state_value']
    header = (*self._who, self._sent, num_steps, value, num_updates)
    self._client.put(job.REPORTS, header, np.array(finished, np.float64).tobytes())
