"""Runs on Catch inside the test's own process, small enough to learn in seconds."""

import dataclasses
import threading

import numpy as np

from agents import config as config_lib
from agents import loop, parts, saved_run, snapshot
from envs import catch
from replay import factory

ROWS = 6


def make_config(**overrides):
  overrides = dict(
      torso='mlp', min_replay_size=100, replay_capacity=2000, steps_per_update=2,
      target_update_period=50, learning_rate=1e-3, exploration_decay_steps=1500,
      exploration_epsilon_begin=1.0, exploration_epsilon_end=0.05, batch_size=32,
      n_step=1, discount=0.95) | overrides
  return config_lib.resolve('control', 'catch', 'double_dqn', [], overrides)


# Which settings a model is not made of. Runs that differ in these share what is compiled.
NOT_THE_MODELS = saved_run.NOT_THE_MODELS.keys() | {
    'run_length', 'replay', 'replay_capacity', 'min_replay_size', 'n_step', 'batch_size',
    'steps_per_update', 'updates_per_dispatch', 'num_envs', 'prioritized', 'priority_exponent',
    'eval_length', 'eval_envs', 'eval_epsilon', 'eval_episodes', 'checkpoint_every',
    'exploration_epsilon_begin', 'exploration_epsilon_end', 'exploration_decay_steps'}
_MODELS = {}


def _model_key(config, pixels):
  settings = dataclasses.asdict(config)
  return pixels, *(value for name, value in settings.items() if name not in NOT_THE_MODELS)


def build(config, kind='local', pixels=False, normalize=lambda r: r):
  task = parts.Task(
      lambda num_envs, seed: catch.make(num_envs, seed, ROWS, 5, pixels), normalize)
  settings = parts.replay_settings(config)
  key = _model_key(config, pixels)
  run = parts.build(
      config, task, lambda signature: factory.make(kind, signature, settings, 'test-loop'),
      _MODELS.get(key))
  _MODELS[key] = run.model
  return run


def train(run, num_steps, state=None):
  """Goes on from a state, or starts, until so many steps are taken in all."""
  state = state or snapshot.start(run)
  steps = loop.train(
      run.player, run.env, run.accumulator, run.replay, run.config, state)
  updates = 0
  while state.num_steps < num_steps:
    progress = next(steps)
    state = progress.state
    updates += len(progress.dispatches) * run.config.updates_per_dispatch
  return state, updates


def learn(run, threshold, period=250):
  """Trains until an evaluation returns more than the threshold; fails at the end of the run.

  Processors round differently, so that one seed learns sooner on one machine than on another. A
  run's length is therefore a bound, some times what the slowest of several seeds needs.

  Returns:
    Steps taken, and the last evaluation's return.
  """
  state, score = snapshot.start(run), -np.inf
  while score <= threshold:
    assert state.num_steps < run.config.run_length, f'{score} after {state.num_steps} steps'
    state, _ = train(run, state.num_steps + period, state)
    score = mean_return(run, state)
  return state.num_steps, score


def mean_return(run, state):
  evaluation = parts.evaluate(
      run, state.learner.params, state.num_steps, threading.Event(), lambda done: None)
  return evaluation.mean_return
