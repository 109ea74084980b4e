"""Who waits for whom, actors or the learner, and how old the weights are that actors have."""

import time

_WINDOW_SECONDS = 5.0
_SHARE = 0.5  # of a window that the learner waited: it starves
_FULL = 0.9  # of the room between actors and learner: they are held back


class Flow:
  """What a learner sees of the flow of transitions to it."""

  def __init__(self, max_ahead: int):
    """Args: `max_ahead` is how many transitions actors can be ahead."""
    self._max_ahead = max_ahead
    self._begun = self._window_begun = self._came_at = time.monotonic()
    self._waited = self._waited_in_all = 0.0
    self._starved = False
    self._polls = self._throttled = 0
    self._ages: list[int] = []  # of weights, in updates, since the last note
    self._newest = 0
    self._oldest_age = 0

  def waited(self, seconds: float) -> None:
    """The learner had nothing to learn from for so long."""
    self._waited += seconds
    self._waited_in_all += seconds

  def seconds_without(self, came: bool) -> float:
    """How long no transition has come; `came` is whether one has now."""
    now = time.monotonic()
    if came:
      self._came_at = now
    return now - self._came_at

  def heard(self, num_updates: int) -> None:
    """An actor plays with the weights of so many updates."""
    age = max(0, self._newest - num_updates)
    self._ages.append(age)
    self._oldest_age = max(self._oldest_age, age)

  def note(self, now: float, ahead: int, num_updates: int) -> str:
    """What there is to say; call it now and then."""
    self._newest, self._came_at = num_updates, max(self._came_at, now) if ahead else self._came_at
    if now - self._window_begun >= _WINDOW_SECONDS:
      self._starved = self._waited > _SHARE * (now - self._window_begun)
      self._window_begun, self._waited, self._ages = now, 0.0, self._ages[-100:]
    throttled = ahead >= _FULL * self._max_ahead
    self._polls, self._throttled = self._polls + 1, self._throttled + throttled
    said = ['learner starved'] * self._starved + ['actors throttled'] * throttled
    if self._ages:
      said.append(f'weights {sum(self._ages) / len(self._ages):.0f} updates old')
    return ', '.join(said)

  def summary(self) -> str:
    """Of the time since the start."""
    seconds = max(time.monotonic() - self._begun, 1e-9)
    return (f'actors were throttled {self._throttled / max(self._polls, 1):.0%} of the time, the '
            f'learner starved {self._waited_in_all / seconds:.0%}; weights were at most '
            f'{self._oldest_age} updates old')
