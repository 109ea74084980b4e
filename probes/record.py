"""One probe as one flat row of named numbers, and arrays; `probes.schema` says what each means."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from networks import types
from probes import fitting, norms, own_loss, random_target, schema, states, subject, units
from probes.subject import Inputs, State, Subject

Arrays = dict[str, np.ndarray]
OWN_LOSS = 'own_loss'
KINDS = (*random_target.KINDS, OWN_LOSS)  # of what is fitted


class Sizes(NamedTuple):
  """How much is computed, and what is fitted."""
  fit: random_target.ProbeSize = random_target.SMALL
  state: states.Sizes = states.Sizes()
  kind: str = 'sine'  # a row of random_target.KINDS, or own_loss


class References(NamedTuple):
  """What a network is compared with."""
  initial: types.Params  # the run's
  first: Mapping[str, np.ndarray] | None = None  # the arrays of its first probe; None: this is it


def measure(
    model: Subject, agent: State, fresh: State, inputs: Inputs, references: References,
    key: jax.Array, sizes: Sizes,
    on_step: fitting.OnStep = fitting.ignore) -> tuple[dict[str, float], Arrays]:
  """Measures a network beside a freshly initialised one, and changes neither.

  Equal keys give equal rows, `probe_seconds` apart.

  Args:
    model: what is fixed over the run.
    agent: the network.
    fresh: its control, freshly initialised.
    inputs: what both are probed on.
    references: what both are compared with.
    key: draws the targets and everything else.
    sizes: how much is computed.
    on_step: called before each step of the fits, and between the other parts.

  Returns:
    row: the columns of `schema.SCHEMA`.
    arrays: those of `schema.ARRAYS`.
  """
  started = time.monotonic()
  fit_key, state_key, bootstrap_key = jax.random.split(key, 3)
  networks = {'agent': agent, 'fresh': fresh}
  row = dict(record_version=schema.VERSION, num_observations=len(inputs.observations),
             num_inputs=min(sizes.state.num_inputs, len(jax.tree.leaves(inputs.batch)[0])),
             **sizes.fit._asdict())
  # Both from one key: the same targets and minibatches, so that they compare in pairs.
  fits = {name: _fit(model, state, networks, inputs, fit_key, sizes, on_step)
          for name, state in networks.items()}
  rng = np.random.default_rng(np.asarray(jax.random.key_data(bootstrap_key)))
  row |= _plasticity_row(fits['agent'], fits['fresh'], references.first, rng)
  arrays = {f'{name}_{field}': values
            for name, fit in fits.items() for field, values in fit._asdict().items()}
  for name, state in networks.items():
    found = states.measure(model, state, inputs, state_key, sizes.state, on_step)
    found.numbers.update(_compared(found.arrays, state.params, name, references))
    prefix = '' if name == 'agent' else f'{name}_'
    row |= {prefix + column: value for column, value in found.numbers.items()}
    arrays |= {f'{name}_{field}': values for field, values in found.arrays.items()}
  row['probe_seconds'] = time.monotonic() - started
  return row, arrays


def _fit(model: Subject, state: State, networks: Mapping[str, State], inputs: Inputs,
         key: jax.Array, sizes: Sizes, on_step: fitting.OnStep) -> random_target.RandomTargetFit:
  if sizes.kind == OWN_LOSS:
    return own_loss.fit_own_loss(
        model, state.params, networks['fresh'].params, networks['agent'], inputs.batch, key,
        sizes.fit, on_step)
  return random_target.fit_random_targets(
      model.network, state.params, model.optimizer, inputs.observations, key, sizes.fit, sizes.kind,
      on_step)


def _plasticity_row(agent: random_target.RandomTargetFit, fresh: random_target.RandomTargetFit,
                    first: Mapping[str, np.ndarray] | None,
                    rng: np.random.Generator) -> dict[str, float]:
  lost = random_target.lost(agent, fresh)
  now = random_target.mean_interval(lost, rng)
  since = random_target.mean_interval(lost - _lost_at_first(lost, first), rng)
  return dict(
      baseline=_finite_mean(agent.target_variances.astype(np.float64)),
      plasticity=_finite_mean(random_target.plasticity(agent)),
      plasticity_fresh=_finite_mean(random_target.plasticity(fresh)),
      plasticity_lost=now.estimate, plasticity_lost_low=now.low, plasticity_lost_high=now.high,
      lost_since_first=since.estimate, lost_since_first_low=since.low,
      lost_since_first_high=since.high,
      invalid_targets=_num_invalid(agent), fresh_invalid_targets=_num_invalid(fresh))


def _lost_at_first(lost: np.ndarray, first: Mapping[str, np.ndarray] | None) -> np.ndarray:
  """What was lost at the run's first probe, target by target; NaN where that is not known.

  Its observations were others; what they change, they change in the fresh network too.
  """
  if first is None:
    return lost
  fits = [[first.get(f'{name}_{field}') for field in random_target.RandomTargetFit._fields]
          for name in ('agent', 'fresh')]
  if any(np.shape(losses) != lost.shape for _, losses, _ in fits):
    return np.full_like(lost, np.nan)
  return random_target.lost(*(random_target.RandomTargetFit(*fit) for fit in fits))


def _finite_mean(values: np.ndarray) -> float:
  values = values[np.isfinite(values)]
  return float(values.mean()) if values.size else float('nan')


def _num_invalid(fit: random_target.RandomTargetFit) -> int:
  return int(np.sum(~np.isfinite(random_target.plasticity(fit))))


def _compared(arrays: Arrays, params: types.Params, name: str,
              references: References) -> dict[str, float]:
  """Distance from the initial parameters, shift since the first probe."""
  first = arrays if references.first is None else {
      field.removeprefix(f'{name}_'): values for field, values in references.first.items()
      if field.startswith(f'{name}_')}
  shifts = units.preactivation_shift(_moments(arrays), _moments(first))
  return states.grouped(
      distance=norms.distances(subject.trained(params), subject.trained(references.initial)),
      shift={layer: shift.distance for layer, shift in shifts.items()},
      shift_direction={layer: shift.direction for layer, shift in shifts.items()},
      shift_scale={layer: shift.log_scale for layer, shift in shifts.items()})


def _moments(arrays: Mapping[str, np.ndarray]) -> dict[str, units.Moments]:
  prefix = 'preactivation_mean/'
  return {field.removeprefix(prefix): units.Moments(
      mean, arrays[field.replace(prefix, 'preactivation_variance/')])
          for field, mean in arrays.items() if field.startswith(prefix)}
