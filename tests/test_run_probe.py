"""run_probe.py: saved checkpoints probed as in training, several runs compared, bad ones said."""

import json
import pathlib
import re
import shutil
import signal
import threading

import numpy as np
import pytest
from safetensors import numpy as safetensors

from agents import probe_cli, reprobing, run_folder, saved_run, script
from tests import runs

pytestmark = pytest.mark.usefixtures('own_signals')
PROBE = ('--set=probe_kind=labels', '--set=probe_steps=2')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of 100 steps with probes and checkpoints at 0, 50 and 100."""
  folder = tmp_path_factory.mktemp('runs') / 'run'
  status, _, err = runs.run(
      'run_control.py', *runs.SMALL, '--num_steps=100', '--eval_every_steps=100',
      '--eval_steps=10', '--probe_every_steps=50', '--checkpoint_every_steps=50', '--track=',
      '--set=probe_pool_size=8', '--set=probe_batch_size=8', '--set=probe_inputs=8',
      '--set=probe_lanczos_steps=3', f'--run_dir={folder}')
  assert status == 0, err
  return folder


@pytest.fixture
def copy(run, tmp_path):
  shutil.copytree(run, tmp_path / 'run')
  return tmp_path / 'run'


def probe(*arguments):
  return probe_cli.run(['run_probe.py', *arguments])


def test_a_checkpoint_says_what_training_said_to_the_bit(run, tmp_path):
  status, _, err = runs.run(
      'run_probe.py', f'--run_dir={run}', f'--out_dir={tmp_path / "again"}')
  assert status == 0, err
  rows = runs.rows(run / 'probes.csv')
  assert [row['frame'] for row in rows] == ['0', '50', '100']
  assert runs.rows(tmp_path / 'again' / 'probes.csv') == rows
  for frame in ('0', '100'):
    with (np.load(run / 'probes' / f'{frame}.npz') as one,
          np.load(tmp_path / 'again' / 'probes' / f'{frame}.npz') as other):
      assert one.keys() == other.keys()
      for name in one:
        np.testing.assert_array_equal(one[name], other[name])
  assert 'Evaluation return' in (tmp_path / 'again' / 'report.html').read_text()


def test_other_settings_go_into_a_folder_of_their_own(copy):
  before = {path: path.read_bytes() for path in copy.rglob('*') if path.is_file()}
  assert probe(f'--run_dir={copy}', '--checkpoint=newest', *PROBE) == script.DONE
  folder = copy / 'probed'
  rows = runs.rows(folder / 'probes.csv')
  assert [row['frame'] for row in rows] == ['0', '100']  # the first one is the control
  assert rows[0]['num_steps'] == '2'
  assert json.loads((folder / 'config.json').read_text())['probe_kind'] == 'labels'
  assert {path: path.read_bytes() for path in before} == before
  # Those that are there are kept.
  kept = (folder / 'probes' / '0.npz').stat().st_mtime_ns
  assert probe(f'--run_dir={copy}', '--checkpoint=50,100', *PROBE) == script.DONE
  assert [row['frame'] for row in runs.rows(folder / 'probes.csv')] == ['0', '100', '50']
  assert (folder / 'probes' / '0.npz').stat().st_mtime_ns == kept
  with pytest.raises(ValueError, match='out_dir=.*probed: holds probes with other settings'):
    probe(f'--run_dir={copy}', '--set=probe_steps=1')


def test_several_runs_are_compared_from_what_they_hold(run, copy, tmp_path):
  config = json.loads((copy / 'config.json').read_text())
  (copy / 'config.json').write_text(json.dumps(config | {'seed': 2}))
  out = tmp_path / 'compared'
  assert probe(f'--run_dir={run},{copy}', f'--out_dir={out}') == script.DONE
  assert '2 runs compared' in (out / 'comparison.html').read_text()
  assert not (copy / 'probed').exists()


def test_runs_of_one_config_share_what_is_compiled(run, copy):
  def model(folder):
    return saved_run.load(saved_run.read(folder), 100).model

  edit(seed=2, probe_steps=7)(copy)
  assert model(copy) is model(run)
  edit(learning_rate=1.0)(copy)
  assert model(copy) is not model(run)


def test_a_folder_may_have_a_comma_in_its_name(copy):
  renamed = copy.rename(copy.parent / 'ln,wd')
  command = probe_cli.parse(['run_probe.py', f'--run_dir={renamed}'])
  assert command.runs == (renamed,)


def damaged(change):
  def apply(folder):
    path = folder / 'checkpoints' / '50' / 'learner.safetensors'
    tensors = safetensors.load_file(path)
    change(tensors)
    safetensors.save_file(tensors, path)
  return apply


def truncated(name):
  def apply(folder):
    path = folder / 'checkpoints' / '50' / name
    path.write_bytes(path.read_bytes()[:100])
  return apply


def without(name):
  def apply(folder):
    path = folder / 'checkpoints' / '50' / 'probe.safetensors'
    tensors = safetensors.load_file(path)
    del tensors[name]
    safetensors.save_file(tensors, path)
  return apply


@pytest.mark.parametrize('change, message', [
    (truncated('learner.safetensors'), 'checkpoints/50: cannot be read'),
    (truncated('probe.safetensors'), 'checkpoints/50: cannot be read'),
    (lambda folder: (folder / 'checkpoints' / '50' / 'state.json').write_text('{'),
     'checkpoints/50: cannot be read'),
    (damaged(lambda tensors: tensors.pop('params/dense1/w')), 'tensor params/dense1/w: missing'),
    (damaged(lambda tensors: tensors.update({'params/dense1/b': np.zeros(3, np.float32)})),
     r'tensor params/dense1/b: is float32\(3,\), must be float32\(64,\)'),
    (without('batch/r_t'), 'probe.safetensors: must hold batch/r_t; it does not')])
def test_a_checkpoint_that_cannot_be_used_is_said_and_the_rest_probed(
    copy, caplog, change, message):
  change(copy)
  assert probe(f'--run_dir={copy}', *PROBE) == script.FAILED
  assert [row['frame'] for row in runs.rows(copy / 'probed' / 'probes.csv')] == ['0', '100']
  assert (copy / 'probed' / 'report.html').exists()
  said = [record.getMessage() for record in caplog.records if record.levelname == 'ERROR']
  assert len(said) == 1 and said[0].startswith('50 steps: not probed: ')
  assert re.search(message, said[0])


def test_a_network_that_is_not_finite_is_called_broken(copy):
  path = copy / 'checkpoints' / '100' / 'learner.safetensors'
  tensors = safetensors.load_file(path)
  tensors['params/dense1/w'][0, 0] = np.nan
  safetensors.save_file(tensors, path)
  assert probe(f'--run_dir={copy}', '--checkpoint=newest') == script.DONE
  assert 'The network is broken' in (copy / 'probed' / 'report.md').read_text()


def edit(**changes):
  def apply(folder):
    content = json.loads((folder / 'config.json').read_text()) | changes
    (folder / 'config.json').write_text(json.dumps(
        {name: value for name, value in content.items() if value is not None}))
  return apply


@pytest.mark.parametrize('name', ['double_dqn', 'double_dqn+ln', 'double_dqn+ln+wd'])
def test_a_run_from_before_some_settings_came_is_read(name):
  folder = runs.ROOT / 'results' / 'probes' / 'pong' / name
  stored = json.loads((folder / 'config.json').read_text())
  config = run_folder.config_of(folder, stored)
  assert 'eval_envs' not in stored and config.eval_envs == 1
  assert (config.batch_size, config.norm) == (stored['batch_size'], stored['norm'])


@pytest.mark.parametrize('change, arguments, message', [
    (lambda folder: shutil.rmtree(folder / 'checkpoints'), [],
     'run_dir=.*run: must hold checkpoints; there is none'),
    (lambda folder: (folder / 'config.json').unlink(), [],
     'run_dir=.*run: must be a run; its config.json: No such file or directory$'),
    (lambda folder: (folder / 'config.json').write_text('[1'), [],
     'run_dir=.*: its config.json must be one that a run wrote'),
    (edit(torso='vgg'), [], 'run_dir=.*config.json: torso=vgg: must be one of'),
    (edit(new_setting=1), [],
     r'must be of a version with these settings; its config.json has new_setting \(written by'),
    (edit(batch_size=None, double=None, eval_envs=None), [],
     r'its config.json lacks batch_size, double \(written'),
    (edit(intervention_parameters=[[1, 2]]), [], 'run_dir=.*: its config.json: '),
    (edit(), ['--checkpoint=70'], 'checkpoint=70: must be one that .* holds, 0, 50, 100'),
    (edit(), ['--checkpoint=last'], 'checkpoint=last: must be all, newest or frames'),
    (edit(), ['--checkpoint='], 'checkpoint=: must be all, newest or frames'),
    (edit(), ['--set=learning_rate=1'], 'set=learning_rate: must be a setting of the probe'),
    (edit(), ['--set=probe_every=1'], 'set=probe_every: must be a setting of the probe'),
    (edit(), ['--learning_rate=1'], 'flag=learning_rate: unknown; known are checkpoint, help'),
    (edit(), ['--probe_steps=1'],
     'flag=probe_steps: unknown; did you mean --set=probe_steps=VALUE'),
    (edit(), ['--set=probe_kind=sin'], 'probe_kind=sin: must be one of sine, network, labels'),
    (edit(), ['--probe_size=large'], 'probe_size=large: unknown'),
    (edit(), ['--set=probe_pool_size=9999'], 'probe_pool_size=9999: must be at most'),
    (edit(), ['run'], 'argument=run: must be a flag')])
def test_bad_arguments_are_refused(copy, change, arguments, message):
  change(copy)
  with pytest.raises(ValueError, match=message):
    probe(f'--run_dir={copy}', *arguments)
  assert not (copy / 'probed').exists()


def test_what_is_missing_on_the_command_line_is_named(run):
  with pytest.raises(ValueError, match='run_dir=: must name the folder of a run'):
    probe()
  with pytest.raises(ValueError, match='out_dir=: must name a folder for the comparison'):
    probe(f'--run_dir={run},{run}')
  with pytest.raises(ValueError, match='run_dir=.*: must name each run once'):
    probe(f'--run_dir={run},{run}', '--out_dir=compared')


@pytest.mark.parametrize('flag', ['--probe_size=paper', '--set=probe_steps=3'])
def test_a_probe_that_would_not_be_made_is_refused(run, copy, tmp_path, flag):
  with pytest.raises(ValueError, match=f'{flag.removeprefix("--")}: says nothing where runs are '
                                       'compared by the probes that they hold; add --checkpoint='):
    probe(f'--run_dir={run},{copy}', f'--out_dir={tmp_path / "out"}', flag)
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['config.json', 'experiment.json'])
def test_a_comparison_replaces_no_other(run, copy, tmp_path, name):
  (tmp_path / name).write_text('{}')
  message = f'out_dir=.*: must be a folder of its own; it holds a {name}'
  with pytest.raises(ValueError, match=message):
    probe(f'--run_dir={run},{copy}', f'--out_dir={tmp_path}')
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='out_dir=.*file: must be a folder; it is a file'):
    probe(f'--run_dir={run},{copy}', f'--out_dir={tmp_path}/file')


@pytest.mark.parametrize('looks', [
    *(pytest.param(looks, marks=pytest.mark.slow) for looks in (0, 9)), 40])
def test_a_stopped_call_keeps_what_is_probed_and_goes_on(run, tmp_path, looks):
  saved = saved_run.read(run)
  assert reprobing.probe(saved, saved.frames, {}, tmp_path / 'cut', runs.StopAfter(looks))
  assert len(runs.rows(tmp_path / 'cut' / 'probes.csv')) == looks // 25
  for out in ('cut', 'whole'):
    assert reprobing.probe(saved, saved.frames, {}, tmp_path / out, threading.Event())
  rows = runs.rows(tmp_path / 'cut' / 'probes.csv')
  assert rows == runs.rows(tmp_path / 'whole' / 'probes.csv') and len(rows) == 3


def test_a_signal_ends_a_probe_at_once(run, tmp_path):
  out = tmp_path / 'probed'
  process = runs.start('run_probe.py', f'--run_dir={run}', f'--out_dir={out}',
                       '--set=probe_steps=1000000')
  runs.wait_for((out / 'config.json').exists, process)
  process.send_signal(signal.SIGINT)
  status, _, err = runs.finish(process)
  assert status == script.INTERRUPTED and 'interrupted; what is probed is kept' in err
  assert 'Traceback' not in err and runs.rows(out / 'probes.csv') == []


@pytest.mark.parametrize('name', ['run_probe.py', 'run_supervised.py', 'run_control.py'])
def test_a_signal_before_anything_is_done_says_nothing(name, tmp_path):
  process = runs.start(name, f'--run_dir={tmp_path}/run')
  # NumPy is among what is imported after a script has said that it is to end in silence.
  runs.wait_for(lambda: b'numpy' in pathlib.Path(f'/proc/{process.pid}/maps').read_bytes(), process)
  process.send_signal(signal.SIGINT)
  status, out, err = runs.finish(process)
  assert (status, out, err) == (-signal.SIGINT, '', '')


def test_too_few_observations_are_said(copy, caplog):
  arguments = ['--set=probe_observations=100', '--set=probe_pool_size=90']
  assert probe(f'--run_dir={copy}', '--checkpoint=newest', *arguments) == script.FAILED
  assert any('observations: 64 given, but the probe fits a pool of size.pool_size=90'
             in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize('text', ['{"cut": ', '[1, 2]', ''])
def test_an_out_dir_with_a_damaged_config_is_refused(run, tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match='out_dir=.*: its config.json must be one that was written'):
    probe(f'--run_dir={run}', f'--out_dir={tmp_path}')


def test_an_out_dir_with_other_files_is_refused(run, tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(ValueError, match='out_dir=.*: must be new, empty or of an earlier such call'):
    probe(f'--run_dir={run}', f'--out_dir={tmp_path}')
  assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_the_runs_own_folder_and_a_file_are_refused(copy, tmp_path):
  before = (copy / 'probes.csv').read_bytes()
  with pytest.raises(ValueError, match='out_dir=.*run: must be a folder of its own; it holds a'):
    probe(f'--run_dir={copy}', f'--out_dir={copy}')
  assert (copy / 'probes.csv').read_bytes() == before
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='out_dir=.*file: must be a folder; it is a file'):
    probe(f'--run_dir={copy}', f'--out_dir={tmp_path}/file')


def test_a_run_that_was_made_longer_is_probed_further(copy):
  assert probe(f'--run_dir={copy}', '--checkpoint=0', *PROBE) == script.DONE
  edit(run_length=200, continued_with=[{}])(copy)
  assert probe(f'--run_dir={copy}', '--checkpoint=50', *PROBE) == script.DONE
  assert [row['frame'] for row in runs.rows(copy / 'probed' / 'probes.csv')] == ['0', '50']


def test_a_size_that_is_asked_for_is_not_the_runs_own(run):
  command = probe_cli.parse(['run_probe.py', f'--run_dir={run}', '--probe_size=small'])
  assert command.settings['probe_targets'] == 5 and command.name == 'probed-small'
  assert probe_cli.parse(['run_probe.py', f'--run_dir={run}']).settings == {}
