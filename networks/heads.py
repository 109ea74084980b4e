"""Heads: a torso's features in, a critic's utilities [B, M, A] or their distributions out."""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from networks.layers import INITIALIZERS, Features, Style
from networks.types import Critic, Layer

DISTRIBUTIONS = ('none', 'categorical', 'quantile', 'implicit')
_NUM_COSINES = 64  # IQN's embedding of a quantile (Dabney et al. 2018b, equation 4)


class Head(NamedTuple):
  """What follows the torso."""
  num_action_dims: int  # M
  num_choices: int  # A
  hidden_layers: int = 0  # ReLU layers before the outputs
  hidden_size: int = 512
  dueling: bool = False
  noisy_sigma: float = 0.0  # of hidden layers and outputs; 0: no noise
  shared_bias: bool = False
  distribution: str = 'none'  # of DISTRIBUTIONS
  num_atoms: int = 51  # N; quantiles drawn, where implicit
  v_min: float = -10.0  # returns of the first and the last atom
  v_max: float = 10.0

  @property
  def numbers_per_choice(self) -> int:
    """How many outputs a choice has."""
    return self.num_atoms if self.distribution in ('categorical', 'quantile') else 1


def support(v_min: float, v_max: float, num_atoms: int) -> jax.Array:
  """[N] returns of the atoms of a categorical distribution."""
  return jnp.linspace(v_min, v_max, num_atoms)


def draw_taus(head: Head, batch_size: int) -> jax.Array | None:
  """[B, N] quantiles: drawn where implicit, the midpoints of N intervals where fixed."""
  if head.distribution == 'implicit':
    return jax.random.uniform(hk.next_rng_key(), (batch_size, head.num_atoms))
  if head.distribution == 'quantile':
    midpoints = (jnp.arange(head.num_atoms) + 0.5) / head.num_atoms
    return jnp.broadcast_to(midpoints, (batch_size, head.num_atoms))
  return None


def apply(
    embedding: jax.Array, taus: jax.Array | None, head: Head,
    style: Style) -> tuple[Critic, Features]:
  """[B, D] features and [B, N] quantiles -> a critic and the hidden layers on the way."""
  features = {}
  x = embedding
  if head.distribution == 'implicit':
    features['taus'] = _embed(taus, embedding.shape[-1], style)
    x = features['taus'].activation * jnp.repeat(embedding, head.num_atoms, axis=0)
  outputs = _outputs(x, head, style, features)
  if head.distribution == 'none':
    return Critic(outputs[..., 0]), features
  if head.distribution == 'categorical':
    atoms = support(head.v_min, head.v_max, head.num_atoms)
    return Critic(jnp.sum(jax.nn.softmax(outputs) * atoms, axis=-1), outputs), features
  if head.distribution == 'implicit':  # Quantiles were examples of their own until here.
    outputs = jnp.moveaxis(outputs[..., 0].reshape(*taus.shape, *outputs.shape[1:3]), 1, -1)
    features = {name: _split(hidden, taus.shape) for name, hidden in features.items()}
  return Critic(jnp.mean(outputs, axis=-1), outputs, taus), features


def _split(hidden, shape: tuple[int, int]):
  """Layers of B * N examples as [B, N, units]."""
  layer = (x.reshape(*shape, -1) for x in hidden.layer)
  return hidden._replace(layer=Layer(*layer))


def _embed(taus: jax.Array, size: int, style: Style):
  """[B, N] quantiles -> a hidden layer of [B * N, size], to be multiplied into the features."""
  multiples = jnp.pi * jnp.arange(1, _NUM_COSINES + 1, dtype=jnp.float32)
  cosines = jnp.cos(taus.reshape(-1, 1) * multiples)
  return style.nonlinear(style.linear(cosines, size, 'taus'), 'taus', 'relu')


def _outputs(x: jax.Array, head: Head, style: Style, features: Features) -> jax.Array:
  """[B, D] -> [B, M, A, outputs of a choice]; adds hidden layers to `features`."""
  if not head.dueling:
    return _stream(x, head.num_choices, '', head, style, features, with_bias=True)
  # Wang et al. 2016, equation 9, in each action dimension. As in dqn_zoo noisy streams end
  # without a (mean) bias.
  with_bias = not head.noisy_sigma
  value = _stream(x, 1, 'value_', head, style, features, with_bias)
  advantage = _stream(x, head.num_choices, 'advantage_', head, style, features, with_bias)
  return value + advantage - jnp.mean(advantage, axis=2, keepdims=True)


def _stream(
    x: jax.Array, num_choices: int, prefix: str, head: Head, style: Style, features: Features,
    with_bias: bool) -> jax.Array:
  """Hidden layers and outputs: [B, D] -> [B, M, num_choices, outputs of a choice]."""
  for i in range(1, head.hidden_layers + 1):
    name = f'{prefix}hidden{i}'
    x = style.linear(x, head.hidden_size, name, noisy_sigma=head.noisy_sigma)
    features[name] = style.nonlinear(x, name, 'relu')
    x = features[name].activation
  shape = (head.num_action_dims, num_choices, head.numbers_per_choice)
  size = shape[0] * shape[1] * shape[2]
  outputs = style.linear(
      x, size, f'{prefix}head', with_bias and not head.shared_bias, head.noisy_sigma)
  if head.shared_bias:  # One bias for all outputs, as in Double DQN (van Hasselt et al. 2016).
    init = INITIALIZERS[style.initializer].biases(x.shape[-1])
    outputs = hk.Bias(bias_dims=[], b_init=init, name=f'{prefix}head_bias')(outputs)
  return outputs.reshape(-1, *shape)
