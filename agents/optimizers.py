"""Optimizers, as a Config describes them."""

from typing import Any

import jax
import optax

from networks import types

OPTIMIZERS = {
    'adam': lambda config: optax.scale_by_adam(
        b1=config.adam_b1, b2=config.adam_b2, eps=config.optimizer_epsilon),
    # Centred, as in Mnih et al. 2015.
    'rmsprop': lambda config: optax.scale_by_stddev(decay=0.95, eps=config.optimizer_epsilon),
}


def make(config: Any) -> optax.GradientTransformation:
  """Clip, precondition, decay, scale; what a setting turns off is not in the chain."""
  chain = []
  if config.max_gradient_norm:
    chain.append(optax.clip_by_global_norm(config.max_gradient_norm))
  chain.append(OPTIMIZERS[config.optimizer](config))
  if config.weight_decay:
    chain.append(optax.add_decayed_weights(config.weight_decay, mask=_is_kernel))
  chain.append(optax.scale_by_learning_rate(config.learning_rate))
  return optax.chain(*chain)


def _is_kernel(params: types.Params) -> Any:
  """True for weights of linear and convolutional layers; biases, scales and offsets are not."""
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'w', params)
