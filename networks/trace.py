"""What a forward pass leaves beside its output."""

from typing import NamedTuple

import jax


class Call(NamedTuple):
  """A module was applied."""
  module: str  # its full name
  source: str = ''  # the module of the hidden layer that it reads; '': what it reads is none's
  is_output: bool = False  # what it returns is not hidden


class Trace(NamedTuple):
  """Filled while the modules of one forward pass are called."""
  training: bool  # whether an update will be made of this pass
  statistics: dict[str, dict[str, jax.Array]]  # module -> types.STATISTICS -> what is to be kept
  calls: list[Call]

  @classmethod
  def start(cls, training: bool) -> 'Trace':
    """An empty one."""
    return cls(training, {}, [])

  def keep(self, module: str, name: str, value: jax.Array) -> None:
    """Notes what training makes of one of a module's statistics."""
    if self.training:
      self.statistics.setdefault(module, {})[name] = jax.lax.stop_gradient(value)
