"""Tianshou's updates from Atari's observations: prints how many a second it makes, as JSON.

    .venv-bench/bin/python benchmarks/peer_tianshou.py SETTINGS

SETTINGS are compare.SETTINGS as JSON, and `agent`. One batch is learnt from over and over.
"""

import importlib.metadata
import json
import sys

import gymnasium
import numpy as np
import peer_clock
from tianshou.algorithm import C51, DQN, QRDQN, RainbowDQN
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.c51 import C51Policy
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.env.atari import atari_network

_ACTIONS = 6  # Pong's
_AGENTS = {
    'dqn': (atari_network.DQNet, DiscreteQLearningPolicy, DQN, dict(is_double=False)),
    'c51': (atari_network.C51Net, C51Policy, C51, {}),
    'qr_dqn': (atari_network.QRDQNet, QRDQNPolicy, QRDQN, {}),
    'rainbow': (atari_network.RainbowNet, C51Policy, RainbowDQN, {})}


def main() -> None:
  settings = json.loads(sys.argv[1])
  network, policy, algorithm, more = _AGENTS[settings['agent']]
  model = network(c=4, h=84, w=84, action_shape=[_ACTIONS])
  learner = algorithm(
      policy=policy(model=model, action_space=gymnasium.spaces.Discrete(_ACTIONS)),
      optim=AdamOptimizerFactory(), target_update_freq=settings['target_update_period'], **more)
  size = settings['batch_size']
  buffer = _OneBatch(size, settings['seed'])
  with policy_within_training_step(learner.policy):
    rate = peer_clock.updates_per_second(
        lambda: learner.update(buffer=buffer, sample_size=size), settings['seconds'])
  versions = {name: importlib.metadata.version(name) for name in ('tianshou', 'torch', 'numpy')}
  print(json.dumps({'updates_per_second': rate, 'versions': versions}))


class _OneBatch(ReplayBuffer):
  """Always gives the same batch, so that nothing is drawn; pixels are floats from 0 to 1."""

  def __init__(self, size: int, seed: int):
    super().__init__(size)
    rng = np.random.default_rng(seed)
    for _ in range(size):
      obs, obs_next = rng.random((2, 4, 84, 84), np.float32)
      self.add(Batch(
          obs=obs, obs_next=obs_next, act=rng.integers(_ACTIONS), rew=1.0, terminated=False,
          truncated=False, info={}))
    self._rows = np.arange(size)
    self._batch = super().__getitem__(self._rows)

  def sample(self, batch_size: int) -> tuple[Batch, np.ndarray]:
    return self._batch[:], self._rows

  def __getitem__(self, index: np.ndarray) -> Batch:
    return self._batch


if __name__ == '__main__':
  main()
