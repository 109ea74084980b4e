"""The loop outside the agent: generators that know nothing of logging or checkpoints."""

from collections.abc import Iterator
from typing import NamedTuple

import dm_env
import jax
import numpy as np

from agents import losses
from agents.actions import ActionMap
from agents.config import Config
from agents.learner import Agent, Metrics
from agents.state import LearnerState
from networks import types as network_types
from replay import accumulator as accumulator_lib
from replay import types as replay_types

_DECAY_PART = 0.02  # of a run that exploration decays over (dqn_zoo)


class Player(NamedTuple):
  """What it takes to act: fixed over a run, no state."""
  agent: Agent
  action_map: ActionMap

  def step(
      self, env: dm_env.Environment, params: network_types.Params, key: jax.Array,
      timestep: dm_env.TimeStep, epsilon: float,
  ) -> tuple[jax.Array, np.ndarray, np.ndarray, dm_env.TimeStep]:
    """One agent step in every environment.

    Returns:
      The next key, choices [N, M], greedy values [N], the next timestep.
    """
    key, choices, values = self.agent.act(params, key, timestep.observation, epsilon)
    choices = np.asarray(choices)
    return key, choices, values, env.step(self.action_map.to_environment(choices))


class LoopState(NamedTuple):
  """The training loop between two steps; environment, accumulator and replay keep the rest."""
  learner: LearnerState
  actor_key: jax.Array
  timestep: dm_env.TimeStep | None  # [N], the newest; None where other processes act
  num_steps: int  # agent steps so far, over all environments; a first frame is none


class Progress(NamedTuple):
  """What one iteration of `train` did."""
  state: LoopState
  epsilon: float
  values: jax.Array  # [N] greedy values where the agent acted
  dispatches: tuple[Metrics, ...]  # of the `updates_per_dispatch` updates of each


def exploration_epsilon(config: Config, num_steps: int) -> float:
  """Linear in agent steps from the moment the replay has its least size (dqn_zoo)."""
  if config.noisy:  # The network's noise explores.
    return 0.0
  decay_steps = config.exploration_decay_steps or (
      _DECAY_PART * config.run_length / config.units_per_step)
  done = (num_steps - config.min_replay_size) / decay_steps
  return _between(
      config.exploration_epsilon_begin, config.exploration_epsilon_end, done)


def importance_exponent(config: Config, num_steps: int) -> float:
  """Linear in agent steps from the replay's least size to the end of the run (dqn_zoo)."""
  end = config.run_length // config.units_per_step
  done = (num_steps - config.min_replay_size) / max(end - config.min_replay_size, 1)
  return _between(config.importance_exponent_begin, config.importance_exponent_end, done)


def _between(begin: float, end: float, done: float) -> float:
  fraction = min(max(done, 0.0), 1.0)
  return (1 - fraction) * begin + fraction * end


def train(
    player: Player, env: dm_env.Environment, accumulator: accumulator_lib.Accumulator,
    replay: replay_types.Replay, config: Config, state: LoopState) -> Iterator[Progress]:
  """Acts, stores and learns for ever; one iteration is one step of all environments.

  The order is fixed, so that a seed decides everything: act with the newest parameters, store,
  then one update for every `steps_per_update` agent steps, `updates_per_dispatch` of them together.
  """
  while True:
    epsilon = exploration_epsilon(config, state.num_steps)
    actor_key, choices, values, timestep = player.step(
        env, state.learner.params, state.actor_key, state.timestep, epsilon)
    for step in accumulator.step(timestep, choices):
      replay.add(step)
    num_steps = state.num_steps + count_steps(timestep)
    learner, dispatches = state.learner, []
    if replay.size() >= config.min_replay_size:
      for _ in range(dispatches_due(config, state.num_steps, num_steps)):
        learner, metrics = dispatch(player.agent, replay, config, learner, num_steps)
        dispatches.append(metrics)
    state = LoopState(learner, actor_key, timestep, num_steps)
    yield Progress(state, epsilon, values, tuple(dispatches))


def dispatches_due(config: Config, before: int, now: int) -> int:
  """Calls of `dispatch` that are due between two counts of agent steps."""
  period = config.steps_per_dispatch
  return now // period - before // period


def dispatch(
    agent: Agent, replay: replay_types.Replay, config: Config, learner: LearnerState,
    num_steps: int) -> tuple[LearnerState, Metrics]:
  """Updates in one program, from a batch each, whose priorities then become those of its errors.

  All batches are drawn before the first update, from the replay as it is now: with priorities a
  later one does not know the errors of an earlier one.
  """
  weights = np.ones(weights_shape(config), np.float32)
  sample = replay.sample(weights.size)
  if config.prioritized:
    weights = losses.importance_weights(
        sample.probabilities.reshape(weights.shape), importance_exponent(config, num_steps))
  learner, errors, metrics = agent.learn(learner, sample.transition, weights)
  if config.prioritized:
    replay.update(sample.keys, np.asarray(errors).ravel())
  return learner, metrics


def weights_shape(config: Config) -> tuple[int, ...]:
  """Of the examples of a dispatch, as `Agent.learn` takes their weights."""
  count, batch_size = config.updates_per_dispatch, config.batch_size
  return (batch_size,) if count == 1 else (count, batch_size)


def rollout(
    player: Player, env: dm_env.Environment, params: network_types.Params, key: jax.Array,
    epsilon: float) -> Iterator[dm_env.TimeStep]:
  """Acts without learning, for ever; yields every timestep [N], the first ones too."""
  timestep = env.reset()
  while True:
    yield timestep
    key, _, _, timestep = player.step(env, params, key, timestep, epsilon)


def count_steps(timestep: dm_env.TimeStep) -> int:
  """Agent steps in a batched timestep: a first frame follows no action."""
  return int(np.sum(timestep.step_type != dm_env.StepType.FIRST))
