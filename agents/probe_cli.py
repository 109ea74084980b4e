"""What run_probe.py does: probes of saved checkpoints, reports of one run or of several."""

import pathlib
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

from agents import config as config_lib
from agents import errors, flag_reader, reprobing, run_folder, saved_run, script
from agents.display import log
from agents.supervised import experiment_folder
from probes import comparison, report


class Command(NamedTuple):
  """A command line, read and found good."""
  runs: tuple[pathlib.Path, ...]
  checkpoints: str  # all, newest, or frames; empty: nothing is probed
  settings: dict[str, Any]  # of Config, all `probe_…`
  out_dir: pathlib.Path | None  # None: in each run's own folder
  name: str  # of a folder there


def define_flags(to: flags.FlagValues) -> None:
  """Defines the flags of run_probe.py."""
  def define(name, default, text):
    flags.DEFINE_string(name, default, text, flag_values=to)

  define('run_dir', '', 'folder of a run; several, comma-separated, are compared')
  define('checkpoint', None,
         'what is probed, beside the first one, which all are compared with: all, newest, or '
         'frames, comma-separated; empty: several runs are compared by what they hold (default: '
         'all for one run, nothing for several)')
  define('out_dir', '',
         'where probes and report of one run go (default: RUN/probed, or RUN/probed-SIZE); needed '
         'for several, for their comparison')
  flag_reader.define_probe_size(to, default='')
  flags.DEFINE_multi_string(
      'set', [], 'name=value: override a setting of Config that starts with probe_', flag_values=to)


def parse(argv: Sequence[str]) -> Command | str:
  """Reads a command line; the text to print where it only asks for one.

  Raises:
    UsageError: an argument is bad; the text is one line.
  """
  values = flag_reader.read_flags(argv, define_flags, config_lib.as_flags(_is_of_a_probe))
  if isinstance(values, str):
    return values
  one = pathlib.Path(values.run_dir)  # whose name may have a comma in it
  several = values.run_dir and not one.is_dir()
  runs = tuple(map(pathlib.Path, flag_reader.names(values.run_dir))) if several else (one,)
  if not runs or not values.run_dir:
    raise errors.UsageError('run_dir=: must name the folder of a run')
  if len(runs) > 1 and not values.out_dir:
    raise errors.UsageError('out_dir=: must name a folder for the comparison of several runs')
  if len({run.resolve() for run in runs}) < len(runs):
    raise errors.UsageError(f'run_dir={values.run_dir}: must name each run once')
  if len(runs) > 1:
    _check_for_comparison(pathlib.Path(values.out_dir))
  asked = values.checkpoint
  if asked is None:
    asked = 'all' if len(runs) == 1 else ''
  if not asked and len(runs) == 1:
    raise errors.UsageError('checkpoint=: must be all, newest or frames where there is one run')
  return Command(
      runs, asked, _settings(values, asked),
      pathlib.Path(values.out_dir) if values.out_dir else None,
      f'probed-{values.probe_size}' if values.probe_size else 'probed')


def _settings(values: flags.FlagValues, asked: str) -> dict[str, Any]:
  """What flags change of the probe, where one is asked for."""
  overrides = config_lib.parse_overrides(values.set)
  for name in overrides:
    if not _is_of_a_probe(name):
      raise errors.UsageError(f'set={name}: must be a setting of the probe, probe_…')
  settings = {**script.probe_size(values), **overrides}
  if settings and not asked:
    given = f'probe_size={values.probe_size}' if values.probe_size else f'set={values.set[0]}'
    raise errors.UsageError(
        f'{given}: says nothing where runs are compared by the probes that they hold; add '
        '--checkpoint=newest or all, to probe them first')
  return settings


def _is_of_a_probe(setting: str) -> bool:
  return setting.startswith('probe_') and setting != 'probe_every'


def _check_for_comparison(folder: pathlib.Path) -> None:
  """Refuses a folder whose own comparison.html would be replaced, or that is none."""
  run_folder.check_is_folder('out_dir', folder)
  for name in (run_folder.CONFIG, experiment_folder.ABOUT):
    if (folder / name).exists():
      raise errors.UsageError(
          f'out_dir={folder}: must be a folder of its own; it holds a {name}')


def run(argv: Sequence[str]) -> int | str:
  """Probes and reports; the exit status, or what is to be printed."""
  command = parse(argv)
  if isinstance(command, str):
    return command
  # All are looked at before the first is probed.
  frames, stop = {}, threading.Event()
  if command.checkpoints:
    saved = [saved_run.read(folder) for folder in command.runs]
    frames = {one: _frames(one, command.checkpoints) for one in saved}
    stop = script.stop_on_signals()
  whole, folders = True, []
  for one, wanted in frames.items():
    alone = len(command.runs) == 1 and command.out_dir
    folder = command.out_dir if alone else one.folder / command.name
    whole &= reprobing.probe(one, wanted, command.settings, folder, stop)
    if stop.is_set():
      break
    log.info('report: %s', report.write_report(folder))
    folders.append(folder)
  if len(command.runs) > 1 and not stop.is_set():
    compared = comparison.write_comparison(folders or command.runs, command.out_dir)
    log.info('comparison: %s', compared)
  if stop.is_set():
    log.info('interrupted; what is probed is kept, and the same command goes on')
    return script.INTERRUPTED
  return script.DONE if whole else script.FAILED


def _frames(run: saved_run.SavedRun, asked: str) -> tuple[int, ...]:
  """The checkpoints that `--checkpoint` names."""
  if asked in ('all', 'newest'):
    return run.frames if asked == 'all' else run.frames[-1:]
  found = []
  for word in flag_reader.names(asked):
    if not word.isdecimal():
      raise errors.UsageError(f'checkpoint={word}: must be all, newest or frames')
    frame = int(word)
    if frame not in run.frames:
      raise errors.UsageError(
          f'checkpoint={word}: must be one that {run.folder / "checkpoints"} holds, '
          f'{", ".join(map(str, run.frames))}')
    found.append(frame)
  return tuple(found)
