"""The roles by name, as plain functions of data, that any engine can start anywhere.

Beside them there is the replay server, a process of its own (`replay.reverb_server`), and the
driver that watches them all.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax

from agents.distributed.job import Job

LEARNER, ACTOR, EVALUATOR = 'learner', 'actor', 'evaluator'


def _learner(job: Job, stop: threading.Event, report: Callable[..., None]) -> bool:
  from agents.distributed import learner
  return learner.run(job, stop, report)


def _actor(
    job: Job, number: int, generation: int, stop: threading.Event,
    report: Callable[..., None]) -> bool:
  del report
  from agents.distributed import actor
  actor.run(job, number, generation, stop)
  return False


def _evaluator(
    job: Job, generation: int, stop: threading.Event, report: Callable[..., None]) -> bool:
  del report
  from agents.distributed import evaluator
  evaluator.run(job, generation, stop)
  return False


ROLES: Mapping[str, Callable[..., bool]] = {
    LEARNER: _learner, ACTOR: _actor, EVALUATOR: _evaluator}


def run(role: str, arguments: tuple[Any, ...], stop: threading.Event,
        report: Callable[..., None]) -> bool:
  """Runs a role to its end in this process; whether it did all there was to do."""
  if role != LEARNER:
    # An accelerator is the learner's. JAX was imported with this, so that its variable is too late.
    jax.config.update('jax_platforms', 'cpu')
  job, *rest = arguments
  return ROLES[role](Job(*job), *rest, stop, report)
