"""What a large mean of the targets does to the features of a Q-network: for results/target_offset.

  python -m benchmarks.target_offset results/target_offset

The learner of `dqn` regresses on states of walker_walk (random play), with a discount of 0, so that
the targets are the rewards: one of -1, 0 and 1 drawn at random for each transition, plus an offset.
The singular values are those of the penultimate features on all of the states (Lyle et al. 2024,
appendix E.1 and figures 13 to 15).
"""

import itertools
import pathlib
import sys
from typing import NamedTuple

import jax
import matplotlib
import numpy as np

from agents import actions, learner, optimizers
from agents import config as config_lib
from envs import control
from probes import files, spectrum
from replay import types

matplotlib.use('Agg')
from matplotlib import pyplot as plt

_OFFSETS = (0, 10, 100)
_WAYS = ((), ('ln',), ('so',), ('ln', 'so'))
_SEEDS = (1, 2, 3)
_DEPTHS = (0, 4)  # further hidden layers of 256
_UPDATES = 2_000
_STATES = 512
# Step sizes with which some thousand updates do what a run's millions do. One support for all
# offsets, as a task has one for all of its returns.
_SETTINGS = dict(
    torso='mlp', width=4, batch_size=64, learning_rate=1e-3, error_loss='squared', discount=0.0,
    max_gradient_norm=0.0, v_min=-10.0, v_max=110.0)


class Data(NamedTuple):
  """Observations, choices and rewards without the offset."""
  observations: np.ndarray
  choices: np.ndarray
  rewards: np.ndarray


def observe(seed: int) -> Data:
  """Every tenth state of random play, with a random reward each."""
  env, rng = control.make('walker_walk', 1, seed), np.random.default_rng(seed)
  timestep, seen, size = env.reset(), [], env.action_spec().shape[0]
  for step in range(10 * _STATES):
    if step % 10 == 0:
      seen.append(np.array(timestep.observation[0]))
    timestep = env.step(rng.uniform(-1, 1, (1, size)).astype(np.float32))
  env.close()
  return Data(np.stack(seen), rng.integers(0, 3, (_STATES, size), np.int32),
              rng.integers(-1, 2, _STATES).astype(np.float32))


def run(
    data: Data, names: tuple[str, ...], depth: int, offset: float, seed: int) -> dict[str, object]:
  """Trains one network; a row of what its features are like then."""
  config = config_lib.resolve(
      'control', 'walker_walk', 'dqn', names,
      _SETTINGS | dict(hidden_layers=depth, hidden_size=256))
  action_map = actions.ActionMap(data.choices.shape[1], config.bins, None)
  network = learner.make_network(config, data.observations.shape[1:], 'float32', action_map)
  agent = learner.make_agent(config, network, optimizers.make(config))
  state, rng = agent.init(jax.random.key(seed)), np.random.default_rng(seed)
  weights = np.ones(config.batch_size, np.float32)
  for _ in range(_UPDATES):
    index = rng.integers(0, _STATES, config.batch_size)
    observations = data.observations[index]
    state, _, _ = agent.learn(state, types.Transition(
        observations, data.choices[index], data.rewards[index] + np.float32(offset),
        np.zeros(config.batch_size, np.float32), observations), weights)
  out = jax.jit(network.apply)(state.params, jax.random.key(0), data.observations)
  features = spectrum.feature_spectrum(np.asarray(out.critics[0].penultimate))
  taken = np.take_along_axis(np.asarray(out.q_values), data.choices[..., None], axis=2)
  predicted = taken[..., 0].mean(axis=1)
  error = float(np.mean(np.square(predicted - data.rewards - offset)))
  return dict(interventions='+'.join(names), hidden_layers=depth, offset=offset, seed=seed,
              top=features.top,
              ratio_to_second=features.top / features.singular_values[1],
              effective_rank=features.effective_rank, squared_error=error)


def draw(path: pathlib.Path, rows: list[dict[str, object]]) -> None:
  """The top singular value, and its ratio to the second, over those at offset 0, by offset."""
  figure, panels = plt.subplots(
      len(_DEPTHS), 2, figsize=(9, 3.2 * len(_DEPTHS)), layout='constrained', sharey='col')
  titles = {'top': 'top singular value', 'ratio_to_second': 'its ratio to the second'}
  for line, depth in zip(panels, _DEPTHS, strict=True):
    for panel, (column, title) in zip(line, titles.items(), strict=True):
      for names in _WAYS:
        ratios = _over_zero(rows, '+'.join(names), depth, column)
        mean = ratios.mean(axis=1)
        panel.errorbar(
            range(len(_OFFSETS)), mean, capsize=3, label='+'.join(names) or 'plain dqn',
            yerr=[mean - ratios.min(axis=1), ratios.max(axis=1) - mean])
      panel.set(yscale='log', xlabel='offset of the targets', xticks=range(len(_OFFSETS)),
                xticklabels=_OFFSETS, ylabel=f'{title}, over that at 0',
                title=f'{2 + depth} hidden layers')
  panels[0][0].legend()
  figure.savefig(path, dpi=110)


def _over_zero(
    rows: list[dict[str, object]], name: str, depth: int, column: str) -> np.ndarray:
  """[offsets, seeds], each over its seed's at offset 0."""
  found = {(row['offset'], row['seed']): row[column] for row in rows
           if row['interventions'] == name and row['hidden_layers'] == depth}
  return np.array([[found[offset, seed] / found[0, seed] for seed in _SEEDS]
                   for offset in _OFFSETS])


def main(argv: list[str]) -> None:
  """See the top."""
  folder = pathlib.Path(argv[1])
  folder.mkdir(parents=True, exist_ok=True)
  rows = []
  for seed in _SEEDS:
    data = observe(seed)
    for names, depth, offset in itertools.product(_WAYS, _DEPTHS, _OFFSETS):
      rows.append(run(data, names, depth, offset, seed))
      files.write_rows(folder / 'target_offset.csv', rows)
      print(*rows[-1].values(), sep='\t', flush=True)
  draw(folder / 'target_offset.png', rows)


if __name__ == '__main__':
  main(sys.argv)
