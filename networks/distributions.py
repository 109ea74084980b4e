"""What an output may be the distribution of, and where its atoms lie."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Distribution(NamedTuple):
  """Of the returns of a choice."""
  per_atom: bool  # a choice has an output for each of N atoms or quantiles; else one
  has_support: bool  # the outputs are logits of N atoms at fixed returns
  meaning: str


DISTRIBUTIONS = {
    'none': Distribution(False, False, 'the expected return alone'),
    'categorical': Distribution(
        True, True, 'probabilities of atoms, of a target that is projected on them (C51)'),
    'two_hot': Distribution(
        True, True, 'probabilities of atoms, of an expected return between its neighbours'),
    'hl_gauss': Distribution(
        True, True, 'probabilities of atoms, of an expected return as a Gaussian around it'),
    'quantile': Distribution(True, False, 'returns at fixed quantiles (QR-DQN)'),
    'implicit': Distribution(False, False, 'the return at a quantile that is an input (IQN)'),
}


def symlog(x: jax.Array) -> jax.Array:
  """sign(x) log(1 + |x|) (Hafner et al. 2023, equation 9)."""
  return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: jax.Array) -> jax.Array:
  """The inverse of symlog."""
  return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def support(v_min: float, v_max: float, num_atoms: int, in_symlog: bool = False) -> jax.Array:
  """[N] returns of the atoms, evenly spaced, or so in symlog of the return."""
  if not in_symlog:
    return jnp.linspace(v_min, v_max, num_atoms)
  return symexp(jnp.linspace(symlog(v_min), symlog(v_max), num_atoms))
