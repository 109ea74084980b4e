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


def support(
    v_min: float, v_max: float, num_atoms: int, in_symlog: bool = False,
    margin: float = 0.0) -> jax.Array:
  """[N] returns of the atoms, evenly spaced, or so in symlog of the return.

  They go on beyond v_min and v_max, `margin` times the distance of two atoms.
  """
  if in_symlog:
    v_min, v_max = symlog(v_min), symlog(v_max)
  beyond = margin * (v_max - v_min) / (num_atoms - 1 - 2 * margin)
  atoms = jnp.linspace(v_min - beyond, v_max + beyond, num_atoms)
  return symexp(atoms) if in_symlog else atoms
