"""All that is measured of one network at one time, but whether it can learn."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from networks import types
from probes import alignment, batches, fitting, landscape, norms, ntk, spectrum, units
from probes import subject as subject_lib
from probes.subject import Inputs, State, Subject


class Sizes(NamedTuple):
  """How much is computed."""
  num_inputs: int = 64  # examples that kernels, gradients and curvature are of (Lyle et al. 2024)
  lanczos_steps: int = 20  # products with the Hessian
  trace_kernel: bool = False  # the eNTK of each output on its own, too: as many times the work


class Measured(NamedTuple):
  """Of one network, named as in `probes.schema`."""
  numbers: dict[str, float]
  arrays: dict[str, np.ndarray]


def measure(subject: Subject, state: State, inputs: Inputs, key: jax.Array, sizes: Sizes,
            on_step: fitting.OnStep = fitting.ignore) -> Measured:
  """Measures units, features, parameters, landscape and kernels; `key` is the network's noise."""
  batch = jax.tree.map(lambda leaf: leaf[:sizes.num_inputs], inputs.batch)
  params, rest = subject_lib.split(subject.network, state.params)
  data = subject_lib.Shared(rest, key, state.target), batch
  found = subject_lib.gradient(subject.losses, params, data)
  rows = inputs.observations[:sizes.num_inputs]
  pieces = (
      lambda: _units(subject.network, state.params, inputs.observations, key),
      lambda: _features(subject.network, state.params, inputs.observations, key),
      lambda: _gradients(subject.network, found, state.params, rows, key),
      lambda: _parameters(state),
      lambda: _curvature(subject, params, data, key, sizes.lanczos_steps),
      lambda: _kernels(subject, params, data, rows, sizes.trace_kernel))
  measured = Measured({}, {})
  for piece in pieces:
    on_step()
    numbers, arrays = piece()
    measured.numbers.update(numbers)
    measured.arrays.update(arrays)
  return measured


def grouped(**groups: dict[str, float]) -> dict[str, float]:
  """Columns `<group>/<part>`."""
  return {f'{group}/{part}': value for group, parts in groups.items()
          for part, value in parts.items()}


def _units(network: types.QNetwork, params: types.Params, observations: np.ndarray,
           key: jax.Array) -> Measured:
  stats = units.layer_stats(network, params, observations, key)
  fractions = units.fractions(stats)
  numbers = grouped(
      dead=fractions.dead, linear=fractions.linear, dormant=units.dormant(stats),
      preactivation_mean={name: float(np.mean(layer.mean)) for name, layer in stats.items()},
      preactivation_std={
          name: float(np.sqrt(np.mean(layer.variance))) for name, layer in stats.items()})
  return Measured(numbers, grouped(
      preactivation_mean={name: layer.mean for name, layer in stats.items()},
      preactivation_variance={name: layer.variance for name, layer in stats.items()},
      histogram={name: layer.histogram for name, layer in stats.items()}))


def _features(network: types.QNetwork, params: types.Params, observations: np.ndarray,
              key: jax.Array) -> Measured:
  """Of what the first critic's utilities are linear in, and of the utilities."""
  outputs = [batches.outputs(network, params, key, batch)
             for batch in batches.batches(observations)]
  features, q_values = (np.concatenate(pieces)[:len(observations)]
                        for pieces in zip(*outputs, strict=True))
  found, scale = spectrum.feature_spectrum(features), norms.output_scale(q_values)
  return Measured(
      dict(feature_rank=found.feature_rank, feature_srank=found.srank,
           feature_effective_rank=found.effective_rank, feature_top=found.top,
           feature_condition=found.condition, output_scale=scale.mean_abs, output_std=scale.std),
      dict(singular_values=found.singular_values))


def _gradients(network: types.QNetwork, found: types.Params, params: types.Params,
               observations: np.ndarray, key: jax.Array) -> Measured:
  """Of what moves; what rests has a gradient of 0, and is not dormant for that."""
  gradient = jax.tree.map(np.zeros_like, subject_lib.trained(params)) | found
  dormant = {name: math.nan for name, leaves in gradient.items() if 'w' in leaves}
  whole = subject_lib.whole(gradient, subject_lib.statistics(params))
  dots = alignment.products(network, whole, observations, key)
  numbers = grouped(gradient=norms.parameter_norms(gradient),
                    gradient_dormant=dormant | units.gradient_dormant(found))
  return Measured(numbers | dict(aligned=alignment.aligned_fraction(dots)), {})


def _parameters(state: State) -> Measured:
  params = subject_lib.trained(state.params)
  moved = norms.differences(subject_lib.trained(state.next_params), params)
  return Measured(grouped(norm=norms.parameter_norms(params),
                          step=norms.relative_steps(moved, params)), {})


def _curvature(subject: Subject, params: types.Params, data: Any, key: jax.Array,
               num_steps: int) -> Measured:
  ritz = landscape.hessian_eigenvalues(
      subject_lib.batch_loss(subject.losses), params, data, key, num_steps)
  numbers = dict(sharpness=float(ritz.values[0]), sharpness_error=float(ritz.errors[0]),
                 lowest_curvature=float(ritz.values[-1]))
  return Measured(numbers, dict(hessian=ritz.values, hessian_errors=ritz.errors))


def _kernels(subject: Subject, params: types.Params, data: tuple[subject_lib.Shared, Any],
             observations: np.ndarray, trace_kernel: bool) -> Measured:
  shared, batch = data
  of = {'ntk': (subject_lib.output(subject.network.apply, 'sum'), observations),
        'loss_ntk': (subject_lib.example_loss(subject.losses), batch)}
  if trace_kernel:
    of['ntk_trace'] = subject_lib.output(subject.network.apply, 'trace'), observations
  kernels = {name: ntk.gram(function, params, shared, inputs)
             for name, (function, inputs) in of.items()}
  numbers = grouped(**{name: ntk.kernel_stats(kernel)._asdict()
                       for name, kernel in kernels.items()})
  return Measured(numbers, kernels | dict(
      gradient_spectrum=landscape.gradient_spectrum(kernels['loss_ntk'])))
