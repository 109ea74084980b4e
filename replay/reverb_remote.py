"""A Reverb server whose clients are other processes, and their side of it."""

import collections
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from replay import reverb_client, reverb_process, reverb_replay, reverb_server, types


class Counts(NamedTuple):
  """What a server has counted."""
  delivered: int  # transitions that came in, those of the checkpoint it was started from included
  letters: dict[str, int]  # by slot or queue, how many are there


def serve(
    signature: types.Signature, settings: types.Settings, run_id: str, port: int,
    scratch: pathlib.Path, checkpoint: pathlib.Path | None, host: str, slots: tuple[str, ...],
    queues: tuple[str, ...]) -> reverb_process.Server:
  """Starts a server, which dies with the calling thread; with the contents of a saved replay.

  Args:
    signature: what it holds.
    settings: how it keeps and draws, and how far writers may be ahead.
    run_id: by which the run's clients know their server.
    port: 0 for any free one; a fixed one that is taken is a ValueError.
    scratch: where the server makes its private folder, on the file system of checkpoints.
    checkpoint: a folder that `types.Replay.save` made.
    host: by which clients reach this machine.
    slots: tables of one letter, the newest.
    queues: tables of letters that are taken once.

  Raises:
    ReplayError: it did not start, or not as it was asked to.
  """
  reverb_client.check_port(port)
  spec = reverb_process.new_spec(signature, settings, run_id, port)._replace(
      slots=slots, queues=queues)
  if checkpoint:
    spec = reverb_replay.continued(spec, checkpoint)
  server = reverb_process.await_port(reverb_process.begin(spec, scratch))
  return server._replace(endpoint=server.endpoint._replace(host=host))


def endpoint(fields: Sequence[Any]) -> reverb_process.Endpoint:
  """An endpoint, from the data it was sent as."""
  return reverb_process.Endpoint(*fields)


stop = reverb_process.stop


class RemoteReplay(reverb_replay.ReverbReplay):
  """Keeps `types.Replay`'s protocol with a server that another process starts and ends.

  A writer has a tape for each stream of its own; the learner has none, and never adds.
  """

  def __init__(
      self, endpoint: reverb_process.Endpoint, signature: types.Signature,
      settings: types.Settings, deadline_s: float = 10.0, patience_s: float = math.inf,
      num_kept: int = 0):
    """Connects.

    Args:
      endpoint: where the server is.
      signature: what it holds, with the number of streams that this process writes.
      settings: how it keeps and draws; a server that does otherwise is refused.
      deadline_s: how long a living server may take to say that it lives.
      patience_s: how long one that lives may take; writers are held back for as long as it takes.
      num_kept: transitions last drawn that are kept for `peek`.
    """
    self._num_kept, self._kept = num_kept, collections.deque()
    spec = reverb_process.new_spec(signature, settings, endpoint.run_id, endpoint.port)
    super().__init__(spec, reverb_process.Server(endpoint), None, deadline_s, patience_s)

  @property
  def client(self) -> reverb_client.Client:
    """For letters."""
    return self._client

  @property
  def weighting(self) -> tuple[float, float]:
    """The largest priority seen and the mean weight, which writers `adopt`."""
    return self._max_priority, self._mean_weight

  def adopt(self, max_priority: float, mean_weight: float) -> None:
    """What the learner has seen of priorities, for the transitions that come in from now on."""
    within = min(types.MAX_PRIORITY, max(types.MIN_PRIORITY, max_priority))
    self._max_priority = max(self._max_priority, within)  # In this order NaN changes nothing.
    self._set_mean_weight(mean_weight)

  def count(self) -> Counts:
    """Asks the server; the replay's size is what it says from now on."""
    tables = self._client.info('count')
    table = tables[reverb_server.TABLE]
    self._size = table.current_size
    return Counts(table.rate_limiter_info.insert_stats.completed,
                  {name: info.current_size for name, info in tables.items()})

  def sample(self, batch_size: int) -> types.Sample:
    """See `types.Replay`."""
    sample = super().sample(batch_size)
    self._kept.append(sample.transition)
    while self._kept and _num_transitions(list(self._kept)[1:]) >= self._num_kept:
      self._kept.popleft()
    return sample

  def peek(self, count: int, seed: int) -> types.Transition:
    """See `types.Replay`. What was drawn last, and only what that lacks is drawn now.

    The rate limiter would take what is drawn for learnt from, and let writers go on.
    """
    del seed
    batches = list(self._kept)  # at once: another thread may be drawing
    missing = count - _num_transitions(batches)
    if missing > 0:
      batches.append(super().sample(missing).transition)
    return types.Transition(*(np.concatenate(leaves)[-count:]
                              for leaves in zip(*batches, strict=True)))

  def flush(self) -> None:
    """Waits until all that was added is in the table."""
    self._flush_all()

  def restore(self, folder: pathlib.Path) -> None:
    """See `types.Replay`: what the learner keeps; `serve` has given the server the rest."""
    state = self._saved_state(folder)
    self._max_priority, self.num_refused = state['max_priority'], state['num_refused']
    self._set_mean_weight(state['mean_weight'])

  def close(self) -> None:
    """See `types.Replay`. What was not delivered yet is dropped; the server stays."""
    for tape in self._tapes:
      tape.writer.close(retry_on_unavailable=False)
    self._tapes = []


def _num_transitions(batches: Sequence[types.Transition]) -> int:
  return sum(len(batch.r_t) for batch in batches)
