"""Atari evaluation protocols: everything that decides what a score means, one row each."""

from typing import NamedTuple

from envs import names


class AtariProtocol(NamedTuple):
  """How a game is started, played, cut off and scored."""
  repeat_action_probability: float  # sticky actions: chance, each frame, that the last one repeats
  zero_discount_on_life_loss: bool  # the game goes on, but nothing after the loss counts for values
  full_action_space: bool  # all 18 actions, or the game's minimal set
  noop_max: int  # an episode starts with 0 to this many frames without an action
  max_frames_per_episode: int  # a time limit, at 60 frames/s; no-ops at the start are not counted
  eval_epsilon: float | None  # exploration in evaluation; None: the agent's own
  summary: str


PROTOCOLS = {
    # The game itself is deterministic here; the no-ops are the only chance. (dqn_zoo draws 1 to
    # 30 of them.)
    'dqn_zoo': AtariProtocol(
        repeat_action_probability=0.0, zero_discount_on_life_loss=True, full_action_space=False,
        noop_max=30, max_frames_per_episode=108_000, eval_epsilon=None,
        summary='no-op starts, no sticky actions, life loss ends values, 30 minutes '
                '(Mnih et al. 2015; dqn_zoo)'),
    'machado2018': AtariProtocol(
        repeat_action_probability=0.25, zero_discount_on_life_loss=False, full_action_space=True,
        noop_max=0, max_frames_per_episode=18_000, eval_epsilon=None,
        summary='sticky actions, all 18 actions, lives hidden, 5 minutes (Machado et al. 2018)'),
    'dopamine': AtariProtocol(
        repeat_action_probability=0.25, zero_discount_on_life_loss=False, full_action_space=False,
        noop_max=0, max_frames_per_episode=108_000, eval_epsilon=0.001,
        summary='sticky actions, minimal action set, lives hidden, 30 minutes '
                '(Castro et al. 2018)'),
}


def get(name: str) -> AtariProtocol:
  """The row of a protocol; ValueError, with the known names, where there is none."""
  if name not in PROTOCOLS:
    raise names.unknown('protocol', name, PROTOCOLS)
  return PROTOCOLS[name]
