"""What is particular to DM Control: the suite's own numbers and pictures, names, no display."""

import os
import subprocess
import sys

import numpy as np
import pytest
from dm_env import StepType

from envs import control


def test_it_is_the_suite():
  # The suite's own environment, seeded as ours was, is the twin.
  ours = control.Tasks('cartpole_swingup', num_envs=2)
  first = ours.start(np.array([False, True]), np.array([12345]))
  twin = control._suite().load('cartpole', 'swingup', task_kwargs={'random': 12345})
  timestep = twin.reset()
  generator = np.random.default_rng(1)
  for step in range(1000):
    expected = [*timestep.observation['position'], *timestep.observation['velocity']]
    if step == 0:
      np.testing.assert_array_equal(first[0], np.float32(expected))
    actions = generator.uniform(-1, 1, (2, 1)).astype(np.float32)
    timestep, outcome = twin.step(actions[1]), ours.advance(actions)
    expected = [*timestep.observation['position'], *timestep.observation['velocity']]
    np.testing.assert_array_equal(outcome.observation[1], np.float32(expected))
    assert outcome.reward[1] == timestep.reward
    assert outcome.discount[1] == timestep.discount
    assert outcome.is_last[1] == timestep.last() == (step == 999)
  assert outcome.discount[1] == 1, 'a time limit keeps its discount'


@pytest.mark.rendering
@pytest.mark.parametrize('name, camera', [('pendulum_swingup', 0), ('quadruped_run', 2)])
def test_pixels_are_the_suites_pictures(name, camera):
  ours = control.Tasks(name, num_envs=2, pixels=True)
  twin = control._suite().load(*name.split('_'), task_kwargs={'random': 12345})
  twin.reset()

  def frame():
    return twin.physics.render(84, 84, camera_id=camera)

  observation = ours.start(np.array([False, True]), np.array([12345]))[0]
  assert observation.shape == (3, 84, 84, 3) and observation.dtype == np.uint8
  assert not observation[:2].any()
  np.testing.assert_array_equal(observation[2], frame())
  frames = [frame()]
  for _ in range(4):
    actions = np.ones((2, *ours.action_spec.shape), np.float32)
    twin.step(actions[1])
    frames.append(frame())
    observation = ours.advance(actions).observation[1]
  np.testing.assert_array_equal(observation, frames[-3:])
  assert (frames[-1] != frames[-2]).any()
  np.testing.assert_array_equal(ours.render(1), twin.physics.render(240, 320, camera_id=camera))


@pytest.mark.rendering
def test_a_task_that_needs_opengl_is_there_where_it_works():
  assert 'quadruped_escape' in control.task_names()
  env = control.make('quadruped_escape', num_envs=1, seed=1, pixels=True)
  assert env.reset().observation.any()
  env.close()


def test_scalars_are_observed_too():
  env = control.make('walker_walk', num_envs=1, seed=1)  # orientations 14, height, velocity 9
  assert env.reset().observation.shape == (1, 24)
  assert env.observation_spec().shape == (24,)


def test_an_episode_of_every_sub_environment():
  env = control.make('point_mass_easy', num_envs=3, seed=1)
  env.reset()
  timesteps = [env.step(np.ones((3, 2), np.float32)) for _ in range(1001)]
  assert (timesteps[999].step_type == StepType.LAST).all()
  assert (timesteps[999].discount == 1).all()
  assert (timesteps[1000].step_type == StepType.FIRST).all()
  assert env.frames_per_step == env.stack == 1


@pytest.mark.parametrize('name, canonical', [
    ('cartpole_swingup', 'cartpole_swingup'), ('Ball-in-cup/catch', 'ball_in_cup_catch'),
    ('point_mass_easy', 'point_mass_easy'), ('humanoid_cmu_run', 'humanoid_CMU_run'),
    ('stacker_stack_2', 'stacker_stack_2'), ('swimmer_swimmer15', 'swimmer_swimmer15')])
def test_names_of_a_task(name, canonical):
  assert control.canonical_name(name) == canonical
  assert canonical in control.task_names()


@pytest.mark.parametrize('name, message', [
    ('walker_wlak', 'task=walker_wlak: unknown; did you mean walker_walk'),
    ('pong', 'task=pong: unknown; known are acrobot_swingup,'),
    ('lqr_lqr_2_1', 'task=lqr_lqr_2_1: left out, it has unbounded actions; choose another'),
    ('quadruped-escape',
     'task=quadruped-escape: left out, it needs OpenGL to start an episode; set MUJOCO_GL=egl')])
def test_unknown_task(name, message, monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'disabled')
  with pytest.raises(ValueError) as error:
    control.canonical_name(name)
  assert str(error.value).startswith(message)
  with pytest.raises(ValueError):
    control.make(name, num_envs=1, seed=1)


def test_every_task_listed_is_bounded_starts_from_its_seed_and_is_finite():
  names = control.task_names()
  num_left_out = 3 if os.environ['MUJOCO_GL'] == 'disabled' else 2
  assert len(names) == len(control._suite().ALL_TASKS) - num_left_out
  for name in names:
    env = control.make(name, num_envs=1, seed=1)
    spec = env.action_spec()
    assert (np.abs(spec.minimum) < 2).all(), name
    assert (np.abs(spec.maximum) < 2).all(), name
    env.reset()
    env.step(np.zeros((1, *spec.shape), np.float32))
    state = env.state()
    env.reset()
    env.restore(state)  # It compares what it finds with what was there.


@pytest.fixture
def nothing_chosen(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'any')  # So that what is chosen here is forgotten again.
  monkeypatch.delenv('MUJOCO_GL')


@pytest.mark.usefixtures('nothing_chosen')
def test_the_first_opengl_that_works_is_chosen(monkeypatch):
  monkeypatch.setattr(control, '_RENDER', "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'")
  control.enable_rendering()
  assert os.environ['MUJOCO_GL'] == 'osmesa'


@pytest.mark.usefixtures('nothing_chosen')
def test_no_opengl_says_what_to_install(monkeypatch):
  monkeypatch.setattr(control, '_RENDER', 'import a_driver_that_is_not_there')
  with pytest.raises(RuntimeError) as error:
    control.enable_rendering()
  assert str(error.value).startswith(
      'needs OpenGL, and none works here with MUJOCO_GL=egl or osmesa; install libegl1 and')
  assert 'MUJOCO_GL' not in os.environ


def test_an_opengl_that_was_chosen_is_the_only_one_tried(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'disabled')
  with pytest.raises(RuntimeError, match='none works here with MUJOCO_GL=disabled; install'):
    control.enable_rendering()
  assert os.environ['MUJOCO_GL'] == 'disabled'


_EPISODE = '''
import os
from envs import control
env = control.make('cartpole_swingup', num_envs=1, seed=1)
env.reset()
print(os.environ['MUJOCO_GL'])
'''


@pytest.mark.parametrize('setting, used', [({}, 'disabled'), ({'MUJOCO_GL': 'off'}, 'off')])
def test_it_needs_no_display(setting, used):
  headless = {name: value for name, value in os.environ.items()
              if name not in ('DISPLAY', 'WAYLAND_DISPLAY', 'MUJOCO_GL')}
  result = subprocess.run(
      [sys.executable, '-c', _EPISODE], env=headless | setting, capture_output=True, text=True,
      timeout=60, check=False)
  assert (result.stdout.strip(), result.stderr, result.returncode) == (used, '', 0)
