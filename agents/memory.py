"""Whether a replay will fit, said before it is allocated."""

import pathlib

import psutil

from agents import errors, parts
from agents.config import Config
from agents.display import log
from replay import factory
from replay import types as replay_types

_CGROUP = pathlib.Path('/sys/fs/cgroup')


def available() -> int:
  """Bytes this process may still take: the machine's, or its control group's where less."""
  free = psutil.virtual_memory().available
  try:
    limit = (_CGROUP / 'memory.max').read_text().strip()
    used = int((_CGROUP / 'memory.current').read_text())
    # Files that were read or written count as used, but are given up when memory is wanted.
    kinds = dict(line.split() for line in (_CGROUP / 'memory.stat').read_text().splitlines())
    used -= int(kinds['inactive_file'])
  except (OSError, ValueError, KeyError):
    return free
  return free if limit == 'max' else min(free, int(limit) - used)


def check(
    config: Config, signature: replay_types.Signature, settings: replay_types.Settings) -> None:
  """Logs what the replay will take by the end of the run; refuses what cannot fit.

  Raises:
    UsageError: not even the low estimate fits.
  """
  filled = settings
  if config.replay != 'device':  # which takes all its memory at once
    steps = -(-config.run_length // config.units_per_step)
    filled = settings._replace(capacity=min(settings.capacity, steps))
  low, high = factory.estimate_bytes(config.replay, signature, filled)
  free = available()
  span = _gigabytes(high) if low == high else f'{_gigabytes(low)} to {_gigabytes(high)}'
  if low > free:
    raise errors.UsageError(
        f'replay_capacity={config.replay_capacity}: must fit in memory; {config.replay} replay '
        f'of {filled.capacity:,} transitions takes {span}, {_gigabytes(free)} is free; set less '
        'with --set replay_capacity=N')
  log.info("%s replay: %s of the host's memory for %s transitions, %s free", config.replay, span,
           f'{filled.capacity:,}', _gigabytes(free))
  if high > free:
    log.warning('replay: may not fit where frames compress badly')


def make_replay(
    config: Config, signature: replay_types.Signature, run_id: str, port: int,
    folder: pathlib.Path) -> replay_types.Replay:
  """Says how much memory the replay of a run in `folder` takes, refuses what cannot fit, makes it.

  Raises:
    UsageError: see `check`.
  """
  settings = parts.replay_settings(config)
  check(config, signature, settings)
  return factory.make(config.replay, signature, settings, run_id, port, scratch(folder))


def scratch(folder: pathlib.Path) -> pathlib.Path:
  """Where the Reverb server of a run saves: beside it, so that its files only have to be moved."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  return folder.parent


def _gigabytes(size: float) -> str:
  return f'{size / 1e9:.2f} GB'
