"""What nobody meant to type or to keep: refused in one line, or taken; nothing else happens."""

import contextlib
import dataclasses
import functools
import shutil

import hypothesis
import pytest
from hypothesis import strategies as st

import run_atari
import run_control
from agents import (
  checkpoint,
  cli,
  commands,
  errors,
  interventions,
  metrics,
  presets,
  probe_cli,
  run_folder,
  saved_run,
)
from agents import script as script_lib
from agents.config import Config
from agents.supervised import cli as supervised_cli
from probes import report
from tests import runs
from tests.image_streams import STREAMS

pytestmark = pytest.mark.usefixtures('own_signals')

NUMBERS = ('0', '1', '-1', '2', '0.5', '1e9', '1e400', 'nan', 'inf', '-inf', '1_000', '１', '0x10',
           '99999999999999999999999')
WORDS = ('', ' ', ',', '=', 'true', 'none', 'None', '[]', '{}', '../..', '/', 'x' * 300, 'é', '\n',
         '%s', '(', 'ln(', 'ln)', 'ln()', 'redo(period=1000,tau=0.025)', 'redo(period=)', '\0')
VALUES = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.text(max_size=8),
    st.lists(st.sampled_from([*interventions.TABLE, *presets.PRESETS]), max_size=4).map(','.join),
    st.sampled_from(['pong', 'Breakout', 'walker_walk', 'cheetah_run', 'local', 'small', 'paper']))
FIELDS = st.sampled_from([field.name for field in dataclasses.fields(Config)])
SETTINGS = st.one_of(VALUES, st.tuples(FIELDS, VALUES).map('='.join))
FLAGS = {
    'run_atari': ('game', 'protocol', 'num_frames', 'eval_frames', 'probe_every_frames'),
    'run_control': ('task', 'num_steps', 'eval_every_steps', 'checkpoint_every_steps'),
    'run_supervised': ('experiment', 'network', 'dataset', 'data_dir', 'num_tasks', 'subset',
                       'num_seeds', 'sweep', 'steps_per_task', 'full'),
    'run_probe': ('checkpoint', 'out_dir')}
SHARED = ('agent', 'interventions', 'replay', 'replay_port', 'num_envs', 'seed', 'run_dir',
          'resume', 'probe_size', 'track', 'list', 'set', 'set', 'set', 'help', 'unknown')
PARSERS = {
    'run_atari': functools.partial(commands.parse, run_atari.ATARI),
    'run_control': functools.partial(commands.parse, run_control.CONTROL),
    'run_supervised': functools.partial(supervised_cli.parse, STREAMS),
    'run_probe': probe_cli.parse}


def lines(script):
  def word(flag):
    values = SETTINGS if flag in ('set', 'sweep') else VALUES
    return values.map(lambda value: f'--{flag}={value}')
  flags = st.sampled_from([*FLAGS[script], *SHARED]).flatmap(word)
  return st.lists(st.one_of(flags, flags, flags, VALUES), max_size=5)


@pytest.mark.parametrize('script', PARSERS)
def test_any_command_line_is_taken_or_refused_in_one_line(script, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)

  @hypothesis.settings(max_examples=125)
  @hypothesis.given(lines(script))
  def check(words):
    status = script_lib.main([f'{script}.py', *words], lambda argv: str(PARSERS[script](argv)))
    out, err = capsys.readouterr()
    if status == script_lib.DONE:
      assert out and not err, words
    else:
      assert status == script_lib.BAD_ARGUMENT and not out, words
      assert err.startswith(f'{script}.py: ') and err.count('\n') == 1, words
    assert not list(tmp_path.iterdir()), words

  check()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'run'
  argv = ['run_control.py', *runs.SMALL, f'--run_dir={folder}', '--num_steps=60',
          '--eval_every_steps=30', '--eval_steps=20', '--probe_every_steps=60',
          '--checkpoint_every_steps=30', '--track=']
  assert cli.main(run_control.CONTROL, argv) == script_lib.DONE
  return folder


def damages(size):
  place = st.integers(0, max(size - 1, 0))
  return st.one_of(
      st.tuples(st.just('cut'), place, st.just(b'')),
      st.tuples(st.just('replace'), place, st.binary(min_size=1, max_size=8)),
      st.tuples(st.just('insert'), place, st.binary(min_size=1, max_size=8)),
      st.tuples(st.just('all'), place, st.binary(max_size=60)),
      st.tuples(st.just('remove'), place, st.just(b'')))


def damage(path, how, place, content):
  if how == 'remove':
    path.unlink()
    return
  old = path.read_bytes()
  path.write_bytes({
      'cut': old[:place], 'replace': old[:place] + content + old[place + len(content):],
      'insert': old[:place] + content + old[place:], 'all': content}[how])


def files_of(run, *patterns):
  return sorted(path.relative_to(run) for pattern in patterns for path in run.glob(pattern)
                if path.is_file())


def damaged(run, folder, data, *patterns):
  """A copy of the run with one file changed; its name."""
  shutil.rmtree(folder, ignore_errors=True)
  shutil.copytree(run, folder)
  name = data.draw(st.sampled_from(files_of(run, *patterns)))
  damage(folder / name, *data.draw(damages((run / name).stat().st_size)))
  return name


REFUSALS = (errors.UsageError, errors.RunError, checkpoint.CheckpointError)


def test_any_damaged_file_is_read_or_refused(finished, tmp_path):
  config = saved_run.read(finished).config

  @hypothesis.settings(max_examples=500)
  @hypothesis.given(st.data())
  def check(data):
    run = tmp_path / 'run'
    name = damaged(finished, run, data, '*.json', '*.csv', 'checkpoints/**/*')
    for read in (
        lambda: run_folder.check(run, config, resume=True),
        lambda: metrics.CsvFile(run / 'results.csv', 3),
        lambda: metrics.CsvFile(run / 'probes.csv', 2),
        lambda: checkpoint.load(checkpoint.newest(run / 'checkpoints')),
        lambda: checkpoint.load_inputs(checkpoint.newest(run / 'checkpoints')),
        lambda: saved_run.read(run)):
      with contextlib.suppress(*REFUSALS):
        read()
    # What a run would go on from is what was written.
    with contextlib.suppress(checkpoint.CheckpointError):
      checkpoint.set_aside_damaged(run / 'checkpoints')
      newest = checkpoint.newest(run / 'checkpoints')
      for path in files_of(newest, '*', 'replay/*'):
        if path.name != 'sums.json':
          before = finished / 'checkpoints' / newest.name / path
          assert (newest / path).read_bytes() == before.read_bytes(), name
    others = {path.name for path in tmp_path.iterdir()} - {'run'}
    assert not others, others

  check()


def test_a_report_is_made_of_any_damaged_run(finished, tmp_path):
  @hypothesis.settings(max_examples=10)
  @hypothesis.given(st.data())
  def check(data):
    run = tmp_path / 'run'
    name = damaged(finished, run, data, '*.json', '*.csv', 'probes/*')
    assert '<html' in report.write_report(run).read_text(), name
    assert (run / 'report.md').read_text()

  check()
