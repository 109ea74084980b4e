"""The replay that lives in a Reverb server."""

import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from replay import reverb_client, reverb_process, reverb_server, types

check_port = reverb_client.check_port

# Reverb cuts a column into chunks and compresses each: similar frames share one.
_CHUNK_LENGTH = 8
_SAVE_SECONDS_PER_ITEM = 1e-3  # Four times what incompressible Atari frames take.
# Items a writer may have unconfirmed: three chunks' worth, so that chunks are full when they leave.
_MAX_PENDING = 3 * _CHUNK_LENGTH


def start(spec: reverb_process.Spec, server: reverb_process.Server,
          scratch: pathlib.Path | None = None, deadline_s: float = 10.0,
          patience_s: float = 120.0) -> 'ReverbReplay':
  """Waits for a server of our own that was begun; returns its replay.

  Args:
    spec: what it serves.
    server: see `reverb_process.begin`.
    scratch: where the server makes its private folder. Saving is without a copy where that is
      the file system of the folder saved to.
    deadline_s: how long a living server may take to say that it lives.
    patience_s: how long one that lives may take to do what it is asked.
  """
  return ReverbReplay(spec, reverb_process.await_port(server), scratch, deadline_s, patience_s)


@dataclasses.dataclass
class _Tape:
  """One stream's frames as they came, zeros before each episode's first, and its outcomes.

  The writer never ends an episode: the zeros keep windows of different episodes apart. Outcomes
  beyond the first that end at a frame have rows of their own, in which there is no frame.
  """
  writer: reverb_client.Writer
  episode_length: int
  rows_since_frame: int = 0

  def frames(self, history: dict[str, Any], length: int) -> reverb_client.Column:
    """The newest `length` frames of the writer's history."""
    end = -self.rows_since_frame
    return history['frames'][end - length:end or None]


def continued(spec: reverb_process.Spec, folder: pathlib.Path) -> reverb_process.Spec:
  """The spec of a server that goes on from what `ReverbReplay.save` wrote into `folder`."""
  state = json.loads((folder / 'state.json').read_text())
  # It must have every table of its checkpoint, also those of the runs that wrote it.
  run_ids = tuple(dict.fromkeys([spec.run_ids[0], *state['run_ids']]))
  return spec._replace(run_ids=run_ids, checkpoint=str((folder / 'reverb').resolve()))


class ReverbReplay:
  """Keeps `types.Replay`'s protocol, in a server process of its own.

  Each stream has its writer, and items leave a writer some dozens late: a batch may lack the very
  newest, and streams' items may enter, and so leave, the table in a slightly different order.

  Reverb draws by one weight an item and cannot mix in uniform draws, so the weight has their share
  in it. A priority p is sent as
    (1 - u) * p ** exponent + u * m,
  u being the uniform probability and m the mean weight of the table at the last draw. Where that
  mean stands still it is the mean of p ** exponent too, and chances are the local replay's:
    (1 - u) * p ** exponent / sum + u / size.
  Where it moves, an item keeps the m of when its priority was set: its uniform part is u / size
  times that m over today's mean, so more where errors have shrunk since, and less where they have
  grown. The probabilities reported are always those drawn with.
  """

  def __init__(self, spec: reverb_process.Spec, server: reverb_process.Server,
               scratch: pathlib.Path | None, deadline_s: float, patience_s: float):
    """Args: see `start`; the server listens."""
    self._spec, self.server = spec, server
    self._scratch, self._deadline_s, self._patience_s = scratch, deadline_s, patience_s
    self._signature, self._settings = spec.signature, spec.settings
    self._window = reverb_server.window_length(spec.signature)
    self._max_priority = types.FIRST_PRIORITY
    self._mean_weight = types.FIRST_PRIORITY ** spec.settings.priority_exponent
    self.num_refused = 0
    self._tapes = []
    num_streams, frame_shape = self._signature.num_streams, self._signature.frame_shape
    blank = np.zeros((num_streams, self._window - 1, *frame_shape), self._signature.frame_dtype)
    self._connect(blank, [0] * num_streams)

  def add(self, step: types.Step) -> None:
    """See `types.Replay`. Waits only where the server lags by some dozens of items."""
    tape, writer = self._tapes[step.stream], self._tapes[step.stream].writer
    types.check_step(self._signature, step, 0 if step.is_first else tape.episode_length)
    if step.is_first:
      tape.episode_length = 0
      for _ in range(self._window - 2):  # All that the window of a first, single step lacks.
        writer.append({'frames': np.zeros_like(step.frame)})
    tape.episode_length += 1
    rows = [{'scalars': self._scalars(outcome)} for outcome in step.outcomes] or [{}]
    rows[0]['frames'] = step.frame
    for tape.rows_since_frame, row in enumerate(rows):
      writer.append(row)
      if 'scalars' in row:
        self._insert(tape)

  def sample(self, batch_size: int) -> types.Sample:
    """See `types.Replay`."""
    if not self._size:
      raise types.ReplayError('sample: the replay holds no transition yet')
    if not self._was_flushed:  # Nothing may have left the writers yet.
      self._flush_all()
    keys, probabilities, mean_weights, windows, scalars = zip(
        *self._client.sample(batch_size), strict=True)
    self._set_mean_weight(mean_weights[-1])
    signature = self._signature
    obs_tm1, obs_t = np.empty((2, batch_size, signature.stack, *signature.frame_shape),
                              signature.frame_dtype)
    scalars = np.stack(scalars)
    starts = signature.n_step - scalars[:, -1].astype(int)  # A shortened outcome starts later.
    for i, (start, frames) in enumerate(zip(starts, windows, strict=True)):
      obs_tm1[i], obs_t[i] = frames[start:start + signature.stack], frames[-signature.stack:]
    batch = batch_size, *signature.observation_shape
    transition = types.Transition(
        obs_tm1.reshape(batch), scalars[:, :-3].astype(np.int32), scalars[:, -3].copy(),
        scalars[:, -2].copy(), obs_t.reshape(batch))
    return types.Sample(np.array(keys, np.uint64), np.array(probabilities), transition)

  def update(self, keys: np.ndarray, td_errors: np.ndarray) -> None:
    """See `types.Replay`."""
    valid_keys, priorities = types.to_updates(keys, td_errors)
    self.num_refused += len(keys) - len(valid_keys)
    self._max_priority = float(priorities.max(initial=self._max_priority))
    if self._settings.prioritized:
      weights = self._weight(priorities)
      self._client.set_weights(dict(zip(valid_keys.tolist(), weights.tolist(), strict=True)))

  def peek(self, count: int, seed: int) -> types.Transition:
    """See `types.Replay`. Reverb 0.14 cannot be seeded."""
    del seed
    return self.sample(count).transition

  def size(self) -> int:
    """See `types.Replay`."""
    return self._size

  def save(self, folder: pathlib.Path) -> None:
    """See `types.Replay`."""
    folder.mkdir()
    self._flush_all()
    checkpoint = pathlib.Path(self._client.checkpoint(
        self._patience_s + _SAVE_SECONDS_PER_ITEM * self._size))
    if not (checkpoint / 'DONE').exists():
      raise types.ReplayError(f'the checkpoint {checkpoint} is not whole: it has no DONE file')
    shutil.copytree(checkpoint, folder / 'reverb', copy_function=_link)
    windows = [tape.frames(tape.writer.history, self._window - 1).numpy() for tape in self._tapes]
    np.save(folder / 'windows.npy', np.array(windows))
    state = {
        'signature': self._signature._asdict(), 'settings': self._settings._asdict(),
        'max_priority': self._max_priority, 'mean_weight': self._mean_weight,
        'num_refused': self.num_refused, 'size': self._size, 'run_ids': self._spec.run_ids,
        'episode_lengths': [tape.episode_length for tape in self._tapes]}
    (folder / 'state.json').write_text(json.dumps(state))

  def restore(self, folder: pathlib.Path) -> None:
    """See `types.Replay`. Starts another server, since only a new one can load a checkpoint."""
    state = self._saved_state(folder)
    windows = np.load(folder / 'windows.npy', allow_pickle=False)
    self.close()
    check_port(self._spec.port)
    self._spec = continued(self._spec, folder)
    self.server = reverb_process.await_port(reverb_process.begin(self._spec, self._scratch))
    self._connect(windows, state['episode_lengths'])
    self._max_priority, self.num_refused = state['max_priority'], state['num_refused']
    self._mean_weight = state.get('mean_weight', self._mean_weight)  # Older folders lack it.
    if self._size != state['size']:
      raise types.ReplayError(f'{folder}: {state["size"]} transitions were saved, '
                              f'but the server loaded {self._size}')

  def _saved_state(self, folder: pathlib.Path) -> dict[str, Any]:
    """What `save` wrote of a replay like this one."""
    state = json.loads((folder / 'state.json').read_text())
    types.check_same('signature', state['signature'], self._signature)
    types.check_same('settings', state['settings'], self._settings)
    return state

  def close(self) -> None:
    """See `types.Replay`."""
    for tape in self._tapes:
      tape.writer.close()
    reverb_process.stop(self.server)

  def _connect(self, windows: np.ndarray, episode_lengths: list[int]) -> None:
    """Checks the server; makes a tape a stream that begins with `windows` [N, W - 1, ...]."""
    try:
      self._client = reverb_client.Client(
          self.server, self._deadline_s, self._patience_s)
      table = self._client.info('describe its table')[reverb_server.TABLE]
      reverb_server.check_table(table, self._spec)
      num_refs = self._window + max(self._signature.n_step, _CHUNK_LENGTH)
      chunks = dict.fromkeys(('frames', 'scalars'), _CHUNK_LENGTH)
      self._tapes = [_Tape(self._client.writer(num_refs, chunks), length)
                     for length in episode_lengths]
    except BaseException:
      self.close()
      raise
    for tape, frames in zip(self._tapes, windows, strict=True):
      for frame in frames:
        tape.writer.append({'frames': frame})
    self._size, self._was_flushed = table.current_size, False

  def _scalars(self, outcome: types.Outcome) -> np.ndarray:
    """Packs an outcome into one row, since each column costs the server memory: [M + 3]."""
    return np.array([*outcome.a_tm1, outcome.r_t, outcome.discount_t, outcome.num_steps],
                    np.float32)

  def _insert(self, tape: _Tape) -> None:
    """Creates the item of the newest window and outcome: the one place that creates any."""
    history = tape.writer.history  # Asked for once: it costs as much as appending a frame.
    item = {'frames': tape.frames(history, self._window), 'scalars': history['scalars'][-1]}
    priority = self._settings.new_priority or self._max_priority
    tape.writer.create_item(reverb_server.TABLE, self._weight(priority), item)
    self._size = min(self._size + 1, self._settings.capacity)
    self._client.flush(tape.writer, _MAX_PENDING)

  def _weight(self, priorities: np.ndarray | float) -> np.ndarray | float:
    """What a table is told; see the class. Priorities must come from `types.to_priorities`."""
    uniform = self._settings.uniform_probability
    weights = priorities ** self._settings.priority_exponent
    return (1 - uniform) * weights + uniform * self._mean_weight

  def _set_mean_weight(self, mean_weight: float) -> None:
    """Takes what a server said, kept within what our own weights can be: it goes into others."""
    exponent = self._settings.priority_exponent
    low, high = types.MIN_PRIORITY ** exponent, types.MAX_PRIORITY ** exponent
    self._mean_weight = min(high, max(low, mean_weight))  # In this order NaN gives `low`.

  def _flush_all(self) -> None:
    for tape in self._tapes:
      self._client.flush(tape.writer, 0)
    self._was_flushed = True


def _link(source: str, target: str) -> None:
  """Links a file that Reverb will delete, or copies it where the file systems differ."""
  try:
    os.link(source, target)
  except OSError:
    shutil.copyfile(source, target)
