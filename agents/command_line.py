"""The command line that every training script shares, as text.

Whoever asks for help waits for no import but these: what a command line means is in
`agents.commands`, and what is done with it in `agents.cli`, imported only where it is done.
"""

import contextlib
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import errors, flag_reader, presets, sinks


class Domain(NamedTuple):
  """What one training script adds to the shared command line."""
  name: str  # a row of presets.DOMAINS
  task_flag: str  # game, task
  default_task: str
  # Flags, settings of the preset -> task, protocol and what that decides; refuses bad ones.
  settings: Callable[[flags.FlagValues, Mapping[str, Any]], Mapping[str, Any]]
  task: Callable[[Any], Any]  # agents.config.Config -> agents.parts.Task
  flags: Mapping[str, tuple[str, str]]  # its own: name -> default, meaning
  lists: Mapping[str, Callable[[], Iterable[str]]]  # what --list knows beside the shared ones
  # agents.config.Config -> what config.json tells of a run beside its settings.
  about: Callable[[Any], Mapping[str, Any]] = lambda config: {}
  lengths_from: str = ''  # what decides the lengths that no flag gives, where it is not DOMAINS


LISTS = ('agents', 'interventions', 'settings')  # that --list knows in every domain


def lengths(unit: str) -> dict[str, tuple[str, str, int]]:
  """The flags of lengths and periods: field of Config -> flag, meaning, least value."""
  off = '; 0 turns it off'
  return {
      'run_length': (f'num_{unit}', f'length of training, in {unit}', 1),
      'eval_every': (f'eval_every_{unit}', f'{unit} between evaluations{off}', 0),
      'eval_length': (f'eval_{unit}', f'{unit} of one evaluation; 0: only episodes bound it', 0),
      'probe_every': (f'probe_every_{unit}', f'{unit} between plasticity probes{off}', 0),
      'checkpoint_every': (f'checkpoint_every_{unit}', f'{unit} between checkpoints{off}', 0)}


RESOURCES = {
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
  for field, (name, text, _) in lengths(defaults['unit']).items():
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
  for name, text in RESOURCES.items():
    define(flags.DEFINE_float, name, None, text)
  define(integer, 'seed', 1, 'of everything random in the run')
  define(string, 'run_dir', '', 'folder of the run; default: runs/TASK/AGENT+INTERVENTIONS/…')
  define(boolean, 'resume', False, 'continue the run in --run_dir')
  flag_reader.define_probe_size(to)
  define(string, 'track', 'tensorboard',
         f'comma-separated sinks beside CSV, known are {", ".join(sinks.TABLE)}; empty for none')
  define(boolean, 'video', False,
         'write an evaluation episode as MP4 with each checkpoint and at the end, five minutes of '
         'it and 30 pictures a second at most')
  define(string, 'list', None, f'print a table and end: {", ".join((*LISTS, *domain.lists))}')
  flags.DEFINE_multi_string(
      'set', [], 'name=value: override a setting; see --list=settings', flag_values=to)


def other_names(domain: Domain) -> dict[str, str]:
  """What other scripts and suites call the task and the length: see `errors.unknown`."""
  length = f'num_{presets.DOMAINS[domain.name]["unit"]}'
  return {
      **dict.fromkeys(('env', 'envid', 'envname', 'environment', 'game', 'task', 'domain'),
                      domain.task_flag),
      **dict.fromkeys(('numframes', 'numsteps', 'totaltimesteps', 'frames', 'steps', 'timesteps'),
                      length)}


def main(domain: Domain, argv: Sequence[str]) -> int:
  """Runs a training script; returns its exit status."""
  with contextlib.suppress(errors.UsageError):  # said by who does the rest
    found = flag_reader.read_flags(argv, lambda to: define_flags(domain, to))
    if isinstance(found, str):
      flag_reader.show(found)
      return 0
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # imports take seconds, and nothing is to be saved
  from agents import cli
  return cli.main(domain, argv)
