"""Interventions that put parameters back into a set after every update.

It is the last change of an update. The target network is left as it is: it takes the projected
parameters at its next refresh. The optimizer's moments stay.
"""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from agents.mechanism import Batch, Mechanism, every
from agents.state import LearnerState
from networks import types

Array = jax.Array


def clip_weights(network: types.QNetwork, kappa: float) -> Mechanism:
  """|weights and biases| <= kappa / sqrt(fan-in) (Elsayed et al. 2024, algorithm 1).

  A bias has its layer's fan-in; scales and offsets of normalizations and of noise are not clipped.
  """
  del network

  def clip(module: str, params: types.Params) -> dict[str, Array]:
    leaves = params[module]
    # Where all outputs share a bias it is a module of its own.
    layer = leaves if 'w' in leaves else params.get(module.removesuffix('_bias'), {})
    if 'w' not in layer:
      return leaves
    bound = kappa / math.sqrt(math.prod(layer['w'].shape[:-1]))
    return {name: jnp.clip(leaf, -bound, bound) if name in ('w', 'b') else leaf
            for name, leaf in leaves.items()}

  def change(key: Array, state: LearnerState, memory: None, batch: Batch):
    del key, batch
    params = {module: clip(module, state.params) for module in state.params}
    return state._replace(params=params), memory

  return Mechanism(change=change, projects=True)


def normalize_and_project(network: types.QNetwork, period: int) -> Mechanism:
  """Hidden kernels go back to their initial norm (NaP, Lyle et al. 2024b, arXiv 2407.01800).

  So do scale and offset of each normalization, the two as one vector. Outputs keep their scale;
  biases before a normalization are not there (Config.hidden_bias).
  """
  def groups(module: str, leaves: Mapping[str, Array]) -> tuple[str, ...]:
    if 'scale' in leaves:
      return tuple(name for name in ('scale', 'offset') if name in leaves)
    return ('w',) if 'w' in leaves and module not in network.output_modules else ()

  return _back_to_initial_norms(groups, period)


def rescale_weights(network: types.QNetwork, period: int) -> Mechanism:
  """Every kernel goes back to its initial norm, outputs included (Lyle et al. 2024)."""
  del network
  return _back_to_initial_norms(lambda module, leaves: ('w',) if 'w' in leaves else (), period)


def _back_to_initial_norms(groups, period: int) -> Mechanism:
  """`groups` says which of a module's leaves have one norm together."""
  def norm(module: str, leaves: Mapping[str, Array]) -> Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaves[name])) for name in groups(module, leaves)))

  def remember(params: types.Params) -> dict[str, Array]:
    return {module: norm(module, leaves) for module, leaves in params.items()
            if groups(module, leaves)}

  def project(module: str, leaves: dict[str, Array], initial: Mapping[str, Array]):
    if module not in initial:
      return leaves
    factor = initial[module] / jnp.maximum(norm(module, leaves), 1e-12)
    return leaves | {name: factor * leaves[name] for name in groups(module, leaves)}

  def change(key: Array, state: LearnerState, memory: Mapping[str, Array], batch: Batch):
    del key, batch
    params = {module: project(module, leaves, memory) for module, leaves in state.params.items()}
    return state._replace(params=params), memory

  return Mechanism(remember=remember, change=every(period, change), projects=True)
