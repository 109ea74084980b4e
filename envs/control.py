"""Tasks of the DM Control suite, N at a time, from state observations."""

import os

# The suite looks for OpenGL when it is imported, which warns, or fails, where there is no display.
# States need no picture.
os.environ.setdefault('MUJOCO_GL', 'disabled')

import dm_env
import numpy as np
from dm_control import suite
from dm_env import specs

from envs import batched, names

_LEFT_OUT = {
    'lqr_lqr_2_1': 'has unbounded actions',
    'lqr_lqr_6_2': 'has unbounded actions',
    'quadruped_escape': 'needs OpenGL to start an episode',
}
_TASKS = {f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS}


def task_names() -> list[str]:
  """Every task of the suite that has bounded actions and runs without a display."""
  return sorted(_TASKS.keys() - _LEFT_OUT.keys())


def canonical_name(task: str) -> str:
  """walker_walk, Walker-Walk or walker/walk as the suite's domain_task; ValueError if unknown."""
  known = {name.lower(): name for name in _TASKS}
  plain = task.lower().replace('-', '_').replace('/', '_')
  if plain not in known:
    raise names.unknown('task', task, task_names())
  if known[plain] in _LEFT_OUT:
    raise ValueError(f'task={task}: left out, it {_LEFT_OUT[known[plain]]}')
  return known[plain]


def make(task: str, num_envs: int, seed: int) -> batched.Environment:
  """N copies of a task. Observations are float32 [D], all of the suite's in its order."""
  return batched.Environment(Tasks(canonical_name(task), num_envs), seed)


class Tasks:
  """`batched.Simulators` of one task, stepped one after the other."""
  stack = 1
  frames_per_step = 1
  segment_steps = 0

  def __init__(self, task: str, num_envs: int):
    if num_envs < 1:
      raise ValueError(f'num_envs={num_envs}: must be at least 1')
    self.name = f'Control {task}'
    self.num_envs = num_envs
    self._environments = [suite.load(*_TASKS[task]) for _ in range(num_envs)]
    observed = self._environments[0].observation_spec().values()
    self.observation_spec = specs.Array(
        (sum(int(np.prod(spec.shape)) for spec in observed),), np.float32, 'state')
    bounds = self._environments[0].action_spec()
    self.action_spec = specs.BoundedArray(
        bounds.shape, np.float32, bounds.minimum, bounds.maximum, 'action')

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    chosen = [self._environments[i] for i in np.flatnonzero(mask)]
    for environment, seed in zip(chosen, seeds, strict=True):
      environment.task.random.seed(seed)
    return np.stack([_flatten(environment.reset()) for environment in chosen])

  def advance(self, actions: np.ndarray) -> batched.Outcome:
    timesteps = [environment.step(action) for environment, action in zip(
        self._environments, actions, strict=True)]
    # The suite itself gives an episode that ran out of time a discount of 1.
    return batched.Outcome(
        observation=np.stack([_flatten(timestep) for timestep in timesteps]),
        reward=np.array([timestep.reward or 0.0 for timestep in timesteps]),  # None on FIRST
        discount=np.array([timestep.discount or 0.0 for timestep in timesteps]),
        is_last=np.array([timestep.last() for timestep in timesteps]))

  def close(self) -> None:
    for environment in self._environments:
      environment.close()


def _flatten(timestep: dm_env.TimeStep) -> np.ndarray:
  """[D] float32, the suite's observations one after the other."""
  return np.concatenate([np.ravel(value) for value in timestep.observation.values()],
                        dtype=np.float32, casting='same_kind')
