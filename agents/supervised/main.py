"""What run_supervised.py does with a command: arm after arm, then tables, figure and report."""

import functools
import threading
from collections.abc import Sequence
from typing import Any

import dm_env

from agents import checkpoint, display, run_folder, script
from agents.config import Config
from agents.supervised import cli, experiment_folder, playing, training
from agents.supervised import report as report_lib
from probes import report

log = display.log
_PLAYED = 'q_learning'  # the objective of streams whose seeds are agents


def run(streams: cli.Streams, argv: Sequence[str]) -> int | str:
  """Runs an experiment; the exit status, or what is to be printed."""
  command = cli.parse(streams, argv)
  if isinstance(command, str):
    return command
  stop = script.stop_on_signals()
  about, folder = command.about, command.folder
  log.info('%s on %s: %d way(s), %d seed(s); folder: %s', about.experiment, about.dataset,
           len(about.ways), len(about.seeds), folder)
  with run_folder.locked(folder), display.logging_to(folder / 'log.txt'):
    experiment_folder.claim(folder, about)
    try:
      return _run(streams, command, stop)
    except Exception as error:
      log.error('stopped: %s: %s; what was saved is in %s, go on with --resume',
                type(error).__name__, error, folder)
      log.debug('the traceback', exc_info=error)
      return script.FAILED


def _run(streams: cli.Streams, command: cli.Command, stop: threading.Event) -> int:
  arms = merged(command.arms)
  for number, arm in enumerate(arms, 1):
    log.info('way %d of %d: %s', number, len(arms), arm.name)
    if not _run_arm(streams, command.dataset, arm, stop):
      log.info('interrupted and saved; to go on, add to the same command: --run_dir=%s --resume',
               command.folder)
      return script.INTERRUPTED
  log.info('report: %s', report_lib.write(command))
  experiment_folder.finish(command.folder, command.about)
  return script.DONE


def merged(arms: Sequence[cli.Arm]) -> list[cli.Arm]:
  """Ways that one program can learn side by side become one, whatever their order."""
  groups: dict[Config, list[cli.Arm]] = {}
  for arm in arms:
    groups.setdefault(_shared(arm.configs[0]), []).append(arm)
  return [cli.Arm(', '.join(arm.name for arm in group), *(
      sum((arm[field] for arm in group), ()) for field in range(1, len(cli.Arm._fields))))
      for group in groups.values()]


def _shared(config: Config) -> Config:
  can = config.objective != _PLAYED and training.side_by_side(config)
  return training.without_scalars(config) if can else config


def _run_arm(
    streams: cli.Streams, dataset: object, arm: cli.Arm, stop: threading.Event) -> bool:
  """Makes an arm's folders, trains its seeds, reports on each; False where it was stopped."""
  learn = _play if arm.configs[0].objective == _PLAYED else _learn
  for config, folder, stored in zip(arm.configs, arm.folders, arm.stored, strict=True):
    run_id = stored['run_id'] if stored else run_folder.new_id()
    run_folder.create(folder, config, run_id, stored)
  if not learn(streams, dataset, arm, stop):
    return False
  for folder in arm.folders:
    report.write_report(folder)
  return True


def _play(
    streams: cli.Streams, dataset: object, arm: cli.Arm, stop: threading.Event) -> bool:
  """Trains agents, which play."""
  return playing.train(functools.partial(make_env, streams, dataset), arm, stop)


def make_env(
    streams: cli.Streams, dataset: object, config: Config, num_envs: int,
    seed: int) -> dm_env.Environment:
  """The first task of a run's stream, to be played; the seed is the environment's alone."""
  stream = _stream(streams, dataset, config)
  return streams.play(stream.task(0), stream.num_outputs, num_envs, seed)


def _stream(streams: cli.Streams, dataset: object, config: Config) -> Any:
  return streams.make(config.task, dataset, config.seed, **dict(config.stream_parameters))


def _learn(
    streams: cli.Streams, dataset: object, arm: cli.Arm, stop: threading.Event) -> bool:
  """Trains networks on examples, in one program where that is faster."""
  config = arm.configs[0]
  made = [_stream(streams, dataset, one) for one in arm.configs]
  program = training.make_program(config, dataset.images.shape[1:], made[0].num_outputs)
  lanes = [training.Lane(one, folder, stream.task)
           for one, folder, stream in zip(arm.configs, arm.folders, made, strict=True)]
  for lane in lanes:
    checkpoint.newest_whole(lane.folder / 'checkpoints')
  together = training.side_by_side(config)
  groups = training.alike(lanes) if together else [[lane] for lane in lanes]
  return all(training.Trainer(group, program, stop).run() for group in groups)
