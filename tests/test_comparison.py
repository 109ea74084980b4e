"""Several runs side by side, on constructed folders: groups, intervals by hand, what is missing."""

import csv
import re

import numpy as np
import pytest

from probes import comparison, groups, run_data
from tests.test_report import CONFIG, Page, make_run, probe, result


def run(folder, seed, lost, returns=(1.0, 5.0), **config):
  """A run with probes at 0 and 400."""
  return make_run(
      folder, [result(0, returns[0]), result(400, returns[1])],
      [probe(0, lost=0.0), probe(400, lost=lost, low=lost - 0.03, high=lost + 0.03)],
      CONFIG | dict(seed=seed) | config)


def compare(folders, out):
  path = comparison.write_comparison(folders, out)
  page = Page(path.read_text())
  assert all(link.startswith('#') for link in page.links)  # within the page
  return page.text, (out / 'comparison.md').read_text()


def two_groups(folder):
  plain = [run(folder / f'plain{s}', s, lost, interventions=[])
           for s, lost in ((1, 0.30), (2, 0.32), (3, 0.34))]
  normed = [run(folder / f'ln{s}', s, lost, interventions=['ln'])
            for s, lost in ((1, 0.00), (2, 0.02), (3, 0.01))]
  return plain + normed


def test_seeds_are_means_with_t_intervals_and_groups_are_told_apart(tmp_path):
  text, markdown = compare(two_groups(tmp_path), tmp_path / 'out')
  # 0.32 and sd 0.02: 0.02 / sqrt(3) * 4.3027 = 0.0497.
  for found in (text, markdown):
    assert 'double_dqn: plasticity lost 0.32 [0.27, 0.37]' in found
    assert 'double_dqn + ln: plasticity lost 0.01 [−0.01, 0.03]' in found
    assert 'double_dqn + ln kept more plasticity than double_dqn.' in found
  assert '6 runs compared' in text


def test_groups_may_be_given(tmp_path):
  folders = two_groups(tmp_path)
  labels = ['one', 'two', 'one', 'two', 'two', 'one']
  comparison.write_comparison(folders, tmp_path / 'out', labels)
  rows = csv.DictReader((tmp_path / 'out' / 'comparison.csv').read_text().splitlines())
  assert [(row['group'], row['seed']) for row in rows] == [
      ('one', '1'), ('one', '3'), ('one', '3'), ('two', '2'), ('two', '1'), ('two', '2')]


def test_overlapping_intervals_claim_nothing(tmp_path):
  folders = [run(tmp_path / 'a', 1, 0.10, interventions=[]),
             run(tmp_path / 'b', 1, 0.13, interventions=['ln'])]
  text, _ = compare(folders, tmp_path / 'out')
  assert 'The intervals do not tell them apart.' in text
  # One seed each: the probe's own intervals.
  assert '0.10 [0.07, 0.13]' in text and 'one seed, over the probe’s targets' in text


@pytest.mark.parametrize('values, expected', [
    ([1.0, 2.0, 3.0], (2.0, 2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3))),
    ([5.0, np.nan], (5.0, 4.0, 7.0)), ([], (np.nan, np.nan, np.nan))])
def test_means_over_seeds_by_hand(values, expected):
  np.testing.assert_allclose(groups.mean_of(values, 4.0, 7.0), expected, rtol=1e-6)


def seeds(*configs):
  return [groups.Seed(f'run{i}', run_data.Run(CONFIG | config, [], [], [], [], []))
          for i, config in enumerate(configs)]


@pytest.mark.parametrize('configs, labels', [
    ([dict(seed=1), dict(seed=2)], ['double_dqn + ln,wd'] * 2),
    ([dict(run_id='a', versions={}), dict(run_id='b')], ['double_dqn + ln,wd'] * 2),
    ([dict(protocol_rules={'noop_max': 30}), {}], ['double_dqn + ln,wd'] * 2),
    ([dict(interventions=[]), {}], ['double_dqn', 'double_dqn + ln,wd']),
    ([dict(agent='c51', norm='x'), dict(norm='y')], ['c51 + ln,wd', 'double_dqn + ln,wd']),
    ([dict(task='Pong'), dict(task='Breakout')],
     ['Pong double_dqn + ln,wd', 'Breakout double_dqn + ln,wd']),
    ([dict(learning_rate=1), dict(learning_rate=2)],
     ['double_dqn + ln,wd learning_rate=1', 'double_dqn + ln,wd learning_rate=2']),
    ([dict(a=1, b=1, c=1, d=1), dict(a=2, b=2, c=2, d=2), dict(a=2, b=2, c=2, d=3)],
     ['double_dqn + ln,wd a=1 b=1 c=1 …', 'double_dqn + ln,wd a=2 b=2 c=2 … (2)',
      'double_dqn + ln,wd a=2 b=2 c=2 … (3)'])])
def test_a_group_is_called_after_what_differs(configs, labels):
  found = groups.grouped(seeds(*configs))
  named = {seed.name: group.label for group in found for seed in group.seeds}
  assert [named[f'run{i}'] for i in range(len(configs))] == labels


def test_a_row_a_run_has_every_number_of_its_last_probe(tmp_path):
  compare(two_groups(tmp_path), tmp_path / 'out')
  with open(tmp_path / 'out' / 'comparison.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['run'] for row in rows] == ['plain1', 'plain2', 'plain3', 'ln1', 'ln2', 'ln3']
  assert rows[1]['plasticity_lost'] == '0.32' and rows[1]['frame'] == '400.0'
  assert rows[4]['interventions'] == 'ln' and rows[4]['seed'] == '2'
  assert rows[0]['last_score'] == '5.0' and rows[0]['dead/conv1'] == '0.002'


def test_names_are_text_and_not_markup(tmp_path):
  folders = [run(tmp_path / 'a', 1, 0.0, agent='<b>x</b>|y'), run(tmp_path / 'b', 1, 0.0)]
  text, markdown = compare(folders, tmp_path / 'out')
  assert '<b>x</b>|y' in text
  assert '&lt;b&gt;x&lt;/b&gt;\\|y' in markdown and '<b>' not in markdown


def test_what_is_missing_of_one_run_is_said_and_the_rest_compared(tmp_path):
  folders = two_groups(tmp_path)
  (folders[0] / 'probes.csv').unlink()
  (folders[1] / 'config.json').write_text('{')
  (folders[2] / 'results.csv').unlink()
  text, _ = compare(folders, tmp_path / 'out')
  for sentence in ('plain1: There was no probe', 'plain2: config.json could not be read',
                   'plain3: There was no evaluation', 'runs count in different units',
                   'runs are of different tasks'):
    assert sentence in text
  assert 'double_dqn + ln: plasticity lost 0.01' in text


def test_runs_without_probes_have_no_verdict(tmp_path):
  folders = [make_run(tmp_path / name, [result(0, 1.0)]) for name in 'ab']
  text, _ = compare(folders, tmp_path / 'out')
  assert 'None of these was probed.' in text and 'Settings that differ' not in text


def test_a_probe_in_which_no_network_learns_is_not_compared(tmp_path):
  folders = two_groups(tmp_path)
  blind = [make_run(tmp_path / f'blind{seed}', [], [
      probe(400, lost=0.0, low=0.0, high=0.0, fresh=0.03)], CONFIG | dict(agent='dqn', seed=seed))
           for seed in (1, 2)]
  text, _ = compare([*blind, *folders], tmp_path / 'out')
  assert 'double_dqn + ln kept more plasticity than double_dqn.' in text
  assert 'Left out: dqn + ln,wd, where not even a fresh network' in text


def test_lengths_and_versions_that_differ_are_said(tmp_path):
  folders = [
      make_run(tmp_path / name, [], [probe(frame, record_version=version) for frame in (0, last)])
      for name, last, version in (('a', 400, 2), ('b', 200, 3))]
  text, _ = compare(folders, tmp_path / 'out')
  assert 'The last probes were made after lengths that differ.' in text
  assert 'The probes are of different versions' in text


def test_curves_are_at_what_all_seeds_have():
  one = [{'frame': frame, 'x': value} for frame, value in ((0, 1.0), (10, 2.0), (20, np.nan))]
  other = [{'frame': frame, 'x': value} for frame, value in ((0, 3.0), (10, 5.0), (20, 1.0))]
  found = groups.curve([one, other[:3], []], 'x')
  assert found.frames.tolist() == [0, 10]
  assert found.values.tolist() == [[1.0, 2.0], [3.0, 5.0]]
  assert groups.curve([one, other[1:2]], 'x').frames.tolist() == [10]
  assert not len(groups.curve([[], []], 'x').frames)


def test_ten_groups_are_drawn(tmp_path):
  folders = [run(tmp_path / f'{i}', 1, 0.01 * i, learning_rate=i) for i in range(10)]
  text, _ = compare(folders, tmp_path / 'out')
  assert 'learning_rate=9' in text
  svg = (tmp_path / 'out' / 'comparison.html').read_text()
  assert len(set(re.findall(r'var\(--g\d\)', svg))) == 6 and 'var(--soft)' in svg


@pytest.mark.parametrize('names, message', [
    ([], 'run_dirs=: must be at least two runs'), (['a'], 'run_dirs=.*a: must be at least two'),
    (['a', 'nothing'], 'run_dir=.*nothing: must be a folder')])
def test_bad_arguments_are_refused(tmp_path, names, message):
  run(tmp_path / 'a', 1, 0.0)
  with pytest.raises(ValueError, match=message):
    comparison.write_comparison([tmp_path / name for name in names], tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_probes_of_other_sizes_are_not_compared(tmp_path):
  folders = [
      make_run(tmp_path / f'{names}{seed}', [], [probe(400, lost=lost, num_steps=steps)],
               CONFIG | dict(seed=seed, interventions=[names]))
      for names, lost, steps in (('ln', 0.0, 200), ('wd', 0.4, 2000)) for seed in (1, 2)]
  text, _ = compare(folders, tmp_path / 'out')
  assert 'Their probes do not compare.' in text and 'They differ in num_steps.' in text


def test_a_broken_network_is_not_left_out_of_its_groups_mean(tmp_path):
  folders = two_groups(tmp_path)
  folders.append(make_run(
      tmp_path / 'ln4', [], [probe(400, lost=float('nan'), low=0.0, high=0.0)],
      CONFIG | dict(seed=4, interventions=['ln'])))
  text, _ = compare(folders, tmp_path / 'out')
  assert 'Left out: double_dqn + ln, 1 of 4 whose last probe holds no result' in text
  assert 'Fewer than two of these have a probe that tells something.' in text


def test_one_seed_says_nothing_of_others(tmp_path):
  folders = [run(tmp_path / name, 1, lost, interventions=[name])
             for name, lost in (('ln', 0.0), ('wd', 0.4))]
  text, _ = compare(folders, tmp_path / 'out')
  assert ('In these runs double_dqn + ln kept more plasticity than double_dqn + wd; one seed says '
          'nothing of others.') in text


def test_a_run_named_twice_is_refused(tmp_path):
  run(tmp_path / 'a', 1, 0.0)
  (tmp_path / 'b').mkdir()
  with pytest.raises(ValueError, match='run_dirs=.*: must each be named once'):
    comparison.write_comparison([tmp_path / 'a', tmp_path / 'b' / '..' / 'a'], tmp_path / 'out')
