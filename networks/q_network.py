"""A Q-network from settings: a torso, then a head."""

import haiku as hk
import jax
import jax.numpy as jnp

from networks import heads, layers, torsos, types


def make(
    *, torso: str, observation_shape: tuple[int, ...], observation_dtype: str,
    num_action_dims: int, num_choices: int, style: layers.Style,
    shared_bias: bool = False) -> types.QNetwork:
  """A Q-network of `torso` on observations of one shape (without the batch axis).

  Raises:
    ValueError: the torso is not a row of torsos.TORSOS.
  """
  if torso not in torsos.TORSOS:
    raise ValueError(f'torso={torso}: unknown; known are {", ".join(torsos.TORSOS)}')
  row = torsos.TORSOS[torso]

  def forward(observation):
    features = row.apply(observation, style)
    embedding = list(features.values())[-1].activation
    q_values = heads.utilities(embedding, num_action_dims, num_choices, style, shared_bias)
    return types.QOutput(q_values, features)

  transformed = hk.transform(forward)

  def init(key: jax.Array) -> types.Params:
    return transformed.init(key, jnp.zeros((1, *observation_shape), observation_dtype))

  return types.QNetwork(init, transformed.apply, row.activations)
