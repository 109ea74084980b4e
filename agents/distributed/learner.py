"""The role that learns: the trainer of one process, whose steps other processes take.

Its clock is counted in agent steps, like that of one process. A step counts when its transition
has been delivered and the update that is due with it is made, so that frames, updates and rows are
those of one process whatever dies: what an actor did not deliver never counted, and server and
learner go back to the same checkpoint.
"""

import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from agents import checkpoint, loop, metrics, prefetch, run_folder
from agents import parts as parts_lib
from agents.display import log
from agents.distributed import epsilon, evaluations, flow, job, letters, reports
from agents.trainer import Trainer
from replay import types as replay_types

# done, updates, last return, doing, note
Report = Callable[[int, int, float, str, str], None]

_POLL_SECONDS = 0.5
_IDLE_SECONDS = 0.005  # between questions whether a transition has come
_STARVED_SECONDS = 300.0  # without any transition before the run is given up
_MAX_WAITING = 2  # evaluations that the learner is ahead of the evaluator
_PATIENCE_SECONDS = 120.0
_SHARE_OF_SENDING = 0.05  # of the time, at most, goes into sending weights
_LEAST_SENDING_SECONDS = 1.0  # between two


def run(the_job: job.Job, stop: threading.Event, report: Report) -> bool:
  """Trains to the end, or until it is stopped and has saved: False then.

  Raises:
    ReplayError: the server does not answer, or no transition comes.
    UsageError: another learner writes to the folder.
  """
  # One whose driver was killed may be at work a little longer.
  with run_folder.locked(pathlib.Path(the_job.folder), 'learner.lock', _PATIENCE_SECONDS):
    return _run(the_job, stop, report)


def _run(the_job: job.Job, stop: threading.Event, report: Report) -> bool:
  described = job.describe(the_job)
  config = described.config
  replay = job.connect(
      the_job, described.signature, 0, patience_s=_PATIENCE_SECONDS,
      num_kept=max(config.probe_observations, config.probe_inputs, config.batch_size))
  parts = described._replace(
      signature=described.signature._replace(num_streams=0), replay=replay)
  trainer = RemoteTrainer(parts, the_job, stop, report)
  try:
    return trainer.run()
  finally:
    trainer.close()


class RemoteTrainer(Trainer):
  """A trainer that is told of steps, and has an evaluator elsewhere."""

  def __init__(
      self, parts: parts_lib.Parts, the_job: job.Job, stop: threading.Event, report: Report):
    """Args: see `run`; `parts` have a replay that others write to."""
    self._heard = reports.Ledger()
    self._waiting: evaluations.Evaluations | None = None
    folder = pathlib.Path(the_job.folder)
    super().__init__(parts, folder, stop, the_job.track)
    if self._checkpointed != the_job.frame:  # as where another learner was still saving
      raise replay_types.ReplayError(
          f'the newest checkpoint is of {self._checkpointed}, but the server was started from '
          f'that of {the_job.frame}')
    self._display = _Relay(report)
    self._replay, client = parts.replay, parts.replay.client
    self._waiting = evaluations.Evaluations(
        folder / 'evaluations', self._checkpointed, self._results.frames)
    self._epoch, self._offered = the_job.epoch, -1
    self._weights = letters.Sender(client, job.WEIGHTS, the_job.epoch)
    self._questions = letters.Sender(client, job.EVALUATE, the_job.epoch)
    self._sent_updates, self._send_at = -1, 0.0
    self._polled_at = -np.inf
    self._flow = flow.Flow(job.replay_settings(self._config).max_ahead)
    self._delivered = self._replay.count().delivered
    log.debug('at %s, %d transitions delivered', self._where(), self._delivered)

  def run(self) -> bool:
    """See `Trainer.run`. Ends when every evaluation has its row."""
    self._poll()
    done = super().run()
    while done and self._waiting.frames() and not self._stop.is_set():
      self._display.update(self.frame, 0, self._episodes.last_return, '(last evaluation)')
      self._poll()
      self._stop.wait(_POLL_SECONDS)
    self._note_flow()
    return done and not self._waiting.frames()

  def _newest(self, root: pathlib.Path) -> pathlib.Path | None:
    return checkpoint.newest(root)  # The driver has looked whether it is whole.

  def _steps(self) -> Iterator[loop.Progress]:
    config = self._config
    batches = prefetch.Prefetched(self._replay)
    while True:
      self._poll()
      state, dispatches = self._state, ()
      if self._has_next():
        num_steps = state.num_steps + 1
        learner = state.learner
        due = loop.dispatches_due(config, state.num_steps, num_steps)
        if due and num_steps >= config.min_replay_size:
          learner, found = loop.dispatch(
              self._parts.player.agent, batches, config, learner, num_steps)
          dispatches = (found,)
        state = loop.LoopState(learner, state.actor_key, None, num_steps)
      yield loop.Progress(state, 0.0, np.zeros(0), dispatches)

  def _has_next(self) -> bool:
    """Whether the next transition was delivered; waits a little for it."""
    if self._state.num_steps < self._delivered:
      return True
    since = time.monotonic()
    self._stop.wait(_IDLE_SECONDS)
    self._delivered = self._replay.count().delivered
    self._flow.waited(time.monotonic() - since)
    came = self._state.num_steps < self._delivered
    if self._flow.seconds_without(came) > _STARVED_SECONDS:
      raise replay_types.ReplayError(
          f'no transition came within {_STARVED_SECONDS:g} s: actors are stopped, or the table is')
    return came

  def _count(self, progress: loop.Progress) -> None:
    """Reports come as letters."""

  def _poll(self) -> None:
    """What is done now and then between two steps: letters out, letters in."""
    now = time.monotonic()
    if now - self._polled_at < _POLL_SECONDS:
      return
    self._polled_at = now
    counts = self._replay.count()
    self._delivered = counts.delivered
    self._send_weights(now)
    if counts.letters[job.REPORTS]:
      for header, blob in self._replay.client.letters(job.REPORTS, counts.letters[job.REPORTS]):
        self._hear(self._heard.take(header.tolist(), blob))
    if self._waiting.frames() and counts.letters[job.EVALUATED]:
      self._take_evaluation()
    self._offer()
    num_updates = int(self._state.learner.num_updates)
    ahead = self._delivered - self._state.num_steps
    self._display.note = self._flow.note(now, ahead, num_updates)

  def _send_weights(self, now: float) -> None:
    num_updates = int(self._state.learner.num_updates)
    if num_updates == self._sent_updates or now < self._send_at:
      return
    numbers = (num_updates, self._state.num_steps, *self._replay.weighting)
    self._weights.send(numbers, letters.pack(self._state.learner.params))
    self._sent_updates = num_updates
    done = time.monotonic()
    self._send_at = done + max(_LEAST_SENDING_SECONDS, (done - now) / _SHARE_OF_SENDING)

  def _hear(self, report: reports.Report | None) -> None:
    if report is None:
      return
    self._episodes.add_finished(report.returns, report.num_steps)
    if not np.isnan(report.state_value):
      self._means.add({'state_value': np.float64(report.state_value)})
    if report.epoch == self._epoch:
      self._flow.heard(report.num_updates)

  def _evaluate(self) -> None:
    """Asks for an evaluation; its row is written when it is done."""
    while len(self._waiting.frames()) >= _MAX_WAITING and not self._stop.is_set():
      self._show('(evaluator is behind)')
      self._poll()
      self._stop.wait(_POLL_SECONDS)
    if self._stop.is_set():
      return
    self._waiting.add(self.frame, self._trained(), letters.pack(self._state.learner.params))
    self._offer()

  def _offer(self) -> None:
    """Sends the oldest evaluation that waits, once in an epoch."""
    frame = min(self._waiting.frames(), default=-1)
    if frame not in (-1, self._offered):
      self._questions.send((frame,), self._waiting.weights(frame))
      self._offered = frame

  def _take_evaluation(self) -> None:
    [(header, _)] = self._replay.client.letters(job.EVALUATED, 1)
    epoch, frame, mean_return, num_episodes, num_steps, seconds = header[:6].tolist()
    if epoch != self._epoch or frame not in self._waiting.frames():
      return
    found = parts_lib.Evaluation(mean_return, int(num_episodes), int(num_steps), seconds)
    self._add_result(self._waiting.trained(int(frame)), found)
    self._waiting.remove(int(frame))

  def _trained(self) -> dict[str, Any]:
    shown = epsilon.mean(self._config, self._state.num_steps)
    return super()._trained() | dict(train_exploration_epsilon=shown)

  @property
  def _last_evaluated(self) -> int:
    waiting = self._waiting.frames()
    return waiting[-1] if waiting else self._results.last_frame

  def _kept_results(self, rows: Mapping[str, int]) -> int:
    """Rows that were asked for before a checkpoint may have come after it."""
    written = metrics.read_rows(self._folder / 'results.csv')
    return sum(int(row['frame']) <= self._checkpointed for row in written)

  def _counters(self) -> dict[str, Any]:
    return super()._counters() | dict(heard=self._heard.rows)

  def _restore(self, counters: Mapping[str, Any]) -> None:
    super()._restore(counters)
    self._heard = reports.Ledger(counters['heard'])

  def _note_flow(self) -> None:
    beyond = self._delivered - self._state.num_steps
    log.info('%s; %s; %d transitions were delivered beyond the last frame', self._flow.summary(),
             self._heard.summary(), max(beyond, 0))


class _Relay:
  """A display in another process."""

  def __init__(self, report: Report):
    self._report, self.note = report, ''

  def update(self, done: int, num_updates: int, last_return: float, doing: str = 'train') -> None:
    """See `Display.update`."""
    self._report(done, num_updates, last_return, doing, self.note)

  def close(self) -> None:
    """See `Display.close`."""
