"""Heads: features in, utilities [B, M, A] out."""

import haiku as hk
import jax

from networks import layers


def utilities(
    features: jax.Array, num_action_dims: int, num_choices: int, style: layers.Style,
    shared_bias: bool) -> jax.Array:
  """A linear layer: [B, features] -> [B, M, A].

  With `shared_bias` all outputs share one bias, as in Double DQN (van Hasselt et al. 2016).
  """
  size = num_action_dims * num_choices
  q_values = style.linear(features, size, 'head', with_bias=not shared_bias)
  if shared_bias:
    init = layers.INITIALIZERS[style.initializer].biases(features.shape[-1])
    q_values = hk.Bias(bias_dims=[], b_init=init, name='head_bias')(q_values)
  return q_values.reshape(-1, num_action_dims, num_choices)
