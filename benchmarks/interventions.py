"""Every pair of interventions trained or refused, and what each costs: for results/interventions.

  python -m benchmarks.interventions pairs
  python -m benchmarks.interventions costs
  python -m benchmarks.interventions table   # writes that of docs/interventions.md

A pair is trained on random transitions, 200 updates on a tiny problem of Atari's shape and one of
Control's, and must end with finite numbers in the learner's whole state. What happens once or
from time to time happens there after 20 updates.
"""

import argparse
import csv
import itertools
import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from dm_env import specs

from agents import actions, choice, errors, interventions, learner, optimizers
from agents import config as config_lib
from benchmarks import compare
from replay import types

_UPDATES = 200
_SOON = 20  # updates
_TIMES = ('period', 'maturity', 'at')  # parameters that are numbers of updates
_REPEATS = 20  # timed updates, each of the plain agent and of the other in turn
PAGE = compare.ROOT / 'docs' / 'interventions.md'
RESULTS = compare.ROOT / 'results' / 'interventions'
MARKS = '<!-- interventions -->', '<!-- /interventions -->'


class Problem(NamedTuple):
  """Random transitions of a domain's shape, and an agent that learns from them."""
  domain: str
  agent: str
  shape: tuple[int, ...]
  dtype: str
  action_spec: specs.Array
  settings: dict[str, object]


_CONTROL_ACTIONS = specs.BoundedArray((2,), np.float32, -1, 1)
TINY = (
    Problem('atari', 'dqn', (2, 25, 25), 'uint8', specs.DiscreteArray(3), dict(
        torso='data_efficient', hidden_size=16, batch_size=8, target_update_period=50)),
    # Twin critics and double Q-learning, as decqn has them.
    Problem('control', 'decqn_plain', (5,), 'float32', _CONTROL_ACTIONS, dict(
        torso='mlp', batch_size=8, hidden_layers=1, hidden_size=16, target_update_period=50)))
REAL = (
    Problem('atari', 'dqn', (4, 84, 84), 'uint8', specs.DiscreteArray(6), {}),
    Problem('control', 'decqn_plain', (24,), 'float32', _CONTROL_ACTIONS, {}))


class Training(NamedTuple):
  """An agent in training."""
  agent: learner.Agent
  state: learner.LearnerState
  transition: types.Transition

  def update(self) -> 'Training':
    weights = np.ones(len(self.transition.r_t), np.float32)
    state, _, _ = self.agent.learn(self.state, self.transition, weights)
    return self._replace(state=state)


def _config(problem: Problem, names: tuple[str, ...]) -> config_lib.Config:
  return config_lib.resolve(problem.domain, 'random', problem.agent, names, problem.settings)


def start(problem: Problem, names: tuple[str, ...], seed: int = 0) -> Training:
  """The agent of a problem with some interventions, before its first update.

  Raises:
    UsageError: they are refused.
  """
  config = _config(problem, names)
  action_map = actions.action_map(problem.action_spec, config.bins)
  network = learner.make_network(config, problem.shape, problem.dtype, action_map)
  agent = learner.make_agent(config, network, optimizers.make(config))
  rng, size = np.random.default_rng(seed), config.batch_size
  scale = 255 if problem.dtype == 'uint8' else 1
  obs_tm1, obs_t = (scale * rng.random((2, size, *problem.shape))).astype(problem.dtype)
  choices = rng.integers(0, action_map.num_choices, (size, action_map.num_dims), np.int32)
  transition = types.Transition(
      obs_tm1, choices, rng.random(size).astype(np.float32), np.full(size, 0.9, np.float32), obs_t)
  return Training(agent, agent.init(jax.random.key(seed)), transition)


def soon(name: str) -> str:
  """The intervention, with what it does from time to time within a short run."""
  times = [f'{key}={_SOON}' for key in interventions.TABLE[name].parameters if key in _TIMES]
  return f'{name}({",".join(times)})' if times else name


def refusal(problem: Problem, names: tuple[str, ...]) -> str:
  """Why the interventions are refused on the problem; '' where they are not."""
  try:
    _config(problem, tuple(soon(name) for name in names))
  except errors.UsageError as error:
    return str(error)
  return ''


def outcome(problem: Problem, names: tuple[str, ...], num_updates: int = _UPDATES) -> str:
  """'finite', 'not finite', or why the interventions are refused."""
  refused = refusal(problem, names)
  if refused:
    return refused
  training = start(problem, tuple(soon(name) for name in names))
  for _ in range(num_updates):
    training = training.update()
  state = training.state._replace(key=jax.random.key_data(training.state.key))
  finite = all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(state))
  return 'finite' if finite else 'not finite'


def pairs() -> Iterator[dict[str, str]]:
  """A row for each name and each pair of names."""
  names = sorted(interventions.TABLE)
  for pair in [*((name,) for name in names), *itertools.combinations(names, 2)]:
    row = dict(first=pair[0], second=pair[-1] if len(pair) == 2 else '')
    yield row | {problem.domain: outcome(problem, pair) for problem in TINY}
    jax.clear_caches()  # Hundreds of compiled updates would fill the memory.


def costs() -> Iterator[dict[str, str]]:
  """Update times as ratios to the plain agent's, medians of updates made in turn."""
  plain = {}  # by domain, and whether it has a distribution
  for name, row in interventions.TABLE.items():
    # What happens once has happened by the first update that is timed.
    at = {f'{name}.at': '1'} if 'at' in row.parameters else {}
    ratios = {}
    for problem in REAL:
      distributional = bool(refusal(problem, (name,)))  # It needs one, which then both have.
      if distributional:
        problem = problem._replace(settings=problem.settings | {'distribution': 'categorical'})
      key = problem.domain, distributional
      pair = [plain.get(key) or start(problem, ()).update(),
              start(problem._replace(settings=problem.settings | at), (name,)).update()]
      ratios[problem.domain] = f'{_ratio(pair):.2f}'
      plain[key] = pair[0]
    yield dict(name=name, **ratios)


def _ratio(pair: list[Training]) -> float:
  """The second's median time of an update over the first's; both go on in place."""
  times = [], []
  for _ in range(_REPEATS):
    for i, training in enumerate(pair):
      begun = time.perf_counter()
      pair[i] = training.update()
      jax.block_until_ready(pair[i].state)
      times[i].append(time.perf_counter() - begun)
  return statistics.median(times[1]) / statistics.median(times[0])


def table(cost_rows: list[dict[str, str]]) -> str:
  """Markdown, of all of them."""
  cost = {row['name']: row for row in cost_rows}
  lines = ['| name | what it does | parameters | touches | not with | cost | source |',
           '|---|---|---|---|---|---|---|']
  for name, row in interventions.TABLE.items():
    parameters = ', '.join(f'`{key}={errors.shown(parameter.default)}`'
                           for key, parameter in row.parameters.items())
    others = ', '.join(f'`{other}`' for other in choice.excluded(name))
    times = ', '.join(cost[name][problem.domain] for problem in REAL) if name in cost else ''
    summary = row.summary.replace('|', '\\|')
    lines.append(f'| `{name}` | {summary} | {parameters} | {row.touches} | {others} | {times} | '
                 f'{row.paper} |')
  return '\n'.join(lines)


def _write(path: pathlib.Path, rows: Iterator[dict[str, str]]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w', newline='') as file:
    writer = None
    for row in rows:
      if writer is None:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
      writer.writerow(row)
      file.flush()
      print(*row.values(), sep='\t', flush=True)


def read(path: pathlib.Path) -> list[dict[str, str]]:
  """Rows of a file that this module wrote; none where there is no file."""
  if not path.exists():
    return []
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def with_table(page: str, text: str) -> str:
  """The page with the text between its marks."""
  before, rest = page.split(MARKS[0])
  return f'{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}'


def main() -> None:
  """See the top."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=('pairs', 'costs', 'table'))
  what = parser.parse_args().what
  if what == 'table':
    PAGE.write_text(with_table(PAGE.read_text(), table(read(RESULTS / 'costs.csv'))))
  elif what == 'costs':
    compare.write_table(RESULTS / 'costs.csv', list(costs()))
  else:
    _write(RESULTS / 'pairs.csv', pairs())


if __name__ == '__main__':
  main()
