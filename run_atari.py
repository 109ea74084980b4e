"""Trains an agent on an Atari game: python run_atari.py --game=Pong --interventions=ln,wd."""

import sys

from absl import flags

from agents import cli, command_line, parts
from agents.config import Config
from envs import atari, protocols, scores


def settings(values: flags.FlagValues) -> dict:
  """The game and what its protocol decides."""
  protocol = protocols.get(values.protocol)
  decided = {} if protocol.eval_epsilon is None else {'eval_epsilon': protocol.eval_epsilon}
  return {
      'task': atari.canonical_name(values.game), 'protocol': values.protocol, **decided}


def task(config: Config) -> parts.Task:
  """The game of a config."""
  return parts.Task(
      make_env=lambda num_envs, seed: atari.make(config.task, config.protocol, num_envs, seed),
      normalize=lambda episode_return: scores.normalized_return(config.task, episode_return))


ATARI = command_line.Domain(
    name='atari', task_flag='game', default_task='pong', settings=settings, task=task,
    flags={'protocol': ('dqn_zoo', 'how the game is played and scored; see --list=protocols')},
    lists={
        'games': atari.game_names,
        'protocols': lambda: (
            f'{name}: {row.summary}' for name, row in protocols.PROTOCOLS.items())})


if __name__ == '__main__':
  sys.exit(cli.main(ATARI, sys.argv))
