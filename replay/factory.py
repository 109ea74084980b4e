"""The back ends by name, Reverb imported only when asked for."""

import importlib.util
import os
import pathlib
import types as python_types

from replay import frames, local, reverb_process, types

_FRAMES = {'local': frames.HostFrames, 'device': frames.DeviceFrames}  # of the local replay
KINDS = (*_FRAMES, 'reverb')


def default_kind() -> str:
  """Reverb where its wheel is installed."""
  return 'reverb' if importlib.util.find_spec('reverb') else 'local'


def available() -> tuple[str, ...]:
  """The kinds that can be had here."""
  return tuple(kind for kind in KINDS if _is_local(kind) or default_kind() == kind)


def make(kind: str, signature: types.Signature, settings: types.Settings, run_id: str,
         port: int = 0, scratch: pathlib.Path | None = None) -> types.Replay:
  """Makes a replay; a Reverb server of it dies with the calling thread.

  Args:
    kind: one of KINDS.
    signature: what it holds.
    settings: how it keeps and draws.
    run_id: by which a Reverb server is known to be the run's.
    port: of a Reverb server, see `check`; 0 for any free one.
    scratch: see `reverb_replay.start`.
  """
  types.check_settings(settings)
  if _is_local(kind):
    return local.LocalReplay(signature, settings, _FRAMES[kind])
  check(kind, port)
  spec = reverb_process.new_spec(signature, settings, run_id, port)
  server = reverb_process.begin(spec, scratch)
  try:
    # Both processes import TensorFlow at the same time.
    return _reverb_replay().start(spec, server, scratch)
  except BaseException:
    reverb_process.stop(server)
    raise


def remote() -> python_types.ModuleType:
  """`replay.reverb_remote`, for replays that several processes share; imported only here."""
  _check_installed()
  _reverb_replay()
  from replay import reverb_remote
  return reverb_remote


def estimate_bytes(kind: str, signature: types.Signature,
                   settings: types.Settings) -> tuple[int, int]:
  """The least and the most of the host's memory that a full replay takes."""
  if _is_local(kind):
    exact = local.estimate_bytes(signature, settings, _FRAMES[kind].on_host())
    return exact, exact
  _check_installed()
  return reverb_process.estimate_bytes(signature, settings)


def check(kind: str, port: int) -> None:
  """Raises ValueError where `make` would refuse these: before anything is built."""
  if not _is_local(kind):
    _check_installed()
    if reverb_process.taken(port):
      _reverb_replay().check_port(port)  # says by whom


def _is_local(kind: str) -> bool:
  if kind not in KINDS:
    raise ValueError(f'replay={kind}: unknown, must be one of {", ".join(KINDS)}')
  return kind in _FRAMES


def _check_installed() -> None:
  if importlib.util.find_spec('reverb') is None:
    raise ValueError(
        'replay=reverb: needs dm-reverb, which has wheels for CPython 3.9-3.11 on Linux x86-64 '
        'only; install the Reverb set with `make setup` under python3.11, or use --replay=local')


def _reverb_replay() -> python_types.ModuleType:
  """Imports Reverb, and with it TensorFlow, which takes seconds."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # Errors only.
  from replay import reverb_replay
  return reverb_replay
