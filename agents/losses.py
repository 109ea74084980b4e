"""Losses: per-example losses and errors of a batch of transitions, for each kind of critic.

The value of a joint action is the mean of its utilities over the M action dimensions, and the
bootstrapped action is each dimension's own maximum (DecQN, Seyde et al. 2023, equations 3 and 4).
What has a distribution averages, over dimensions and over critics, what its expectation is linear
in: probabilities at atoms, returns at quantiles. That average is the one target of every
dimension. With M = 1 and one critic each loss is the plain algorithm's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agents.rlax_alone import rlax
from networks import distributions
from networks.types import Critic
from replay import types

Array = jax.Array


def _clipped(errors: jax.Array) -> jax.Array:
  """[B] TD errors -> half their squares, the gradient of their weighted mean clipped to 1 / B.

  dqn_zoo's. With weights of 1 that is Huber's gradient; else a weight counts before the clipping.
  """
  bound = 1.0 / len(errors)
  return rlax.l2_loss(rlax.clip_gradient(errors, -bound, bound))


# Of TD errors [B].
ERROR_LOSSES = {'clipped': _clipped, 'huber': rlax.huber_loss, 'squared': jnp.square}
_MAX_CROSS_ENTROPY = 100.0  # of which a priority is made (dqn_zoo's Rainbow)
_HUBER = 1.0  # where quantile regression's loss turns linear


class Losses(NamedTuple):
  """Of a batch."""
  losses: Array  # [B], to be minimized
  errors: Array  # [B], what priorities are made of


def td_errors(
    q_tm1: Array, transition: types.Transition, q_t_value: Array, q_t_selector: Array) -> Array:
  """TD errors of (double) Q-learning on factored utilities.

  The target's mean minus the prediction's mean is the mean of the dimensions' own errors; with
  M = 1 this is double Q-learning (van Hasselt et al. 2016, eq. 4), and Q-learning where the
  selector is the target network itself.

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


def categorical(
    logits_tm1: Array, transition: types.Transition, probabilities_t: Array, q_t_selector: Array,
    atoms: Array, smoothing: float = 0.0) -> Array:
  """Cross-entropy with the projected target (C51, Bellemare et al. 2017, algorithm 1).

  Args:
    logits_tm1: [B, M, A, N] of the online network at obs_tm1.
    transition: the batch.
    probabilities_t: [B, M, A, N] of the target network at obs_t.
    q_t_selector: [B, M, A] whose maxima select the bootstrapped action.
    atoms: [N] returns.
    smoothing: see `cross_entropy`.

  Returns:
    [B] cross-entropies, averaged over dimensions.
  """
  def example(logits_tm1, a_tm1, r_t, discount_t, probabilities_t, q_t_selector):
    mixture = jnp.mean(_chosen(probabilities_t, jnp.argmax(q_t_selector, axis=-1)), axis=0)
    target = rlax.categorical_l2_project(r_t + discount_t * atoms, mixture, atoms)
    return cross_entropy(target, _chosen(logits_tm1, a_tm1), smoothing)
  return jax.vmap(example)(
      logits_tm1, transition.a_tm1, transition.r_t, transition.discount_t, probabilities_t,
      q_t_selector)


def cross_entropy(target: Array, logits: Array, smoothing: float) -> Array:
  """Of one target [N] with the logits [M, N] of every dimension, averaged over these.

  Smoothing is the part of the target that is uniform over the N atoms (Szegedy et al. 2016,
  section 7). No gradient passes through the target.
  """
  if smoothing:
    target = (1 - smoothing) * target + smoothing / len(target)
  target = jax.lax.stop_gradient(target)
  return jnp.mean(jax.vmap(rlax.categorical_cross_entropy, in_axes=(None, 0))(target, logits))


def two_hot(value: Array, atoms: Array) -> Array:
  """A return between its two neighbours among [N] atoms, so that the mean is the return.

  Outside of the atoms' range all is on the nearest.
  """
  return rlax.categorical_l2_project(value[None], jnp.ones(1), atoms)


def hl_gauss(value: Array, atoms: Array, sigma: float, in_symlog: bool) -> Array:
  """A return as a Gaussian over [N] atoms (HL-Gauss, Farebrother et al. 2024, equation 7).

  An atom has the Gaussian's mass on its bin, which ends half-way to its neighbours, over the mass
  on all bins. Values outside of the atoms' range count as the nearest atom.

  Args:
    value: the return.
    atoms: [N], evenly spaced, or so in symlog.
    sigma: of the Gaussian, in widths of a bin.
    in_symlog: whether value and atoms are compared in symlog.
  """
  if in_symlog:
    value, atoms = distributions.symlog(value), distributions.symlog(atoms)
  width = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
  edges = jnp.append(atoms - width / 2, atoms[-1] + width / 2)
  below = jax.scipy.stats.norm.cdf(edges, jnp.clip(value, atoms[0], atoms[-1]), sigma * width)
  return jnp.diff(below) / (below[-1] - below[0])


def expected_targets(
    transition: types.Transition, q_t_value: Array, q_t_selector: Array) -> Array:
  """[B] rewards and discounted values of the bootstrapped actions, means over dimensions."""
  chosen = jnp.take_along_axis(
      q_t_value, jnp.argmax(q_t_selector, axis=-1)[..., None], axis=-1)[..., 0]
  return transition.r_t + transition.discount_t * jnp.mean(chosen, axis=1)


def classification(
    online: Critic, transition: types.Transition, targets: Array,
    project: Callable[[Array], Array], smoothing: float) -> Losses:
  """Regression as classification: cross-entropies with expected returns projected on atoms.

  Errors, of which priorities are made, are TD errors: a Gaussian's own entropy, which no
  prediction can undo, would make cross-entropies much alike.

  Args:
    online: logits [B, M, A, N] and utilities [B, M, A] at obs_tm1.
    transition: the batch.
    targets: [B] expected returns.
    project: a return -> [N] probabilities.
    smoothing: see `cross_entropy`.
  """
  def example(logits_tm1, a_tm1, target):
    return cross_entropy(project(target), _chosen(logits_tm1, a_tm1), smoothing)

  taken = jnp.take_along_axis(online.q_values, transition.a_tm1[..., None], axis=-1)[..., 0]
  losses = jax.vmap(example)(online.distribution, transition.a_tm1, targets)
  return Losses(losses, targets - jnp.mean(taken, axis=1))


def quantile(
    returns_tm1: Array, taus: Array, transition: types.Transition, returns_t: Array,
    q_t_selector: Array) -> Array:
  """Quantile regression (QR-DQN, Dabney et al. 2018a, eq. 10; IQN, Dabney et al. 2018b, eq. 3).

  Args:
    returns_tm1: [B, M, A, N] of the online network at obs_tm1.
    taus: [B, N] the quantiles that these are.
    transition: the batch.
    returns_t: [B, M, A, N'] of the target network at obs_t.
    q_t_selector: [B, M, A] whose maxima select the bootstrapped action.

  Returns:
    [B] summed over N, averaged over N' and dimensions.
  """
  def example(returns_tm1, taus, a_tm1, r_t, discount_t, returns_t, q_t_selector):
    chosen_t = jnp.mean(_chosen(returns_t, jnp.argmax(q_t_selector, axis=-1)), axis=0)
    target = jax.lax.stop_gradient(r_t + discount_t * chosen_t)
    regress = jax.vmap(rlax.quantile_regression_loss, in_axes=(0, None, None, None))
    return jnp.mean(regress(_chosen(returns_tm1, a_tm1), taus, target, _HUBER))
  return jax.vmap(example)(
      returns_tm1, taus, transition.a_tm1, transition.r_t, transition.discount_t, returns_t,
      q_t_selector)


def _chosen(values: Array, choices: Array) -> Array:
  """[M, A, N] and [M] -> [M, N]."""
  return jnp.take_along_axis(values, choices[:, None, None], axis=1)[:, 0]


def make(config: Any) -> Callable[..., Losses]:
  """The loss of one critic: (online, target critics, its selector, transition) -> Losses."""
  atoms = distributions.support(
      config.v_min, config.v_max, config.num_atoms, config.symlog, config.atom_margin)

  def expected(online, targets, q_t_selector, transition):
    value = _mean([critic.q_values for critic in targets])
    errors = td_errors(online.q_values, transition, value, q_t_selector)
    return Losses(ERROR_LOSSES[config.error_loss](errors), errors)

  def categories(online, targets, q_t_selector, transition):
    probabilities = _mean([jax.nn.softmax(critic.distribution) for critic in targets])
    losses = categorical(
        online.distribution, transition, probabilities, q_t_selector, atoms,
        config.label_smoothing)
    return Losses(losses, jnp.minimum(losses, _MAX_CROSS_ENTROPY))

  def classified(project):
    def loss(online, targets, q_t_selector, transition):
      value = _mean([critic.q_values for critic in targets])
      returns = expected_targets(transition, value, q_t_selector)
      return classification(online, transition, returns, project, config.label_smoothing)
    return loss

  def quantiles(online, targets, q_t_selector, transition):
    returns = _mean([critic.distribution for critic in targets])
    losses = quantile(online.distribution, online.taus, transition, returns, q_t_selector)
    return Losses(losses, losses)

  return {
      'none': expected, 'categorical': categories, 'quantile': quantiles, 'implicit': quantiles,
      'two_hot': classified(lambda value: two_hot(value, atoms)),
      'hl_gauss': classified(
          lambda value: hl_gauss(value, atoms, config.hl_gauss_sigma, config.symlog)),
  }[config.distribution]


def of_critics(
    loss: Callable[..., Losses], online: tuple[Critic, ...], targets: tuple[Critic, ...],
    selectors: tuple[Critic, ...], transition: types.Transition) -> Losses:
  """The sum of the critics' losses and the mean size of their errors (tseyde/decqn, learning.py).

  Each selects by its own utilities; all have the mean of the target critics for a target.
  """
  each = [loss(critic, targets, selector.q_values, transition)
          for critic, selector in zip(online, selectors, strict=True)]
  errors = _mean([jnp.abs(losses.errors) for losses in each])
  return Losses(sum(losses.losses for losses in each), errors)


def _mean(arrays: list[Array]) -> Array:
  return sum(arrays) / len(arrays)


def importance_weights(probabilities: np.ndarray, exponent: float) -> np.ndarray:
  """[..., B] weights (1 / p)^beta over a batch's largest, float32 (Schaul et al. 2016, 3.4)."""
  weights = (1.0 / probabilities) ** exponent
  return (weights / weights.max(axis=-1, keepdims=True)).astype(np.float32)
