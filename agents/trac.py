"""TRAC: an optimizer's way from the start, scaled by a tuner without settings.

Muppidi et al. 2024, "Fast TRAC: A Parameter-Free Optimizer for Lifelong Reinforcement Learning"
(arXiv 2405.16642), algorithms 1 and 2.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

from networks import types

Array = jax.Array
_DECAYS = np.float32([0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999])  # a tuner for each
_EPSILON = 1e-8  # the scale that each tuner begins with
_SQRT_2 = math.sqrt(2.0)


class TunedState(NamedTuple):
  """What `tuned` keeps."""
  base: optax.OptState
  start: types.Params  # the parameters before the first update
  way: types.Params  # the sum of the base optimizer's updates
  sigma: Array  # [6] discounted sums of minus the gradient along the way
  variance: Array  # [6] discounted sums of its squares


def tuned(base: optax.GradientTransformation) -> optax.GradientTransformation:
  """Parameters are start + S * way; S is the sum of the tuners' scales, each at first about 1e-8.

  What else changes the parameters between updates would be undone.
  """
  def init(params: types.Params) -> TunedState:
    return TunedState(
        base.init(params), jax.tree.map(jnp.copy, params), jax.tree.map(jnp.zeros_like, params),
        jnp.full(len(_DECAYS), _EPSILON), jnp.zeros(len(_DECAYS)))

  def update(gradient: types.Params, state: TunedState, params: types.Params):
    updates, base_state = base.update(gradient, state.base, params)
    along = _inner(gradient, state.way)
    variance = _DECAYS**2 * state.variance + along**2
    sigma = _DECAYS * state.sigma - along
    scale = jnp.sum(_EPSILON / scipy.special.erfi(1 / _SQRT_2) * erfi(
        sigma / (_SQRT_2 * jnp.sqrt(variance) + _EPSILON)))
    way = jax.tree.map(jnp.add, state.way, updates)
    steps = jax.tree.map(lambda start, w, now: start + scale * w - now, state.start, way, params)
    return steps, TunedState(base_state, state.start, way, sigma, variance)

  return optax.GradientTransformation(init, update)


def erfi(x: Array) -> Array:
  """The imaginary error function, -i erf(i x), by its power series; |x| is cut off at 9.

  The terms have one sign, so that nothing cancels, and the 240th is below float32's rounding at 9,
  where erfi is about 1e34.
  """
  x = jnp.clip(x, -9.0, 9.0)

  def add(n: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
    power, total = carry  # x^(2n+1) / n!
    power = power * x * x / n
    return power, total + power / (2 * n + 1)

  _, total = jax.lax.fori_loop(1, 240, add, (x, x))
  return 2 / math.sqrt(math.pi) * total


def _inner(tree: types.Params, other: types.Params) -> Any:
  products = jax.tree.map(lambda a, b: jnp.vdot(a, b), tree, other)
  return sum(jax.tree.leaves(products))
