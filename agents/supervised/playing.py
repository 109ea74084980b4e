"""Ways of an experiment whose seeds are agents that play: one after the other, each an own run.

What a run does is up to the ordinary loop and trainer, so that one killed and continued is the
same run to the bit.
"""

import contextlib
import functools
import math
import threading
from collections.abc import Callable

import dm_env

from agents import memory, parts, run_folder, trainer
from agents.config import Config
from agents.supervised import cli


def train(
    make_env: Callable[[Config, int, int], dm_env.Environment], arm: cli.Arm,
    stop: threading.Event) -> bool:
  """Trains an arm's seeds; False where it was stopped.

  Args:
    make_env: config, number of environments, seed -> batched environment.
    arm: whose folders are there; what is done in them is not done again.
    stop: ends the run early, with a checkpoint.
  """
  model = None  # the first seed's, which is all seeds'
  for config, folder in zip(arm.configs, arm.folders, strict=True):
    task = parts.Task(functools.partial(make_env, config), lambda episode_return: math.nan)
    make_replay = functools.partial(
        memory.make_replay, config, run_id=run_folder.new_id(), port=0, folder=folder)
    built = parts.build(config, task, make_replay, model)
    model = built.model
    with (contextlib.closing(built.env), contextlib.closing(built.replay),
          contextlib.closing(trainer.Trainer(built, folder, stop)) as run):
      if not run.run():
        return False
  return True

