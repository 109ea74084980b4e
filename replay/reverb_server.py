"""The Reverb server: its tables, and what its process does.

`python -m replay.reverb_server SPEC FOLDER` is the process that `reverb_process.begin` starts.
"""

import ctypes
import json
import os
import shutil
import signal
import sys

import reverb
import tensorflow as tf
from reverb import reverb_types

from replay import reverb_process, types

TABLE = 'transitions'
HEADER = 8  # Numbers in a letter's header.
_QUEUE_LENGTH = 10_000  # Letters; more lose the oldest.
_NO_BOUND = -1e15
_PR_SET_PDEATHSIG = 1
# What ends the server when its parent dies. SIGTERM does not, since a cluster's scheduler sends
# that to every process of a job, and the trainer has yet to save.
_END = signal.SIGHUP


def run_table(run_id: str) -> str:
  """The name of the table by which a client knows the server of its own run."""
  return f'run-{run_id}'


def window_length(signature: types.Signature) -> int:
  """Frames an item refers to: obs_tm1's, obs_t's and what lies between them."""
  return signature.stack + signature.n_step


def tables(spec: reverb_process.Spec) -> list[reverb.Table]:
  """The transitions' table, and an empty one for each run id."""
  signature, settings = spec.signature, spec.settings
  window = (window_length(signature), *signature.frame_shape)
  item = {
      'frames': tf.TensorSpec(window, tf.dtypes.as_dtype(signature.frame_dtype)),
      'scalars': tf.TensorSpec((signature.num_action_dims + 3,), tf.float32)}
  uniform, fifo = reverb.selectors.Uniform(), reverb.selectors.Fifo()
  prioritized = reverb.selectors.Prioritized(1.0)  # `ReverbReplay` has raised to the power.
  limiter = reverb.rate_limiters.MinSize
  return [
      reverb.Table(TABLE, prioritized if settings.prioritized else uniform, fifo,
                   settings.capacity, _limiter(settings), signature=item),
      *(reverb.Table(run_table(run_id), uniform, fifo, 1, limiter(1))
        for run_id in spec.run_ids),
      *(_letters(name, 1, 0) for name in spec.slots),
      *(_letters(name, _QUEUE_LENGTH, 1) for name in spec.queues)]


def _letters(name: str, max_size: int, max_times_sampled: int) -> reverb.Table:
  """A table of letters, with selectors of its own: a shared one confuses the keys of two."""
  letter = {'blob': tf.TensorSpec([None], tf.uint8), 'header': tf.TensorSpec([HEADER], tf.float64)}
  fifo = reverb.selectors.Fifo
  return reverb.Table(name, fifo(), fifo(), max_size, reverb.rate_limiters.MinSize(1),
                      max_times_sampled, signature=letter)


def _limiter(settings: types.Settings) -> reverb.rate_limiters.RateLimiter:
  """Holds writers back, never the reader, which counts what was inserted itself."""
  ratio = settings.samples_per_insert
  if not ratio:
    return reverb.rate_limiters.MinSize(1)
  most = ratio * (settings.min_size + settings.max_ahead)
  return reverb.rate_limiters.RateLimiter(ratio, 1, _NO_BOUND, most)


def check_table(table: reverb_types.TableInfo, spec: reverb_process.Spec) -> None:
  """Raises ReplayError where a server's table is not what was asked for.

  On loading, a checkpoint's settings win over the ones asked for, silently.
  """
  for field, wanted in _describe(tables(spec)[0].info).items():
    was = _describe(table)[field]
    if was != wanted:
      raise types.ReplayError(f'the replay server has {field} {was}, not {wanted}')


def _describe(table: reverb_types.TableInfo) -> dict[str, str]:
  limiter = table.rate_limiter_info
  named = {
      'max_size': table.max_size, 'signature': table.signature, 'sampler': table.sampler_options,
      'remover': table.remover_options, 'min_size_to_sample': limiter.min_size_to_sample,
      'min_diff': limiter.min_diff, 'max_diff': limiter.max_diff}
  return {name: ' '.join(str(value).split()) for name, value in named.items()}


def main(argument: str, folder: str) -> None:
  """Serves until the parent kills it or dies; in that case removes `folder`."""
  spec = reverb_process.parse(argument)
  parent_died = _pipe_from_signals()
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _END)
  try:
    if os.getppid() != spec.parent:
      return  # It died before we could ask to be told.
    checkpointer = reverb.checkpointers.DefaultCheckpointer(folder, '', spec.checkpoint)
    server = reverb.Server(tables(spec), spec.port or None, checkpointer)
    print(json.dumps({'port': server.port}), flush=True)
    os.dup2(2, 1)  # Nobody reads stdout any more.
    os.read(parent_died, 1)
    server.stop()
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def _pipe_from_signals() -> int:
  """Ignores what is for the trainer; returns a file descriptor that `_END` makes readable.

  Not an Event, whose lock a handler can find taken; nor server.wait(), under which no handler
  runs; nor signal.pause(), which sleeps on where another thread got the signal.
  """
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
  read_end, write_end = os.pipe()
  os.set_blocking(write_end, False)
  signal.set_wakeup_fd(write_end)
  signal.signal(_END, lambda *_: None)
  return read_end


if __name__ == '__main__':
  main(*sys.argv[1:])
