"""What an update reads and writes, as one value."""

from typing import Any, NamedTuple

import jax
import optax

from networks import types


class LearnerState(NamedTuple):
  """All that an update reads and writes."""
  params: types.Params
  target_params: types.Params
  opt_state: optax.OptState
  key: jax.Array
  num_updates: jax.Array  # int32
  memory: dict[str, Any]  # what each mechanism of agents/mechanism.py keeps, by intervention
