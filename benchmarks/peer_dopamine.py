"""Dopamine's JAX agents, on Pong: prints a speed as JSON.

    .venv-dopamine/bin/python benchmarks/peer_dopamine.py SETTINGS

SETTINGS are compare.SETTINGS as JSON: the frames/s of DQN's whole loop while it learns. With an
`agent` in them, the updates/s of that agent alone, on one batch over and over.
"""

import importlib.metadata
import json
import sys
import time
import types

import gin
import jax
import numpy as np
import peer_clock

# Dopamine imports wrappers of OpenAI's baselines, for its PPO alone, which do not come with it.
# ruff: noqa: E402
for _name in ('baselines', 'baselines.common', 'baselines.common.atari_wrappers'):
  sys.modules[_name] = types.ModuleType(_name)

from dopamine.discrete_domains import atari_lib
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.jax.agents.full_rainbow import full_rainbow_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent

_ACTIONS = 6  # Pong's
_AGENTS = {
    'dqn': (dqn_agent.JaxDQNAgent, {}),
    'c51': (rainbow_agent.JaxRainbowAgent, dict(replay_scheme='uniform')),
    'qr_dqn': (quantile_agent.JaxQuantileAgent, dict(replay_scheme='uniform')),
    'rainbow': (full_rainbow_agent.JaxFullRainbowAgent, {})}


def main() -> None:
  settings = json.loads(sys.argv[1])
  gin.bind_parameter('ReplayBuffer.batch_size', settings['batch_size'])
  for holder in ('ReplayBuffer', 'PrioritizedSamplingDistribution'):
    gin.bind_parameter(f'{holder}.max_capacity', settings['replay_capacity'])
  if 'agent' in settings:
    found = {'updates_per_second': _updates(settings)}
  else:
    found = {'frames_per_second': 4 * _agent_steps(settings)}
  versions = {name: importlib.metadata.version(name)
              for name in ('dopamine-rl', 'jax', 'flax', 'ale-py', 'numpy')}
  print(json.dumps(found | {'versions': versions}))


def _updates(settings: dict) -> float:
  """A second. Its replay is put aside, so that nothing is drawn and no priority changed."""
  kind, more = _AGENTS[settings['agent']]
  agent = kind(_ACTIONS, seed=settings['seed'], **more)
  agent.min_replay_history, agent.update_period = 0, 1
  agent.target_update_period = settings['target_update_period']
  size, rng = settings['batch_size'], np.random.default_rng(settings['seed'])
  states = rng.integers(0, 256, (2, size, 84, 84, 4), np.uint8)
  agent.replay_elements = dict(
      state=states[0], next_state=states[1], action=rng.integers(0, _ACTIONS, size),
      reward=np.ones(size), terminal=np.zeros(size, np.uint8), indices=np.arange(size),
      sampling_probabilities=np.full(size, 0.5))
  agent._sample_from_replay_buffer = lambda: None
  agent._replay = types.SimpleNamespace(add_count=1, update=lambda *_, **__: None)
  return peer_clock.updates_per_second(
      agent._train_step, settings['seconds'], lambda: jax.block_until_ready(agent.online_params))


def _agent_steps(settings: dict) -> float:
  """A second, from when it has learnt for `warmup_steps`."""
  env = atari_lib.create_atari_environment('Pong', sticky_actions=False)
  agent = dqn_agent.JaxDQNAgent(
      env.action_space.n, seed=settings['seed'], update_period=settings['steps_per_update'],
      min_replay_history=settings['learning_starts'], epsilon_train=settings['epsilon'],
      target_update_period=settings['steps_per_update'] * settings['target_update_period'],
      epsilon_fn=dqn_agent.identity_epsilon)
  first = settings['learning_starts'] + settings['warmup_steps']
  steps, start, action = 0, 0.0, agent.begin_episode(env.reset())
  while True:
    observation, reward, terminal, _ = env.step(action)
    if terminal:
      agent.end_episode(reward)
      action = agent.begin_episode(env.reset())
    else:
      action = agent.step(reward, observation)
    steps += 1
    if steps == first:
      start = time.perf_counter()
    elif steps > first and (elapsed := time.perf_counter() - start) >= settings['seconds']:
      return (steps - first) / elapsed


if __name__ == '__main__':
  main()
