"""Losses: per-example errors of a batch of transitions."""

import jax
import jax.numpy as jnp
import rlax

from replay import types

Array = jax.Array


def td_errors(
    q_tm1: Array, transition: types.Transition, q_t_value: Array, q_t_selector: Array) -> Array:
  """TD errors of (double) Q-learning on factored utilities.

  The value of a joint action is the mean of its utilities over the M action dimensions and the
  bootstrapped action is each dimension's own maximum (Seyde et al. 2023, eq. 3 and 4). The
  target's mean minus the prediction's mean is the mean of the dimensions' own errors; with M = 1
  this is double Q-learning (van Hasselt et al. 2016, eq. 4), and Q-learning where the selector
  is the target network itself.

  Args:
    q_tm1: [B, M, A] of the online network at obs_tm1.
    transition: the batch; a_tm1 is [B, M], r_t and discount_t are [B].
    q_t_value: [B, M, A] that values the bootstrapped action.
    q_t_selector: [B, M, A] whose maxima select it.

  Returns:
    [B] target minus prediction.
  """
  over_dims = jax.vmap(rlax.double_q_learning, in_axes=(0, 0, None, None, 0, 0))
  errors = jax.vmap(over_dims)(
      q_tm1, transition.a_tm1, transition.r_t, transition.discount_t, q_t_value, q_t_selector)
  return jnp.mean(errors, axis=1)


# Of a TD error. Huber's has the gradient that dqn_zoo gets by clipping errors to 1 / batch_size.
ERROR_LOSSES = {'huber': rlax.huber_loss, 'squared': jnp.square}


def importance_weights(probabilities: Array, exponent: float) -> Array:
  """[B] weights (1 / p)^beta over their largest (Schaul et al. 2016, section 3.4)."""
  weights = (1.0 / probabilities) ** exponent
  return weights / jnp.max(weights)
