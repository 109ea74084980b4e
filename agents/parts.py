"""The parts of a run, built once from a config, and what is drawn from them."""

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from agents import actions, learner, loop, metrics
from agents.config import Config
from networks import noisy
from networks import types as network_types
from replay import accumulator as accumulator_lib
from replay import local
from replay import types as replay_types

# What the random numbers of a seed are for.
INIT, ACT, EVALUATE, PROBE, OBSERVE, FILM, REMOTE = range(7)

FILM_SECONDS = 300  # of a film at most; an Atari episode may last half an hour
_FILM_RATE = 30  # pictures a second at most: without a GPU each takes tenths of a second


class Task(NamedTuple):
  """What a run plays, as the agent sees it."""
  make_env: Callable[[int, int], dm_env.Environment]  # number of environments, seed -> batched
  normalize: Callable[[float], float]  # return -> human-normalized, NaN where there is no such


class Parts(NamedTuple):
  """The parts of a run."""
  config: Config
  task: Task
  env: dm_env.Environment | None  # None, like the accumulator, where other processes act
  accumulator: accumulator_lib.Accumulator | None
  replay: replay_types.Replay | None  # None where nothing is stored or learnt
  model: learner.Model
  player: loop.Player
  signature: replay_types.Signature  # of what the replay holds


class Evaluation(NamedTuple):
  """What an evaluation found."""
  mean_return: float
  num_episodes: int
  num_steps: int  # agent steps
  seconds: float


def replay_settings(config: Config) -> replay_types.Settings:
  """How the replay of a run keeps and draws."""
  return replay_types.Settings(
      capacity=config.replay_capacity, prioritized=config.prioritized,
      priority_exponent=config.priority_exponent, seed=config.seed,
      uniform_probability=config.uniform_probability, new_priority=config.new_priority)


def build(
    config: Config, task: Task,
    make_replay: Callable[[replay_types.Signature], replay_types.Replay],
    model: learner.Model | None = None) -> Parts:
  """Builds each part from what the one before says.

  A model that was built for another seed of the same config saves compiling.
  """
  env = task.make_env(config.num_envs, config.seed)
  parts = describe(config, task, env, model)
  return parts._replace(
      env=env, accumulator=make_accumulator(config, env, config.num_envs),
      replay=_or_close(env, lambda: make_replay(parts.signature)))


def describe(
    config: Config, task: Task, env: dm_env.Environment,
    model: learner.Model | None = None) -> Parts:
  """The parts that follow from what an environment's specs say, and none that have a state."""
  spec, action_map = env.observation_spec(), actions.action_map(env.action_spec(), config.bins)
  model = model or learner.make(config, spec.shape, spec.dtype.name, action_map)
  signature = replay_types.Signature(
      frame_shape=tuple(spec.shape if env.stack == 1 else spec.shape[1:]),
      frame_dtype=spec.dtype.name, stack=env.stack, num_action_dims=action_map.num_dims,
      n_step=config.n_step, num_streams=config.num_envs)
  return Parts(
      config=config, task=task, env=None, accumulator=None, replay=None, model=model,
      player=loop.Player(model.agent, action_map), signature=signature)


def describe_task(config: Config, task: Task) -> Parts:
  """The same, by an environment that is made for it and closed."""
  with contextlib.closing(task.make_env(1, config.seed)) as env:
    return describe(config, task, env)


def make_accumulator(
    config: Config, env: dm_env.Environment, num_streams: int) -> accumulator_lib.Accumulator:
  """What turns the timesteps of `num_streams` environments into transitions."""
  return accumulator_lib.Accumulator(
      config.n_step, config.discount, config.reward_clip, env.stack, num_streams)


def _or_close(
    env: dm_env.Environment, make: Callable[[], replay_types.Replay]) -> replay_types.Replay:
  try:
    return make()
  except BaseException:
    env.close()
    raise


def key(config: Config, purpose: int, frame: int = 0) -> jax.Array:
  """A random key of its own for each purpose and frame."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), purpose), frame)


def _fresh_env(
    parts: Parts, purpose: int, frame: int, num_envs: int = 1) -> dm_env.Environment:
  seed = np.random.SeedSequence([parts.config.seed, purpose, frame]).generate_state(1)[0]
  return parts.task.make_env(num_envs, int(seed >> 1))


def evaluate(
    parts: Parts, params: network_types.Params, frame: int, stop: threading.Event,
    on_step: Callable[[float], None]) -> Evaluation | None:
  """Plays with a copy of the parameters in `eval_envs` environments of its own.

  Ends with `eval_length` or with the last of `eval_episodes`, of which each environment has an
  equal share, so that short episodes do not crowd out long ones; an episode that the length cuts
  off does not count, unless there is no other. None where it was asked to stop. `on_step` is told
  the part that is done.
  """
  config = parts.config
  params = _to_play(config, params)
  env = _fresh_env(parts, EVALUATE, frame, config.eval_envs)
  episodes, started = metrics.EpisodeTracker(config.eval_envs), time.monotonic()
  num_steps, num_episodes = np.zeros((2, config.eval_envs), np.int64)
  most_steps, most_episodes = _shares(config)
  done = np.zeros(config.eval_envs)
  steps = loop.rollout(
      parts.player, env, params, key(config, EVALUATE, frame), config.eval_epsilon)
  for timestep in steps:
    # An environment that has had its share plays on, without being counted.
    step_type = np.where(done < 1, timestep.step_type, dm_env.StepType.FIRST)
    episodes.add(timestep._replace(step_type=step_type))
    num_steps += step_type != dm_env.StepType.FIRST
    num_episodes += step_type == dm_env.StepType.LAST
    done = np.minimum(np.maximum(num_steps / most_steps, num_episodes / most_episodes), 1.0)
    on_step(float(done.mean()))
    if stop.is_set() or (done >= 1).all():
      break
  env.close()
  if stop.is_set():
    return None
  return Evaluation(*episodes.take(), int(num_steps.sum()), time.monotonic() - started)


def _to_play(config: Config, params: network_types.Params) -> network_types.Params:
  """A copy, since training uses up its own, as evaluations act with it."""
  params = jax.tree.map(jnp.copy, params)
  return params if config.eval_noise else noisy.silenced(params)


def _shares(config: Config) -> tuple[float, np.ndarray]:
  """Agent steps and episodes [N] after which an environment has had its share; inf: no bound."""
  count = config.eval_envs
  most_steps = -(-config.eval_length // (count * config.units_per_step)) or np.inf
  if not config.eval_episodes:
    return most_steps, np.full(count, np.inf)
  return most_steps, (
      config.eval_episodes // count + (np.arange(count) < config.eval_episodes % count))


class Film(NamedTuple):
  """An episode in pictures."""
  pictures: Iterator[np.ndarray]  # uint8 [H, W, 3], made as they are asked for
  per_second: float


def film(
    parts: Parts, params: network_types.Params, frame: int, stop: threading.Event,
    on_picture: Callable[[int], None]) -> Film:
  """Plays one episode as `evaluate` does, at most `FILM_SECONDS` of it.

  Asked to stop, it ends early. `on_picture` is told how many there are.
  """
  every = math.ceil(parts.env.steps_per_second / _FILM_RATE)  # steps
  return Film(_pictures(parts, params, frame, stop, every, on_picture),
              parts.env.steps_per_second / every)


def _pictures(
    parts: Parts, params: network_types.Params, frame: int, stop: threading.Event, every: int,
    on_picture: Callable[[int], None]) -> Iterator[np.ndarray]:
  config = parts.config
  params = _to_play(config, params)
  with contextlib.closing(_fresh_env(parts, FILM, frame)) as env:
    steps = loop.rollout(parts.player, env, params, key(config, FILM, frame), config.eval_epsilon)
    most = math.ceil(FILM_SECONDS * parts.env.steps_per_second)
    for i, timestep in enumerate(itertools.islice(steps, most)):
      is_last = timestep.step_type[0] == dm_env.StepType.LAST
      if i % every == 0 or is_last:
        on_picture(1 + math.ceil(i / every))
        yield env.render()
      if is_last or stop.is_set():
        break


def transitions(
    parts: Parts, params: network_types.Params, num_steps: int,
    count: int) -> replay_types.Transition:
  """[count] transitions of what the agent learns from, without touching its training.

  From replay; before that holds enough, what the agent is about to store, seen by acting in an
  environment of its own.
  """
  config = parts.config
  if parts.replay.size() >= count:
    return parts.replay.peek(count, config.seed)
  frame = num_steps * config.units_per_step
  replay = local.LocalReplay(
      parts.signature._replace(num_streams=1),
      replay_settings(config)._replace(capacity=count, prioritized=False))
  with contextlib.closing(_fresh_env(parts, OBSERVE, frame)) as env:
    accumulator, act_key = make_accumulator(config, env, 1), key(config, OBSERVE, frame)
    epsilon = loop.exploration_epsilon(config, num_steps)
    timestep, choices = env.reset(), None
    while replay.size() < count:
      for step in accumulator.step(timestep, choices):
        replay.add(step)
      act_key, choices, _, timestep = parts.player.step(env, params, act_key, timestep, epsilon)
  return replay.peek(count, config.seed)
