"""A contextual bandit on labelled images: say what class an image is of, then see another one.

The true-label and random-label problems of Lyle et al. 2023 (arXiv 2303.01486), which Lyle et al.
2024 (arXiv 2402.18762, figure 5 right) learn by Q-learning. Which image is next does not depend on
the action. An episode is cut off by its length alone, with a discount of 1: to an agent that
discounts by gamma the problem is endless, and the best action's value is 1 / (1 - gamma).
"""

import numpy as np
from dm_env import specs

from envs import batched, tasks

_ENLARGED = 8  # times, for people; even


def make(
    task: tasks.Task, num_classes: int, num_envs: int, seed: int, episode_steps: int = 100,
) -> batched.Environment:
  """N bandits on the images and classes of a task; observations are uint8 [1, H, W, C].

  A length in agent steps; the sources give none, 100 is ours.
  """
  return batched.Environment(Bandits(task, num_classes, num_envs, episode_steps), seed)


class Bandits:
  """`batched.Simulators` of the bandit; all are on the same images."""
  name = 'Bandit'
  stack = 1
  frames_per_step = 1
  steps_per_second = 2
  segment_steps = 0

  def __init__(self, task: tasks.Task, num_classes: int, num_envs: int, episode_steps: int):
    batched.check_least(
        num_classes=(num_classes, 2), num_envs=(num_envs, 1), episode_steps=(episode_steps, 1))
    if task.targets.dtype.kind != 'i':
      raise ValueError(f'targets={task.targets.dtype}: must be classes, whole numbers')
    if not 0 <= task.targets.min() <= task.targets.max() < num_classes:
      raise ValueError(f'targets={task.targets.min()} to {task.targets.max()}: must be classes '
                       f'from 0 to {num_classes - 1}')
    self.num_envs = num_envs
    self._task, self._episode_steps = task, episode_steps
    self._generators = [np.random.default_rng(0)] * num_envs  # Until `start` seeds them.
    self._shown, self._step = np.zeros((2, num_envs), np.int64)
    self.observation_spec = specs.BoundedArray(
        (1, *task.inputs.shape[1:]), np.uint8, 0, 255, 'image')
    self.action_spec = specs.DiscreteArray(num_classes, np.int32, 'class')

  def start(self, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    for i, seed in zip(np.flatnonzero(mask), seeds, strict=True):
      self._generators[i] = np.random.default_rng(seed)
    self._step = np.where(mask, 0, self._step)
    self._draw(mask)
    return self._observation()[mask]

  def advance(self, actions: np.ndarray) -> batched.Outcome:
    reward = actions == self._task.targets[self._shown]
    self._step = (self._step + 1) % (self._episode_steps + 1)  # 0 where an episode begins
    self._draw(np.full(self.num_envs, True))
    return batched.Outcome(
        observation=self._observation(), reward=reward.astype(np.float32),
        discount=np.ones(self.num_envs), is_last=self._step == self._episode_steps)

  def render(self, index: int) -> np.ndarray:
    grey = self._task.inputs[self._shown[index]].mean(axis=-1)
    return batched.enlarge(grey.astype(np.uint8), _ENLARGED)

  def close(self) -> None:
    pass

  def _draw(self, mask: np.ndarray) -> None:
    """Other images in the masked bandits, each as likely as any."""
    self._shown = np.array([
        self._generators[i].integers(self._task.size) if mask[i] else self._shown[i]
        for i in range(self.num_envs)])

  def _observation(self) -> np.ndarray:
    return self._task.inputs[self._shown][:, None]
