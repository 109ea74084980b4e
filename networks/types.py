"""What a Q-network takes and returns."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Params = Any  # Haiku's two-level dictionary: {module: {'w': ..., 'b': ...}}

# Names of the leaves that no optimizer changes.
INJECTED = 'injected'  # 1 once a head's new copy counts, see networks/injection.py
STATISTICS = ('running_mean', 'running_variance', 'singular_vector', INJECTED)


class Layer(NamedTuple):
  """One hidden layer on a batch: just before and just after the nonlinearity."""
  preactivation: jax.Array  # [B, ..., units]; after the normalization, where there is one
  activation: jax.Array  # same shape


class Critic(NamedTuple):
  """One critic's utilities, and the distributions they are expectations of where it has any."""
  q_values: jax.Array  # [B, M, A]
  # [B, M, A, N]: logits of N atoms where there is a support, else returns at N quantiles.
  distribution: jax.Array | None = None
  taus: jax.Array | None = None  # [B, N], which quantiles
  # [B, D] the features that the outputs are linear in; the mean over drawn quantiles (implicit).
  penultimate: jax.Array | None = None


class QOutput(NamedTuple):
  """Utilities of A choices in each of M action dimensions, and every hidden layer on the way.

  The value of a joint action is the mean of its utilities over M (DecQN, Seyde et al. 2023).
  """
  q_values: jax.Array  # [B, M, A], the critics' mean
  features: dict[str, Layer]  # by layer name, which is mostly the Haiku module's
  critics: tuple[Critic, ...] = ()
  # Where training: the STATISTICS that these inputs make of the parameters'.
  statistics: Params = {}
  auxiliary: jax.Array | None = None  # [B, K] outputs beside the utilities, where there are any


class Units(NamedTuple):
  """A hidden layer whose units can be drawn anew one by one; a convolution's channel is a unit.

  Unit i owns w[..., i] and b[i] of the producer, scale[i] and offset[i] of the norm, and those rows
  r of each consumer's kernel (its last axis but one) for which r % size is i.
  """
  size: int
  producer: str  # Haiku module
  norm: str  # Haiku module, '' where there is none with parameters
  consumers: tuple[str, ...]  # Haiku modules


class Injection(NamedTuple):
  """Haiku modules of heads with a new copy each (networks/injection.py)."""
  switches: tuple[str, ...]  # whose INJECTED is 1 from the injection on
  own: tuple[str, ...]  # trained before it
  new: tuple[str, ...]  # trained after it
  first: tuple[str, ...]  # never trained


class QNetwork(NamedTuple):
  """A Q-network as two pure functions, and what is known of its modules."""
  init: Callable[[jax.Array], Params]  # key -> parameters
  # Parameters, key, [B, *observation] and, where an update is made of it, training=True.
  apply: Callable[..., QOutput]
  activations: dict[str, str] = {}  # hidden layer -> row of layers.ACTIVATIONS, input to output
  units: dict[str, Units] = {}  # hidden layer -> wiring; sums of two modules are left out
  output_modules: tuple[str, ...] = ()  # Haiku modules of utilities and auxiliary outputs
  head_modules: tuple[str, ...] = ()  # all between the torso and the utilities
  injection: Injection = Injection((), (), (), ())
  bounds: tuple[float, float] = (-math.inf, math.inf)  # of the utilities, where they have some
