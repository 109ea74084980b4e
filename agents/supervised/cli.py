"""The command line of run_supervised.py: flags in, checked arms out."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import (
  actions,
  choice,
  errors,
  flag_reader,
  interventions,
  learner,
  presets,
  rules,
  run_folder,
  script,
)
from agents import config as config_lib
from agents.config import Config
from agents.supervised import experiment_folder, experiments


class Streams(NamedTuple):
  """What the script knows of envs/, which agents do not see."""
  # Data set, folder -> envs.datasets.Dataset.
  load: Callable[[str, str], Any]
  # Name, data set, seed, parameters -> envs.streams.Stream.
  make: Callable[..., Any]
  # Task, number of classes, number of environments, seed -> batched environment.
  play: Callable[..., Any]
  defaults: Mapping[str, Mapping[str, Any]]  # stream -> parameter -> default
  datasets: Sequence[str]


class Arm(NamedTuple):
  """A way to learn, as some seeds run it."""
  name: str
  configs: tuple[Config, ...]  # one a seed
  folders: tuple[pathlib.Path, ...]
  stored: tuple[dict[str, Any] | None, ...]  # config.json of runs to continue


class Command(NamedTuple):
  """A command line, read and found good."""
  about: experiment_folder.About
  arms: tuple[Arm, ...]
  folder: pathlib.Path
  dataset: Any  # envs.datasets.Dataset


# Of an experiment's size.
_COUNTS = {
    'num_tasks': 'tasks', 'steps_per_task': 'updates on each task',
    'subset': 'examples that are used; 0: all',
    'num_seeds': 'seeds, from --seed on, trained side by side'}


def define_flags(to: flags.FlagValues) -> None:
  """Defines the flags of run_supervised.py."""
  def define(kind, name, default, text):
    kind(name, default, text, flag_values=to)

  integer, string = flags.DEFINE_integer, flags.DEFINE_string
  define(string, 'experiment', 'random_labels',
         'what is learned; parameters of its stream as in random_labels(fraction=0.1); see '
         '--list=experiments')
  define(string, 'network', '', "preset; see --list=networks; default: the experiment's size's")
  define(string, 'interventions', None,
         'comma-separated names, any order; given, they take the place of the ways that an '
         'experiment compares; see --list=interventions')
  define(string, 'dataset', '', "see --list=datasets; default: the experiment's own")
  define(string, 'data_dir', '', 'folder of its published files; default: what is installed')
  define(flags.DEFINE_bool, 'full', False, "the experiment's full size in place of its small one")
  for name, text in _COUNTS.items():
    define(integer, name, None, f"{text}; default: the experiment's size")
  define(integer, 'seed', 1, 'the first one')
  flags.DEFINE_multi_string(
      'sweep', [], 'name=a,b,c: a way for each value of a setting of Config', flag_values=to)
  define(integer, 'probe_every_tasks', None,
         "tasks between plasticity probes; 0: none; default: the experiment's, mostly none")
  define(integer, 'checkpoint_every_tasks', None,
         'tasks between checkpoints, one more at the end; default: 10')
  flag_reader.define_probe_size(to, default='')
  define(string, 'run_dir', '', 'folder of the experiment; default: runs/EXPERIMENT/NETWORK-…')
  define(flags.DEFINE_bool, 'resume', False,
         'continue the experiment in --run_dir; what is done there is not done again')
  define(string, 'list', None,
         'print a table and end: experiments, networks, interventions, datasets, settings')
  flags.DEFINE_multi_string(
      'set', [], 'name=value: override a setting; see --list=settings', flag_values=to)


def parse(streams: Streams, argv: Sequence[str]) -> Command | str:
  """Reads a command line and the data; the text to print where it only asks for one.

  Raises:
    UsageError: an argument is bad; the text is one line.
  """
  values = flag_reader.read_flags(
      argv, define_flags, config_lib.as_flags(lambda name: name not in _LENGTHS))
  if isinstance(values, str):
    return values
  if values.list is not None:
    return flag_reader.listed(values.list, _lists(streams))
  asked = choice.parse(values.experiment, 'experiment')
  if len(asked) != 1:
    raise errors.UsageError(f'experiment={values.experiment}: must name one')
  (name, given), = asked.items()
  if name not in experiments.EXPERIMENTS:
    raise errors.unknown('experiment', name, experiments.EXPERIMENTS)
  row = experiments.EXPERIMENTS[name]
  dataset_name = values.dataset or row.dataset
  if dataset_name not in streams.datasets:
    raise errors.unknown('dataset', dataset_name, streams.datasets)
  dataset = streams.load(dataset_name, values.data_dir)
  if values.resume and not values.run_dir:
    raise errors.UsageError('resume=true: needs --run_dir, the experiment to continue')
  size = _size(row, values)
  most = rules.NUM_SEEDS - values.seed
  if 0 < most < size.num_seeds:
    raise errors.UsageError(f'num_seeds={size.num_seeds}: must be at most {most}, since '
                            f'seed={values.seed} is the first of them')
  config_lib.preset(size.network, 'supervised', 'network')
  folder = pathlib.Path(values.run_dir or run_folder.stamped(name, size.network))
  parameters = row.parameters | _typed(streams, row.stream, given)
  arms = _swept(values.sweep, _arms(row, values))
  for parameter in given:
    if any(parameter in arm.stream for arm in arms.values()):
      raise errors.UsageError(
          f'experiment={name}({parameter}=…): is what the ways that are compared differ in')
  about = experiment_folder.About(
      name, dataset.name, tuple(arms), tuple(values.seed + i for i in range(size.num_seeds)))
  experiment_folder.check(folder, about, values.resume)
  built = tuple(
      _arm(label, arm, row, values, parameters, (streams, dataset), folder)
      for label, arm in arms.items())
  _check_torsos(built, dataset.images.shape[1:])
  swept = (word.partition('=')[0] for word in values.sweep)
  rules.check_said(
      [arm.configs[0] for arm in built], {*config_lib.parse_overrides(values.set), *swept})
  return Command(about, built, folder, dataset)


def _lists(streams: Streams) -> dict[str, Callable[[], Iterable[str]]]:
  return {
      'experiments': lambda: (
          f'{name}: {row.question}' for name, row in experiments.EXPERIMENTS.items()),
      'networks': lambda: (
          f'{name}: {row.summary}' for name, row in presets.PRESETS.items()
          if 'supervised' in row.domains),
      'interventions': lambda: map(choice.described, interventions.TABLE),
      'datasets': lambda: streams.datasets,
      'settings': config_lib.described,
  }


def _typed(streams: Streams, stream: str, given: Mapping[str, str]) -> dict[str, Any]:
  """Parameters of a stream, from text."""
  defaults = streams.defaults[stream]
  for name in given:
    if name not in defaults:
      raise errors.unknown(stream, name, defaults)
  return {name: errors.typed(f'{stream}.{name}', text, type(defaults[name]))
          for name, text in given.items()}


def _arms(
    row: experiments.Experiment, values: flags.FlagValues) -> dict[str, experiments.Arm]:
  if values.interventions is None and row.arms:
    return dict(row.arms)
  names = sorted(choice.parse(values.interventions or ''))
  return {'+'.join(names) or 'none': experiments.Arm(values.interventions or '')}


def _swept(
    sweeps: Sequence[str], arms: Mapping[str, experiments.Arm]) -> dict[str, experiments.Arm]:
  """Each arm with each combination of the swept values."""
  choices = {}
  for word in sweeps:
    name, equals, texts = word.partition('=')
    found = flag_reader.names(texts)
    if not equals or not found:
      raise errors.UsageError(f'sweep={word}: must be name=a,b,c')
    if name in choices:
      raise errors.UsageError(f'sweep={word}: {name} is swept twice')
    choices[name] = [config_lib.parse_overrides([f'{name}={text}'], 'sweep') for text in found]
    if any(one in choices[name][:i] for i, one in enumerate(choices[name])):
      raise errors.UsageError(f'sweep={word}: must name each value once')
  swept = {}
  for label, arm in arms.items():
    for combination in itertools.product(*choices.values()):
      settings = {name: value for some in combination for name, value in some.items()}
      words = [label, *(f'{name}={errors.shown(value)}' for name, value in settings.items())]
      swept[' '.join(words)] = arm._replace(settings={**arm.settings, **settings})
  return swept


def _size(row: experiments.Experiment, values: flags.FlagValues) -> experiments.Size:
  size = row.full if values.full else row.small
  if values.network:
    size = size._replace(network=values.network)
  for name in _COUNTS:
    value, least = values[name].value, 0 if name == 'subset' else 1
    if value is not None:
      if value < least:
        raise errors.UsageError(f'{name}={value}: must be at least {least}')
      size = size._replace(**{name: value})
  return size


def _check_torsos(arms: Sequence[Arm], image_shape: tuple[int, ...]) -> None:
  """Raises ValueError where images do not fit one, before anything is written."""
  for config in {arm.configs[0].torso: arm.configs[0] for arm in arms}.values():
    learner.make_network(config, (1, *image_shape), 'uint8', actions.ActionMap(1, 1, None))


_LENGTHS = ('run_length', 'steps_per_task', 'eval_every', 'probe_every', 'checkpoint_every')


def _merged(
    own: Mapping[str, Any], of_arm: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
  """Settings of an experiment, of one of its ways and of --set, which may not contradict it."""
  for name in given:
    if name in _LENGTHS:
      raise errors.UsageError(f'set={name}: has a flag of its own, --num_tasks, --steps_per_task …')
    if name in of_arm:
      raise errors.UsageError(f'set={name}: is what the ways that are compared differ in')
  return {**own, **of_arm, **given}


def _tasks_between(values: flags.FlagValues, name: str, default: int) -> int:
  value = values[name].value
  if value is not None and value < 0:
    raise errors.UsageError(f'{name}={value}: must be at least 0')
  return default if value is None else value


def _arm(
    label: str, arm: experiments.Arm, row: experiments.Experiment, values: flags.FlagValues,
    parameters: Mapping[str, Any], data: tuple[Streams, Any], folder: pathlib.Path) -> Arm:
  """Configs and folders of an arm's seeds."""
  streams, dataset = data
  size = _size(row, values)
  name = arm.of or row.stream
  parameters = {**(parameters if name == row.stream else {}), **arm.stream, 'subset': size.subset}
  num_tasks = 1 + (size.num_tasks - 1) * arm.changes
  steps = max(1, round(size.num_tasks * size.steps_per_task / num_tasks))
  stream = streams.make(name, dataset, values.seed, **parameters)
  config = config_lib.resolve(
      'supervised', name, size.network, [arm.interventions],
      _merged({**row.settings, **script.probe_size(values)}, arm.settings,
              config_lib.parse_overrides(values.set)),
      seed=values.seed, dataset=dataset.name,
      stream_parameters=tuple(sorted(parameters.items())), objective=stream.kind,
      run_length=steps * num_tasks, steps_per_task=steps, eval_every=steps,
      probe_every=steps * _tasks_between(
          values, 'probe_every_tasks', max(1, num_tasks // row.probes) if row.probes else 0),
      checkpoint_every=steps * _tasks_between(values, 'checkpoint_every_tasks', 10))
  # A stream that ends says so before anything is built.
  rules.check_targets(config, *(stream.task(index).targets for index in (0, num_tasks - 1)))
  configs = tuple(dataclasses.replace(config, seed=values.seed + i) for i in range(size.num_seeds))
  folders = tuple(folder / label / f'seed{one.seed}' for one in configs)
  stored = tuple(run_folder.check(*pair, values.resume)
                 for pair in zip(folders, configs, strict=True))
  return Arm(label, configs, folders, stored)
