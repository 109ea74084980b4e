"""Stable-Baselines3's DQN and QR-DQN on Pong: prints a speed as JSON.

    .venv-bench/bin/python benchmarks/peer_sb3.py SETTINGS

SETTINGS are compare.SETTINGS as JSON: the frames/s of DQN's whole loop while it learns. With an
`agent` in them, the updates/s of that agent alone, on one batch over and over.
"""

import importlib.metadata
import json
import sys
import time

import ale_py
import gymnasium
import peer_clock
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common import callbacks, env_util, vec_env

_AGENTS = {'dqn': DQN, 'qr_dqn': QRDQN}


class Window(callbacks.BaseCallback):
  """Counts the agent steps of a time window, then ends the training."""

  def __init__(self, first_step: int, seconds: float):
    super().__init__()
    self._first_step, self._seconds, self._start = first_step, seconds, 0.0
    self.rate = 0.0  # agent steps a second

  def _on_step(self) -> bool:
    if self.num_timesteps <= self._first_step:
      self._start = time.perf_counter()
      return True
    elapsed = time.perf_counter() - self._start
    self.rate = (self.num_timesteps - self._first_step) / elapsed
    return elapsed < self._seconds


def main() -> None:
  settings = json.loads(sys.argv[1])
  gymnasium.register_envs(ale_py)
  env = env_util.make_atari_env('PongNoFrameskip-v4', n_envs=1, seed=settings['seed'])
  model = _AGENTS[settings.get('agent', 'dqn')](
      'CnnPolicy', vec_env.VecFrameStack(env, 4), seed=settings['seed'], device='cpu',
      batch_size=settings['batch_size'], train_freq=settings['steps_per_update'],
      learning_starts=settings['learning_starts'], buffer_size=settings['replay_capacity'],
      target_update_interval=settings['steps_per_update'] * settings['target_update_period'],
      exploration_initial_eps=settings['epsilon'], exploration_final_eps=settings['epsilon'])
  if 'agent' in settings:
    found = {'updates_per_second': _updates(model, settings)}
  else:
    window = Window(settings['learning_starts'] + settings['warmup_steps'], settings['seconds'])
    model.learn(2**31, callback=window)
    found = {'frames_per_second': 4 * window.rate}
  versions = {name: importlib.metadata.version(name) for name in (
      'stable-baselines3', 'sb3-contrib', 'torch', 'gymnasium', 'ale-py', 'numpy')}
  print(json.dumps(found | {'versions': versions}))


def _updates(model: DQN | QRDQN, settings: dict) -> float:
  """A second. Its replay gives one batch, so that nothing is drawn."""
  size = settings['batch_size']
  model.learn(2 * size)  # it learns from `learning_starts` on, which is later
  batch = model.replay_buffer.sample(size)
  model.replay_buffer.sample = lambda *_, **__: batch
  return peer_clock.updates_per_second(
      lambda: model.train(gradient_steps=1, batch_size=size), settings['seconds'])


if __name__ == '__main__':
  main()
