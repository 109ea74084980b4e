"""What a training script does with a command: builds, runs, reports; errors become exit codes."""

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence

from agents import (
  checkpoint,
  command_line,
  commands,
  display,
  memory,
  parts,
  run_folder,
  script,
  summary,
)
from agents import trainer as trainer_lib
from probes import report
from replay import factory

log = display.log


def main(domain: command_line.Domain, argv: Sequence[str]) -> int:
  """Runs a training script; returns its exit status."""
  stop = script.stop_on_signals()

  def run(argv: Sequence[str]) -> int | str:
    command = commands.parse(domain, argv)
    return command if isinstance(command, str) else _build_and_run(domain, command, stop)

  return script.main(argv, run)


def _build_and_run(
    domain: command_line.Domain, command: commands.Command, stop: threading.Event) -> int:
  folder, config, stored = command.folder, command.config, command.stored
  factory.check(config.replay, command.replay_port)
  run_id = stored['run_id'] if stored else run_folder.new_id()
  opened = _one_process
  if config.num_actors:
    from agents.distributed import main as distributed
    opened = distributed.opened
  with opened(domain, command, run_id, stop) as train, run_folder.locked(folder):
    run_folder.create(folder, config, run_id, stored, domain.about(config))
    with display.logging_to(folder / 'log.txt'):
      return _run(folder, config.unit, train)


@contextlib.contextmanager
def _one_process(
    domain: command_line.Domain, command: commands.Command, run_id: str,
    stop: threading.Event) -> Iterator[Callable[[], bool]]:
  """Builds the parts of a run of this process alone; what it yields trains."""
  config = command.config
  run_parts = parts.build(config, domain.task(config), lambda signature: memory.make_replay(
      config, signature, run_id, command.replay_port, command.folder))
  if config.replay == 'local' == factory.default_kind():
    log.info('Reverb is not installed here: the replay is local')

  def train() -> bool:
    trainer = trainer_lib.Trainer(
        run_parts, command.folder, stop, command.track, command.video)
    with contextlib.closing(trainer):
      return trainer.run()

  with contextlib.closing(run_parts.env), contextlib.closing(run_parts.replay):
    yield train


def _run(folder: pathlib.Path, unit: str, train: Callable[[], bool]) -> int:
  """Trains and reports; whatever stops a run, its cause is said and its report is made."""
  log.info('run folder: %s', folder)
  try:
    status = script.DONE if train() else script.INTERRUPTED
  except Exception as error:
    status = script.FAILED
    _say_why(error, folder)
  if status == script.INTERRUPTED:
    log.info('interrupted and saved; to go on, add to the same command: --run_dir=%s --resume',
             folder)
  try:
    summary.show(folder, unit)
    log.info('report: %s', report.write_report(folder))
  except Exception as error:
    status = script.FAILED
    _say_why(error, folder)
  return status


def _say_why(error: Exception, folder: pathlib.Path) -> None:
  log.error('stopped: %s: %s', type(error).__name__, error)
  newest = checkpoint.newest(folder / 'checkpoints')
  saved = (f'and {newest}; once the cause is mended, go on with --resume' if newest
           else 'no checkpoint yet')
  log.error('saved in %s: its rows, %s', folder, saved)
  log.debug('the traceback', exc_info=error)
