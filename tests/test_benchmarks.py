"""The arithmetic and the order of the benchmarks; what they measure is for `make bench` to say."""

import math
import sys

import pytest

from benchmarks import compare, speeds

_ECHO = '''
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
path.write_text(path.read_text() + sys.argv[2] if path.exists() else sys.argv[2])
print('chatter')
print(json.dumps({'order': path.read_text(), 'seed': json.loads(sys.argv[3])['seed']}))
'''


def test_ratio_by_hand():
  # Ratios 2 and 4: logs to base 2 are 1 and 2, mean 1.5, standard error 0.5; t(0.975, 1) = 12.706.
  ratio = compare.ratio([2, 8], [1, 2])
  bounds = 1.5 - 0.5 * 12.7062, 1.5, 1.5 + 0.5 * 12.7062
  found = [math.log2(x) for x in (ratio.low, ratio.mean, ratio.high)]
  assert found == pytest.approx(bounds, abs=1e-4)


def test_ratio_needs_as_many_of_each():
  with pytest.raises(ValueError):
    compare.ratio([1, 2, 3], [1, 2])


def test_commands_run_by_turns_with_the_same_settings(tmp_path):
  commands = {name: (sys.executable, '-c', _ECHO, str(tmp_path / 'order'), name) for name in 'AB'}
  results = compare.by_turns(commands, rounds=2)
  assert [run['order'] for run in results['A']] == ['A', 'ABA']
  assert [run['order'] for run in results['B']] == ['AB', 'ABAB']
  assert all(run['seed'] == compare.SETTINGS['seed'] for runs in results.values() for run in runs)


def test_a_failing_command_shows_its_error():
  code = 'import sys; sys.stderr.write("the" + " cause"); sys.exit(3)'
  with pytest.raises(RuntimeError, match='broken: exit status 3\nthe cause'):
    compare.by_turns({'broken': (sys.executable, '-c', code)}, rounds=1)


def test_rates_repeats_and_closes():
  closed = []

  def work():
    try:
      while True:
        yield 7
    finally:
      closed.append(True)

  rates = speeds.rates(work(), seconds=0.01, repeats=3)
  assert len(rates) == 3 and min(rates) > 7 / 0.01 and closed == [True]
