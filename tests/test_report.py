"""The report on constructed run folders, whole ones and broken ones."""

import csv
import html.parser
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from probes import report, run_data, schema, tables, verdict, wording

CONFIG = dict(
    domain='atari', task='Pong', agent='double_dqn', interventions=['ln', 'wd'],
    protocol='dqn_zoo', seed=1, unit='frames', run_length=400_000, learning_rate=0.00025,
    versions=dict(jax='0.4'))
VOID = ('meta', 'br', 'hr', 'img', 'input', 'link')


def result(frame, eval_return, **columns):
  return dict(iteration=0, frame=frame, eval_episode_return=eval_return,
              train_episode_return=eval_return - 1, normalized_return=(eval_return + 21) / 36,
              loss=0.01, protocol='dqn_zoo', **columns)


def probe(frame, lost=0.01, low=None, high=None, fresh=0.46, growth=1.0, **columns):
  row = dict(
      frame=frame, update=frame // 16, plasticity=fresh - lost, plasticity_fresh=fresh,
      plasticity_lost=lost, plasticity_lost_low=lost - 0.02 if low is None else low,
      plasticity_lost_high=lost + 0.02 if high is None else high, invalid_targets=0)
  for prefix, factor in (('', growth), ('fresh_', 1.0)):
    row |= {f'{prefix}dead/conv1': 0.002 * factor, f'{prefix}dead/dense1': 0.02 * factor,
            f'{prefix}dead/total': 0.011 * factor, f'{prefix}linear/conv1': 0.5,
            f'{prefix}linear/total': 0.5, f'{prefix}norm/conv1': 3.0,
            f'{prefix}norm/dense1': 4.0 * factor,
            f'{prefix}norm/total': math.hypot(3, 4 * factor)}
  return row | columns


def curves(num_steps=50):
  falling = np.linspace(0.5, 0.1, num_steps) + np.zeros((3, 1))
  return dict(agent_curves=falling, fresh_curves=falling * 0.9, agent_final_losses=falling[:, -1],
              fresh_final_losses=falling[:, -1], agent_target_variances=np.full(3, 0.5),
              fresh_target_variances=np.full(3, 0.5))


def write_rows(path, rows):
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def make_run(folder, results=(), probes=(), config=CONFIG):
  (folder / 'probes').mkdir(parents=True)
  (folder / 'config.json').write_text(json.dumps(config))
  for name, rows in (('results.csv', results), ('probes.csv', probes)):
    if rows:
      write_rows(folder / name, rows)
  for row in probes:
    np.savez(folder / 'probes' / f'{row["frame"]}.npz', **curves())
  return folder


def whole_run(folder):
  return make_run(
      folder, [result(0, -20.7), result(200_000, 14.0), result(400_000, 13.0)],
      [probe(0, lost=0.0), probe(400_000, growth=2.0)])


class Page(html.parser.HTMLParser):
  """Refuses unbalanced elements; keeps texts and what could lead outside."""

  def __init__(self, text):
    super().__init__()
    self.open, self.texts, self.links, self.tags = [], [], [], []
    self.feed(text)
    assert self.open == []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [value for name, value in attrs if name.split(':')[-1] in ('src', 'href')]
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if not {'style', 'title'} & set(self.open):
      self.texts.append(data)

  @property
  def text(self):
    return ' '.join(' '.join(self.texts).split())


def written(folder):
  path = report.write_report(folder)
  assert path == folder / 'report.html'
  return Page(path.read_text()), (folder / 'report.md').read_text()


def test_a_whole_run_in_order(tmp_path):
  page, markdown = written(whole_run(tmp_path / 'run'))
  parts = ('Pong', 'ln, wd', '400k of 400k frames', 'The network can still learn.',
           'Plasticity lost: 0.01 [−0.01, 0.03] against the 0.46', 'Above 0.05, a tenth of that',
           'The 95% interval holds 0.', 'At the first probe it was 0.00.')
  for text in (page.text, ' '.join(markdown.split())):
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    for part in ('best 14.0 at 200k, first −20.7; human-normalised 0.94',
                 'worst layer dense1, 4.0%', '5.00 to 8.54; most in dense1, 2.00×', 'learning_rate',
                 'Lyle et al. 2023'):
      assert part in text, part
  assert page.tags.count('svg') == 4  # returns, plasticity lost, first and last probe
  assert 'missing' not in page.text


def test_the_page_stands_alone(tmp_path):
  page, _ = written(whole_run(tmp_path / 'run'))
  assert page.links and all(link.startswith('#') for link in page.links)  # within its drawings
  source = (tmp_path / 'run' / 'report.html').read_text()
  assert not re.search(r'https?:|//[a-z]|@import|url\((?!#)', source)
  assert not {'script', 'link', 'iframe', 'img'} & set(page.tags)
  assert 'name="viewport"' in source and 'prefers-color-scheme: dark' in source
  assert len(source) < 600_000


def test_no_two_elements_share_an_identifier(tmp_path):
  written(whole_run(tmp_path / 'run'))
  source = (tmp_path / 'run' / 'report.html').read_text()
  for definition in set(re.findall(r'<(\w+ id="[^"]*")', source)):
    identifier = definition.split('"')[1]
    texts = re.findall(rf'id="{identifier}"[^>]*?d="([^"]*)"', source)
    assert len(set(texts)) <= 1, definition  # the same mark, drawn in two figures


def test_the_largest_run_stays_small(tmp_path):
  frames = [int(1e6) * i for i in range(201)]
  folder = make_run(tmp_path / 'run', [result(f, 3.0) for f in frames], [probe(f) for f in frames])
  for frame in (frames[0], frames[-1]):
    np.savez(folder / 'probes' / f'{frame}.npz', **curves(2000))
  page, markdown = written(folder)
  assert (folder / 'report.html').stat().st_size < 600_000
  assert '12 of 201; all are in probes.csv.' in page.text
  assert len(markdown.splitlines()) < 139 + len(schema.SCHEMA)  # Each of its rows is a line.


def test_files_are_replaced_whole(tmp_path):
  folder = whole_run(tmp_path / 'run')
  (folder / 'report.html').write_text('old')
  written(folder)
  left = {path.name for path in folder.iterdir()}
  assert left == {'config.json', 'results.csv', 'probes.csv', 'probes', 'report.html', 'report.md'}


def test_equal_folders_give_equal_reports(tmp_path):
  for name in ('a', 'b'):
    report.write_report(whole_run(tmp_path / name / 'run'))
  for name in ('report.html', 'report.md'):
    one, two = (tmp_path / run / 'run' / name for run in ('a', 'b'))
    assert one.read_bytes() == two.read_bytes()


def test_what_others_wrote_is_text(tmp_path):
  config = CONFIG | dict(task='<script>alert(1)</script>', agent='a|b', protocol='<b>x</b>')
  folder = make_run(tmp_path / 'run', [], [probe(0, **{'dead/<i>x': 0.9})], config)
  page, markdown = written(folder)
  assert not {'script', 'b>', 'i'} & set(page.tags)
  assert '<script>alert(1)</script>' in page.text
  assert '<script>' not in markdown and '<i>' not in markdown and '<b>' not in markdown
  assert 'a\\|b' in markdown


@pytest.mark.parametrize('unit', ['steps', '$bad$', None])
def test_any_unit_is_survived(tmp_path, unit):
  page, _ = written(make_run(tmp_path / 'run', [result(0, 1.0)], [], CONFIG | dict(unit=unit)))
  assert ('Steps' if unit == 'steps' else 'Frames') in page.text


def test_an_empty_folder(tmp_path):
  page, markdown = written(tmp_path)
  for text in (page.text, markdown):
    assert 'No probe was made: whether it can still learn is unknown.' in text
    assert 'config.json could not be read (FileNotFoundError)' in text
    assert 'There was no evaluation: results.csv is not there.' in text
    assert 'There was no probe: probes.csv is not there.' in text


def test_one_probe_and_no_evaluation(tmp_path):
  page, _ = written(make_run(tmp_path / 'run', [], [probe(0)]))
  assert 'The network can still learn.' in page.text
  assert 'one probe, so its growth is unknown' in page.text
  assert 'There was no evaluation' in page.text
  assert page.text.count('Probe at') == 1 and 'Probe at 0 frames' in page.text


def test_evaluations_and_no_probe(tmp_path):
  page, _ = written(make_run(tmp_path / 'run', [result(0, float('nan')), result(100_000, 2.0)]))
  assert 'Evaluation return' in page.text and 'Whether it can still learn' not in page.text
  assert 'measured up to 100k of 400k frames' in page.text


def test_every_evaluation_without_a_number(tmp_path):
  page, _ = written(make_run(tmp_path / 'run', [result(0, float('nan'))], [probe(0)]))
  assert 'How well it did' in page.text


@pytest.mark.parametrize('cut', [1, 5])
def test_a_last_line_cut_short_is_left_out(tmp_path, cut):
  folder = whole_run(tmp_path / 'run')
  for name in ('results.csv', 'probes.csv'):
    text = (folder / name).read_text()
    (folder / name).write_text(text[:-cut])
  page, _ = written(folder)
  assert 'results.csv: 1 incomplete line(s) left out.' in page.text
  assert 'probes.csv: 1 incomplete line(s) left out.' in page.text
  assert 'measured up to 200k of 400k' in page.text


@pytest.mark.parametrize('content', ['', '\n', 'frame', 'frame,x\n', 'a,b\n1,2\n', '\0\n\0,\n',
                                     'frame\nnan\n', 'frame,frame\n1,2,3\n', 'a\rb\n1\r2\n'])
def test_files_without_a_row(tmp_path, content):
  folder = make_run(tmp_path / 'run')
  for name in ('results.csv', 'probes.csv'):
    (folder / name).write_text(content)
  page, _ = written(folder)
  assert 'There was no probe: probes.csv holds no row.' in page.text


def test_cells_that_are_no_numbers(tmp_path):
  rows = [dict.fromkeys(probe(0), ''), dict.fromkeys(probe(0), 'x'), dict.fromkeys(probe(0), 'nan')]
  rows = [row | dict(frame=i) for i, row in enumerate(rows)]
  page, _ = written(make_run(tmp_path / 'run', rows, rows))
  assert 'The last probe holds no result.' in page.text


def test_infinite_cells(tmp_path):
  rows = [dict.fromkeys(probe(0), 'inf') | dict(frame=i) for i in range(2)]
  page, markdown = written(make_run(tmp_path / 'run', rows, rows))
  for text in (page.text, markdown):
    assert 'Undecided' in text and 'The network can still learn' not in text


def test_a_probe_of_few_columns(tmp_path):
  page, _ = written(make_run(tmp_path / 'run', [], [dict(frame=0, plasticity_lost=0.2)]))
  assert 'Undecided' in page.text


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut', b'\x93NUMPY nonsense', b'text'])
def test_broken_arrays(tmp_path, content):
  folder = whole_run(tmp_path / 'run')
  (folder / 'probes' / '0.npz').write_bytes(content)
  page, _ = written(folder)
  assert re.search(r'probes/0.npz could not be read \(\w+\): its learning curves', page.text)
  assert page.text.count('Probe at') == 1 and 'Probe at 400k frames' in page.text


@pytest.mark.parametrize('arrays, error', [
    (dict(spectrum=np.zeros(3)), 'KeyError'),
    (curves() | dict(agent_curves=np.zeros(3)), 'ValueError'),
    (curves() | dict(agent_curves=np.zeros((3, 0)), fresh_curves=np.zeros((3, 0))), 'ValueError'),
    (curves() | dict(fresh_curves=np.array(['a', 'b'])), 'ValueError'),
])
def test_arrays_that_are_no_curves(tmp_path, arrays, error):
  folder = whole_run(tmp_path / 'run')
  np.savez(folder / 'probes' / '0.npz', **arrays)
  page, _ = written(folder)
  assert f'probes/0.npz could not be read ({error})' in page.text


def test_curves_that_are_not_finite(tmp_path):
  folder = whole_run(tmp_path / 'run')
  broken = curves() | dict(agent_curves=np.full((3, 50), np.nan))
  for path in (folder / 'probes').iterdir():
    np.savez(path, **broken)
  page, _ = written(folder)
  assert page.text.count('Probe at') == 2


@pytest.mark.parametrize('content', ['{', '[]', 'null', '\xff'])
def test_a_broken_config(tmp_path, content):
  folder = whole_run(tmp_path / 'run')
  (folder / 'config.json').write_bytes(content.encode('latin-1'))
  page, _ = written(folder)
  assert 'config.json' in page.text and 'The network can still learn.' in page.text


@pytest.mark.parametrize('row, outcome, words', [
    (probe(0, lost=0.01), 'kept', 'The network can still learn.'),
    (probe(0, lost=0.06, low=0.047), 'lost', 'Plasticity was lost.'),
    (probe(0, lost=0.06, low=0.045), 'undecided', 'the interval reaches across the threshold'),
    (probe(0, lost=-0.2), 'kept', 'better than a fresh one'),
    (probe(0, lost=0.5), 'lost', 'Plasticity was lost.'),
    (probe(0, lost=0.0, fresh=0.05), 'undecided', 'this probe cannot tell'),
    (probe(0, lost=-0.3, fresh=0.05), 'kept', 'better than a fresh one'),
    (probe(0, low=math.nan, high=math.nan), 'undecided', 'fewer than two targets'),
    (probe(0, lost=math.nan, invalid_targets=5), 'lost', 'The network is broken'),
    (probe(0, lost=math.nan), 'unknown', 'holds no result'),
])
def test_verdicts(row, outcome, words):
  found = verdict.judge([row])
  assert found.outcome == outcome
  assert words in found.headline


def test_a_verdict_gives_its_reasons():
  assert 'not even a fresh network learns' in ' '.join(
      verdict.judge([probe(0, lost=0.0, fresh=0.05)]).reasons)
  assert 'Left out: 2 target(s)' in ' '.join(
      verdict.judge([probe(0) | dict(invalid_targets=2)]).reasons)
  assert 'finite loss on none' in ' '.join(
      verdict.judge([probe(0, lost=math.nan) | dict(invalid_targets=5)]).reasons)
  away_from_0 = verdict.judge([probe(0, lost=0.03, low=0.02, high=0.04)])
  assert away_from_0.outcome == 'kept' and 'holds 0' not in ' '.join(away_from_0.reasons)


def test_no_dead_unit_has_no_worst_layer(tmp_path):
  page, _ = written(make_run(tmp_path / 'run', [], [probe(0, growth=0.0)]))
  assert 'in no layer; fresh network 1.1%' in page.text


def test_layers_over_the_run():
  dead, linear, norm = tables.by_layer([probe(0), probe(100, growth=4.0), probe(200, growth=8.0)])
  assert [cell.text for cell in dead.rows[1]] == ['dense1', '2.0%', '8.0%', '16%', '2.0%']
  assert [cell.text for cell in norm.rows[1]] == ['dense1', '4.00', '4.00×', '8.00×', '4.00']
  assert [cell.shade for cell in norm.rows[1][1:4]] == [0.0, 1.0, 1.0]
  assert linear.header == ['Layer', '0', '100', '200', 'Fresh network']
  assert len(linear.rows) == 1


@pytest.mark.parametrize('form, value, text', [
    (wording.number, 0.014, '0.01'), (wording.number, -0.004, '0.00'),
    (wording.number, -0.1, '−0.10'), (wording.number, 12.34, '12.3'),
    (wording.number, 1234.5, '1,234'), (wording.number, 0.0, '0.00'),
    (wording.number, math.nan, '–'), (wording.number, -math.inf, '−∞'),
    (wording.number, 2.5e9, '2.50e+09'),
    (wording.count, 0, '0'), (wording.count, 999, '999'), (wording.count, 40_000, '40k'),
    (wording.count, 1_250_000, '1.25M'), (wording.count, 200e6, '200M'),
    (wording.count, math.nan, '–'),
    (wording.percent, 0.0, '0%'), (wording.percent, 0.0004, '<0.1%'),
    (wording.percent, 0.003, '0.3%'), (wording.percent, 0.413, '41%'),
    (wording.percent, 1.0, '100%'), (wording.percent, math.nan, '–'),
    (wording.times, 1.204, '1.20×'), (wording.times, math.inf, '–'),
])
def test_numbers_in_words(form, value, text):
  assert form(value) == text


def test_rows_are_read_in_order_of_frames(tmp_path):
  make_run(tmp_path / 'run', [result(200, 2.0), result(100, 1.0)])
  run = run_data.read(tmp_path / 'run')
  np.testing.assert_array_equal(run_data.column(run.results, 'eval_episode_return'), [1.0, 2.0])
  assert np.isnan(run_data.column(run.results, 'no such')).all()


def test_the_report_leaves_pyplot_alone_and_the_probe_leaves_matplotlib_alone():
  code = ('import sys; import probes.record; assert "matplotlib" not in sys.modules; '
          'import probes.report; assert "matplotlib.pyplot" not in sys.modules')
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, timeout=100, check=False,
      cwd=pathlib.Path(__file__).parents[1], env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  assert done.returncode == 0, done.stderr


def state_arrays(size=8):
  kernel = np.eye(size) + 0.5
  values = np.geomspace(10, 0.1, size)
  return {f'{name}_{field}': value for name in ('agent', 'fresh')
          for field, value in (('ntk', kernel), ('singular_values', values))}


def test_features_and_kernels_are_drawn_at_first_middle_and_last(tmp_path):
  frames = [0, 100_000, 200_000, 300_000, 400_000]
  folder = make_run(tmp_path / 'run', [], [probe(frame) for frame in frames])
  for frame in frames:
    np.savez(folder / 'probes' / f'{frame}.npz', **curves(), **state_arrays())
  page, _ = written(folder)
  for words in ('Spectrum of the features', 'eNTK: 0 frames', 'eNTK: 200k frames',
                'eNTK: 400k frames', 'eNTK: a fresh network'):
    assert words in page.text
  assert 'eNTK: 100k frames' not in page.text


def test_probes_of_an_older_version_have_no_features_and_are_shown_without(tmp_path):
  page, _ = written(whole_run(tmp_path / 'run'))
  assert 'eNTK:' not in page.text and 'Whether it can still learn' in page.text
  assert 'Dormant units' not in page.text


def test_what_newer_probes_say_of_layers_is_shown(tmp_path):
  groups = [prefix + group for prefix in ('', 'fresh_')
            for group in ('dormant', 'shift', 'distance')]
  rows = [probe(frame) | {f'{group}/dense1': value for group in groups}
          for frame, value in ((0, 0.25), (400_000, 0.75))]
  page, markdown = written(make_run(tmp_path / 'run', [], rows))
  for title in ('Dormant units', 'Preactivation shift', 'Distance from the start'):
    assert title in page.text and f'### {title}' in markdown
  assert '75%' in page.text and '0.75' in page.text


def test_a_run_on_tasks_shows_its_own_scores(tmp_path):
  rows = [dict(iteration=i, frame=100 * (i + 1), loss=0.3, accuracy=accuracy, mean_accuracy=0.5)
          for i, accuracy in enumerate((0.9, 0.97, 0.4))]
  page, markdown = written(make_run(tmp_path / 'run', rows, [probe(0), probe(300)]))
  assert 'Evaluation return' not in page.text
  assert 'Accuracy 0.40 best 0.97 at 200, first 0.90' in page.text
  assert '| 200 | 97% | 50% | 0.3000 |' in markdown
  rows = [dict(iteration=i, frame=i + 1, squared_error=error, mean_squared_error=2.0)
          for i, error in enumerate((4.0, 0.5, 3.0))]
  page, _ = written(make_run(tmp_path / 'other', rows))
  assert 'Squared error 3.00 best 0.50 at 2, first 4.00' in page.text


def test_what_the_run_itself_has_cost_is_said(tmp_path):
  rows = [probe(0, lost=-0.1), probe(100, lost=0.3, lost_since_first=0.4,
                                     lost_since_first_low=0.35, lost_since_first_high=0.45)]
  rows[0] |= {name: 0.0 for name in rows[1] if name not in rows[0]}
  page, _ = written(make_run(tmp_path / 'run', [], rows))
  assert 'At the first probe it was −0.10; since then it lost 0.40 [0.35, 0.45].' in page.text


def test_arrays_are_explained(tmp_path):
  page, markdown = written(whole_run(tmp_path / 'run'))
  for metric in schema.ARRAYS:
    assert ' '.join(metric.meaning.split()) in page.text
  assert f'This is version {schema.VERSION}.' in markdown


def test_a_verdict_says_what_the_probe_was_and_where_only_ends_are_judged():
  sized = probe(0, fresh=0.46) | dict(baseline=0.5, num_targets=5, num_steps=200)
  both = ' '.join(verdict.judge([sized | dict(plasticity=0.46)]).reasons)
  assert 'Both networks came near the end of what there is to learn' in both
  assert 'The probe: 5 targets, 200 steps on each' in both
  one = ' '.join(verdict.judge([sized | dict(plasticity=0.44)]).reasons)
  assert 'Both networks' not in one


@pytest.mark.parametrize('episodes, said', [(0, True), (3, False)])
def test_returns_of_unfinished_episodes_are_said_to_be_so(tmp_path, episodes, said):
  rows = [result(0, 1.0, eval_num_episodes=2), result(9, 2.0, eval_num_episodes=episodes)]
  for text in written(make_run(tmp_path / 'run', rows)):
    text = text if isinstance(text, str) else text.text
    assert ('saw no episode to its end: its return so far' in text) == said
