"""What all scripts share: errors become exit statuses and one line, signals stop a run."""

import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from agents import checkpoint, display, errors, flag_reader, heap
from probes import random_target
from replay import types as replay_types

DONE, FAILED, BAD_ARGUMENT, INTERRUPTED = 0, 1, 2, 130

# Config fields; 'small' is their defaults.
_PROBE_SIZES: Mapping[str, Mapping[str, Any]] = {
    'small': dict(
        probe_targets=random_target.SMALL.num_targets, probe_steps=random_target.SMALL.num_steps,
        probe_batch_size=random_target.SMALL.batch_size,
        probe_pool_size=random_target.SMALL.pool_size, probe_optimizer='small'),
    'paper': dict(
        probe_targets=random_target.PAPER.num_targets, probe_steps=random_target.PAPER.num_steps,
        probe_batch_size=random_target.PAPER.batch_size,
        probe_pool_size=random_target.PAPER.pool_size, probe_optimizer='agent'),
}


def main(argv: Sequence[str], run: Callable[[Sequence[str]], int | str]) -> int:
  """Runs a script, which returns its exit status or a text to be printed; returns the status."""
  display.log_to_stderr()
  heap.keep_freed()
  try:
    found = run(argv)
    if not isinstance(found, str):
      return found
    flag_reader.show(found)
    return DONE
  except ValueError as error:
    status, cause = BAD_ARGUMENT, str(error)
  except (OSError, MemoryError, replay_types.ReplayError, checkpoint.CheckpointError,
          errors.RunError) as error:
    status, cause = FAILED, f'{type(error).__name__}: {error}'
  except RuntimeError as error:
    if not str(error).startswith('RESOURCE_EXHAUSTED'):  # XLA's word for memory
      raise
    status, cause = FAILED, f"{error} The device's memory must hold it: set less"
  print(f'{pathlib.Path(argv[0]).name}: {_one_line(cause)}', file=sys.stderr)
  return status


def _one_line(text: str) -> str:
  """With escapes for what would break it, or what a terminal cannot show."""
  return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def probe_size(values: flags.FlagValues) -> Mapping[str, Any]:
  """The settings of Config that --probe_size stands for."""
  if not values.probe_size:
    return {}
  if values.probe_size not in _PROBE_SIZES:
    raise errors.unknown('probe_size', values.probe_size, _PROBE_SIZES)
  return _PROBE_SIZES[values.probe_size]


def stop_on_signals() -> threading.Event:
  """An event that a SIGINT, SIGTERM or SIGHUP sets; one more of the first two ends the process."""
  stop = threading.Event()

  def handle(number, frame):
    del number, frame
    stop.set()
    for each in (signal.SIGINT, signal.SIGTERM):  # SIGHUP may come along with either
      signal.signal(each, signal.SIG_DFL)
    display.log.info('stopping in good order; once more to end at once')

  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, handle)
  return stop
