"""The bandit by hand: what is right earns 1, what comes next does not depend on it."""

import numpy as np
import pytest
from dm_env import StepType

from envs import bandit, tasks

# Image i is all i, of class i % 3.
TASK = tasks.Task(
    np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 1), np.uint8),
    np.arange(6, dtype=np.int32) % 3, 6)


def make(num_envs=4, seed=1, **changes):
  return bandit.make(**dict(
      task=TASK, num_classes=3, num_envs=num_envs, seed=seed, episode_steps=5) | changes)


def shown(timestep):
  return timestep.observation[:, 0, 0, 0, 0]


def test_the_class_of_the_image_shown_before_earns_one_and_another_nothing():
  env = make()
  before = env.reset()
  assert before.observation.shape == (4, 1, 2, 4, 1)
  for _ in range(5):
    right = shown(before) % 3
    actions = np.array([right[0], right[1], (right[2] + 1) % 3, (right[3] + 2) % 3])
    after = env.step(actions)
    assert after.reward.tolist() == [1, 1, 0, 0]
    assert after.discount.tolist() == [1, 1, 1, 1]
    before = after
  assert (before.step_type == StepType.LAST).all()
  first = env.step(np.zeros(4, np.int32))
  assert (first.step_type == StepType.FIRST).all() and first.reward.tolist() == [0] * 4


def test_an_episode_has_its_length_however_it_began():
  env = make(num_envs=1)
  kinds = [env.reset().step_type[0], *(env.step(np.zeros(1, int)).step_type[0] for _ in range(12))]
  assert kinds == [0, 1, 1, 1, 1, 2, 0, 1, 1, 1, 1, 2, 0]


def test_actions_decide_nothing_that_is_seen():
  one, other = make(), make()
  for env in (one, other):
    env.reset()
  for step in range(20):
    seen = [env.step(np.full(4, action)).observation
            for env, action in ((one, step % 3), (other, 0))]
    np.testing.assert_array_equal(*seen)


def test_every_image_is_drawn_as_often_as_another_and_those_beyond_the_size_never():
  env = make(num_envs=300, seed=2, task=TASK._replace(size=4))
  env.reset()
  counts = sum(np.bincount(shown(env.step(np.zeros(300, int))), minlength=6) for _ in range(4))
  assert counts[4:].tolist() == [0, 0]
  assert (np.abs(counts[:4] - 300) < 75).all()  # five standard deviations


def test_colours_are_shown_to_people_as_their_mean():
  images = np.zeros((1, 2, 4, 3), np.uint8)
  images[..., 0] = 90
  env = make(task=tasks.Task(images, np.zeros(1, np.int32), 1))
  env.reset()
  picture = env.render(1)
  assert picture.shape == (16, 32, 3) and (picture == 30).all()


@pytest.mark.parametrize('changes, message', [
    (dict(num_envs=0), 'num_envs=0: must be at least 1'),
    (dict(episode_steps=0), 'episode_steps=0: must be at least 1'),
    (dict(num_classes=1), 'num_classes=1: must be at least 2'),
    (dict(num_classes=2), 'targets=0 to 2: must be classes from 0 to 1'),
    (dict(task=TASK._replace(targets=TASK.targets - 1)),
     'targets=-1 to 1: must be classes from 0 to 2'),
    (dict(task=TASK._replace(targets=np.zeros(6, np.float32))),
     'targets=float32: must be classes, whole numbers')])
def test_what_is_no_bandit_is_refused(changes, message):
  with pytest.raises(ValueError) as error:
    make(**changes)
  assert str(error.value) == message
