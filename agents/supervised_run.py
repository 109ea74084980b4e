"""What run_supervised.py does with a command: arm after arm, then tables, figure and report."""

import contextlib
import threading
from collections.abc import Sequence

from agents import (
  checkpoint,
  display,
  experiment_report,
  run_folder,
  script,
  supervised,
  supervised_cli,
)
from probes import report

log = display.log


def run(streams: supervised_cli.Streams, argv: Sequence[str]) -> int | str:
  """Runs an experiment; the exit status, or what is to be printed."""
  command = supervised_cli.parse(streams, argv)
  if isinstance(command, str):
    return command
  stop = script.stop_on_signals()
  log.info('%s on %s: %d way(s), %d seed(s); folder: %s', command.experiment,
           command.dataset.name, len(command.arms), len(command.arms[0].configs), command.folder)
  command.folder.mkdir(parents=True, exist_ok=True)
  with display.logging_to(command.folder / 'log.txt'):
    try:
      return _run(streams, command, stop)
    except Exception as error:
      log.error('stopped: %s: %s; what was saved is in %s, go on with --resume',
                type(error).__name__, error, command.folder)
      log.debug('the traceback', exc_info=error)
      return script.FAILED


def _run(streams: supervised_cli.Streams, command: supervised_cli.Command,
         stop: threading.Event) -> int:
  for number, arm in enumerate(command.arms, 1):
    log.info('way %d of %d: %s', number, len(command.arms), arm.name)
    if not _run_arm(streams, command.dataset, arm, stop):
      log.info('interrupted and saved; to go on, add to the same command: --run_dir=%s --resume',
               command.folder)
      return script.INTERRUPTED
  log.info('report: %s', experiment_report.write(command))
  return script.DONE


def _run_arm(
    streams: supervised_cli.Streams, dataset: object, arm: supervised_cli.Arm,
    stop: threading.Event) -> bool:
  """Trains an arm's seeds, in one program where that is faster; False where it was stopped."""
  config = arm.configs[0]
  made = [streams.make(one.task, dataset, one.seed, **dict(one.stream_parameters))
          for one in arm.configs]
  program = supervised.make_program(config, dataset.images.shape[1:], made[0].num_outputs)
  lanes = [supervised.Lane(one, folder, stream.task)
           for one, folder, stream in zip(arm.configs, arm.folders, made, strict=True)]
  together = supervised.side_by_side(config)
  with contextlib.ExitStack() as stack:
    for lane, stored in zip(lanes, arm.stored, strict=True):
      stack.enter_context(run_folder.locked(lane.folder))
      for error in checkpoint.set_aside_damaged(lane.folder / 'checkpoints'):
        log.warning('a damaged checkpoint is set aside: %s', error)
      run_id = stored['run_id'] if stored else run_folder.new_id()
      run_folder.create(lane.folder, lane.config, run_id, stored)
    for group in supervised.alike(lanes) if together else [[lane] for lane in lanes]:
      trainer = supervised.Trainer(group, program, stop)
      if not trainer.run():
        return False
    for lane in lanes:
      report.write_report(lane.folder)
  return True
