"""A run's folder: made once, continued only when asked, its config.json beyond doubt."""

import contextlib
import dataclasses
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from agents import checkpoint, errors, metrics
from agents import config as config_lib
from agents.config import Config
from probes import files

CONFIG = 'config.json'
# What it holds beside settings.
ABOUT = ('run_id', 'versions', 'command_line', 'continued_with', 'protocol_rules')
_KINDS = {'versions': dict, 'command_line': list, 'continued_with': list}
# Settings that came after the first runs, with a default that is what those did. A new one joins
# here where that holds of it, so that older runs can go on and be probed.
_LATER = ('num_actors', 'actor_epsilon', 'trace_steps', 'trace_every', 'initial_scale', 'eval_envs',
          'eval_noise', 'compute_dtype', 'updates_per_dispatch',
          'new_priority', 'dueling_gradient', 'shared_hidden')
# A run may be made longer.
MAY_CHANGE = ('run_length',)
_PACKAGES = (
    'jax', 'jaxlib', 'dm-haiku', 'optax', 'rlax', 'numpy', 'ale-py', 'gymnasium', 'dm-control',
    'mujoco', 'dm-reverb', 'tensorflow-cpu', 'mlxtend', 'ray')


def default_path(config: Config) -> pathlib.Path:
  """runs/<task>/<agent>[+<interventions>]/seed<k>-<yyyymmdd-hhmmss>, seen from here."""
  name = '+'.join((config.agent, *config.interventions))
  return stamped(config.task, name, f'seed{config.seed}')


def stamped(*parts: str) -> pathlib.Path:
  """runs/…/<last part>-<yyyymmdd-hhmmss>, seen from here."""
  now = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  return pathlib.Path('runs', *parts[:-1], f'{parts[-1]}-{now}')


def check(folder: pathlib.Path, config: Config, resume: bool) -> dict[str, Any] | None:
  """Refuses a folder that may not be written; returns its config.json where the run goes on.

  Raises:
    UsageError: the folder holds a run and `resume` is not asked for, or another config's run, or
      something that is no run, or cannot be written.
  """
  stored = held(folder, CONFIG, 'a run', resume)
  if stored is None:
    return None
  try:
    stored['run_id'] = str(stored['run_id'])
    stored |= {name: kind(stored[name]) for name, kind in _KINDS.items()}
  except (ValueError, KeyError, TypeError) as error:
    raise damaged(folder, CONFIG, 'a run', error) from None
  _check_same(folder, stored, config)
  if checkpoint.newest(folder / 'checkpoints') is None and _was_trained(folder):
    raise errors.UsageError(
        f'run_dir={folder}: must have a checkpoint to go on from; there is none, and starting '
        'over would lose its rows')
  return stored


def held(
    folder: pathlib.Path, name: str, what: str, resume: bool) -> dict[str, Any] | None:
  """What the file `name`, which makes a folder a `what`, says; None where that is still to be made.

  Raises:
    UsageError: the folder holds a `what` and `resume` is not asked for, or something else, or it
      cannot be read or written.
  """
  try:
    return _held(folder, name, what, resume)
  except OSError as error:
    raise errors.UsageError(f'run_dir={folder}: must be readable and writable: {error}') from None


def _held(
    folder: pathlib.Path, name: str, what: str, resume: bool) -> dict[str, Any] | None:
  above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
  if not above.is_dir():
    raise errors.UsageError(f'run_dir={folder}: must be a folder; {above} is a file')
  if not os.access(above, os.W_OK | os.X_OK):
    raise errors.UsageError(f'run_dir={folder}: must be writable; {above} is not')
  # What a start leaves that was killed before it wrote that file does not count.
  left = (files.aside(folder / name).name, 'log.txt')
  if not folder.exists() or all(path.name in left for path in folder.iterdir()):
    return None
  if not (folder / name).exists():
    raise errors.UsageError(
        f'run_dir={folder}: must be new, empty or {what}; it holds other files and no {name}')
  if not resume:
    raise errors.UsageError(f'run_dir={folder}: holds {what} already; continue it with --resume')
  try:
    return dict(json.loads((folder / name).read_text()))
  except (ValueError, TypeError) as error:
    raise damaged(folder, name, what, error) from None


def check_is_folder(flag: str, path: pathlib.Path) -> None:
  """Raises UsageError where what a flag names is there and no folder."""
  if path.exists() and not path.is_dir():
    raise errors.UsageError(f'{flag}={path}: must be a folder; it is a file')


def damaged(
    folder: pathlib.Path, name: str, what: str, error: Exception) -> errors.UsageError:
  """The error for a file of a folder that is not as it was written."""
  return errors.UsageError(
      f'run_dir={folder}: its {name} must be one that {what} wrote: {error!r}')


def config_of(folder: pathlib.Path, stored: Mapping[str, Any]) -> Config:
  """The Config that a config.json tells of, also one from before some settings came.

  Raises:
    UsageError: a setting is not known here or is missing, or its value is no longer allowed.
  """
  fields = {field.name for field in dataclasses.fields(Config)}
  strange = sorted(stored.keys() - fields - set(ABOUT))
  missing = sorted(fields - stored.keys() - set(_LATER))
  if strange or missing:
    told = [f'{what} {", ".join(names)}'
            for what, names in (('has', strange), ('lacks', missing)) if names]
    version = dict(stored.get('versions') or {}).get('pliant', 'unknown')
    raise errors.UsageError(
        f'run_dir={folder}: must be of a version with these settings; its {CONFIG} '
        f'{" and ".join(told)} (written by {version})')
  try:
    return Config(**{name: frozen(stored[name]) for name in fields if name in stored})
  except (errors.UsageError, TypeError, AttributeError) as error:
    raise errors.UsageError(f'run_dir={folder}: its {CONFIG}: {error}') from None


def _check_same(folder: pathlib.Path, stored: Mapping[str, Any], config: Config) -> None:
  there, here = as_json(config_of(folder, stored)), as_json(config)
  differing = [name for name in here if name not in MAY_CHANGE and there[name] != here[name]]
  if differing:
    # Settings follow from these, too.
    first = [name for name in differing if name in config_lib.IDENTITY]
    how = f'the flags that command_line in its {CONFIG} holds' if first else ' '.join(
        f'--set={name}={errors.shown(there[name])}' for name in differing)
    named = first or differing
    new = [name for name in named if name not in stored]
    older = f'; the run is from before {" and ".join(new)} came' if new else ''
    said = [', '.join(f'{name}={errors.shown(values[name])}' for name in named)
            for values in (there, here)]
    raise errors.UsageError(
        f'run_dir={folder}: belongs to another config: there {said[0]}; here {said[1]}{older}; '
        f'continue it with {how}')
  if here['run_length'] < there['run_length']:
    raise errors.UsageError(
        f'run_dir={folder}: is a run of {there["run_length"]:,} {here["unit"]}; it can be made '
        f'longer, not shorter, but here run_length={here["run_length"]:,}')


def _was_trained(folder: pathlib.Path) -> bool:
  rows = metrics.read_rows(folder / 'results.csv') + metrics.read_rows(folder / 'probes.csv')
  return any(int(row['frame']) > 0 for row in rows)


@contextlib.contextmanager
def locked(
    folder: pathlib.Path, name: str = 'log.txt', patience_s: float = 0.0) -> Iterator[None]:
  """Keeps other processes out of the folder for as long as this one writes to it.

  Args:
    folder: which.
    name: of the file that is locked; the default is there anyway.
    patience_s: how long another process may take to end.

  Raises:
    UsageError: another process writes to it, or it cannot be made.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
    raise errors.UsageError(f'run_dir={folder}: cannot be made: {error.strerror}') from None
  until = time.monotonic() + patience_s
  with open(folder / name, 'a') as file:
    while True:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if time.monotonic() >= until:
          raise errors.UsageError(
              f'run_dir={folder}: must be free; another process is running it') from None
        time.sleep(0.1)
    yield


def new_id() -> str:
  """A name that no other run has."""
  return uuid.uuid4().hex[:12]


def create(
    folder: pathlib.Path, config: Config, run_id: str, stored: dict[str, Any] | None,
    about: Mapping[str, Any] = {}) -> None:
  """Makes the folder and writes config.json; a continued run keeps what it was started with.

  `about` is more of ABOUT, from who knows it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  now = dict(versions=versions(), command_line=[sys.executable, *sys.argv])
  content = as_json(config) | dict(run_id=run_id, **now, continued_with=[])
  if stored:
    first = {name: stored[name] for name in (*now, *about) if name in stored}
    content |= first | dict(continued_with=[*stored['continued_with'], now])
  else:
    content |= about
  files.write_text(folder / CONFIG, json.dumps(content, indent=2) + '\n')


def as_json(config: Config) -> dict[str, Any]:
  """Every setting, as config.json holds it."""
  return json.loads(json.dumps(dataclasses.asdict(config)))  # tuples become lists, as when read


def frozen(value: Any) -> Any:
  """A setting, from what JSON made of it."""
  return tuple(map(frozen, value)) if isinstance(value, list) else value


def versions() -> dict[str, str]:
  """Of Python, this checkout and the packages that a run's numbers depend on."""
  found = {'python': platform.python_version(), 'pliant': _own_version()}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def _own_version() -> str:
  """The commit of this checkout, with a mark where files were changed since."""
  try:
    done = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'], capture_output=True, text=True,
        cwd=pathlib.Path(__file__).parent, timeout=10, check=True)
    return done.stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return 'unknown'
