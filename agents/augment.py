"""Augmentation of frames, as part of an update."""

import jax
import jax.numpy as jnp


def random_shift(key: jax.Array, frames: jax.Array, pad: int) -> jax.Array:
  """Shifts each example's frames by up to `pad` pixels, edges repeated (Yarats et al. 2021, DrQ).

  Args:
    key: random key.
    frames: [B, stack, H, W, ...]; the frames of an example shift together.
    pad: pixels, in each direction.
  """
  rest = frames.ndim - 4
  padded = jnp.pad(frames, ((0, 0), (0, 0), (pad, pad), (pad, pad), *[(0, 0)] * rest), 'edge')
  corners = jax.random.randint(key, (len(frames), 2), 0, 2 * pad + 1)

  def crop(frames: jax.Array, corner: jax.Array) -> jax.Array:
    start = (0, corner[0], corner[1], *[0] * rest)
    return jax.lax.dynamic_slice(
        frames, start, (frames.shape[0], frames.shape[1] - 2 * pad, frames.shape[2] - 2 * pad,
                        *frames.shape[3:]))

  return jax.vmap(crop)(padded, corners)
