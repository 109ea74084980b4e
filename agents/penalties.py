"""Interventions that add a term to the loss, of the parameters that are trained."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from agents.mechanism import Context, Mechanism
from networks import types

Array = jax.Array


def l2(network: types.QNetwork, strength: float, scope: str) -> Mechanism:
  """strength * |theta|^2, of all parameters (Lyle et al. 2024) or of kernels alone."""
  del network

  def penalty(params: types.Params, context: Context) -> Array:
    del context
    leaves = _kernels(params) if scope == 'kernels' else _trained(params)
    return strength * _squares(leaves)

  return Mechanism(penalty=penalty)


def l2_init(network: types.QNetwork, strength: float) -> Mechanism:
  """strength * |theta - theta_0|^2 (L2 Init, Kumar et al. 2023, equation 1)."""
  del network
  return _from_start(strength, lambda leaf: leaf)


def wasserstein(network: types.QNetwork, strength: float) -> Mechanism:
  """L2 Init between sorted entries (Lewandowski et al. 2023).

  That is the squared 2-Wasserstein distance of a tensor's distribution of entries from its first,
  times their number: entries may change places.
  """
  del network
  return _from_start(strength, lambda leaf: jnp.sort(leaf.ravel()))


def _from_start(strength: float, view: Callable[[Array], Array]) -> Mechanism:
  def penalty(params: types.Params, context: Context) -> Array:
    pairs = zip(_trained(params), _trained(context.memory), strict=True)
    return strength * _squares([view(now) - start for now, start in pairs])

  def remember(params: types.Params) -> types.Params:
    return jax.tree.map(view, params)

  return Mechanism(remember=remember, penalty=penalty)


def parseval(network: types.QNetwork, strength: float, scale: float) -> Mechanism:
  """strength * |W^T W - scale * I|_F^2 of hidden kernels (Chung et al. 2024; Cisse et al. 2017).

  A kernel counts as a matrix of fan-in and units, and the Gram matrix is that of the shorter side:
  of more units than inputs no set can be orthogonal.
  """
  def penalty(params: types.Params, context: Context) -> Array:
    del context
    total = 0.0
    for module, leaves in params.items():
      if module not in network.output_modules and 'w' in leaves:
        w = leaves['w'].reshape(-1, leaves['w'].shape[-1])
        gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
        total += jnp.sum(jnp.square(gram - scale * jnp.eye(len(gram))))
    return strength * total

  return Mechanism(penalty=penalty)


def feature_norm(network: types.QNetwork, strength: float) -> Mechanism:
  """strength * the batch's mean |features|^2, of those that the outputs are linear in."""
  del network

  def penalty(params: types.Params, context: Context) -> Array:
    del params
    return strength * sum(jnp.mean(jnp.sum(jnp.square(critic.penultimate), axis=-1))
                          for critic in context.online.critics)

  return Mechanism(penalty=penalty)


def infer(network: types.QNetwork, strength: float, beta: float) -> Mechanism:
  """strength * the mean of sum_i (g_i - beta * g_i at the start)^2 (InFeR, Lyle et al. 2022).

  g are the network's auxiliary outputs; at the start means with the initial parameters.
  """
  def penalty(params: types.Params, context: Context) -> Array:
    del params
    start = network.apply(context.memory, context.network_key, context.observations, training=True)
    off = context.online.auxiliary - beta * jax.lax.stop_gradient(start.auxiliary)
    return strength * jnp.mean(jnp.sum(jnp.square(off), axis=-1))

  return Mechanism(remember=lambda params: params, penalty=penalty)


def gradient_norm(network: types.QNetwork, strength: float) -> Mechanism:
  """strength * the squared norm of the agent's loss gradient (Barrett & Dherin 2021)."""
  del network

  def penalty(params: types.Params, context: Context) -> Array:
    return strength * _squares(_trained(jax.grad(context.own_loss)(params)))

  return Mechanism(penalty=penalty)


def _trained(params: types.Params) -> list[Array]:
  return [leaf for leaves in params.values() for name, leaf in leaves.items()
          if name not in types.STATISTICS]


def _kernels(params: types.Params) -> list[Array]:
  return [leaves['w'] for leaves in params.values() if 'w' in leaves]


def _squares(leaves: list[Array]) -> Array:
  return sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
