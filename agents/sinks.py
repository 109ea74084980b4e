"""Where rows go beside the CSV files: `--track` names rows of TABLE."""

import math
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol


class Sink(Protocol):
  """Takes rows of named numbers."""

  def add(self, prefix: str, frame: int, row: Mapping[str, Any]) -> None:
    """Records a row under `prefix`; what is not a finite number is left out."""

  def close(self) -> None:
    """Writes what waits."""


class TensorBoard:
  """Events in the run's `events` folder, each row written before `add` returns.

  Not tensorboardX's SummaryWriter: its thread dies of a full disk, and then `add` waits for ever.
  """

  def __init__(self, folder: pathlib.Path, resume_at: int):
    from tensorboardX import record_writer  # only who tracks pays for its import
    from tensorboardX.proto import event_pb2, summary_pb2

    self._protos = event_pb2, summary_pb2
    (folder / 'events').mkdir(exist_ok=True)
    name = f'events.out.tfevents.{time.time_ns()}.{os.getpid()}'
    self._writer = record_writer.RecordWriter(str(folder / 'events' / name))
    self._write(0, file_version='brain.Event:2')
    # What was recorded past the frame where the run goes on is recorded again.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(resume_at + 1, session_log=start)

  def add(self, prefix: str, frame: int, row: Mapping[str, Any]) -> None:
    _, summary_pb2 = self._protos
    values = [summary_pb2.Summary.Value(tag=f'{prefix}/{name}', simple_value=value)
              for name, value in row.items()
              if isinstance(value, (int, float)) and math.isfinite(value)]
    self._write(frame, summary=summary_pb2.Summary(value=values))

  def _write(self, step: int, **what) -> None:
    event_pb2, _ = self._protos
    event = event_pb2.Event(wall_time=time.time(), step=step, **what)
    self._writer.write(event.SerializeToString())
    self._writer.flush()

  def close(self) -> None:
    self._writer.close()


TABLE: Mapping[str, Callable[[pathlib.Path, int], Sink]] = {'tensorboard': TensorBoard}


def make(names: Iterable[str], folder: pathlib.Path, resume_at: int) -> list[Sink]:
  """The named sinks of a run that goes on at frame `resume_at`, -1 for a new one."""
  return [TABLE[name](folder, resume_at) for name in names]
