"""Can the network still learn? The random-target probe.

Lyle et al. 2023, "Understanding Plasticity in Neural Networks" (arXiv 2303.01486): copy the
network, train the copy on targets that an independent random network gives, and see how low the
loss gets. Plasticity is P = b - E[final loss], where b is the loss of the best constant, that is
the targets' variance. Plasticity lost is P of a fresh network less P of the one probed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from networks import types
from probes import batches

_FREQUENCY = 1e5  # Makes neighbouring inputs' targets independent: nothing to do but memorize.


class ProbeSize(NamedTuple):
  """How much is fitted."""
  num_targets: int  # independent target functions
  num_steps: int  # optimizer steps on each
  batch_size: int  # observations in a step, drawn with replacement from the pool
  pool_size: int  # observations to memorize


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
  target_variances: np.ndarray  # [K] loss of the best constant, over the pool and all outputs


class Interval(NamedTuple):
  """An estimate with its 95% interval."""
  estimate: float
  low: float
  high: float


def fit_random_targets(network: types.QNetwork, params: types.Params,
                       optimizer: optax.GradientTransformation, observations: np.ndarray,
                       key: jax.Array, size: ProbeSize = SMALL) -> RandomTargetFit:
  """Trains copies of `params` on random targets; `params` itself is left as it was.

  The targets are a + sin(1e5 q(x; w0)) for every output of the network, w0 a fresh initialisation
  for each target function and a the mean prediction of `params`, so that a fresh network has no
  head start. The optimizer starts from its initial state. Equal keys give two networks the same w0
  and the same minibatches: fit the agent and its control with one key to compare them in pairs.
  The compiled step is cached on `network.apply` and `optimizer.update`: build those once in a run.
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
  """
  if len(observations) < size.pool_size:
    raise ValueError(f'observations: {len(observations)} given, but the probe fits a pool of '
                     f'size.pool_size={size.pool_size}')
  rows = np.linspace(0, len(observations) - 1, size.pool_size).astype(int)
  pool = jnp.asarray(observations[rows])
  mean_prediction = _predict(network, params, pool, key).mean()
  fits = []
  for target_key in jax.random.split(key, size.num_targets):
    init_key, fit_key = jax.random.split(target_key)
    # Once for the whole pool: 1e5 amplifies the rounding in which batches of other shapes differ.
    waves = np.sin(_FREQUENCY * _predict(network, network.init(init_key), pool, fit_key))
    targets = jnp.asarray(mean_prediction + waves)
    curve, fitted = _fit(network, params, optimizer, pool, targets, fit_key, size)
    final_loss = np.mean(np.square(_predict(network, fitted, pool, fit_key) - targets))
    fits.append((curve, final_loss, waves.var()))
  return RandomTargetFit(*map(np.stack, zip(*fits, strict=True)))


def plasticity(fit: RandomTargetFit) -> np.ndarray:
  """Returns b - final loss for each target, [K]; NaN where the loss is not finite."""
  # In float64, so that means of differences are differences of means.
  losses = np.where(np.isfinite(fit.final_losses), fit.final_losses, np.nan).astype(np.float64)
  return fit.target_variances - losses


def plasticity_loss(agent: RandomTargetFit, control: RandomTargetFit,
                    rng: np.random.Generator) -> Interval:
  """Returns P(control) - P(agent), positive where plasticity was lost, averaged over targets.

  The two fits must come from one key. The interval is a percentile bootstrap over the pairs; it is
  NaN where fewer than two targets have a finite loss in both fits. Others are left out.
  """
  differences = plasticity(control) - plasticity(agent)
  differences = differences[np.isfinite(differences)]
  if differences.size == 0:
    return Interval(np.nan, np.nan, np.nan)
  estimate = float(differences.mean())
  if differences.size == 1:
    return Interval(estimate, np.nan, np.nan)
  low, high = stats.bootstrap((differences,), np.mean, confidence_level=0.95, method='percentile',
                              rng=rng).confidence_interval
  return Interval(estimate, float(low), float(high))


def _fit(network: types.QNetwork, params: types.Params, optimizer: optax.GradientTransformation,
         pool: jax.Array, targets: jax.Array, key: jax.Array,
         size: ProbeSize) -> tuple[np.ndarray, types.Params]:
  """Returns the learning curve [T] and the fitted parameters."""
  curve = np.empty(size.num_steps, np.float32)
  opt_state = optimizer.init(params)
  # A Python loop, since XLA runs a convolution inside `lax.scan` on one core of a CPU.
  for step in range(size.num_steps):
    params, opt_state, curve[step] = _step(network.apply, optimizer.update, size.batch_size, params,
                                           opt_state, pool, targets, key, step)
  return curve, params


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step(apply: Callable, update: Callable, batch_size: int, params: types.Params,
          opt_state: optax.OptState, pool: jax.Array, targets: jax.Array, key: jax.Array,
          step: int) -> tuple[types.Params, optax.OptState, jax.Array]:
  rows_key, apply_key = jax.random.split(jax.random.fold_in(key, step))
  rows = jax.random.randint(rows_key, (batch_size,), 0, len(pool))

  def loss_fn(params: types.Params) -> jax.Array:
    q_values = apply(params, apply_key, pool[rows], training=True).q_values
    return jnp.mean(jnp.square(q_values - targets[rows]))

  loss, gradients = jax.value_and_grad(loss_fn)(params)
  updates, opt_state = update(gradients, opt_state, params)
  return optax.apply_updates(params, updates), opt_state, loss


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
