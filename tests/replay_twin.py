"""What the replay tests compare with: streams of timesteps, and a slow twin that remembers all."""

import collections
import copy
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import dm_env
import numpy as np

from agents import losses
from replay import accumulator as accumulator_lib
from replay import types

FIRST, MID, LAST = (int(step_type) for step_type in dm_env.StepType)


def synthetic(
    seed: int, signature: types.Signature, max_length: int = 12) -> Iterator[dm_env.TimeStep]:
  """Batched timesteps of random episodes of 1 to `max_length` steps, some cut by a time limit.

  Rewards go beyond a bound of 1; some discounts inside an episode are 0, as where a life is lost.
  """
  rng = np.random.default_rng(seed)
  num_streams, stack = signature.num_streams, signature.stack
  stacks = [collections.deque(maxlen=stack) for _ in range(num_streams)]
  left = np.full(num_streams, -1)  # steps to the episode's last; -1 where none runs
  while True:
    types_t = np.where(left < 0, FIRST, np.where(left == 1, LAST, MID)).astype(np.int32)
    left = np.where(left < 0, rng.integers(1, max_length + 1, num_streams), left - 1)
    left[types_t == LAST] = -1
    frames = rng.integers(0, 256, (num_streams, *signature.frame_shape), np.uint8)
    for frame, step_type, newest in zip(frames, types_t, stacks, strict=True):
      if step_type == FIRST:
        newest.extend([np.zeros_like(frame)] * stack)
      newest.append(frame)
    observation = np.array([np.stack(newest) for newest in stacks], signature.frame_dtype)
    is_first = types_t == FIRST
    reward = np.where(is_first, 0, rng.normal(0, 2, num_streams)).astype(np.float32)
    discount = np.where(is_first, 1, rng.choice([1, 1, 0], num_streams)).astype(np.float32)
    yield dm_env.TimeStep(
        types_t, reward, discount, observation if stack > 1 else observation[:, 0])


class Item(NamedTuple):
  """A transition as the twin knows it."""
  obs_tm1: np.ndarray
  a_tm1: np.ndarray
  r_t: float
  discount_t: float
  obs_t: np.ndarray


class Twin:
  """Keeps whole episodes and writes each n-step return out as its definition says."""

  def __init__(self, n_step: int, discount: float, reward_clip: float, num_streams: int):
    self._n_step, self._discount, self._reward_clip = n_step, discount, reward_clip
    self._episodes = [[] for _ in range(num_streams)]
    self.items = {}  # in the order they were completed, by the first action's id

  def observe(self, timestep: dm_env.TimeStep, actions: np.ndarray) -> list[int]:
    """Takes a timestep; returns the ids of the items that it completes."""
    completed = []
    for stream, episode in enumerate(self._episodes):
      if timestep.step_type[stream] == FIRST:
        episode.clear()
      reward = np.clip(timestep.reward[stream], -self._reward_clip, self._reward_clip)
      episode.append((timestep.observation[stream].copy(), actions[stream].copy(), float(reward),
                      self._discount * float(timestep.discount[stream])))
      newest = len(episode) - 1
      starts = [newest - self._n_step]
      if timestep.step_type[stream] == LAST:
        starts = range(newest - self._n_step, newest)
      completed += [self._complete(episode, start) for start in starts if start >= 0]
    return completed

  def _complete(self, episode: list[tuple], start: int) -> int:
    r_t, discount_t = 0.0, 1.0
    for _, _, reward, discount in episode[start + 1:]:
      r_t += discount_t * reward
      discount_t *= discount
    action = episode[start + 1][1]
    self.items[int(action[0])] = Item(episode[start][0], action, r_t, discount_t, episode[-1][0])
    return int(action[0])


class World:
  """A source of timesteps whose transitions go into a replay and, slowly, into a twin."""

  def __init__(self, replay: types.Replay, signature: types.Signature,
               source: Iterator[dm_env.TimeStep], discount: float = 0.9, reward_clip: float = 1.0):
    self.replay, self._signature, self._source = replay, signature, source
    num_streams = signature.num_streams
    self._accumulator = accumulator_lib.Accumulator(
        signature.n_step, discount, reward_clip, signature.stack, num_streams)
    self._twin = Twin(signature.n_step, discount, reward_clip, num_streams)
    self._timesteps, self._position = [], 0

  @property
  def items(self) -> dict[int, Item]:
    """All items completed, oldest first, by id: the first number of their choice."""
    return self._twin.items

  def run(self, num_steps: int) -> list[int]:
    """Adds `num_steps` steps of each stream; returns the ids of the items they completed."""
    completed = []
    for _ in range(num_steps):
      timestep, actions = self._next()
      for step in self._accumulator.step(timestep, actions):
        self.replay.add(step)
        completed += [int(outcome.a_tm1[0]) for outcome in step.outcomes]
    return completed

  def _next(self) -> tuple[dm_env.TimeStep, np.ndarray]:
    """The next timestep, which is the twin's too where it is new."""
    num_streams, num_dims = self._signature.num_streams, self._signature.num_action_dims
    ids = self._position * num_streams + np.arange(num_streams)
    actions = (ids[:, None] + np.arange(num_dims)).astype(np.int32)
    if self._position == len(self._timesteps):
      self._timesteps.append(next(self._source))
      self._twin.observe(self._timesteps[-1], actions)
    self._position += 1
    return self._timesteps[self._position - 1], actions

  def state(self) -> tuple[int, dict[str, np.ndarray]]:
    """Where the world stands."""
    return self._position, self._accumulator.state()

  def rewind(self, state: tuple[int, dict[str, np.ndarray]], replay: types.Replay) -> None:
    """Goes back to where it stood; from there the same timesteps go into `replay`."""
    self._position, accumulator_state = state
    self._accumulator.restore(accumulator_state)
    self.replay = replay

  def check(self, sample: types.Sample) -> list[int]:
    """Asserts that every transition drawn is the twin's; returns their ids [B]."""
    transition = sample.transition
    assert sample.keys.dtype == np.uint64 and sample.probabilities.dtype == np.float64
    assert transition.a_tm1.dtype == np.int32 and transition.r_t.dtype == np.float32
    ids = transition.a_tm1[:, 0].tolist()
    for name, i in {name: i for i, name in enumerate(ids)}.items():
      item = self.items[name]
      np.testing.assert_array_equal(transition.obs_tm1[i], item.obs_tm1)
      np.testing.assert_array_equal(transition.a_tm1[i], item.a_tm1)
      np.testing.assert_array_equal(transition.obs_t[i], item.obs_t)
    items = [self.items[name] for name in ids]
    for field in ('r_t', 'discount_t'):
      np.testing.assert_allclose(getattr(transition, field),
                                 [getattr(item, field) for item in items], rtol=1e-6, atol=1e-6)
    return ids

  def newest(self, count: int) -> list[int]:
    """Ids of the last `count` items completed."""
    return list(self.items)[-count:]


class Weights:
  """Prioritized replay written out: a dictionary of what each item's chance is proportional to.

  Reverb's rule has the uniform share in the weight, as it was worth when the weight was set.
  """

  def __init__(self, settings: types.Settings, is_reverb: bool):
    self._settings, self._is_reverb = settings, is_reverb
    self._largest = self._mean = 1.0  # the largest priority so far; the last draw's mean weight
    self.weights = {}  # by id, in the order they were added
    self.num_refused = 0

  def add(self, ids: list[int]) -> None:
    """New items enter with the largest priority, or a fixed one, and the oldest leave."""
    for name in ids:
      self.weights[name] = self._weight(self._settings.new_priority or self._largest)
      if len(self.weights) > self._settings.capacity:
        del self.weights[next(iter(self.weights))]

  def update(self, ids: list[int], td_errors: np.ndarray) -> None:
    """Of an item given twice the last error stays."""
    for name, td_error in zip(ids, td_errors, strict=True):
      if not np.isfinite(td_error):
        self.num_refused += 1
        continue
      priority = min(abs(td_error) + 1e-6, 1e6)
      self._largest = max(self._largest, priority)
      if name in self.weights:
        self.weights[name] = self._weight(priority)

  def draw(self, ids: list[int]) -> np.ndarray:
    """The chances [B] of items that are drawn now."""
    share = 0.0 if self._is_reverb else self._settings.uniform_probability
    total, size = sum(self.weights.values()), len(self.weights)
    self._mean = total / size
    return np.array([share / size + (1 - share) * self.weights[name] / total for name in ids])

  def _weight(self, priority: float) -> float:
    weight, share = priority ** self._settings.priority_exponent, self._settings.uniform_probability
    return (1 - share) * weight + share * self._mean if self._is_reverb else weight


def td_errors(rng: np.random.Generator, count: int) -> np.ndarray:
  """Errors [count] of either sign, six orders of magnitude apart; some zero, huge or not finite."""
  errors = rng.choice([1, -1], count) * 10.0 ** rng.uniform(-3, 3, count)
  special = rng.choice([0.0, -5.0, 1e30, np.nan, np.inf, -np.inf], count)
  return np.where(rng.random(count) < 0.3, special, errors)


class Trial:
  """A prioritized replay and its twins; what happens to it happens to them, and is compared."""

  def __init__(self, replay: types.Replay, settings: types.Settings, signature: types.Signature,
               folder: pathlib.Path, seed: int, is_reverb: bool):
    self.replay, self._folder = replay, folder
    self._rng = np.random.default_rng(seed)
    self._world = World(replay, signature, synthetic(seed, signature))
    self._twin, self._keys = Weights(settings, is_reverb), {}  # the keys of all that was drawn

  def add(self, num_steps: int) -> list[int]:
    """Adds items, which all reach the table: Reverb's writers keep a few back until they save."""
    added = self._world.run(num_steps)
    self._twin.add(added)
    self.replay.save(self._new_folder())
    return added

  def draw(self, batch_size: int) -> list[int]:
    """Draws, and compares transitions, keys, probabilities and the importance weights of those."""
    size = self.replay.size()
    assert size == len(self._twin.weights) and self.replay.num_refused == self._twin.num_refused
    sample = self.replay.sample(batch_size)
    ids = self._world.check(sample)
    chances = self._twin.draw(ids)
    np.testing.assert_allclose(sample.probabilities, chances, rtol=1e-6)
    weights = (1 / size / chances) ** 0.4
    np.testing.assert_allclose(losses.importance_weights(sample.probabilities, 0.4),
                               weights / weights.max(), rtol=1e-5)
    for name, key in zip(ids, sample.keys.tolist(), strict=True):
      assert self._keys.setdefault(name, key) == key
    return ids

  def update(self, td_errors: np.ndarray) -> None:
    """Updates as many items that were drawn once: some have left, and some are there twice."""
    ids = self._rng.choice([-1, *self._keys], len(td_errors)).tolist()
    keys = [self._keys.get(name, 2**63 + 1) for name in ids]  # No item has the last.
    self.replay.update(np.array(keys, np.uint64), td_errors)
    self._twin.update(ids, td_errors)

  def save(self) -> None:
    """Saves everything, for `restore`."""
    folder = self._new_folder()
    self.replay.save(folder)
    self._saved = folder, self._world.state(), copy.deepcopy((self._twin, self._keys))

  def restore(self) -> None:
    """Goes back to when it was last saved."""
    folder, state, twins = self._saved
    self.replay.restore(folder)
    self._world.rewind(state, self.replay)
    self._twin, self._keys = copy.deepcopy(twins)

  def _new_folder(self) -> pathlib.Path:
    return self._folder / f'saved{len(list(self._folder.iterdir()))}'
