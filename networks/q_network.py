"""A Q-network from settings: a torso, then a head; or several, one for each critic."""

import contextlib

import haiku as hk
import jax
import jax.numpy as jnp

from networks import conv, heads, layers, linear, torsos, types, wiring
from networks.trace import Call, Trace


def make(
    *, torso: str, observation_shape: tuple[int, ...], observation_dtype: str, head: heads.Head,
    style: layers.Style, num_critics: int = 1, num_auxiliary: int = 0) -> types.QNetwork:
  """A Q-network of `torso` on observations of one shape (without the batch axis).

  Several critics share the torso where it encodes frames, and nothing where it does not; their
  layers are named after them, as in `critic2/dense3`. Each has its own `num_auxiliary` outputs.

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
  found = {}

  def forward(observation, training=False):
    trace, features, critics, in_head, read = Trace.start(training), {}, [], [], []
    traced = style._replace(trace=trace)
    if row.shared:
      features = row.apply(observation, traced)
    taus = heads.draw_taus(head, len(observation))
    for scope, prefix in _scopes(num_critics):
      with scope:
        body = {} if row.shared else row.apply(observation, traced)
        last = list((features if row.shared else body).values())[-1]
        num_calls = len(trace.calls)
        critic, tail = heads.apply(last, taus, head, traced)
        in_head += [call.module for call in trace.calls[num_calls:]]
      critics.append(critic)
      read.append(heads.read_by_outputs(last, tail, head))
      features |= {prefix + name: hidden for name, hidden in (body | tail).items()}
    features = {name: hidden for name, hidden in features.items() if hidden.nonlinearity}
    auxiliary = _auxiliary(critics, read, num_auxiliary, traced)
    layers_of = {name: hidden.layer for name, hidden in features.items()}
    found.update(features={name: hidden._replace(layer=None) for name, hidden in features.items()},
                 calls=trace.calls, in_head=in_head)
    q_values = sum(critic.q_values for critic in critics) / num_critics
    return types.QOutput(
        q_values, layers_of, tuple(critics), trace.statistics,
        auxiliary)

  transformed = hk.transform(forward)

  def init(key: jax.Array) -> types.Params:
    return transformed.init(key, jnp.zeros((1, *observation_shape), observation_dtype))

  try:
    shapes = jax.eval_shape(init, jax.random.key(0))  # Runs `forward`, which fills `found`.
  except conv.TooSmallError as error:
    raise ValueError(f'torso={torso}: must take observations of shape {observation_shape}; it does '
                     f'not, {error}') from None
  network = types.QNetwork(init, transformed.apply, bounds=heads.bounds(head))
  return wiring.describe(network, shapes, **found)


def _auxiliary(
    critics: list[types.Critic], read: list[list[str]], size: int,
    style: layers.Style) -> jax.Array | None:
  """[B, critics * size] that are linear in what each critic's utilities are linear in.

  That is a hidden layer, or one of each stream side by side; `read` are the modules of these.
  """
  if not size:
    return None
  init = layers.INITIALIZERS[style.initializer]
  each = []
  for i, (critic, sources) in enumerate(zip(critics, read, strict=True), 1):
    fan_in = critic.penultimate.shape[-1]
    parts = []
    for x, source in zip(
        jnp.split(critic.penultimate, len(sources), axis=-1), sources, strict=True):
      module = linear.Linear(
          size, not parts, init.weights(fan_in), init.biases(fan_in),
          f'auxiliary{i}' + ('_advantage' if parts else ''))
      style.trace.calls.append(Call(module.module_name, source, is_output=True))
      parts.append(module(x))
    each.append(sum(parts))
  return jnp.concatenate(each, axis=-1)


def _scopes(num_critics: int):
  """(context, prefix) for each critic; a single one has its names to itself."""
  if num_critics == 1:
    return [(contextlib.nullcontext(), '')]
  names = [f'critic{i}' for i in range(1, num_critics + 1)]
  return [(hk.name_scope(name), f'{name}/') for name in names]
