"""One probe as one flat row of named numbers, and arrays; `probes.schema` says what each means."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from networks import types
from probes import norms, random_target, schema, states, subject, units
from probes.subject import Inputs, State, Subject

Arrays = dict[str, np.ndarray]


class Sizes(NamedTuple):
  """How much is computed."""
  fit: random_target.ProbeSize = random_target.SMALL
  state: states.Sizes = states.Sizes()


class References(NamedTuple):
  """What a network is compared with."""
  initial: types.Params  # the run's
  first: Mapping[str, np.ndarray] | None = None  # the arrays of its first probe; None: this is it


def measure(
    model: Subject, agent: State, fresh: State, inputs: Inputs, references: References,
    key: jax.Array, sizes: Sizes) -> tuple[dict[str, float], Arrays]:
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
  fits = {name: random_target.fit_random_targets(
      model.network, state.params, model.optimizer, inputs.observations, fit_key,
      sizes.fit) for name, state in networks.items()}
  rng = np.random.default_rng(np.asarray(jax.random.key_data(bootstrap_key)))
  row |= _plasticity_row(fits['agent'], fits['fresh'], rng)
  arrays = {f'{name}_{field}': values
            for name, fit in fits.items() for field, values in fit._asdict().items()}
  for name, state in networks.items():
    found = states.measure(model, state, inputs, state_key, sizes.state)
    found.numbers.update(_compared(found.arrays, state.params, name, references))
    prefix = '' if name == 'agent' else f'{name}_'
    row |= {prefix + column: value for column, value in found.numbers.items()}
    arrays |= {f'{name}_{field}': values for field, values in found.arrays.items()}
  row['probe_seconds'] = time.monotonic() - started
  return row, arrays


def _plasticity_row(agent: random_target.RandomTargetFit, fresh: random_target.RandomTargetFit,
                    rng: np.random.Generator) -> dict[str, float]:
  lost = random_target.plasticity_loss(agent, fresh, rng)
  return dict(
      plasticity=_finite_mean(random_target.plasticity(agent)),
      plasticity_fresh=_finite_mean(random_target.plasticity(fresh)),
      plasticity_lost=lost.estimate, plasticity_lost_low=lost.low, plasticity_lost_high=lost.high,
      invalid_targets=_num_invalid(agent), fresh_invalid_targets=_num_invalid(fresh))


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
