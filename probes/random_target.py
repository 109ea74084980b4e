"""Can the network still learn? The random-target probe.

Lyle et al. 2023, "Understanding Plasticity in Neural Networks" (arXiv 2303.01486): copy the
network, train the copy on targets that an independent random network gives, and see how low the
loss gets. Plasticity is P = b - E[final loss], where b is the loss of the best constant, that is
the targets' variance. Plasticity lost is P of a fresh network less P of the one probed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from networks import types
from probes import batches, fitting, subject
from probes.fitting import ProbeSize

_FREQUENCY = 1e5  # Makes neighbouring inputs' targets independent: nothing to do but memorize.


# A probe in which even a fresh network learns nothing says nothing, and one that ends on the slope
# takes two fresh networks for different. In 200 steps of Adam at 1e-4 fresh Nature CNNs with layer
# norm bring the loss on 16 frames of Pong from 0.5 to 0.01, each within 0.01 of the others (after
# 120 steps: within 0.06); on 64 frames they bring it nowhere. A step takes 15 ms on two cores.
SMALL = ProbeSize(num_targets=5, num_steps=200, batch_size=16, pool_size=16)
# Lyle et al. train the copies with the agent's own optimizer. With dqn_zoo's, RMSProp at 2.5e-4,
# the same networks are still at 0.5 after those 200 steps: nothing could be said of any.
SMALL_OPTIMIZER = optax.adam(1e-4)
# Lyle et al. 2023; minibatch and pool, which they do not give, are ours.
PAPER = ProbeSize(num_targets=10, num_steps=2000, batch_size=256, pool_size=1024)


class RandomTargetFit(NamedTuple):
  """How K target functions were learned in T steps."""
  curves: np.ndarray  # [K, T] minibatch loss before each step
  final_losses: np.ndarray  # [K] loss on the whole pool after the last step
  target_variances: np.ndarray  # [K] loss of the best constant; for squares their variance


class Interval(NamedTuple):
  """An estimate with its 95% interval."""
  estimate: float
  low: float
  high: float


class Kind(NamedTuple):
  """What is to be fitted; utilities are [B, M, A], B the pool."""
  meaning: str
  # Utilities of an independent fresh network, generator -> targets [B, ...].
  targets: Callable[[np.ndarray, np.random.Generator], np.ndarray]
  from_mean: bool  # the mean prediction a is added to them
  loss: Callable[[jax.Array, jax.Array], jax.Array]  # utilities, targets -> a scalar
  baseline: Callable[[np.ndarray], float]  # targets -> the loss of the best constant


def _squared(q_values: jax.Array, targets: jax.Array) -> jax.Array:
  return jnp.mean(jnp.square(q_values - targets))


def _cross_entropy(q_values: jax.Array, labels: jax.Array) -> jax.Array:
  return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(q_values, labels))


def _entropy(labels: np.ndarray) -> float:
  """Of each dimension's labels in the pool, their mean: what a constant prediction can do."""
  counts = [np.unique(column, return_counts=True)[1] for column in labels.T]
  return float(np.mean([stats.entropy(count) for count in counts]))


KINDS = {
    'sine': Kind(
        'a + sin(1e5 q(x; w0)) (Lyle et al. 2023)',
        lambda q_values, rng: np.sin(_FREQUENCY * q_values), True, _squared, np.var),
    'network': Kind(
        'q(x; w0) of a fresh network (target-fitting capacity, Lyle et al. 2022)',
        lambda q_values, rng: q_values, False, _squared, np.var),
    'labels': Kind(
        'a choice at random for each observation, by cross-entropy',
        lambda q_values, rng: rng.integers(q_values.shape[-1], size=q_values.shape[:-1]), False,
        _cross_entropy, _entropy),
}


def fit_random_targets(network: types.QNetwork, params: types.Params,
                       optimizer: optax.GradientTransformation, observations: np.ndarray,
                       key: jax.Array, size: ProbeSize = SMALL, kind: str = 'sine',
                       on_step: fitting.OnStep = fitting.ignore) -> RandomTargetFit:
  """Trains copies of `params` on random targets; `params` itself is left as it was.

  The targets are made from the outputs of a network w0, a fresh initialisation for each target
  function; a is the mean prediction of `params`, so that a fresh network has no head start, moved
  where it must be for a - 1 and a + 1 to be among what outputs can be (distributions over atoms).
  Heads that an injection has frozen stay so. The optimizer starts from its initial state. Equal
  keys give two networks the same w0 and the same minibatches: fit the agent and its control with
  one key to compare them in pairs. The compiled step is cached on `network.apply` and
  `optimizer.update`: build those once in a run.
  Where the network keeps statistics of its inputs, each batch's own are used throughout: a fresh
  network's running ones say nothing.

  Args:
    network: the network.
    params: parameters to start from.
    optimizer: what trains the copies.
    observations: [B, *observation]; the pool is `size.pool_size` of them, evenly spaced, since
      neighbours may follow each other in time and be all but equal.
    key: draws w0, minibatches and the network's noise.
    size: how much is fitted.
    kind: a row of KINDS.
    on_step: called before each step.
  """
  pool, row = jnp.asarray(fitting.spread(observations, size)), KINDS[kind]
  mean_prediction = within(network.bounds, _predict(network, params, pool, key).mean())
  moving, rest = subject.split(network, params)
  loss, fits = _loss(network.apply, row.loss), []
  for target_key in jax.random.split(key, size.num_targets):
    init_key, fit_key = jax.random.split(target_key)
    # Once for the whole pool: 1e5 amplifies the rounding in which batches of other shapes differ.
    fresh = _predict(network, network.init(init_key), pool, fit_key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(init_key)))
    targets = row.targets(fresh, rng)
    data = pool, jnp.asarray(mean_prediction + targets if row.from_mean else targets)
    curve, fitted = fitting.descend(loss, optimizer, moving, rest, data, fit_key, size, on_step)
    final_loss = row.loss(_predict(network, subject.whole(fitted, rest), pool, fit_key), data[1])
    fits.append((curve, final_loss, row.baseline(targets)))
  return RandomTargetFit(*map(np.stack, zip(*fits, strict=True)))


def within(bounds: tuple[float, float], mean: float) -> float:
  """The mean nearest to `mean` whose neighbourhood of 1 is within bounds, or their middle."""
  low, high = bounds
  reach = min(1.0, (high - low) / 2)
  return np.clip(mean, low + reach, high - reach)


def plasticity(fit: RandomTargetFit) -> np.ndarray:
  """Returns b - final loss for each target, [K]; NaN where the loss is not finite."""
  # In float64, so that means of differences are differences of means.
  losses = np.where(np.isfinite(fit.final_losses), fit.final_losses, np.nan).astype(np.float64)
  return fit.target_variances - losses


def lost(agent: RandomTargetFit, control: RandomTargetFit) -> np.ndarray:
  """P(control) - P(agent) of each target, [K], positive where plasticity was lost.

  The two fits must come from one key, so that they were given the same targets.
  """
  return plasticity(control) - plasticity(agent)


def mean_interval(values: np.ndarray, rng: np.random.Generator) -> Interval:
  """The mean of one number a target, [K], with a percentile bootstrap over targets.

  The interval is NaN where fewer than two are finite. Others are left out.
  """
  values = values[np.isfinite(values)]
  if values.size == 0:
    return Interval(np.nan, np.nan, np.nan)
  estimate = float(values.mean())
  if values.size == 1:
    return Interval(estimate, np.nan, np.nan)
  low, high = stats.bootstrap((values,), np.mean, confidence_level=0.95, method='percentile',
                              rng=rng).confidence_interval
  return Interval(estimate, float(low), float(high))


@functools.cache
def _loss(apply: Callable, of_outputs: Callable) -> Callable:
  def loss(params: types.Params, key: jax.Array, rest: Any, batch: Any) -> jax.Array:
    observations, targets = batch
    out = apply(subject.whole(params, rest), key, observations, training=True)
    return of_outputs(out.q_values, targets)

  return loss


def _predict(network: types.QNetwork, params: types.Params, pool: jax.Array,
             key: jax.Array) -> np.ndarray:
  """Returns q-values for the whole pool, [B, M, A]."""
  batch_size = min(len(pool), batches.BATCH_SIZE)
  q_values = [np.asarray(_q_values(network.apply, params, key, batch))
              for batch in batches.batches(pool, batch_size)]
  return np.concatenate(q_values)[:len(pool)]


@functools.partial(jax.jit, static_argnums=0)
def _q_values(apply: Callable, params: types.Params, key: jax.Array,
              observations: jax.Array) -> jax.Array:
  return apply(params, key, observations, training=True).q_values
