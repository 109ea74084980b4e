"""One probe as one flat row of named numbers, and what each name means."""

import time
from typing import NamedTuple

import jax
import numpy as np
import optax

from networks import types
from probes import norms, random_target, units

VERSION = 1  # Goes up whenever a name below changes its meaning.

_LYLE_2023 = 'Lyle et al. 2023, arXiv 2303.01486'
_LYLE_2024 = 'Lyle et al. 2024, arXiv 2402.18762'


class Metric(NamedTuple):
  """A column of the row; `fresh_<name>` is the same for a freshly initialised network."""
  name: str
  meaning: str
  unit: str
  source: str


SCHEMA = (
    Metric('record_version', 'version of this table', '', ''),
    Metric('num_observations', 'observations that units were counted over', 'observations', ''),
    Metric('num_targets, num_steps, batch_size, pool_size',
           'size of the random-target probe: target functions, optimizer steps on each, '
           'observations in a step, observations to fit', 'counts', _LYLE_2023),
    Metric('plasticity',
           'variance of the random targets less the loss left after training a copy of the network '
           'on them, averaged over targets: 0 for a network that learns nothing, about 0.5 for one '
           'that learns everything, below 0 for one that a constant would beat. Few steps are also '
           'spent on unlearning old outputs far from the targets',
           'squared error', _LYLE_2023),
    Metric('plasticity_fresh',
           'the same for a freshly initialised network on the same observations, targets and '
           'minibatches', 'squared error', _LYLE_2023),
    Metric('plasticity_lost',
           'plasticity_fresh less plasticity, paired by target: positive where the network learns '
           'less than a fresh one', 'squared error', _LYLE_2023),
    Metric('plasticity_lost_low, plasticity_lost_high',
           '95% bootstrap interval of plasticity_lost over the targets', 'squared error', 'ours'),
    Metric('invalid_targets',
           'targets that were left out because the network did not end with a finite loss',
           'targets', 'ours'),
    Metric('dead/<layer>',
           'fraction of units that are saturated on every observation, so that no gradient passes; '
           'a convolution channel is one unit. ReLU: preactivation at most 0; ELU: slope below '
           '0.001', 'fraction', f'{_LYLE_2024}, mechanism M1a; the tolerance is ours'),
    Metric('linear/<layer>',
           'fraction of units that are the identity on every observation: preactivation above 0',
           'fraction', f'{_LYLE_2024}, mechanism M1b'),
    Metric('norm/<module>', 'L2 norm of the parameters of a module', 'L2 norm',
           f'{_LYLE_2024}, mechanism M3'),
    Metric('dead/total, linear/total, norm/total', 'the same over all layers or modules', '', ''),
    Metric('probe_seconds', 'wall-clock time of the probe', 's', ''),
)


def measure(network: types.QNetwork, params: types.Params, optimizer: optax.GradientTransformation,
            observations: np.ndarray, key: jax.Array,
            size: random_target.ProbeSize = random_target.SMALL,
            ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
  """Measures a network beside a freshly initialised one, and changes neither.

  Equal keys give equal rows, `probe_seconds` apart.

  Args:
    network: the network; build it and `optimizer` once in a run, compiled code is cached on them.
    params: its parameters.
    optimizer: what trains the probe's copies.
    observations: [B, *observation], 1,024 or more for the counts of units.
    key: draws the fresh network, the targets and everything else.
    size: of the random-target probe.

  Returns:
    row: the columns of SCHEMA.
    arrays: `agent_` and `fresh_` fields of `random_target.RandomTargetFit`.
  """
  started = time.monotonic()
  init_key, fit_key, units_key, bootstrap_key = jax.random.split(key, 4)
  networks = {'': params, 'fresh_': network.init(init_key)}
  row = dict(record_version=VERSION, num_observations=len(observations), **size._asdict())
  # Both from one key: the same targets and minibatches, so that they compare in pairs.
  agent, fresh = (random_target.fit_random_targets(network, network_params, optimizer, observations,
                                                   fit_key, size)
                  for network_params in networks.values())
  rng = np.random.default_rng(np.asarray(jax.random.key_data(bootstrap_key)))
  row |= _plasticity_row(agent, fresh, rng)
  for prefix, network_params in networks.items():
    row |= _state_row(prefix, network, network_params, observations, units_key)
  arrays = {**_arrays('agent_', agent), **_arrays('fresh_', fresh)}
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


def _state_row(prefix: str, network: types.QNetwork, params: types.Params, observations: np.ndarray,
               key: jax.Array) -> dict[str, float]:
  fractions = units.unit_fractions(network, params, observations, key)
  groups = dict(dead=fractions.dead, linear=fractions.linear, norm=norms.parameter_norms(params))
  return {f'{prefix}{group}/{name}': value
          for group, values in groups.items() for name, value in values.items()}


def _arrays(prefix: str, fit: random_target.RandomTargetFit) -> dict[str, np.ndarray]:
  return {prefix + name: values for name, values in fit._asdict().items()}
