"""What an engine runs in each process: one role, and what it says meanwhile."""

import collections
import logging
import os
import threading
from typing import Any, NamedTuple

from agents import display, heap
from agents.distributed import roles


class Said(NamedTuple):
  """What a host has to say since it was last asked."""
  pid: int
  records: list[tuple[int, str]]  # what was logged: level, text
  progress: tuple | None  # the newest, as `learner.Report` has it


class End(NamedTuple):
  """How a role ended."""
  done: bool  # whether it did all there was to do
  cause: str  # what it raised, empty where nothing
  fatal: bool  # whether another start would raise the same


class Host:
  """Runs one role. Methods may be called from several threads at once."""

  def __init__(self):
    heap.keep_freed()
    self._stop = threading.Event()
    self._records = collections.deque(maxlen=1000)
    self._progress: tuple | None = None

  def run(self, role: str, arguments: tuple[Any, ...]) -> End:
    """Runs the role to its end; what it raises is data too."""
    handler = _Keep(self._records)
    logging.getLogger().addHandler(handler)
    display.log.setLevel(logging.DEBUG)
    try:
      return End(roles.run(role, arguments, self._stop, self._report), '', False)
    except Exception as error:
      display.log.debug('the traceback', exc_info=error)
      return End(False, f'{type(error).__name__}: {error}', isinstance(error, ValueError))
    finally:
      logging.getLogger().removeHandler(handler)

  def _report(self, *progress) -> None:
    self._progress = progress

  def stop(self) -> None:
    """Asks the role to end when it can."""
    self._stop.set()

  def say(self) -> Said:
    """What is new."""
    records = [self._records.popleft() for _ in range(len(self._records))]
    progress, self._progress = self._progress, None
    return Said(os.getpid(), records, progress)


class _Keep(logging.Handler):
  """Keeps what is logged as text: ours, and the libraries' warnings."""

  def __init__(self, records: collections.deque):
    super().__init__()
    self._kept = records
    self.setFormatter(logging.Formatter('%(message)s'))

  def emit(self, record: logging.LogRecord) -> None:
    if record.name == display.log.name or record.levelno >= logging.WARNING:
      self._kept.append((record.levelno, self.format(record)))
