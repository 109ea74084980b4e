"""A Q-network from settings: a torso, then a head; or several, one for each critic."""

import contextlib

import haiku as hk
import jax
import jax.numpy as jnp

from networks import heads, layers, torsos, types


def make(
    *, torso: str, observation_shape: tuple[int, ...], observation_dtype: str, head: heads.Head,
    style: layers.Style, num_critics: int = 1) -> types.QNetwork:
  """A Q-network of `torso` on observations of one shape (without the batch axis).

  Several critics share the torso where it encodes frames, and nothing where it does not; their
  layers are named after them, as in `critic2/dense3`.

  Raises:
    ValueError: the torso is not a row of torsos.TORSOS, or does not take such observations.
  """
  if torso not in torsos.TORSOS:
    raise ValueError(f'torso={torso}: unknown; known are {", ".join(torsos.TORSOS)}')
  row = torsos.TORSOS[torso]
  if row.takes_frames != (len(observation_shape) >= 3):
    raise ValueError(
        f'torso={torso}: must take observations of shape {observation_shape}; it does not, it '
        f'takes {"stacks of frames" if row.takes_frames else "vectors"}')
  activations = {}

  def forward(observation, training=False):
    del training
    features, critics = {}, []
    if row.shared:
      features = row.apply(observation, style)
    taus = heads.draw_taus(head, len(observation))
    for scope, prefix in _scopes(num_critics):
      with scope:
        body = {} if row.shared else row.apply(observation, style)
        last = list((features if row.shared else body).values())[-1]
        critic, tail = heads.apply(hk.Flatten()(last.activation), taus, head, style)
      critics.append(critic)
      features |= {prefix + name: hidden for name, hidden in (body | tail).items()}
    activations.update({name: hidden.nonlinearity for name, hidden in features.items()})
    q_values = sum(critic.q_values for critic in critics) / num_critics
    return types.QOutput(
        q_values, {name: hidden.layer for name, hidden in features.items()}, tuple(critics))

  transformed = hk.transform(forward)

  def init(key: jax.Array) -> types.Params:
    return transformed.init(key, jnp.zeros((1, *observation_shape), observation_dtype))

  jax.eval_shape(init, jax.random.key(0))  # Runs `forward`, which fills `activations`.
  return types.QNetwork(init, transformed.apply, activations)


def _scopes(num_critics: int):
  """(context, prefix) for each critic; a single one has its names to itself."""
  if num_critics == 1:
    return [(contextlib.nullcontext(), '')]
  names = [f'critic{i}' for i in range(1, num_critics + 1)]
  return [(hk.name_scope(name), f'{name}/') for name in names]
