"""What nobody meant to type or to keep: refused in one line, or taken; nothing else happens."""

import dataclasses
import functools

import hypothesis
import pytest
from hypothesis import strategies as st

import run_atari
import run_control
import run_supervised
from agents import command_line, interventions, presets, probe_cli, supervised_cli
from agents import script as script_lib
from agents.config import Config

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
    'run_atari': functools.partial(command_line.parse, run_atari.ATARI),
    'run_control': functools.partial(command_line.parse, run_control.CONTROL),
    'run_supervised': functools.partial(supervised_cli.parse, run_supervised.STREAMS),
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
