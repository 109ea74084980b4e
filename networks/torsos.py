"""Torsos: observations in, hidden layers out, the last of them the features of the head."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from networks import layers, types

Features = dict[str, types.Layer]


def _nature(x: jax.Array, style: layers.Style, padding: str = 'VALID') -> Features:
  """Nature CNN (Mnih et al. 2015): [B, stack, 84, 84] uint8 -> 512 features."""
  x = jnp.moveaxis(x, 1, -1).astype(jnp.float32) / 255.0
  features = {}
  for name, channels, kernel, stride in (
      ('conv1', 32, 8, 4), ('conv2', 64, 4, 2), ('conv3', 64, 3, 1)):
    x = style.conv(x, channels, kernel, stride, name, padding)
    features[name] = style.nonlinear(x, name, 'relu')
    x = features[name].activation
  x = style.linear(hk.Flatten()(x), 512, 'dense1')
  features['dense1'] = style.nonlinear(x, 'dense1', 'relu')
  return features


def _residual_mlp(x: jax.Array, style: layers.Style) -> Features:
  """DecQN's state network (Seyde et al. 2023), normalization left to `style`: [B, D] -> 512.

  A linear layer, one residual block of two, ELU after the sum.
  """
  skip = style.linear(hk.Flatten()(x).astype(jnp.float32), 512, 'dense1')
  x = style.linear(skip, 512, 'dense2')
  hidden = style.nonlinear(x, 'dense2', 'relu')
  x = skip + style.linear(hidden.activation, 512, 'dense3')
  return {'dense2': hidden, 'dense3': style.nonlinear(x, 'dense3', 'elu')}


def _mlp(x: jax.Array, style: layers.Style) -> Features:
  """Two ReLU layers of 64 for small problems: [B, ...] -> 64."""
  x = hk.Flatten()(x).astype(jnp.float32)
  features = {}
  for name in ('dense1', 'dense2'):
    features[name] = style.nonlinear(style.linear(x, 64, name), name, 'relu')
    x = features[name].activation
  return features


class Torso(NamedTuple):
  """A function and the nonlinearity of each layer it returns."""
  apply: Callable[[jax.Array, layers.Style], Features]
  activations: dict[str, str]


TORSOS = {
    'nature': Torso(_nature, dict.fromkeys(('conv1', 'conv2', 'conv3', 'dense1'), 'relu')),
    # Dopamine's version of it: Flax pads where TensorFlow's and Lua's originals do not.
    'nature_same': Torso(
        functools.partial(_nature, padding='SAME'),
        dict.fromkeys(('conv1', 'conv2', 'conv3', 'dense1'), 'relu')),
    'residual_mlp': Torso(_residual_mlp, {'dense2': 'relu', 'dense3': 'elu'}),
    'mlp': Torso(_mlp, dict.fromkeys(('dense1', 'dense2'), 'relu')),
}
