"""Atari evaluation protocols: everything that decides what a score means, one row each."""

from typing import Any, NamedTuple

from envs import names


class AtariProtocol(NamedTuple):
  """How a game is started, played, cut off and scored, and how long an agent trains on it.

  An evaluation ends at the first of its two bounds; 0 is none, and one of them is set.
  """
  repeat_action_probability: float  # sticky actions: chance, each frame, that the last one repeats
  zero_discount_on_life_loss: bool  # the game goes on, but nothing after the loss counts for values
  full_action_space: bool  # all 18 actions, or the game's minimal set
  noop_max: int  # an episode starts with 0 to this many frames without an action
  max_frames_per_episode: int  # a time limit, at 60 frames/s; no-ops at the start are not counted
  eval_epsilon: float | None  # exploration in evaluation; None: the agent's own
  num_frames: int  # of training
  eval_every_frames: int  # of training between two evaluations
  eval_frames: int  # of one evaluation
  eval_episodes: int  # of one evaluation, which ends with the last of them
  summary: str


_RULES = (
    'repeat_action_probability', 'zero_discount_on_life_loss', 'full_action_space', 'noop_max',
    'max_frames_per_episode')

PROTOCOLS = {
    # The game itself is deterministic here; the no-ops are the only chance. (dqn_zoo draws 1 to
    # 30 of them.)
    'dqn_zoo': AtariProtocol(
        repeat_action_probability=0.0, zero_discount_on_life_loss=True, full_action_space=False,
        noop_max=30, max_frames_per_episode=108_000, eval_epsilon=None,
        num_frames=200_000_000, eval_every_frames=1_000_000, eval_frames=500_000, eval_episodes=0,
        summary='no-op starts, no sticky actions, life loss ends values, 30 minutes '
                '(Mnih et al. 2015; dqn_zoo)'),
    # They report the training returns at up to 200M frames and evaluate nothing apart: the
    # evaluations are ours, dqn_zoo's.
    'machado2018': AtariProtocol(
        repeat_action_probability=0.25, zero_discount_on_life_loss=False, full_action_space=True,
        noop_max=0, max_frames_per_episode=18_000, eval_epsilon=None,
        num_frames=200_000_000, eval_every_frames=1_000_000, eval_frames=500_000, eval_episodes=0,
        summary='sticky actions, all 18 actions, lives hidden, 5 minutes (Machado et al. 2018)'),
    # Its dqn.gin: iterations of 250k agent steps, each followed by 125k of evaluation.
    'dopamine': AtariProtocol(
        repeat_action_probability=0.25, zero_discount_on_life_loss=False, full_action_space=False,
        noop_max=0, max_frames_per_episode=108_000, eval_epsilon=0.001,
        num_frames=200_000_000, eval_every_frames=1_000_000, eval_frames=500_000, eval_episodes=0,
        summary='sticky actions, minimal action set, lives hidden, 30 minutes '
                '(Castro et al. 2018)'),
    # Dopamine's labs/atari_100k (DER.gin): ten iterations of 10k agent steps, each followed by an
    # evaluation. Scores are those of the last one.
    'atari100k': AtariProtocol(
        repeat_action_probability=0.0, zero_discount_on_life_loss=True, full_action_space=False,
        noop_max=30, max_frames_per_episode=108_000, eval_epsilon=0.001,
        num_frames=400_000, eval_every_frames=40_000, eval_frames=0, eval_episodes=100,
        summary='no-op starts, no sticky actions, life loss ends values, 100k agent steps, '
                'evaluations of 100 episodes (Kaiser et al. 2020)'),
}


def rules(name: str) -> dict[str, Any]:
  """How a protocol has a game played: what no setting of a run says."""
  row = PROTOCOLS[name]
  return {field: getattr(row, field) for field in _RULES}


def described(name: str) -> str:
  """A row in words, and its numbers below."""
  row = PROTOCOLS[name]._asdict()
  summary = row.pop('summary')
  of_agent = "the agent's"
  numbers = (f'{key}={of_agent if value is None else value}' for key, value in row.items())
  return f'{name}: {summary}\n    ' + ', '.join(numbers)


def get(name: str) -> AtariProtocol:
  """The row of a protocol; ValueError, with the known names, where there is none."""
  if name not in PROTOCOLS:
    raise names.unknown('protocol', name, PROTOCOLS)
  return PROTOCOLS[name]
