"""Curves of a metric from the rows of runs."""

import pytest

from agents.supervised import curves, experiments

ROWS = {'one': [[
    dict(iteration='0', frame='10', entropy='1'), dict(iteration='0', frame='20', entropy='0.5'),
    dict(iteration='1', frame='30', entropy='0.25'), dict(iteration='1', frame='40', entropy='2')]]}
PROBES = {'one': [[dict(frame='0', sharpness='10'), dict(frame='40', sharpness='1000')]],
          'two': [[dict(frame='0', sharpness='1'), dict(frame='80', sharpness='100')]]}


def claim(metric, **fields):
  return experiments.Claim('', None, metric, **fields)


@pytest.mark.parametrize('which, steps, values', [
    ('last', [20, 40], [0.5, 2]), ('rise', [10, 30], [0, 1.75])])
def test_one_row_of_each_task_counts(which, steps, values):
  found = curves.of(ROWS, claim('entropy', of_task=which))
  assert found.steps['one'].tolist() == steps
  assert found.values['one'].tolist() == [values]


def test_every_probe_counts():
  found = curves.of(PROBES, claim('sharpness', file='probes'))
  assert found.values['two'].tolist() == [[1, 100]] and found.steps['two'].tolist() == [0, 80]


def test_less_of_a_cost_is_better_by_powers_of_ten():
  found = curves.of(PROBES, claim('sharpness', file='probes'))
  assert curves.in_merit(found)['one'].tolist() == [[-1, -3]]
  assert curves.ranked(found) == ['one', 'two']


def test_more_of_a_score_is_better():
  rows = {name: [[dict(iteration='0', frame='1', mean_accuracy=value)]]
          for name, value in (('good', '0.9'), ('bad', '0.1'))}
  assert curves.ranked(curves.of(rows, claim('mean_accuracy'))) == ['bad', 'good']
