"""Plasticity injection: two more copies of a head, whose difference may be added to it.

Nikishin et al. 2023 (arXiv 2305.15555): from the injection on, the outputs are those of the old
head, which is frozen, plus a new head's, which is trained, minus the new head's as it was first.
"""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from networks.layers import Features
from networks.trace import Call, Trace
from networks.types import INJECTED, Injection

_NEW, _FIRST, _SWITCH = 'injected_new', 'injected_first', 'injected_switch'


def add(
    head: Callable[[Features], tuple[jax.Array, jax.Array]], features: Features,
    trace: Trace) -> tuple[jax.Array, jax.Array]:
  """The head's outputs, from the injection on with the new one's less those that it began with.

  Both copies are drawn alike and share the noise of noisy layers, so that their difference is
  exactly 0 until one of them is trained. Also returns the features that the outputs of the head in
  training, first the old, then the new, are linear in.

  Args:
    head: calls the head's modules and returns both, adds its hidden layers to what it is given.
    features: the hidden layers so far; those of both heads are added, the new one's under its name.
    trace: of the forward pass.
  """
  outputs, penultimate = head(features)
  switch = _Switch(name=_SWITCH)
  trace.calls.append(Call(switch.module_name))
  key, copies, hidden = hk.next_rng_key(), [], {}
  for name in (_FIRST, _NEW):  # The new one's hidden layers are what stays in `hidden`.
    with hk.with_rng(key), hk.name_scope(name):
      copies.append(head(hidden))
  features |= {f'{_NEW}/{name}': layer for name, layer in hidden.items()}
  (first, _), (new, of_new) = copies
  injected = switch() > 0
  return (outputs + jnp.where(injected, new - first, 0.0),
          jnp.where(injected, of_new, penultimate))


class _Switch(hk.Module):
  """1 from the injection on, 0 before."""

  def __call__(self) -> jax.Array:
    return hk.get_parameter(INJECTED, (), init=jnp.zeros)


def parts(head_modules: tuple[str, ...]) -> Injection:
  """Which of the heads' modules play which part."""
  def within(name: str) -> tuple[str, ...]:
    return tuple(module for module in head_modules if name in module.split('/'))

  first, new, switches = within(_FIRST), within(_NEW), within(_SWITCH)
  # What the copies share, as the embedding of quantiles, goes on learning with the torso.
  own = tuple(module.replace(f'{_NEW}/', '') for module in new)
  return Injection(switches, own, new, first)
