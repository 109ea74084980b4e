"""Runs as groups of seeds, and numbers as means over these."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from probes import charts, run_data

# What tells two seeds of one thing apart, and what tells nothing of how it learns.
_NO_DIFFERENCE = (
    'seed', 'run_id', 'versions', 'command_line', 'continued_with', 'protocol_rules')
NAMED = ('task', 'agent', 'interventions')
# What agent and interventions decide is not said again, so that only runs of the same are compared.
_MOST_SETTINGS = 3  # in a label


_UNKNOWN = {'interventions': ''}  # the settings of a run whose config.json cannot be read


class Seed(NamedTuple):
  """A run."""
  name: str
  run: run_data.Run


class Group(NamedTuple):
  """Runs that differ in nothing but their seed."""
  label: str
  seeds: list[Seed]


class Mean(NamedTuple):
  """Of a number over seeds, or of the only seed."""
  value: float
  low: float  # 95%; NaN where there is no interval
  high: float


def names(folders: Sequence[pathlib.Path]) -> list[str]:
  """The folders without what all of their paths have in front."""
  paths = [folder.absolute() for folder in folders]
  common = os.path.commonpath([path.parent for path in paths])
  return [str(path.relative_to(common)) for path in paths]


def grouped(seeds: Sequence[Seed]) -> list[Group]:
  """Groups in the order of their first runs, each with a label of its own."""
  every = [settings(seed.run.config) for seed in seeds]
  identities = [tuple(found.get(name, '') for name in NAMED) for found in every]
  keys = []
  for found, identity in zip(every, identities, strict=True):
    alike = [other for other, named in zip(every, identities, strict=True) if named == identity]
    differing = sorted({name for other in alike for name in found.keys() | other.keys()
                        if found.get(name) != other.get(name)})
    # Of what nothing is known it is not known either that it is the same.
    own = () if found != _UNKNOWN else (('unread', str(len(keys))),)
    keys.append((identity, (*own, *((name, found.get(name, '')) for name in differing))))
  several_tasks = len({identity[0] for identity in identities}) > 1
  groups = {}
  for seed, key in zip(seeds, keys, strict=True):
    groups.setdefault(key, []).append(seed)
  labels = [_label(*key, several_tasks) for key in groups]
  labels = [label if labels.count(label) == 1 else f'{label} ({i})'
            for i, label in enumerate(labels, 1)]
  return [Group(label, found) for label, found in zip(labels, groups.values(), strict=True)]


def labelled(seeds: Sequence[Seed], labels: Sequence[str]) -> list[Group]:
  """Groups by the label of each run, in the order of their first ones."""
  groups: dict[str, list[Seed]] = {}
  for seed, label in zip(seeds, labels, strict=True):
    groups.setdefault(label, []).append(seed)
  return [Group(label, found) for label, found in groups.items()]


def settings(config: dict[str, Any]) -> dict[str, str]:
  """Settings that may tell groups apart, as text."""
  found = {name: value for name, value in config.items() if name not in _NO_DIFFERENCE}
  interventions = found.get('interventions') or []
  if isinstance(interventions, list):
    found['interventions'] = ','.join(map(str, interventions))
  return {name: str(value) for name, value in found.items()}


def _label(identity: tuple[str, ...], others: tuple[tuple[str, str], ...], with_task: bool) -> str:
  task, agent, interventions = identity
  words = [task] if with_task else []
  words.append(f'{agent or "unknown"} + {interventions}' if interventions else agent or 'unknown')
  words += [f'{name}={value}' for name, value in others[:_MOST_SETTINGS]]
  return ' '.join(words + ['…'] * (len(others) > _MOST_SETTINGS))


def half_width(values: np.ndarray, num_comparisons: int = 1) -> float:
  """Of the 95% t interval of a mean, as wide as so many at once need (Bonferroni)."""
  return float(stats.t.ppf(1 - 0.025 / num_comparisons, len(values) - 1) * stats.sem(values))


def mean_of(values: Sequence[float], low: float = np.nan, high: float = np.nan) -> Mean:
  """The mean over seeds with its t interval; of one seed, the interval that is given."""
  values = np.array(values, float)
  values = values[np.isfinite(values)]
  if not len(values):
    return Mean(np.nan, np.nan, np.nan)
  center = float(values.mean())
  if len(values) < 2:
    return Mean(center, low, high)
  half = half_width(values)
  return Mean(center, center - half, center + half)


def mean(values: Sequence[float]) -> float:
  """The mean of those that are finite; NaN where none is."""
  return mean_of(values).value


def lost(group: Group) -> Mean:
  """Plasticity lost at the last probe."""
  rows = [seed.run.probes[-1] for seed in group.seeds if seed.run.probes]
  bounds = [(row.get('plasticity_lost_low', np.nan), row.get('plasticity_lost_high', np.nan))
            for row in rows]
  return mean_of([row.get('plasticity_lost', np.nan) for row in rows],
                 *(bounds[0] if len(bounds) == 1 else ()))


def last(group: Group, column: str) -> list[float]:
  return [seed.run.probes[-1].get(column, np.nan) for seed in group.seeds if seed.run.probes]


def scores(group: Group, best: bool = False) -> list[float]:
  """Of each seed with results, the last value of its score, or the best one."""
  found = []
  for seed in group.seeds:
    score = run_data.score(seed.run.results)
    values = run_data.column(seed.run.results, score.column)
    if np.isfinite(values).any():
      found.append(float(values[score.best(values)] if best else values[-1]))
  return found


def curve(seeds: list[list[run_data.Row]], column: str) -> charts.Curve:
  """Of one number, at the frames that all seeds have."""
  by_frame = [{row['frame']: row.get(column, np.nan) for row in rows} for rows in seeds if rows]
  shared = sorted(set.intersection(*map(set, by_frame))) if by_frame else []
  values = np.array([[found[frame] for frame in shared] for found in by_frame])
  finite = np.isfinite(values).all(axis=0) if len(shared) else np.zeros(0, bool)
  return charts.Curve(np.array(shared)[finite], values[:, finite] if len(shared) else values)
