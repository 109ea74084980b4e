"""Tasks of the DM Control suite, N at a time, from states or from pixels."""

import functools
import os
import subprocess
import sys
import types
from collections.abc import Sequence

import dm_env
import numpy as np
from dm_env import specs

from envs import batched, names

STACK = 3
FRAME_SHAPE = (84, 84, 3)
# The pictures are those of DrQ-v2 (Yarats et al. 2021): three stacked, from the first camera or,
# of the quadruped, from one that is nearer.
_CAMERA, _CAMERAS = 0, {'quadruped': 2}
_FILM_SIZE = (240, 320)

_UNBOUNDED = 'has unbounded actions; choose another, see --list=tasks'
_LEFT_OUT = {'lqr_lqr_2_1': _UNBOUNDED, 'lqr_lqr_6_2': _UNBOUNDED}
_NEED_OPENGL = {'quadruped_escape': 'needs OpenGL to start an episode; set MUJOCO_GL=egl or osmesa'}

# Those that need no display.
_BACKENDS = ('egl', 'osmesa')
_RENDER = 'from dm_control import mujoco; mujoco.Physics.from_xml_string("<mujoco/>").render(8, 8)'


def enable_rendering() -> None:
  """Chooses an OpenGL that works here; to be called before anything else of this module.

  Raises:
    RuntimeError: there is none; the text says what to do.
  """
  chosen = os.environ.get('MUJOCO_GL')
  candidates = (chosen,) if chosen else _BACKENDS
  for backend in candidates:
    # In a process of its own: a library that fails stays half-loaded, or takes the process along.
    done = subprocess.run(
        [sys.executable, '-c', _RENDER], env=os.environ | {'MUJOCO_GL': backend},
        capture_output=True)
    if not done.returncode:
      os.environ['MUJOCO_GL'] = backend
      return
  raise RuntimeError(
      f'needs OpenGL, and none works here with MUJOCO_GL={" or ".join(candidates)}; install '
      'libegl1 and libgl1-mesa-dri for MUJOCO_GL=egl, or libosmesa6 for MUJOCO_GL=osmesa')


@functools.cache
def _suite() -> types.ModuleType:
  """The suite, imported late: it looks for OpenGL then, and `enable_rendering` must be before."""
  # To look for it warns, or fails, where there is no display, and states need no picture.
  os.environ.setdefault('MUJOCO_GL', 'disabled')
  from dm_control import suite
  return suite


@functools.cache
def _tasks() -> dict[str, tuple[str, str]]:
  return {f'{domain}_{task}': (domain, task) for domain, task in _suite().ALL_TASKS}


def _left_out() -> dict[str, str]:
  """Tasks that cannot be played here, and why."""
  has_opengl = os.environ.get('MUJOCO_GL', 'disabled') != 'disabled'
  return _LEFT_OUT if has_opengl else _LEFT_OUT | _NEED_OPENGL


def task_names() -> list[str]:
  """Every task of the suite that has bounded actions and runs here."""
  return sorted(_tasks().keys() - _left_out().keys())


def canonical_name(task: str) -> str:
  """walker_walk, Walker-Walk or walker/walk as the suite's domain_task; ValueError if unknown."""
  known = {name.lower(): name for name in _tasks()}
  plain = task.lower().replace('-', '_').replace('/', '_')
  if plain not in known:
    raise names.unknown('task', task, task_names())
  if (why := _left_out().get(known[plain])):
    raise ValueError(f'task={task}: left out, it {why}')
  return known[plain]


def make(task: str, num_envs: int, seed: int, pixels: bool = False) -> batched.Environment:
  """N copies of a task.

  Observations are float32 [D], all of the suite's in its order, or with `pixels`, which needs
  `enable_rendering`, uint8 [3, 84, 84, 3]: the newest RGB frame last, zeros before the first.
  """
  return batched.Environment(Tasks(canonical_name(task), num_envs, pixels), seed)


class Tasks:
  """`batched.Simulators` of one task, stepped one after the other."""
  frames_per_step = 1
  segment_steps = 0

  def __init__(self, task: str, num_envs: int, pixels: bool = False):
    batched.check_least(num_envs=(num_envs, 1))
    domain, name = _tasks()[task]
    self.name = f'Control {task}'
    self.num_envs = num_envs
    self.stack = STACK if pixels else 1
    self._camera = _CAMERAS.get(domain, _CAMERA)
    self._environments = [_suite().load(domain, name) for _ in range(num_envs)]
    self.steps_per_second = 1 / self._environments[0].control_timestep()
    observed = self._environments[0].observation_spec().values()
    self.observation_spec = specs.Array(
        (sum(int(np.prod(spec.shape)) for spec in observed),), np.float32, 'state')
    self._stacks = None
    if pixels:
      self._stacks = np.zeros((num_envs, STACK, *FRAME_SHAPE), np.uint8)
      self.observation_spec = specs.BoundedArray(
          self._stacks.shape[1:], np.uint8, 0, 255, 'frames')
    bounds = self._environments[0].action_spec()
    self.action_spec = specs.BoundedArray(
        bounds.shape, np.float32, bounds.minimum, bounds.maximum, 'action')

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    indices, timesteps = np.flatnonzero(mask), []
    for i, seed in zip(indices, seeds, strict=True):
      self._environments[i].task.random.seed(seed)
      timesteps.append(self._environments[i].reset())
    return self._observe(indices, timesteps)

  def advance(self, actions: np.ndarray) -> batched.Outcome:
    timesteps = [environment.step(action) for environment, action in zip(
        self._environments, actions, strict=True)]
    # The suite itself gives an episode that ran out of time a discount of 1.
    return batched.Outcome(
        observation=self._observe(np.arange(self.num_envs), timesteps),
        reward=np.array([timestep.reward or 0.0 for timestep in timesteps]),  # None on FIRST
        discount=np.array([timestep.discount or 0.0 for timestep in timesteps]),
        is_last=np.array([timestep.last() for timestep in timesteps]))

  def render(self, index: int) -> np.ndarray:
    return self._picture(index, *_FILM_SIZE)

  def close(self) -> None:
    for environment in self._environments:
      environment.physics.free()  # The suite's own `close` keeps what OpenGL holds.

  def _observe(self, indices: np.ndarray, timesteps: Sequence[dm_env.TimeStep]) -> np.ndarray:
    """[K, *observation] of the environments `indices` [K], which have just made `timesteps`."""
    if self._stacks is None:
      return np.stack([_flatten(timestep) for timestep in timesteps])
    frames = np.stack([self._picture(i, *FRAME_SHAPE[:2]) for i in indices])
    is_first = np.array([timestep.first() for timestep in timesteps])
    stacks = batched.push(self._stacks[indices], frames, is_first)
    self._stacks[indices] = stacks
    return stacks

  def _picture(self, index: int, height: int, width: int) -> np.ndarray:
    physics = self._environments[index].physics
    return physics.render(height, width, camera_id=self._camera)


def _flatten(timestep: dm_env.TimeStep) -> np.ndarray:
  """[D] float32, the suite's observations one after the other."""
  return np.concatenate([np.ravel(value) for value in timestep.observation.values()],
                        dtype=np.float32, casting='same_kind')
