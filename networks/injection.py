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


def difference(
    head: Callable[[Features], jax.Array], features: Features, trace: Trace) -> jax.Array:
  """The new head's outputs minus those it began with; 0 before the injection.

  Both copies are drawn alike and share the noise of noisy layers, so that the difference is exactly
  0 until one of them is trained.

  Args:
    head: calls the head's modules, adds its hidden layers to what it is given.
    features: the hidden layers so far; those of the new head are added under its name.
    trace: of the forward pass.
  """
  switch = _Switch(name=_SWITCH)
  trace.calls.append(Call(switch.module_name))
  key, outputs, hidden = hk.next_rng_key(), [], {}
  for name in (_FIRST, _NEW):  # The new one's hidden layers are what stays in `hidden`.
    with hk.with_rng(key), hk.name_scope(name):
      outputs.append(head(hidden))
  features |= {f'{_NEW}/{name}': layer for name, layer in hidden.items()}
  first, new = outputs
  return jnp.where(switch() > 0, new - first, 0.0)


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
