"""Trains an agent on an Atari game: python run_atari.py --game=Pong --interventions=ln,wd."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from agents import command_line
from envs import protocols

# What is slow to import is imported where it is used, so that --help comes at once.


def settings(values: flags.FlagValues, preset: Mapping[str, Any]) -> dict[str, Any]:
  """The game and what its protocol decides."""
  from envs import atari

  name = values.protocol or preset.get('protocol', 'dqn_zoo')
  protocol = protocols.get(name)
  decided = {} if protocol.eval_epsilon is None else {'eval_epsilon': protocol.eval_epsilon}
  # Nothing asks for probes and checkpoints at other times.
  every = dict.fromkeys(
      ('eval_every', 'probe_every', 'checkpoint_every'), protocol.eval_every_frames)
  return dict(
      task=atari.canonical_name(values.game), protocol=name, run_length=protocol.num_frames,
      eval_length=protocol.eval_frames, eval_episodes=protocol.eval_episodes, **every, **decided)


def task(config):
  """The game of an agents.config.Config, an agents.parts.Task."""
  from agents import parts
  from envs import atari, scores

  return parts.Task(
      make_env=lambda num_envs, seed: atari.make(config.task, config.protocol, num_envs, seed),
      normalize=lambda episode_return: scores.normalized_return(config.task, episode_return))


def _games() -> Iterable[str]:
  from envs import atari

  return atari.game_names()


ATARI = command_line.Domain(
    name='atari', task_flag='game', default_task='pong', settings=settings, task=task,
    flags={'protocol': (
        '', 'how the game is played and scored, and for how long; see --list=protocols; default: '
        "the agent's own, else dqn_zoo")},
    lists={
        'games': _games,
        'protocols': lambda: map(protocols.described, protocols.PROTOCOLS)},
    about=lambda config: dict(protocol_rules=protocols.rules(config.protocol)),
    lengths_from="the protocol's")


if __name__ == '__main__':
  sys.exit(command_line.main(ATARI, sys.argv))
