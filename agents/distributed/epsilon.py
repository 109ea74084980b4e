"""How actors explore, each with an epsilon of its own."""

from agents import loop
from agents.config import Config

_BASE, _SPREAD = 0.4, 7.0


def of_actor(config: Config, number: int, num_steps: int) -> float:
  """The epsilon of actor `number`, 0 to num_actors - 1, where the learner is at `num_steps`.

  `same`: the schedule that one process has. `ape_x` (Horgan et al. 2018): constant over the run,
  0.4 for the first actor, 0.4 ** 8 for the last, evenly spaced in the exponent.
  """
  if config.actor_epsilon == 'ape_x':
    return _BASE ** (1 + _SPREAD * number / (config.num_actors - 1))
  return loop.exploration_epsilon(config, num_steps)


def mean(config: Config, num_steps: int) -> float:
  """Over all actors."""
  return sum(of_actor(config, i, num_steps) for i in range(config.num_actors)) / config.num_actors
