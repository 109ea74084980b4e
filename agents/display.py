"""What a person sees while a run goes: one live line on a terminal, a line a minute elsewhere."""

import contextlib
import logging
import pathlib
import sys
import time
from collections.abc import Iterator

from rich import console as rich_console
from rich import progress as rich_progress

log = logging.getLogger('pliant')

_LOG_SECONDS = 60.0
_REFRESH_SECONDS = 0.5


class _Stderr(logging.Handler):
  """Writes to what is standard error at that moment: while a live line shows, that is its."""

  def emit(self, record: logging.LogRecord) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more: no reason to end the run
      print(self.format(record), file=sys.stderr, flush=True)


_stderr = _Stderr()


@contextlib.contextmanager
def logging_to(path: pathlib.Path) -> Iterator[None]:
  """Sends what is logged to `path` too, appended, with tracebacks that a terminal is spared."""
  handler = logging.FileHandler(path)
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%Y-%m-%d %H:%M:%S'))
  logging.getLogger().addHandler(handler)
  try:
    yield
  finally:
    logging.getLogger().removeHandler(handler)
    with contextlib.suppress(OSError):  # a full disk has been said by then
      handler.close()


def log_to_stderr() -> None:
  """Sends what is logged to standard error: ours from INFO on, the libraries' warnings."""
  log.setLevel(logging.DEBUG)
  _stderr.setLevel(logging.INFO)
  _stderr.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  logging.getLogger().handlers = [_stderr]  # in place of those that libraries put there
  logging.raiseExceptions = False  # a full disk is said once, by what stops the run


class Display:
  """The progress of a run of `total` units; also keeps its speed."""

  def __init__(
      self, total: int, unit: str, done: int, num_updates: int,
      score_format: str = 'return {:.1f}'):
    """Args: `score_format` shows the number that `update` is told."""
    self._total, self._unit, self._score_format = total, unit, score_format
    self._shown_at = self._logged_at = time.monotonic()
    self._shown = (done, num_updates)
    self._rates = (0.0, 0.0)
    self._live = None
    if sys.stderr.isatty():
      self._live = rich_progress.Progress(
          rich_progress.TextColumn('{task.description} {task.percentage:.0f}%'),
          rich_progress.TextColumn('{task.fields[text]}'),  # all of it fits 80 columns
          console=rich_console.Console(stderr=True), transient=True)
      self._task = self._live.add_task('', total=total, completed=done, text='')
      self._live.start()

  def update(
      self, done: int, num_updates: int, score: float, doing: str = 'train',
      note: str = '') -> None:
    """Shows where the run is; cheap enough for every step. A note comes last."""
    now = time.monotonic()
    if now - self._shown_at < _REFRESH_SECONDS:
      return
    if doing == 'train':
      elapsed = now - self._shown_at
      new = ((done - self._shown[0]) / elapsed, (num_updates - self._shown[1]) / elapsed)
      old = self._rates
      self._rates = new if not any(old) else tuple(
          0.9 * a + 0.1 * b for a, b in zip(old, new, strict=True))
      self._shown = (done, num_updates)
    self._shown_at = now
    text = self._text(done, score) + (note and f' | {note}')
    if self._live:
      self._live.update(self._task, completed=done, description=doing, text=text)
    elif now - self._logged_at >= _LOG_SECONDS:
      self._logged_at = now
      log.info('%s %.0f%% %s', doing, 100 * done / self._total, text)

  def _text(self, done: int, score: float) -> str:
    speed, updates = self._rates
    left = (self._total - done) / speed if speed > 0 else float('nan')
    return (
        f'{done:,} {self._unit} {speed:,.0f}/s | {updates:.1f} updates/s | '
        f'{self._score_format.format(score)} | {duration(left)} left')

  def close(self) -> None:
    """Takes the live line away. May be called twice."""
    if self._live:
      self._live.stop()


def duration(seconds: float) -> str:
  """1:02:03, or ?:?? where it is not known."""
  if not seconds < 1e9:
    return '?:??'
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
