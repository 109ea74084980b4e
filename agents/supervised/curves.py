"""Curves of a metric, of every seed of every way, and which are the better ones."""

from typing import Any, NamedTuple

import numpy as np

from agents.supervised import experiments, findings

LOGARITHMIC = ('squared_error', 'mean_squared_error', 'feature_top', 'sharpness')
# What makes numbers of a metric the more the better; of the others they are so.
_MERITS = {
    **dict.fromkeys(LOGARITHMIC, lambda values: -np.log10(values)),  # by orders of magnitude
    **dict.fromkeys(('plasticity_lost', 'dead/total', 'linear/total', 'mean_loss'),
                    lambda values: -values)}


class Curves(NamedTuple):
  """A metric of every seed of every way."""
  metric: str
  steps: dict[str, np.ndarray]  # way -> [points]
  values: dict[str, np.ndarray]  # way -> [seeds, points]


def of(rows: dict[str, list[list[dict[str, str]]]], claim: experiments.Claim) -> Curves:
  """Of the rows of a file of each run, way -> seed -> rows, those that the claim counts."""
  counted = {name: [_of_each_task(one, claim) for one in seeds] for name, seeds in rows.items()}
  return Curves(
      claim.metric,
      {name: np.array([float(one['frame']) for one in seeds[0]])
       for name, seeds in counted.items()},
      {name: np.array([[float(one[claim.metric]) for one in seed] for seed in seeds])
       for name, seeds in counted.items()})


def _of_each_task(rows: list[dict[str, str]], claim: experiments.Claim) -> list[dict[str, Any]]:
  """One row a task; all rows where they have no task, as probes have none."""
  tasks: dict[str, list[dict[str, str]]] = {}
  for row in rows:
    tasks.setdefault(row.get('iteration', row['frame']), []).append(row)
  if claim.of_task == 'last':
    return [task[-1] for task in tasks.values()]
  return [task[0] | {claim.metric: _rise([float(row[claim.metric]) for row in task])}
          for task in tasks.values()]


def _rise(values: list[float]) -> float:
  return max(values) - values[0]


def ranked(curves: Curves) -> list[str]:
  """Ways, the worst first."""
  found = in_merit(curves)
  return sorted(found, key=lambda name: findings.late(found[name]).mean())


def in_merit(curves: Curves) -> dict[str, np.ndarray]:
  """The values, the more the better."""
  merit = _MERITS.get(curves.metric, lambda values: values)
  return {name: merit(values) for name, values in curves.values.items()}
