"""Torsos: observations in, hidden layers out, the last of them the features of the head."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from networks import backend
from networks.layers import Features, Hidden, Style
from networks.types import Layer


def _pixels(x: jax.Array) -> jax.Array:
  """[B, stack, H, W] or [B, stack, H, W, C] uint8 -> [B, H, W, stack * C] float32 in [0, 1]."""
  x = jnp.moveaxis(x, 1, 3)
  return x.reshape(*x.shape[:3], -1).astype(jnp.float32) / 255.0


def _convs(
    x: jax.Array, style: Style, shapes: tuple[tuple[int, int, int], ...],
    padding: str = 'VALID') -> Features:
  """Convolutions of (channels, kernel, stride), ReLU after each."""
  x, features = _pixels(x), {}
  for i, shape in enumerate(shapes, 1):
    name = f'conv{i}'
    x = features[name] = style.convolve(x, shape, name, padding)
  return features


_NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # Mnih et al. 2015
_DATA_EFFICIENT = ((32, 5, 5), (64, 5, 5))  # van Hasselt et al. 2019


def _impala(x: jax.Array, style: Style) -> Features:
  """The residual CNN of IMPALA (Espeholt et al. 2018, figure 3, right): [B, stack, 84, 84]."""
  x, features = _pixels(x), {}

  for i, channels in enumerate((16, 32, 32), 1):
    shape = (channels, 3, 1)
    x = style.conv(x, shape, f'stack{i}_conv', 'SAME')
    x = hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), 'SAME')
    for block in (f'stack{i}_block1', f'stack{i}_block2'):
      before = features[f'{block}_in'] = style.nonlinear(x, f'{block}_in', 'relu')
      hidden = features[f'{block}_conv1'] = style.convolve(before, shape, f'{block}_conv1', 'SAME')
      x = x + style.conv(hidden, shape, f'{block}_conv2', 'SAME')
  features['stack3_out'] = style.nonlinear(x, 'stack3_out', 'relu')
  return features


def _drq(x: jax.Array, style: Style) -> Features:
  """DecQN's pixel network, after DrQ-v2's encoder (Yarats et al. 2021): -> 100 * width."""
  x, features = _pixels(x) - 0.5, {}
  for name, stride in (('conv1', 2), ('conv2', 1), ('conv3', 1), ('conv4', 1)):
    x = features[name] = style.convolve(x, (32, 3, stride), name, 'SAME')
  features['bottleneck'] = style.dense(
      x, 100 * style.width, 'bottleneck', 'tanh', own_norm=True)
  return features


def _residual_mlp(x: jax.Array, style: Style) -> Features:
  """DecQN's state network (Seyde et al. 2023): [B, D] -> 512 * width.

  A linear layer, one residual block of two, ELU after the sum, whose own norm is DecQN's.
  """
  size = 512 * style.width
  skip = style.linear(hk.Flatten()(x).astype(jnp.float32), size, 'dense1')
  hidden = style.dense(skip, size, 'dense2', 'relu')
  x = skip + style.linear(hidden, size, 'dense3')
  return {'dense2': hidden, 'dense3': style.nonlinear(x, 'dense3', 'elu', own_norm=True)}


def _mlp(x: jax.Array, style: Style) -> Features:
  """Two ReLU layers of 64 for small problems: [B, ...] -> 64 * width."""
  x = hk.Flatten()(x).astype(jnp.float32)
  features = {}
  for name in ('dense1', 'dense2'):
    x = features[name] = style.dense(x, 64 * style.width, name, 'relu')
  return features


def _image_mlp(x: jax.Array, style: Style, size: int) -> Features:
  """Two ReLU layers on all pixels: [B, 1, H, W, C] -> size * width."""
  x, features = hk.Flatten()(_pixels(x)), {}
  for name in ('dense1', 'dense2'):
    x = features[name] = style.dense(x, size * style.width, name, 'relu')
  return features


def _small_cnn(x: jax.Array, style: Style) -> Features:
  """Three convolutions and a layer of 256 for small images: [B, 1, H, W, C] -> 256 * width."""
  features = _convs(x, style, ((32, 3, 1), (64, 3, 2), (64, 3, 2)), 'SAME')
  features['dense'] = style.dense(features['conv3'], 256 * style.width, 'dense', 'relu')
  return features


def _resnet18(x: jax.Array, style: Style) -> Features:
  """ResNet-18 with the stem for small images (He et al. 2016): [B, 1, H, W, C] -> 512 * width.

  Normalized, where it is, before each ReLU; the shortcuts' projections have no norm of their own.
  """
  features = {}
  x = style.conv(_pixels(x), (64, 3, 1), 'stem', 'SAME')
  x = features['stem'] = style.nonlinear(x, 'stem', 'relu')
  for i, channels in enumerate((64, 128, 256, 512), 1):
    for block in (1, 2):
      name, stride = f'stage{i}_block{block}', 2 if i > 1 and block == 1 else 1
      hidden = features[f'{name}_conv1'] = style.convolve(
          x, (channels, 3, stride), f'{name}_conv1', 'SAME')
      skip = x.activation
      if stride > 1 or skip.shape[-1] != style.width * channels:
        skip = style.conv(x, (channels, 1, stride), f'{name}_projection', 'SAME')
      total = skip + style.conv(hidden, (channels, 3, 1), f'{name}_conv2', 'SAME')
      x = features[f'{name}_out'] = style.nonlinear(total, f'{name}_out', 'relu')
  pooled = jnp.mean(x.activation, axis=(1, 2))
  features['pooled'] = Hidden(Layer(pooled, pooled), '', x.producer)
  return features


class Torso(NamedTuple):
  """A function, and what the settings beside it may ask of it."""
  apply: Callable[[jax.Array, Style], Features]
  takes_frames: bool  # [B, stack, H, W, ...] uint8; else a vector
  shared: bool  # several critics share it
  has_own_norm: bool = False


TORSOS = {
    'nature': Torso(functools.partial(_convs, shapes=_NATURE), True, True),
    # Dopamine's version of it: Flax pads where the originals in Lua and TensorFlow do not.
    'nature_same': Torso(functools.partial(_convs, shapes=_NATURE, padding='SAME'), True, True),
    'data_efficient': Torso(functools.partial(_convs, shapes=_DATA_EFFICIENT), True, True),
    'impala': Torso(_impala, True, True),
    'drq': Torso(_drq, True, True, has_own_norm=True),
    'image_mlp': Torso(functools.partial(_image_mlp, size=512), True, False),
    'small_image_mlp': Torso(functools.partial(_image_mlp, size=128), True, False),
    'small_cnn': Torso(_small_cnn, True, True),
    'resnet18': Torso(_resnet18, True, True),
    'residual_mlp': Torso(_residual_mlp, False, False, has_own_norm=True),
    'mlp': Torso(_mlp, False, False),
}


def slow_in_loops(torso: str) -> bool:
  """Whether XLA takes a slow way through it in a loop, or with kernels for each example.

  It does with convolutions on a CPU, ten times as long; so it does in `jax.lax.scan` unrolled.
  """
  return backend.on_cpu() and TORSOS[torso].shared
