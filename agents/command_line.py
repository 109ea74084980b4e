"""The command line that every training script shares: flags in, a checked Command out."""

import importlib.util
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import (
  choice,
  errors,
  interventions,
  parts,
  presets,
  rules,
  run_folder,
  script,
  sinks,
  video,
)
from agents import config as config_lib
from agents.config import Config
from replay import factory


class Domain(NamedTuple):
  """What one training script adds to the shared command line."""
  name: str  # a row of presets.DOMAINS
  task_flag: str  # game, task
  default_task: str
  # Flags, settings of the preset -> task, protocol and what that decides; refuses bad ones.
  settings: Callable[[flags.FlagValues, Mapping[str, Any]], Mapping[str, Any]]
  task: Callable[[Config], parts.Task]
  flags: Mapping[str, tuple[str, str]]  # its own: name -> default, meaning
  lists: Mapping[str, Callable[[], Iterable[str]]]  # what --list knows beside the shared ones
  lengths_from: str = ''  # what decides the lengths that no flag gives, where it is not DOMAINS


def _lengths(unit: str) -> dict[str, tuple[str, str, int]]:
  """The flags of lengths and periods: field of Config -> flag, meaning, least value."""
  off = '; 0 turns it off'
  return {
      'run_length': (f'num_{unit}', f'length of training, in {unit}', 1),
      'eval_every': (f'eval_every_{unit}', f'{unit} between evaluations{off}', 0),
      'eval_length': (f'eval_{unit}', f'{unit} of one evaluation; 0: only episodes bound it', 0),
      'probe_every': (f'probe_every_{unit}', f'{unit} between plasticity probes{off}', 0),
      'checkpoint_every': (f'checkpoint_every_{unit}', f'{unit} between checkpoints{off}', 0)}


class Resources(NamedTuple):
  """What Ray sets aside for a role, in its units."""
  actor_cpus: float = 1.0  # the evaluator's, too
  learner_cpus: float = 0.0
  learner_gpus: float | None = None  # None: one, where its machine has any


_RESOURCES = {
    'actor_cpus': 'CPUs that Ray sets aside for each actor and the evaluator (default: 1)',
    'learner_cpus': 'CPUs of the learner (default: 0, so that there is always a place for it)',
    'learner_gpus': 'GPUs of the learner (default: 1 where its machine has any)'}


def define_flags(domain: Domain, to: flags.FlagValues) -> None:
  """Defines the shared flags; lengths are in the domain's unit, which stands in their names."""
  defaults = presets.DOMAINS[domain.name]

  def define(kind, name, default, text):
    kind(name, default, text, flag_values=to)

  integer, string, boolean = flags.DEFINE_integer, flags.DEFINE_string, flags.DEFINE_bool
  define(string, domain.task_flag, domain.default_task,
         f'what to play; see --list={domain.task_flag}s')
  for name, (default, text) in domain.flags.items():
    define(string, name, default, text)
  define(string, 'agent', presets.DEFAULT_AGENT[domain.name], 'preset; see --list=agents')
  define(string, 'interventions', '', 'comma-separated names, any order; see --list=interventions')
  for field, (name, text, _) in _lengths(defaults['unit']).items():
    default = domain.lengths_from or f'{defaults[field]:,}'
    define(integer, name, None, f'{text} (default: {default})')  # None: not given
  define(string, 'replay', '',
         'reverb, local (this process), or device (this process, frames in the memory of its '
         'accelerator); default: reverb where its wheel is installed')
  define(integer, 'replay_port', 0, "TCP port of the run's Reverb server; 0: any free one")
  define(integer, 'num_envs', 1, 'environments stepped together, in each actor')
  define(integer, 'num_actors', 0,
         'processes that act, beside a learner, an evaluator and a replay server; 0: one process')
  define(string, 'ray_address', '',
         'Ray cluster that actors are placed on, as host:port or auto; default: this machine')
  for name, text in _RESOURCES.items():
    define(flags.DEFINE_float, name, None, text)
  define(integer, 'seed', 1, 'of everything random in the run')
  define(string, 'run_dir', '', 'folder of the run; default: runs/TASK/AGENT+INTERVENTIONS/…')
  define(boolean, 'resume', False, 'continue the run in --run_dir')
  script.define_probe_size(to)
  define(string, 'track', 'tensorboard',
         f'comma-separated sinks beside CSV, known are {", ".join(sinks.TABLE)}; empty for none')
  define(boolean, 'video', False,
         'write an evaluation episode as MP4 with each checkpoint and at the end, '
         f'{parts.FILM_SECONDS // 60} minutes of it at most')
  define(string, 'list', '', f'print a table and end: {", ".join(_lists(domain))}')
  flags.DEFINE_multi_string('set', [], 'name=value: override a setting of Config', flag_values=to)


def _lists(domain: Domain) -> dict[str, Callable[[], Iterable[str]]]:
  shared = {
      'agents': lambda: (
          f'{name}: {row.summary}' for name, row in presets.PRESETS.items()
          if domain.name in row.domains),
      'interventions': lambda: map(choice.described, interventions.TABLE),
  }
  return shared | dict(domain.lists)


class Command(NamedTuple):
  """A command line, read and found good."""
  config: Config
  folder: pathlib.Path
  stored: dict[str, Any] | None  # config.json of a run to continue
  track: tuple[str, ...]
  replay_port: int
  video: bool
  ray_address: str = ''  # empty: a cluster of this machine alone
  resources: Resources = Resources()


def parse(domain: Domain, argv: Sequence[str]) -> Command | str:
  """Reads a command line, building nothing; the text to print where it only asks for one.

  Raises:
    UsageError: an argument is bad; the text is one line.
  """
  values = script.read_flags(argv, lambda to: define_flags(domain, to))
  if isinstance(values, str):
    return values
  if values.list:
    tables = _lists(domain)
    if values.list not in tables:
      raise errors.unknown('list', values.list, tables)
    return '\n'.join(tables[values.list]())
  return _resolve(domain, values)


def _resolve(domain: Domain, values: flags.FlagValues) -> Command:
  lengths = _given_lengths(domain, values)
  if not 0 <= values.replay_port <= 65535:
    raise errors.UsageError(f'replay_port={values.replay_port}: must be from 0 to 65535')
  if values.video:
    video.check()
  preset = config_lib.preset(values.agent, domain.name)
  settings = dict(domain.settings(values, preset)) | lengths | script.probe_size(values)
  overrides = config_lib.parse_overrides(values.set)
  if lengths.get('eval_length') == 0 and not (settings | overrides).get('eval_episodes'):
    raise errors.UsageError(
        f'eval_{presets.DOMAINS[domain.name]["unit"]}=0: must be at least 1 where eval_episodes=0')
  config = config_lib.resolve(
      domain.name, settings.pop('task'), values.agent, [values.interventions], overrides,
      **settings, seed=values.seed, num_envs=values.num_envs,
      num_actors=values.num_actors,
      replay=values.replay or factory.default_kind())
  rules.check_said(config, overrides)
  track = script.names(values.track)
  for name in track:
    if name not in sinks.TABLE:
      raise errors.unknown('track', name, sinks.TABLE)
  if values.resume and not values.run_dir:
    raise errors.UsageError('resume=true: needs --run_dir, the run to continue')
  folder = pathlib.Path(values.run_dir) if values.run_dir else run_folder.default_path(config)
  stored = run_folder.check(folder, config, values.resume)
  resources = _resources(values)  # What is wrong everywhere is said before what is missing here.
  _check_actors(config, values)
  return Command(config, folder, stored, tuple(track), values.replay_port, values.video,
                 values.ray_address, resources)


def _check_actors(config: Config, values: flags.FlagValues) -> None:
  """Refuses what several processes cannot do here."""
  if not config.num_actors:
    for name in ('ray_address', *_RESOURCES):
      if values[name].value not in ('', None):
        raise errors.UsageError(
            f'{name}={values[name].value}: needs --num_actors of at least 1')
    return
  if not re.fullmatch(r'|auto|[^\s/:]+:\d{1,5}', values.ray_address):
    raise errors.UsageError(f'ray_address={values.ray_address}: must be auto or host:port')
  if values.video:
    raise errors.UsageError('video=true: needs --num_actors=0')
  if importlib.util.find_spec('ray') is None:
    raise errors.UsageError(
        f"num_actors={config.num_actors}: needs the extra 'distributed', as in "
        "pip install '.[reverb,distributed]' --constraint=constraints-reverb.txt")


def _resources(values: flags.FlagValues) -> Resources:
  given = {name: values[name].value for name in _RESOURCES if values[name].value is not None}
  for name, value in given.items():
    if not 0 <= value < math.inf:
      raise errors.UsageError(f'{name}={value:g}: must be at least 0, and finite')
  return Resources(**given)


def _given_lengths(domain: Domain, values: flags.FlagValues) -> dict[str, int]:
  """The lengths and periods that the command line names, by field of Config."""
  given = {}
  for field, (flag, _, least) in _lengths(presets.DOMAINS[domain.name]['unit']).items():
    value = values[flag].value
    if value is not None:
      if value < least:
        raise errors.UsageError(f'{flag}={value}: must be at least {least}')
      given[field] = value
  return given
