"""What actors tell of their episodes and steps, and what the learner has heard of it."""

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dm_env
import jax
import numpy as np

from agents import metrics
from agents.distributed import job, letters

_PERIOD_SECONDS = 0.5


class Reports:
  """What an actor tells; each step and episode is told once."""

  def __init__(self, client: letters.Client, who: tuple[int, int, int], num_envs: int):
    """Args: `who` is the epoch, the actor's number and its generation."""
    self._client, self._who, self._sent = client, who, 0
    self._episodes, self._means = metrics.EpisodeTracker(num_envs), metrics.Means()
    self._sent_at = time.monotonic()

  def add(self, timestep: dm_env.TimeStep) -> None:
    """Counts a batched timestep."""
    self._episodes.add(timestep)

  def add_values(self, values: jax.Array) -> None:
    """Counts greedy values, [N]."""
    self._means.add({'state_value': values})

  def are_due(self) -> bool:
    """Whether the last ones were sent some time ago."""
    return time.monotonic() - self._sent_at >= _PERIOD_SECONDS

  def send(self, num_updates: int) -> None:
    """Tells all that was not told before; `num_updates` is the age of the weights."""
    self._sent, self._sent_at = self._sent + 1, time.monotonic()
    finished, num_steps = self._episodes.drain()
    value = self._means.take(('state_value',))['state_value']
    blob = np.array(finished, np.float64).tobytes()
    header = (*self._who, self._sent, num_steps, value, num_updates, zlib.crc32(blob))
    self._client.put(job.REPORTS, header, blob)


class Report(NamedTuple):
  """What is new in a report."""
  epoch: int
  returns: list[float]  # of the episodes that ended
  num_steps: int
  state_value: float  # their mean greedy value, NaN where there was none
  num_updates: int  # that the weights had which were played with


class Ledger:
  """What each start of an actor has told: a report counts once, and one that is lost is noticed.

  Rows are 'epoch/actor/generation' -> reports, steps, episodes and missing reports.
  """

  def __init__(self, rows: Mapping[str, Sequence[int]] | None = None):
    """Args: what `rows` was, of a run that goes on."""
    self.rows = {who: list(row) for who, row in (rows or {}).items()}

  def take(self, header: Sequence[float], blob: bytes) -> Report | None:
    """Reads a report; None where it was counted before, or damaged on its way."""
    epoch, actor, generation, number, num_steps, value, num_updates, checksum = header
    whole = [number, num_steps, num_updates, epoch, actor, generation]
    if zlib.crc32(blob) != checksum or len(blob) % 8 or not all(map(math.isfinite, whole)):
      return None
    row = self.rows.setdefault(f'{epoch:.0f}/{actor:.0f}/{generation:.0f}', [0, 0, 0, 0])
    if number <= row[0]:
      return None
    returns = np.frombuffer(blob, np.float64).tolist()
    row[3] += int(number) - row[0] - 1
    row[:3] = int(number), row[1] + int(num_steps), row[2] + len(returns)
    return Report(int(epoch), returns, int(num_steps), value, int(num_updates))

  def summary(self) -> str:
    """Of the whole run."""
    _, num_steps, num_episodes, missing = (
        [sum(column) for column in zip(*self.rows.values(), strict=True)] or [0] * 4)
    return (f'actors told of {num_episodes:,} episodes and {num_steps:,} steps'
            + (f'; {missing:,} reports were lost' if missing else ''))
