"""The in-process replay: seeded, exact to the bit, on any platform; frames on host or device."""

import collections
import json
import math
import pathlib
from collections.abc import Callable

import numpy as np

from replay import frames, sum_tree, types


class LocalReplay:
  """One ring of frames, and one ring of items that say which frames they stack.

  Frames and items have serial numbers that only grow; a number's remainder is its place in the
  ring. A key is an item's number, so a key below the oldest item's has left. Frame 0 is the zero
  frame, which nothing replaces. What is drawn does not depend on where frames lie.
  """

  def __init__(
      self, signature: types.Signature, settings: types.Settings,
      make_frames: Callable[[tuple[int, ...], str], frames.Frames] = frames.HostFrames):
    self._signature, self._settings = signature, settings
    self._rng = np.random.Generator(np.random.PCG64(settings.seed))
    layout = _layout(signature, settings)
    self._arrays = {name: np.zeros(*row) for name, row in layout.items() if name != 'frames'}
    self._items, self._frames = self._arrays['items'], make_frames(*layout['frames'])
    self._num_slots = layout['frames'][0][0] - 1
    self._tree = None
    if settings.prioritized:
      self._tree = sum_tree.SumTree(settings.capacity, self._arrays['nodes'])
    self._max_priority = types.FIRST_PRIORITY
    self.num_refused = 0
    self._num_frames = 0  # Stored so far, which is also the newest frame's number.
    self._tail = self._head = 0  # Items from tail to head - 1 can be drawn.
    # The numbers of each stream's newest frames, all that its next items can refer to.
    length = signature.stack + signature.n_step
    self._windows = [collections.deque([0] * length, length)
                     for _ in range(signature.num_streams)]

  def add(self, step: types.Step) -> None:
    """See `types.Replay`."""
    window = self._windows[step.stream]
    episode_length = 0 if step.is_first else window.maxlen - window.count(0)
    types.check_step(self._signature, step, episode_length)
    if step.is_first:
      window.extend([0] * window.maxlen)
    window.append(self._store(step.frame))
    for outcome in step.outcomes:
      self._insert(outcome, list(window))

  def sample(self, batch_size: int) -> types.Sample:
    """See `types.Replay`."""
    size = self.size()
    if not size:
      raise types.ReplayError('sample: the replay holds no transition yet')
    if self._tree:
      places, probabilities = self._mix(self._rng.random(batch_size))
      newest = self._head - 1
      numbers = newest - (newest - places) % self._settings.capacity
    else:
      numbers = self._rng.integers(self._tail, self._head, batch_size)
      places = numbers % self._settings.capacity
      probabilities = np.full(batch_size, 1 / size)
    return types.Sample(numbers.astype(np.uint64), probabilities, self._transition(places))

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """See `types.Replay`."""
    valid_keys, priorities = types.to_updates(keys, td_errors)
    self.num_refused += len(keys) - len(valid_keys)
    self._max_priority = float(priorities.max(initial=self._max_priority))
    if self._tree:
      live = (valid_keys >= self._tail) & (valid_keys < self._head)
      places = valid_keys[live].astype(np.int64) % self._settings.capacity
      self._tree.set(places, self._weight(priorities[live]))

  def peek(self, count: int, seed: int) -> types.Transition:
    """See `types.Replay`."""
    numbers = self._tail + np.random.default_rng(seed).choice(self.size(), count, replace=False)
    drawn = self._transition(numbers % self._settings.capacity)
    return drawn._replace(obs_tm1=np.asarray(drawn.obs_tm1), obs_t=np.asarray(drawn.obs_t))

  def _transition(self, places: np.ndarray) -> types.Transition:
    """The items at `places` [B]."""
    items = self._items[places]
    obs_tm1, obs_t = map(self._observations, items['slots'].swapaxes(0, 1))
    return types.Transition(obs_tm1, *(items[name].copy() for name in ('a', 'r', 'd')), obs_t)

  def size(self) -> int:
    """See `types.Replay`."""
    return self._head - self._tail

  def save(self, folder: pathlib.Path) -> None:
    """See `types.Replay`. Takes as much disk as the replay takes memory, and no more memory."""
    folder.mkdir()
    self._frames.save(folder / 'frames.npy', 1 + min(self._num_frames, self._num_slots))
    for name, array in self._arrays.items():
      np.save(folder / f'{name}.npy', array[:self._head] if name == 'items' else array)
    state = {
        'signature': self._signature._asdict(), 'settings': self._settings._asdict(),
        'max_priority': self._max_priority, 'num_refused': self.num_refused,
        'num_frames': self._num_frames, 'tail': self._tail, 'head': self._head,
        'windows': [list(window) for window in self._windows],
        'rng': self._rng.bit_generator.state}
    (folder / 'state.json').write_text(json.dumps(state))

  def restore(self, folder: pathlib.Path) -> None:
    """See `types.Replay`."""
    state = json.loads((folder / 'state.json').read_text())
    types.check_same('signature', state['signature'], self._signature)
    types.check_same('settings', state['settings'], self._settings)
    self._frames.restore(folder / 'frames.npy')
    for name, array in self._arrays.items():
      saved = np.load(folder / f'{name}.npy', mmap_mode='r', allow_pickle=False)
      array[:len(saved)] = saved
    self._max_priority, self.num_refused = state['max_priority'], state['num_refused']
    self._num_frames, self._tail, self._head = state['num_frames'], state['tail'], state['head']
    for window, numbers in zip(self._windows, state['windows'], strict=True):
      window.extend(numbers)
    self._rng.bit_generator.state = state['rng']

  def close(self) -> None:
    """See `types.Replay`. There is nothing outside this process."""

  def _store(self, frame: np.ndarray) -> int:
    """Puts a frame in the oldest one's slot, once no item refers to that; returns its number."""
    self._num_frames += 1
    replaced = self._num_frames - self._num_slots
    bounds = self._items['oldest']
    while self._tail < self._head and bounds[self._tail % len(bounds)] <= replaced:
      if self._tree:
        self._tree.set(np.array([self._tail % len(bounds)]), np.zeros(1))
      self._tail += 1
    self._frames.put(self._slot(self._num_frames), frame)
    return self._num_frames

  def _insert(self, outcome: types.Outcome, window: list[int]) -> None:
    """Adds the item that ends at the newest frame of `window`."""
    stack, capacity = self._signature.stack, self._settings.capacity
    frames_tm1, frames_t = window[:-outcome.num_steps][-stack:], window[-stack:]
    oldest = next(filter(None, frames_tm1))
    if oldest <= self._num_frames - self._num_slots:
      return  # The other streams moved on so far that its frames are gone.
    if self.size() == capacity:
      self._tail += 1  # The new item takes its place, in the tree too.
    slots = [[self._slot(number) for number in frames] for frames in (frames_tm1, frames_t)]
    place = self._head % capacity
    self._items[place] = (slots, *outcome[1:], oldest)
    if self._tree:
      priority = self._settings.new_priority or self._max_priority
      self._tree.set(np.array([place]), self._weight(np.array([priority])))
    # Where streams interleave, a later item may stack an older frame. Lowering the earlier ones'
    # bounds to it keeps bounds in order, so that only the tail has to be looked at.
    bounds, number = self._items['oldest'], self._head - 1
    while number >= self._tail and bounds[number % capacity] > oldest:
      bounds[number % capacity] = oldest
      number -= 1
    self._head += 1

  def _mix(self, fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns random fractions [B] in [0, 1) into places and their chances [B].

    One number decides by its size whether the draw is uniform, and by its way between the bounds
    of that part which item it is; so nothing changes where no draw is uniform.
    """
    uniform, size = self._settings.uniform_probability, self.size()
    is_uniform = fractions < uniform
    begin, end = np.where(is_uniform, 0.0, uniform), np.where(is_uniform, uniform, 1.0)
    way = (fractions - begin) / (end - begin)
    any_place = (self._tail + (way * size).astype(np.int64)) % self._settings.capacity
    places = np.where(is_uniform, any_place, self._tree.find(way))
    return places, uniform / size + (1 - uniform) * self._tree.shares(places)

  def _slot(self, number: int) -> int:
    """Where a frame lies in the ring, behind the zero frame."""
    return 1 + (number - 1) % self._num_slots if number else 0

  def _observations(self, slots: np.ndarray) -> types.Array:
    """Gathers [B, stack] slots into [B, *observation]."""
    return self._frames.take(slots).reshape(len(slots), *self._signature.observation_shape)

  def _weight(self, priorities: np.ndarray) -> np.ndarray:
    return priorities ** self._settings.priority_exponent


def estimate_bytes(
    signature: types.Signature, settings: types.Settings, frames_on_host: bool = True) -> int:
  """What a full replay occupies of the host's memory, exactly."""
  return sum(math.prod(shape) * dtype.itemsize
             for name, (shape, dtype) in _layout(signature, settings).items()
             if name != 'frames' or frames_on_host)


def _layout(signature: types.Signature,
            settings: types.Settings) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """Shapes and dtypes of the arrays that hold a replay."""
  frame_dtype = np.dtype(signature.frame_dtype)
  # An episode has one frame more than items, so short ones need slots to spare: 1/64 of them, or
  # 1 MiB where frames are small; and each stream's frames that no item refers to yet.
  frame_bytes = math.prod(signature.frame_shape) * frame_dtype.itemsize
  spare = min(settings.capacity, max(settings.capacity // 64, 2**20 // frame_bytes))
  pending = signature.num_streams * (signature.stack + signature.n_step)
  item = np.dtype([
      ('slots', np.int32, (2, signature.stack)),  # obs_tm1's frames, then obs_t's
      ('a', np.int32, (signature.num_action_dims,)), ('r', np.float32), ('d', np.float32),
      ('oldest', np.int64)])  # No frame that this or a later item refers to is older.
  layout = {
      'frames': ((1 + settings.capacity + spare + pending, *signature.frame_shape), frame_dtype),
      'items': ((settings.capacity,), item)}
  if settings.prioritized:
    layout['nodes'] = ((sum_tree.num_nodes(settings.capacity),), np.dtype(np.float64))
  return layout
