"""What a training script's command line means: flags in, a checked Command out."""

import importlib.util
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import (
  choice,
  command_line,
  errors,
  flag_reader,
  interventions,
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


class Resources(NamedTuple):
  """What Ray sets aside for a role, in its units."""
  actor_cpus: float = 1.0  # the evaluator's, too
  learner_cpus: float = 0.0
  learner_gpus: float | None = None  # None: one, where its machine has any


def _lists(domain: command_line.Domain) -> dict[str, Callable[[], Iterable[str]]]:
  shared = (
      lambda: (f'{name}: {row.summary}' for name, row in presets.PRESETS.items()
               if domain.name in row.domains),
      lambda: map(choice.described, interventions.TABLE), config_lib.described)
  return dict(zip(command_line.LISTS, shared, strict=True)) | dict(domain.lists)


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


def parse(domain: command_line.Domain, argv: Sequence[str]) -> Command | str:
  """Reads a command line, building nothing; the text to print where it only asks for one.

  Raises:
    UsageError: an argument is bad; the text is one line.
  """
  values = flag_reader.read_flags(
      argv, lambda to: command_line.define_flags(domain, to),
      config_lib.as_flags(lambda name: name not in command_line.lengths(''))
      | command_line.other_names(domain))
  if isinstance(values, str):
    return values
  if values.list is not None:
    return flag_reader.listed(values.list, _lists(domain))
  return _resolve(domain, values)


def _resolve(domain: command_line.Domain, values: flags.FlagValues) -> Command:
  lengths = _given_lengths(domain, values)
  if not 0 <= values.replay_port <= 65535:
    raise errors.UsageError(f'replay_port={values.replay_port}: must be from 0 to 65535')
  if values.video:
    video.check()
  preset = config_lib.preset(values.agent, domain.name)
  settings = dict(domain.settings(values, preset)) | lengths | script.probe_size(values)
  overrides = config_lib.parse_overrides(values.set)
  for name in overrides.keys() & lengths.keys():
    raise errors.UsageError(
        f'set={name}={overrides[name]}: has a flag of its own, which is given too; leave one out')
  if lengths.get('eval_length') == 0 and not (settings | overrides).get('eval_episodes'):
    raise errors.UsageError(
        f'eval_{presets.DOMAINS[domain.name]["unit"]}=0: must be at least 1 where eval_episodes=0')
  config = config_lib.resolve(
      domain.name, settings.pop('task'), values.agent, [values.interventions], overrides,
      **settings, seed=values.seed, num_envs=values.num_envs,
      num_actors=values.num_actors,
      replay=values.replay or factory.default_kind())
  track = flag_reader.names(values.track)
  for name in track:
    if name not in sinks.TABLE:
      raise errors.unknown('track', name, sinks.TABLE)
  if values.resume and not values.run_dir:
    raise errors.UsageError('resume=true: needs --run_dir, the run to continue')
  folder = pathlib.Path(values.run_dir) if values.run_dir else run_folder.default_path(config)
  stored = run_folder.check(folder, config, values.resume)
  if stored:
    with run_folder.locked(folder):  # The run itself locks it later, after building.
      pass
  else:  # A run may go on with what was allowed when it was begun.
    rules.check_said([config], overrides)
  resources = _resources(values)  # What is wrong everywhere is said before what is missing here.
  _check_actors(config, values)
  return Command(config, folder, stored, tuple(track), values.replay_port, values.video,
                 values.ray_address, resources)


def _check_actors(config: Config, values: flags.FlagValues) -> None:
  """Refuses what several processes cannot do here."""
  if not config.num_actors:
    for name in ('ray_address', *command_line.RESOURCES):
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
  asked = {name: values[name].value for name in command_line.RESOURCES}
  given = {name: value for name, value in asked.items() if value is not None}
  for name, value in given.items():
    if not 0 <= value < math.inf:
      raise errors.UsageError(f'{name}={value:g}: must be at least 0, and finite')
  return Resources(**given)


def _given_lengths(domain: command_line.Domain, values: flags.FlagValues) -> dict[str, int]:
  """The lengths and periods that the command line names, by field of Config."""
  given = {}
  for field, (flag, _, least) in command_line.lengths(presets.DOMAINS[domain.name]['unit']).items():
    value = values[flag].value
    if value is not None:
      if value < least:
        raise errors.UsageError(f'{flag}={value}: must be at least {least}')
      given[field] = value
  return given
