"""Atari games, N at a time, on the native vector environment of ale-py.

Preprocessing is in C++: 4 frames a step, the last two max-pooled, grey, 84 x 84, 4 stacked (zeros
before an episode's first). It is Dopamine's, under every protocol: dqn_zoo pools colours, greys
them then and resizes bilinearly. What ale-py 0.12 can do but no published protocol does is switched
off: reward clipping, pressing fire at the start, and `episodic_life`, which restarts the game.
"""

import os
import re

import numpy as np
from ale_py import roms, vector_env
from dm_env import specs

from envs import batched, names, protocols

STACK = 4
FRAMES_PER_STEP = 4
FRAME_SHAPE = (84, 84)
_ENLARGED = 4  # times, for people

# These are for two players at least: asked to load one for one player, ale-py ends the process.
_MULTIPLAYER = frozenset({'combat', 'joust', 'maze_craze', 'warlords'})


def game_names() -> list[str]:
  """Every game of ale-py that one can play alone, in snake_case."""
  return sorted(set(roms.get_all_rom_ids()) - _MULTIPLAYER)


def canonical_name(game: str) -> str:
  """MsPacman, ms-pacman, ALE/MsPacman-v5 or MsPacmanNoFrameskip-v4 in ale-py's snake_case.

  Raises:
    ValueError: there is no such game.
  """
  known = {name.replace('_', ''): name for name in game_names()}
  plain = re.sub(r'^ale/|(noframeskip|deterministic)?-v\d+$|[^a-z0-9]', '', game.lower())
  if plain not in known:
    raise names.unknown('game', game, known.values())
  return known[plain]


def make(game: str, protocol: str, num_envs: int, seed: int) -> batched.Environment:
  """N copies of a game under a named protocol.

  Observations are uint8 [4, 84, 84], newest frame last; rewards are true; a time limit keeps its
  discount of 1.
  """
  return batched.Environment(
      Games(canonical_name(game), protocols.get(protocol), num_envs), seed)


class Games:
  """`batched.Simulators` of one game."""
  stack = STACK
  frames_per_step = FRAMES_PER_STEP
  steps_per_second = 60 / FRAMES_PER_STEP
  # To seed a game means to load it anew, 0.1 s or 250 steps: too much for every episode. Once in
  # so many steps it is under 2 % of the time, and a restored game is played again in seconds.
  segment_steps = 20_000

  def __init__(self, game: str, protocol: protocols.AtariProtocol, num_envs: int):
    batched.check_least(num_envs=(num_envs, 1))
    self.name = f'Atari {game}'
    self.num_envs = num_envs
    self._zero_discount_on_life_loss = protocol.zero_discount_on_life_loss
    self._games = vector_env.AtariVectorEnv(
        game, num_envs,
        num_threads=min(num_envs, os.cpu_count() or 1),
        max_num_frames_per_episode=protocol.max_frames_per_episode,
        repeat_action_probability=protocol.repeat_action_probability,
        full_action_space=protocol.full_action_space,
        noop_max=protocol.noop_max + 1,  # ale-py draws 0 to noop_max - 1.
        img_height=FRAME_SHAPE[0], img_width=FRAME_SHAPE[1], grayscale=True, maxpool=True,
        stack_num=STACK, frameskip=FRAMES_PER_STEP, autoreset_mode='NextStep',
        episodic_life=False, life_loss_info=False, reward_clipping=False, use_fire_reset=False)
    self._lives = np.zeros(num_envs, np.int32)
    self._observation = None  # [N, 4, 84, 84], the newest
    self.observation_spec = specs.BoundedArray(
        (STACK, *FRAME_SHAPE), np.uint8, 0, 255, 'frames')
    self.action_spec = specs.DiscreteArray(
        int(self._games.single_action_space.n), np.int32, 'action')

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    observation, info = self._games.reset(seed=seeds, options={'reset_mask': mask})
    self._lives, self._observation = info['lives'], observation
    return observation[mask]

  def advance(self, actions: np.ndarray) -> batched.Outcome:
    observation, reward, terminated, truncated, info = self._games.step(actions)
    discount = np.where(terminated, 0.0, 1.0)
    if self._zero_discount_on_life_loss:
      # As in dqn_zoo, a life lost on the very step of the time limit is not seen.
      discount[(info['lives'] < self._lives) & ~truncated] = 0.0
    self._lives, self._observation = info['lives'], observation
    return batched.Outcome(observation, reward, discount, terminated | truncated)

  def render(self, index: int) -> np.ndarray:
    """The newest frame as the agent sees it: this interface of ale-py shows no other."""
    return batched.enlarge(self._observation[index, -1], _ENLARGED)

  def close(self) -> None:
    self._games = None  # ale-py ends its threads when the object goes.
