"""A run from its first step to its last: what happens when, and what is written of it."""

import contextlib
import functools
import math
import pathlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from agents import checkpoint, loop, metrics, prefetch, probing, schedule, sinks, snapshot, video
from agents import parts as parts_lib
from agents.display import Display, log
from probes.subject import Inputs

_KEEP = 2  # newest checkpoints that are kept whole; older probed ones lose their replay
# Means over updates; of norms over those that measure them.
_LEARNER_METRICS = ('loss', 'penalty', 'gradient_norm', 'update_norm', 'q_value')
_RESULT_COLUMNS = (
    'iteration', 'frame', 'eval_episode_return', 'train_episode_return', 'eval_num_episodes',
    'train_num_episodes', 'eval_frame_rate', 'train_frame_rate', 'train_exploration_epsilon',
    'train_state_value', 'normalized_return', 'capped_normalized_return', 'human_gap', 'updates',
    *_LEARNER_METRICS, 'protocol')


class Trainer:
  """Runs the loop and, between two steps of it, what is due: evaluation, probe, checkpoint.

  What is due follows from what is already written, so a run that goes on from a checkpoint does
  what an uninterrupted one would have done.
  """

  def __init__(
      self, parts: parts_lib.Parts, folder: pathlib.Path, stop: threading.Event,
      track: Iterable[str] = (), film: bool = False):
    """Takes the newest checkpoint of `folder` where there is one; `stop` ends the run early."""
    self._parts, self._folder, self._stop, self._films = parts, folder, stop, film
    self._config = parts.config
    self._episodes = metrics.EpisodeTracker(parts.signature.num_streams)
    self._means = metrics.Means()
    log.info('computing on %s', ', '.join(device.device_kind for device in jax.devices()))
    newest = self._newest(folder / 'checkpoints')
    rows = {'results': 0, 'probes': 0}
    if newest:
      self._state, counters = snapshot.restore(newest, parts)
      self._restore(counters)
      rows = counters['rows']
      log.info('continuing from %s', newest)
    else:
      log.info('no checkpoint there yet: starting at 0')
      self._state = snapshot.start(parts)
    self._checkpointed = self.frame if newest else -1
    self._results = metrics.CsvFile(folder / 'results.csv', self._kept_results(rows))
    self._probes = metrics.CsvFile(folder / 'probes.csv', rows['probes'])
    self._sinks = sinks.make(track, folder, self._checkpointed)
    num_updates = int(self._state.learner.num_updates)
    self._display = Display(self._config.run_length, self._config.unit, self.frame, num_updates)
    self._timed_from, self._train_seconds = self.frame, 0.0
    self._drawn: tuple[int, Inputs] | None = None  # a frame's inputs, for probe and checkpoint

  @functools.cached_property
  def _prober(self) -> probing.Prober:
    """Made at the first probe: a run without any need not make its initial parameters again."""
    return probing.make(self._config, self._parts.model)

  @property
  def frame(self) -> int:
    """Where the run is, in the config's unit."""
    return self._state.num_steps * self._config.units_per_step

  @property
  def state(self) -> loop.LoopState:
    """The loop between two steps; its learner's buffers live until the next one."""
    return self._state

  @property
  def checkpointed(self) -> int:
    """The frame of the newest checkpoint, -1 where there is none."""
    return self._checkpointed

  def run(self) -> bool:
    """Trains to the end; False where it was stopped before, which saves a checkpoint."""
    config = self._config
    if not config.num_updates:
      log.warning('this run ends before it learns: it has %d agent steps, its first update comes '
                  'after min_replay_size=%d of them, at a multiple of steps_per_update=%d times '
                  'updates_per_dispatch=%d; set less with --set',
                  config.run_length // config.units_per_step, config.min_replay_size,
                  config.steps_per_update, config.updates_per_dispatch)
    steps = self._steps()
    num_updates = int(self._state.learner.num_updates)
    is_late = self.frame == self._checkpointed and self._any_due()  # a stop had cut it short
    self._do_due()
    if is_late and not self._stop.is_set():
      self._save()  # its rows are the checkpoint's
    since = time.monotonic()
    while self.frame < config.run_length and not self._stop.is_set():
      progress = next(steps)
      self._state = progress.state
      self._count(progress)
      for dispatch in progress.dispatches:
        self._means.add(dispatch)
      num_updates += len(progress.dispatches) * config.updates_per_dispatch
      self._display.update(self.frame, num_updates, self._episodes.last_return)
      if self._any_due():
        self._train_seconds += time.monotonic() - since
        self._do_due()
        since = time.monotonic()
    if self.frame > self._checkpointed:  # stopped, or without periodic checkpoints
      self._save()
      self._film()
    return not self._stop.is_set()

  def _newest(self, root: pathlib.Path) -> pathlib.Path | None:
    """The checkpoint to go on from."""
    return checkpoint.newest_whole(root)

  def _steps(self) -> Iterator[loop.Progress]:
    parts, config, replay = self._parts, self._config, self._parts.replay
    # Reverb takes milliseconds for a batch and cannot be seeded, its writers hold the newest
    # transitions back, and uniform draws have no priorities that could be old.
    if config.replay == 'reverb' and not config.prioritized:
      replay = prefetch.Prefetched(replay)
    return loop.train(
        parts.player, parts.env, parts.accumulator, replay, config, self._state)

  def _count(self, progress: loop.Progress) -> None:
    self._episodes.add(progress.state.timestep)
    self._means.add({'state_value': progress.values})

  def _restore(self, counters: Mapping[str, Any]) -> None:
    self._episodes.restore(counters['episodes'])
    self._means.restore(counters['means'])

  def _kept_results(self, rows: Mapping[str, int]) -> int:
    """How many rows of results.csv a checkpoint that counted `rows` goes on from."""
    return rows['results']

  @property
  def _last_evaluated(self) -> int:
    """The frame of the newest evaluation, -1 where there was none."""
    return self._results.last_frame

  def close(self) -> None:
    """Ends the live line and writes what the sinks hold."""
    self._display.close()
    for sink in self._sinks:
      with contextlib.suppress(OSError):  # a full disk, which has been said by then
        sink.close()

  def _due(self, period: int, last: int) -> bool:
    return schedule.is_due(period, last, self.frame, self._config.run_length)

  def _any_due(self) -> bool:
    config = self._config
    return (
        self._due(config.eval_every, self._last_evaluated)
        or self._due(config.probe_every, self._probes.last_frame)
        or self._due(config.checkpoint_every, self._checkpointed))

  def _do_due(self) -> None:
    config = self._config
    if not self._stop.is_set() and self._due(config.eval_every, self._last_evaluated):
      self._evaluate()
    if not self._stop.is_set() and self._due(config.probe_every, self._probes.last_frame):
      self._probe()
    if not self._stop.is_set() and self._due(config.checkpoint_every, self._checkpointed):
      self._save()
    self._film()

  def _where(self, frame: int | None = None) -> str:
    return f'{self.frame if frame is None else frame:,} {self._config.unit}'

  def _show(self, doing: str) -> None:
    self._display.update(self.frame, 0, self._episodes.last_return, doing)

  def _evaluate(self) -> None:
    result = parts_lib.evaluate(
        self._parts, self._state.learner.params, self.frame, self._stop,
        lambda done: self._show(f'({done:.0%} evaluated)'))
    if result is None:  # stopped: the evaluation is done anew when the run goes on
      return
    self._add_result(self._trained(), result)

  def _add_result(self, trained: dict[str, Any], evaluation: parts_lib.Evaluation) -> None:
    row = self._result_row(trained, evaluation)
    self._results.append(row)
    self._track('results', row)
    log.info(
        '%s: evaluation return %.1f over %d episodes, training return %.1f',
        self._where(row['frame']), row['eval_episode_return'], row['eval_num_episodes'],
        row['train_episode_return'])
    if not evaluation.num_episodes:
      log.warning('no episode of this evaluation came to its end, so that its return is of a part '
                  'of one: ask for more --eval_%s, or for fewer eval_envs where there are several',
                  self._config.unit)

  def _trained(self) -> dict[str, Any]:
    """The columns that tell of training until now; starts the interval's means anew."""
    train_return, train_episodes = self._episodes.take()
    means = self._means.take(('state_value', *_LEARNER_METRICS))
    frames, seconds = self.frame - self._timed_from, self._train_seconds
    self._timed_from, self._train_seconds = self.frame, 0.0
    return dict(
        frame=self.frame, train_episode_return=train_return, train_num_episodes=train_episodes,
        train_frame_rate=frames / seconds if seconds else math.nan,
        train_exploration_epsilon=loop.exploration_epsilon(self._config, self._state.num_steps),
        train_state_value=means['state_value'], updates=int(self._state.learner.num_updates),
        **{name: means[name] for name in _LEARNER_METRICS})

  def _result_row(
      self, trained: dict[str, Any], evaluation: parts_lib.Evaluation) -> dict[str, Any]:
    """A row with dqn_zoo's columns first."""
    normalized = self._parts.task.normalize(evaluation.mean_return)
    capped = min(1.0, normalized) if not math.isnan(normalized) else math.nan
    num_units = evaluation.num_steps * self._config.units_per_step
    known = trained | dict(
        iteration=self._results.num_rows, eval_episode_return=evaluation.mean_return,
        eval_num_episodes=evaluation.num_episodes, eval_frame_rate=num_units / evaluation.seconds,
        normalized_return=normalized, capped_normalized_return=capped, human_gap=1.0 - capped,
        protocol=self._config.protocol)
    return {name: known[name] for name in _RESULT_COLUMNS}

  def _probe(self) -> None:
    self._show('(probe)')
    row = probing.probe(
        self._prober, self._state.learner, self._inputs(), self.frame, self._probes, self._folder,
        self._stop)
    if row is not None:  # None: stopped, and done anew when the run goes on, as an evaluation
      self._track('probes', row)

  def _inputs(self) -> Inputs:
    """What a probe at this frame is made on."""
    if self._drawn is None or self._drawn[0] != self.frame:
      self._drawn = self.frame, probing.draw(
          self._parts, self._state.learner.params, self._state.num_steps)
    return self._drawn[1]

  def _film(self) -> None:
    """The video that belongs to a checkpoint just made, unless it is there."""
    path = self._folder / 'videos' / f'{self.frame}.mp4'
    if not self._films or self._stop.is_set() or self.frame != self._checkpointed or path.exists():
      return
    self._show('(video)')
    log.info('%s: filming an episode', self._where())
    film = parts_lib.film(
        self._parts, self._state.learner.params, self.frame, self._stop,
        lambda count: self._show(f'({count} pictures)'))
    video.write(path, film.pictures, film.per_second)
    if self._stop.is_set():  # cut short: filmed anew when the run goes on
      path.unlink()
    else:
      log.info('%s: %s', self._where(), path)

  def _track(self, name: str, row: dict[str, Any]) -> None:
    for sink in self._sinks:
      sink.add(name, row['frame'], row)

  def _counters(self) -> dict[str, Any]:
    return dict(
        episodes=self._episodes.state(), means=self._means.state(),
        rows=dict(results=self._results.num_rows, probes=self._probes.num_rows))

  def _save(self) -> None:
    self._show('(save)')
    root = self._folder / 'checkpoints'
    snapshot.save(root, self._parts, self._state, self.frame, self._counters(), self._inputs())
    self._checkpointed = self.frame
    checkpoint.prune(root, _KEEP, self._probes.frames)
