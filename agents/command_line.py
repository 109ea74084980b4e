"""The command line that every training script shares: flags in, a checked Command out."""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import config as config_lib
from agents import errors, interventions, parts, run_folder, sinks
from agents.config import Config
from replay import factory


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
  define(string, domain.task_flag, domain.default_task,
         f'what to play; see --list={domain.task_flag}s')
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
  define(string, 'track', 'tensorboard',
         f'comma-separated sinks beside CSV, known are {", ".join(sinks.TABLE)}; empty for none')
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
    return _help(values)
  if len(rest) > 1:
    raise errors.UsageError(f'argument={rest[1]}: must be a flag, as in --name=value')
  if values.list:
    tables = _lists(domain)
    if values.list not in tables:
      raise errors.unknown('list', values.list, tables)
    return '\n'.join(tables[values.list]())
  return _resolve(domain, values)


def _help(values: flags.FlagValues) -> str:
  names = {values[name].name for name in values} - {'flagfile', 'undefok'}  # -h is --help too
  own = (values[name] for name in sorted(names))
  return '\n'.join(
      f'--{flag.name}: {" ".join(flag.help.split())} (default: {flag.default_as_str or "none"})'
      for flag in own)


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
  if not 0 <= values.replay_port <= 65535:
    raise errors.UsageError(f'replay_port={values.replay_port}: must be from 0 to 65535')
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
