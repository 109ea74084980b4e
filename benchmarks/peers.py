"""The peers that we are measured beside, each in an environment of its own."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Peer(NamedTuple):
  """What measures it: takes compare.SETTINGS as JSON, prints a speed as JSON on its last line."""
  python: str
  program: str
  plays: bool  # frames/s of the whole loop are measured too
  agents: tuple[str, ...]  # whose updates are, by our names
  torso: str = 'nature'  # ours that does the same work
  changes: Mapping[str, Mapping[str, Any]] = {}  # by agent, what else makes ours do so

  @property
  def command(self) -> tuple[str, str]:
    return self.python, self.program


_TORCH, _DOPAMINE = '.venv-bench/bin/python', '.venv-dopamine/bin/python'

PEERS = {
    'Stable-Baselines3': Peer(_TORCH, 'benchmarks/peer_sb3.py', True, ('dqn', 'qr_dqn')),
    'Tianshou': Peer(
        _TORCH, 'benchmarks/peer_tianshou.py', False, ('dqn', 'c51', 'qr_dqn', 'rainbow')),
    'Dopamine': Peer(
        _DOPAMINE, 'benchmarks/peer_dopamine.py', True, ('dqn', 'c51', 'qr_dqn', 'rainbow'),
        'nature_same', {'rainbow': dict(shared_hidden=True)})}
