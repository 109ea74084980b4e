"""The role that watches: starts the others, starts them again when they die, says what happened.

Server and learner are one unit. Where either dies both go back to the newest checkpoint, and so
does everyone who spoke with them: an epoch ends and the next begins. Actors and the evaluator come
and go within an epoch.
"""

import pathlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from agents import checkpoint, errors
from agents.config import Config
from agents.display import Display, log
from agents.distributed import host, roles

_WATCH_SECONDS = 0.5
_SILENT_SECONDS = 120.0  # after which what runs is taken for hung; every watch hears it
_FIRST_WORD_SECONDS = 600.0  # the same before it has spoken: it may wait for a place
_SAVE_SECONDS = 600.0  # that a learner may take to save once it is asked to stop
_PLACE_SECONDS = 60.0  # before it is said that a role has no place yet
_MAX_EPOCHS = 3  # that may end without a new checkpoint
FIRST_WAIT_SECONDS = 0.25  # before a role is started again; four times as long each time
_MAX_DEATHS, _DEATHS_SECONDS = 5, 60.0  # of one actor or evaluator within so many seconds


class Event(NamedTuple):
  """What an engine has seen of a role."""
  name: str
  said: host.Said | None = None
  end: host.End | None = None  # it ended by itself
  death: str = ''  # it did not


class Engine(Protocol):
  """What starts roles, wherever that is; Ray, or threads in tests."""

  def start(self, name: str, role: str, arguments: Sequence[Any]) -> None:
    """Starts a role under a name that no running one has."""

  def watch(self, timeout_s: float) -> list[Event]:
    """Waits so long for an end; what is new of all roles."""

  def stop(self, name: str) -> None:
    """Asks a role to end."""

  def kill(self, name: str) -> None:
    """Ends a role at once; no event tells of it, then or later."""


class Served(NamedTuple):
  """A replay server that runs."""
  endpoint: tuple[Any, ...]
  end: Callable[[], str | None]  # how it ended, None while it runs
  stop: Callable[[], None]


class Driver:
  """Runs a run."""

  def __init__(
      self, config: Config, folder: pathlib.Path, engine: Engine,
      serve: Callable[[pathlib.Path | None], Served],
      make_job: Callable[[tuple[Any, ...], int, int], Any], stop: threading.Event):
    """Args:
      config: how many actors.
      folder: whose checkpoints epochs begin with.
      engine: what starts roles.
      serve: starts a server from a checkpoint's replay, or empty.
      make_job: endpoint, epoch, frame of the checkpoint -> what roles are told.
      stop: ends the run early, saved.
    """
    self.config, self.folder, self.engine, self.stop = config, folder, engine, stop
    self.serve, self.make_job = serve, make_job
    self.generations: dict[str, int] = {}
    self.deaths: dict[str, list[float]] = {}
    self._display: Display | None = None
    self.cause = ''  # of the last end of an epoch

  def show(self, done: int, num_updates: int, last_return: float, doing: str, note: str) -> None:
    """Shows where the learner is."""
    if self._display is None:
      self._display = Display(self.config.run_length, self.config.unit, done, num_updates)
    self._display.update(done, num_updates, last_return, doing, note)

  def run(self) -> bool:
    """Runs to the end; False where it was stopped, and saved.

    Raises:
      RunError: it cannot go on.
    """
    tries, last, root = 0, None, self.folder / 'checkpoints'
    try:
      while True:
        newest = checkpoint.newest_whole(root)  # for server and learner alike
        tries, last = (tries if newest == last else 0), newest
        if tries >= _MAX_EPOCHS:
          raise errors.RunError(f'{tries} starts in a row came to no checkpoint: {self.cause}')
        done = _Epoch(self, newest).run()
        if done is not None:
          return done
        tries += 1
        if self.stop.is_set():
          raise errors.RunError(f'stopped, but not saved: {self.cause}')
        log.warning('starting server, learner and all others again from %s',
                    checkpoint.newest(root) or 'nothing')
    finally:
      if self._display:
        self._display.close()


class _Epoch:
  """From one start of server and learner to the next."""

  def __init__(self, driver: Driver, newest: pathlib.Path | None):
    self._driver, self._engine, self._stop = driver, driver.engine, driver.stop
    self._newest, self._running = newest, {}  # name -> when it was started, 0 once it has spoken
    self._due: dict[str, float] = {}  # when to start again what has died
    self._stopping_until = 0.0
    self._until: dict[str, float] = {}  # when each must have been heard again
    self._looked = time.monotonic()

  def run(self) -> bool | None:
    """True: done. False: stopped and saved. None: another epoch must follow."""
    frame = int(self._newest.name) if self._newest else -1
    served = self._driver.serve(self._newest and self._newest / checkpoint.REPLAY)
    try:
      self._job = self._driver.make_job(served.endpoint, secrets.randbits(31), frame)
      self._start(roles.LEARNER)
      for name in self._disposable():
        self._start(name)
      return self._watch(served)
    finally:
      for name in list(self._running):
        self._engine.kill(name)
      served.stop()

  def _disposable(self) -> list[str]:
    actors = [f'{roles.ACTOR}-{i}' for i in range(self._driver.config.num_actors)]
    return [*actors, roles.EVALUATOR]

  def _start(self, name: str) -> None:
    role, _, number = name.partition('-')
    generation = self._driver.generations.get(name, -1) + 1
    self._driver.generations[name] = generation
    arguments = {
        roles.LEARNER: (self._job,), roles.EVALUATOR: (self._job, generation),
        roles.ACTOR: (self._job, int(number or 0), generation)}[role]
    self._engine.start(name, role, arguments)
    self._running[name] = time.monotonic()
    self._until[name] = time.monotonic() + _FIRST_WORD_SECONDS

  def _watch(self, served: Served) -> bool | None:
    while True:
      events = self._engine.watch(_WATCH_SECONDS)
      for event in [*events, *self._silent(events)]:
        if event.said:
          self._tell(event.name, event.said)
        if event.end or event.death:
          del self._running[event.name]
          if event.name == roles.LEARNER:
            return self._learner_ended(event, served)
          self._died(event)
      end = served.end()
      if end:
        return self._over(f'the replay server is dead: {end}')
      self._heed_stop()
      self._start_due()

  def _silent(self, events: list[Event]) -> list[Event]:
    """Ends those that have long said nothing: alive, perhaps, but stopped or hung."""
    now, looked = time.monotonic(), self._looked
    self._looked = now
    if now - looked > _SILENT_SECONDS / 2:  # it is this process that was stopped
      self._until = {name: when + now - looked for name, when in self._until.items()}
    self._until |= {event.name: now + _SILENT_SECONDS for event in events if event.said}
    for event in events:
      if event.end or event.death:
        self._until.pop(event.name, None)
    found = [name for name, when in self._until.items() if now > when]
    for name in found:
      self._engine.kill(name)
      del self._until[name]
    return [Event(name, death=f'it said nothing for {self._patience(name):g} s') for name in found]

  def _patience(self, name: str) -> float:
    return _FIRST_WORD_SECONDS if self._running[name] else _SILENT_SECONDS

  def _tell(self, name: str, said: host.Said) -> None:
    if self._running.get(name):
      log.info('%s runs as process %d (start %d)', name, said.pid,
               self._driver.generations[name] + 1)
      self._running[name] = 0.0
    for level, text in said.records:
      log.log(level, '%s%s', '' if name == roles.LEARNER else f'{name}: ', text)
    if said.progress:
      self._driver.show(*said.progress)

  def _learner_ended(self, event: Event, served: Served) -> bool | None:
    if event.death:
      return self._over(f'the learner died: {event.death}')
    if not event.end.cause:
      return event.end.done
    if event.end.cause.startswith('ReplayError'):
      if served.end():  # the learner may have noticed first
        return self._over(f'the replay server is dead: {served.end()}')
      return self._over(f'the learner ended: {event.end.cause}')
    raise errors.RunError(f'the learner ended: {event.end.cause}')

  def _over(self, cause: str) -> None:
    self._driver.cause = cause
    log.warning('%s', cause)

  def _died(self, event: Event) -> None:
    """An actor or the evaluator is gone: it is started again, later each time."""
    cause = event.death or event.end.cause or 'it ended'
    if event.end and event.end.fatal:
      raise errors.RunError(f'{event.name} ended: {cause}')
    now = time.monotonic()
    deaths = self._driver.deaths.setdefault(event.name, [])
    deaths[:] = [then for then in deaths if now - then < _DEATHS_SECONDS] + [now]
    if len(deaths) >= _MAX_DEATHS:
      raise errors.RunError(
          f'{event.name} died {len(deaths)} times within {_DEATHS_SECONDS:g} s: {cause}')
    wait = FIRST_WAIT_SECONDS * 4 ** (len(deaths) - 1)
    log.warning('%s died: %s; starting it again in %.2g s', event.name, cause, wait)
    self._due[event.name] = now + wait

  def _start_due(self) -> None:
    now = time.monotonic()
    for name in [name for name, when in self._due.items() if when <= now]:
      del self._due[name]
      self._start(name)
    for name, since in self._running.items():
      if since and now - since > _PLACE_SECONDS:
        log.warning('%s has not started within %g s: is there a place for it?', name,
                    _PLACE_SECONDS)
        self._running[name] = now

  def _heed_stop(self) -> None:
    now = time.monotonic()
    if self._stop.is_set() and not self._stopping_until:
      self._stopping_until = now + _SAVE_SECONDS
      self._engine.stop(roles.LEARNER)
    elif self._stopping_until and now > self._stopping_until:
      raise errors.RunError(
          f'the learner did not save within {_SAVE_SECONDS:g} s of being asked to stop')
