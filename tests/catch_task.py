"""Catch, as a training script would name it to the processes of a run."""

from agents import parts
from envs import catch
from tests import catch_runs


def task(config):
  """Small boards; `config` says nothing of them."""
  del config
  return parts.Task(
      lambda num_envs, seed: catch.make(num_envs, seed, catch_runs.ROWS), lambda r: r)
