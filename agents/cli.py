"""The command line that every training script shares: flags to Config, errors to exit codes."""

import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import config as config_lib
from agents import display, errors, interventions, memory, parts, run_folder, sinks
from agents import trainer as trainer_lib
from agents.config import Config
from probes import report
from replay import factory
from replay import types as replay_types

log = display.log

DONE, FAILED, BAD_ARGUMENT, INTERRUPTED = 0, 1, 2, 130


class Domain(NamedTuple):
  """What one training script adds to the shared command line."""
  name: str  # a row of config.DOMAINS
  task_flag: str  # game, task
  default_task: str
  settings: Callable[[flags.FlagValues], Mapping[str, Any]]  # task, protocol, ...; refuses bad ones
  task: Callable[[Config], parts.Task]
  flags: Mapping[str, tuple[str, str]]  # its own: name -> default, meaning
  lists: Mapping[str, Callable[[], Iterable[str]]]  # what --list knows beside the shared ones


def define_flags(domain: Domain, to: flags.FlagValues) -> None:
  """Defines the shared flags; lengths are in the domain's unit, which stands in their names."""
  defaults = config_lib.DOMAINS[domain.name]
  unit = defaults['unit']

  def define(kind, name, default, text):
    kind(name, default, text, flag_values=to)

  integer, string, boolean = flags.DEFINE_integer, flags.DEFINE_string, flags.DEFINE_bool
  define(string, domain.task_flag, domain.default_task, f'what to play; see --list={domain.task_flag}s')
  for name, (default, text) in domain.flags.items():
    define(string, name, default, text)
  define(string, 'agent', 'double_dqn', 'preset; see --list=agents')
  define(string, 'interventions', '', 'comma-separated names, any order; see --list=interventions')
  define(integer, f'num_{unit}', defaults['run_length'], f'length of training, in {unit}')
  for name, field, text in (
      (f'eval_every_{unit}', 'eval_every', 'between evaluations'),
      (f'eval_{unit}', 'eval_length', 'of one evaluation'),
      (f'probe_every_{unit}', 'probe_every', 'between plasticity probes'),
      (f'checkpoint_every_{unit}', 'checkpoint_every', 'between checkpoints')):
    zero = '' if field == 'eval_length' else '; 0 turns it off'
    define(integer, name, defaults[field], f'{unit} {text}{zero}')
  define(string, 'replay', '', 'reverb or local; default: reverb where its wheel is installed')
  define(integer, 'replay_port', 0, "TCP port of the run's Reverb server; 0: any free one")
  define(integer, 'num_envs', 1, 'environments stepped together')
  define(integer, 'seed', 1, 'of everything random in the run')
  define(string, 'run_dir', '', 'folder of the run; default: runs/TASK/AGENT+INTERVENTIONS/…')
  define(boolean, 'resume', False, 'continue the run in --run_dir')
  define(string, 'track', 'tensorboard', f'comma-separated sinks beside CSV: {", ".join(sinks.TABLE)}')
  define(string, 'list', '', f'print a table and end: {", ".join(_lists(domain))}')
  flags.DEFINE_multi_string('set', [], 'name=value: override a setting of Config', flag_values=to)


def _lists(domain: Domain) -> dict[str, Callable[[], Iterable[str]]]:
  shared = {
      'agents': lambda: config_lib.PRESETS,
      'interventions': lambda: (
          f'{name}: {row.summary} ({row.paper})' for name, row in interventions.TABLE.items()),
  }
  return shared | dict(domain.lists)


class Command(NamedTuple):
  """A command line, read and found good."""
  config: Config
  folder: pathlib.Path
  stored: dict[str, Any] | None  # config.json of a run to continue
  track: tuple[str, ...]
  replay_port: int


def parse(domain: Domain, argv: Sequence[str]) -> Command | str:
  """Reads a command line, building nothing; the text to print where it only asks for one.

  Raises:
    UsageError: an argument is bad; the text is one line.
  """
  values = flags.FlagValues()
  define_flags(domain, values)
  flags.DEFINE_bool('help', False, 'show this', short_name='h', flag_values=values)
  try:
    rest = values(argv)
  except flags.Error as error:
    raise errors.UsageError(' '.join(str(error).split())) from None
  if values.help:
    return f'{domain.name} flags:\n' + values.main_module_help() + values.get_help()
  if len(rest) > 1:
    raise errors.UsageError(f'argument={rest[1]}: must be a flag, as in --name=value')
  if values.list:
    tables = _lists(domain)
    if values.list not in tables:
      raise errors.unknown('list', values.list, tables)
    return '\n'.join(tables[values.list]())
  return _resolve(domain, values)


def _resolve(domain: Domain, values: flags.FlagValues) -> Command:
  unit = config_lib.DOMAINS[domain.name]['unit']
  lengths = {
      'run_length': f'num_{unit}', 'eval_every': f'eval_every_{unit}',
      'eval_length': f'eval_{unit}', 'probe_every': f'probe_every_{unit}',
      'checkpoint_every': f'checkpoint_every_{unit}'}
  for field, flag in lengths.items():
    least = 1 if field in ('run_length', 'eval_length') else 0
    if values[flag].value < least:
      raise errors.UsageError(f'{flag}={values[flag].value}: must be at least {least}')
  settings = dict(domain.settings(values))
  overrides = config_lib.parse_overrides(values.set)
  config = config_lib.resolve(
      domain.name, settings.pop('task'), values.agent, _names(values.interventions), overrides,
      **settings, seed=values.seed, num_envs=values.num_envs,
      replay=values.replay or factory.default_kind(),
      **{field: values[flag].value for field, flag in lengths.items()})
  track = _names(values.track)
  for name in track:
    if name not in sinks.TABLE:
      raise errors.unknown('track', name, sinks.TABLE)
  if values.resume and not values.run_dir:
    raise errors.UsageError('resume=true: needs --run_dir, the run to continue')
  folder = pathlib.Path(values.run_dir) if values.run_dir else run_folder.default_path(config)
  stored = run_folder.check(folder, config, values.resume)
  return Command(config, folder, stored, tuple(track), values.replay_port)


def _names(text: str) -> list[str]:
  return [name.strip() for name in text.split(',') if name.strip()]


def main(domain: Domain, argv: Sequence[str]) -> int:
  """Runs a training script; returns its exit status."""
  display.log_to_stderr()
  try:
    command = parse(domain, argv)
    if isinstance(command, str):
      print(command)
      return DONE
    factory.check(command.config.replay, command.replay_port)
    run_id = command.stored['run_id'] if command.stored else run_folder.new_id()
    run_parts = parts.build(
        command.config, domain.task(command.config),
        lambda signature: _make_replay(command, run_id, signature))
  except ValueError as error:
    print(f'{pathlib.Path(argv[0]).name}: {error}', file=sys.stderr)
    return BAD_ARGUMENT
  try:
    return _run(command, run_id, run_parts)
  finally:
    run_parts.replay.close()
    run_parts.env.close()


def _make_replay(
    command: Command, run_id: str, signature: replay_types.Signature) -> replay_types.Replay:
  """Says how much memory the replay will take, refuses what cannot fit, then makes it."""
  config = command.config
  settings = replay_types.Settings(
      config.replay_capacity, config.prioritized, config.priority_exponent, config.seed)
  memory.check(config, signature, settings)
  return factory.make(config.replay, signature, settings, run_id, command.replay_port)


def _run(command: Command, run_id: str, run_parts: parts.Parts) -> int:
  folder, stop = command.folder, _stop_on_signals()
  run_folder.create(folder, command.config, run_id)
  log_handler = display.start_log(folder / 'log.txt')
  log.info('run folder %s', folder)
  trainer = None
  try:
    trainer = trainer_lib.Trainer(run_parts, folder, stop, command.track)
    status = DONE if trainer.run() else INTERRUPTED
  except Exception as error:  # whatever stops a run, its cause comes first
    kept = trainer.checkpointed if trainer else -1
    log.error('stopped: %s: %s', type(error).__name__, error)
    log.error('kept in %s: every row written so far%s', folder,
              f', a checkpoint at {kept:,}; go on with --resume' if kept >= 0 else '')
    log.debug('', exc_info=True)
    status = FAILED
  finally:
    if trainer:
      trainer.close()
  if status == INTERRUPTED:
    log.info('interrupted and saved; go on with --run_dir=%s --resume', folder)
  log.info('report: %s', report.write_report(folder))
  log.removeHandler(log_handler)
  log_handler.close()
  return status


def _stop_on_signals() -> threading.Event:
  """An event that the first SIGINT or SIGTERM sets; the second one ends the process at once."""
  stop = threading.Event()

  def handle(number, frame):
    del frame
    stop.set()
    signal.signal(number, signal.SIG_DFL)
    log.info('stopping: saving first; once more to end at once')

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, handle)
  return stop
