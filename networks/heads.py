"""Heads: a torso's features in, a critic's utilities [B, M, A] or their distributions out."""

import functools
import math
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from networks import injection
from networks.distributions import DISTRIBUTIONS, support
from networks.layers import INITIALIZERS, Features, Hidden, Style
from networks.trace import Call
from networks.types import Critic, Layer

_NUM_COSINES = 64  # IQN's embedding of a quantile (Dabney et al. 2018b, equation 4)


class Head(NamedTuple):
  """What follows the torso."""
  num_action_dims: int  # M
  num_choices: int  # A
  hidden_layers: int = 0  # ReLU layers before the outputs
  hidden_size: int = 512
  dueling: bool = False
  dueling_gradient: float = 1.0  # factor of what streams pass back to what they share
  shared_hidden: bool = False  # streams have their hidden layers in common
  noisy_sigma: float = 0.0  # of hidden layers and outputs; 0: no noise
  shared_bias: bool = False
  distribution: str = 'none'  # a row of distributions.DISTRIBUTIONS
  num_atoms: int = 51  # N; quantiles drawn, where implicit
  v_min: float = -10.0  # returns of the first and the last atom, without a margin
  v_max: float = 10.0
  margin: float = 0.0  # how far atoms go on beyond both, in distances of atoms
  symlog: bool = False  # atoms are evenly spaced in symlog of the return
  injection: bool = False  # two more copies, whose difference may be added (networks/injection.py)

  @property
  def numbers_per_choice(self) -> int:
    """How many outputs a choice has."""
    return self.num_atoms if DISTRIBUTIONS[self.distribution].per_atom else 1


def bounds(head: Head) -> tuple[float, float]:
  """What utilities can be: means over the atoms, where there are some."""
  if not DISTRIBUTIONS[head.distribution].has_support:
    return -math.inf, math.inf
  atoms = support(head.v_min, head.v_max, head.num_atoms, head.symlog, head.margin)
  return float(atoms[0]), float(atoms[-1])


def draw_taus(head: Head, batch_size: int) -> jax.Array | None:
  """[B, N] quantiles: drawn where implicit, the midpoints of N intervals where fixed."""
  if head.distribution == 'implicit':
    return jax.random.uniform(hk.next_rng_key(), (batch_size, head.num_atoms))
  if head.distribution == 'quantile':
    midpoints = (jnp.arange(head.num_atoms) + 0.5) / head.num_atoms
    return jnp.broadcast_to(midpoints, (batch_size, head.num_atoms))
  return None


def apply(
    embedding: Hidden, taus: jax.Array | None, head: Head,
    style: Style) -> tuple[Critic, Features]:
  """Features and [B, N] quantiles -> a critic and the hidden layers on the way."""
  features = {}
  x = embedding
  if head.distribution == 'implicit':
    size = hk.Flatten()(embedding.activation).shape[-1]
    features['taus'] = _embed(taus, size, style)
    x = _times(embedding, features['taus'].activation)
  make = functools.partial(_outputs, x, head, style)
  if head.injection:
    outputs, penultimate = injection.add(make, features, style.trace)
  else:
    outputs, penultimate = make(features)
  if head.distribution == 'none':
    return Critic(outputs[..., 0], penultimate=penultimate), features
  if DISTRIBUTIONS[head.distribution].has_support:
    atoms = support(head.v_min, head.v_max, head.num_atoms, head.symlog, head.margin)
    q_values = jnp.sum(jax.nn.softmax(outputs) * atoms, axis=-1)
    return Critic(q_values, outputs, penultimate=penultimate), features
  if head.distribution == 'implicit':  # Quantiles were examples of their own until here.
    outputs = jnp.moveaxis(outputs[..., 0].reshape(*taus.shape, *outputs.shape[1:3]), 1, -1)
    features = {name: _split(hidden, taus.shape) for name, hidden in features.items()}
    penultimate = jnp.mean(penultimate.reshape(*taus.shape, -1), axis=1)
  return Critic(jnp.mean(outputs, axis=-1), outputs, taus, penultimate), features


def read_by_outputs(embedding: Hidden, tail: Features, head: Head) -> list[str]:
  """The modules of the hidden layers that outputs read, one for each stream that has its own."""
  if not head.hidden_layers:
    # Of implicit quantiles they read a product, whose units are the embedding's.
    return [embedding.producer] * (1 + head.dueling)
  streams = ('value_', 'advantage_') if head.dueling and not head.shared_hidden else ('',)
  return [tail[f'{stream}hidden{head.hidden_layers}'].producer for stream in streams]


def _split(hidden: Hidden, shape: tuple[int, int]) -> Hidden:
  """Layers of B * N examples as [B, N, units]."""
  layer = (x.reshape(*shape, -1) for x in hidden.layer)
  return hidden._replace(layer=Layer(*layer))


def _embed(taus: jax.Array, size: int, style: Style) -> Hidden:
  """[B, N] quantiles -> a hidden layer of [B * N, size], to be multiplied into the features."""
  multiples = jnp.pi * jnp.arange(1, _NUM_COSINES + 1, dtype=jnp.float32)
  cosines = jnp.cos(taus.reshape(-1, 1) * multiples)
  return style.dense(cosines, size // style.growth('relu'), 'taus', 'relu')


def _times(embedding: Hidden, factors: jax.Array) -> Hidden:
  """[B, D] features as [B * N, D], multiplied; they stay the units that they were."""
  x = hk.Flatten()(embedding.activation)
  product = factors * jnp.repeat(x, len(factors) // len(x), axis=0)
  return embedding._replace(layer=embedding.layer._replace(activation=product))


def _outputs(
    x: Hidden, head: Head, style: Style, features: Features) -> tuple[jax.Array, jax.Array]:
  """Features -> [B, M, A, outputs of a choice], and [B, D'] that these are linear in.

  Adds hidden layers to `features`.
  """
  if head.shared_hidden:
    x = _hidden(x, '', head, style, features)
  if not head.dueling:
    return _stream(x, head.num_choices, '', head, style, features, with_bias=True)
  # Wang et al. 2016, equation 9, in each action dimension. As in dqn_zoo noisy streams end
  # without a (mean) bias.
  in_common = x
  x = _scale_gradient(x, head.dueling_gradient)
  with_bias = not head.noisy_sigma
  value, of_value = _stream(x, 1, 'value_', head, style, features, with_bias)
  advantage, of_advantage = _stream(
      x, head.num_choices, 'advantage_', head, style, features, with_bias)
  outputs = value + advantage - jnp.mean(advantage, axis=2, keepdims=True)
  if head.shared_hidden and head.hidden_layers:
    return outputs, hk.Flatten()(in_common.activation)
  return outputs, jnp.concatenate([of_value, of_advantage], axis=-1)


def _scale_gradient(x: Hidden, factor: float) -> Hidden:
  """The same features, whose gradient is multiplied."""
  if factor == 1:
    return x
  value = x.activation
  fixed = jax.lax.stop_gradient(value)
  return x._replace(layer=x.layer._replace(activation=fixed + factor * (value - fixed)))


def _hidden(x: Hidden, prefix: str, head: Head, style: Style, features: Features) -> Hidden:
  for i in range(1, head.hidden_layers + 1):
    name = f'{prefix}hidden{i}'
    x = features[name] = style.dense(
        x, head.hidden_size, name, 'relu', noisy_sigma=head.noisy_sigma)
  return x


def _stream(
    x: Hidden, num_choices: int, prefix: str, head: Head, style: Style, features: Features,
    with_bias: bool) -> tuple[jax.Array, jax.Array]:
  """Hidden layers and outputs: features -> [B, M, num_choices, outputs of a choice], [B, D']."""
  if not head.shared_hidden:
    x = _hidden(x, prefix, head, style, features)
  penultimate = hk.Flatten()(x.activation)
  shape = (head.num_action_dims, num_choices, head.numbers_per_choice)
  outputs = style.linear(
      x, shape[0] * shape[1] * shape[2], f'{prefix}head', with_bias and not head.shared_bias,
      head.noisy_sigma, is_output=True)
  if head.shared_bias:  # One bias for all outputs, as in Double DQN (van Hasselt et al. 2016).
    init = INITIALIZERS[style.initializer].biases(penultimate.shape[-1])
    # By its name agents/projections.py knows what layer it is of.
    bias = hk.Bias(bias_dims=[], b_init=init, name=f'{prefix}head_bias')
    style.trace.calls.append(Call(bias.module_name, is_output=True))
    outputs = bias(outputs)
  return outputs.reshape(-1, *shape), penultimate
