"""What a change of task does in its first updates: little enough to be measured step by step.

Lyle et al. 2024 (arXiv 2402.18762), figure 2: after labels change, wrong answers are unlearned
first; predictions turn uniform, preactivations move one way, units die or turn linear; then the new
answers are told apart, and what is not dead recovers.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from networks import types
from probes import alignment, states, units
from probes import subject as subject_lib
from probes.subject import Inputs, Shared, Subject


def measure(model: Subject, params: types.Params, inputs: Inputs,
            key: jax.Array) -> dict[str, float]:
  """The mean entropy of the choices' softmax, and fractions of units; named as in the schema.

  Args:
    model: the network and its loss, which looks at no target network.
    params: the parameters.
    inputs: observations [B, *observation] for units, examples for the gradient.
    key: the network's noise.
  """
  stats = units.layer_stats(model.network, params, inputs.observations, key)
  fractions = units.fractions(stats)
  trained = subject_lib.trained(params)
  shared = Shared(subject_lib.statistics(params), key, {})
  gradient = subject_lib.gradient(model.losses, trained, (shared, inputs.batch))
  seen = inputs.observations[:len(jax.tree.leaves(inputs.batch)[0])]
  dots = alignment.products(
      model.network, subject_lib.whole(gradient, shared.rest), seen, key)
  row = states.grouped(
      dead=fractions.dead, linear=fractions.linear,
      preactivation_mean={name: float(np.mean(layer.mean)) for name, layer in stats.items()})
  return dict(entropy=float(_entropy(model.network.apply, params, key, inputs.observations)),
              aligned=alignment.aligned_fraction(dots), **row)


@functools.partial(jax.jit, static_argnums=0)
def _entropy(apply: Callable, params: types.Params, key: jax.Array, observations: Any) -> jax.Array:
  """Natural logarithm; of M action dimensions the mean."""
  log_probabilities = jax.nn.log_softmax(apply(params, key, observations).q_values)
  return -jnp.mean(jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1))
