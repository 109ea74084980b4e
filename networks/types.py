"""What a Q-network takes and returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Params = Any  # Haiku's two-level dictionary: {module: {'w': ..., 'b': ...}}


class Layer(NamedTuple):
  """One hidden layer on a batch: just before and just after the nonlinearity."""
  preactivation: jax.Array  # [B, ..., units]; after the normalization, where there is one
  activation: jax.Array  # same shape


class Critic(NamedTuple):
  """One critic's utilities, and the distributions they are expectations of where it has any."""
  q_values: jax.Array  # [B, M, A]
  # [B, M, A, N]: logits of N atoms (categorical), or returns at N quantiles (quantile, implicit).
  distribution: jax.Array | None = None
  taus: jax.Array | None = None  # [B, N], which quantiles


class QOutput(NamedTuple):
  """Utilities of A choices in each of M action dimensions, and every hidden layer on the way.

  The value of a joint action is the mean of its utilities over M (DecQN, Seyde et al. 2023).
  """
  q_values: jax.Array  # [B, M, A], the critics' mean
  features: dict[str, Layer]  # by layer name, which is mostly the Haiku module's
  critics: tuple[Critic, ...] = ()


class QNetwork(NamedTuple):
  """A Q-network as two pure functions, and the names of its nonlinearities."""
  init: Callable[[jax.Array], Params]  # key -> parameters
  apply: Callable[[Params, jax.Array, jax.Array], QOutput]  # parameters, key, [B, *observation]
  activations: dict[str, str]  # hidden layer -> row of layers.ACTIVATIONS, input to output
