"""Every refusal of the command line: one line with flag, value and rule, exit 2, nothing built."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest

import run_atari
import run_control
from agents import cli, commands, errors, memory, parts, run_folder, video
from agents import script as script_lib
from replay import factory
from tests import runs

pytestmark = pytest.mark.usefixtures('own_signals')


def refuse(capsys, tmp_path, domain, script, *arguments):
  """Runs `main`, which must refuse; returns its line without the script's name."""
  before = sorted(tmp_path.rglob('*'))
  assert cli.main(domain, [script, *arguments]) == script_lib.BAD_ARGUMENT
  out, err = capsys.readouterr()
  assert out == ''
  assert err.count('\n') == 1 and err.startswith(f'{script}: '), err
  assert sorted(tmp_path.rglob('*')) == before
  return err.removeprefix(f'{script}: ').rstrip()


ATARI = (
    (['--game=Pongg'], r'game=Pongg: unknown.*pong'),
    (['--agent=dqnn'], r'agent=dqnn: unknown; did you mean dqn or qr_dqn\?'),
    (['--interventions=lnn'], r'interventions=lnn: unknown; did you mean ln\?'),
    (['--interventions=ln,wd,ln'], r'interventions=ln: given twice'),
    (['--interventions=ln, ,wd'], r'interventions=: must be NAME or NAME\(PARAMETER=VALUE,...\)'),
    (['--interventions=wd(strength=nan)'], r'wd.strength=nan: must be a number'),
    (['--set=seed=5'], r'set=seed=5: seed has a flag of its own'),
    (['--protocol=machado'], r'protocol=machado: unknown.*machado2018'),
    (['--num_frames=0'], r'num_frames=0: must be at least 1'),
    (['--num_frames=-4'], r'num_frames=-4: must be at least 1'),
    (['--num_frames=1M'], r'num_frames=1M: must be a whole number'),
    (['--video=maybe'], r'video=maybe: must be true or false'),
    (['--novideo=maybe'], r'.*novideo'),
    (['--actor_cpus=two'], r'actor_cpus=two: must be a number'),
    (['--num_frames=40000', '--set=run_length=80000'],
     r'set=run_length=80000: has a flag of its own, which is given too; leave one out'),
    (['--interventions=LN'], r'interventions=LN: unknown; did you mean ln'),
    (['--interventions=redo(period=5)', '--set=redo.period=7'],
     r'set=redo.period: --interventions=redo\(period=5\) sets it, too; leave one out'),
    (['--set=foo.bar=1'], r'set=foo.bar: unknown'),
    (['--set=red.period=1'], r'set=red.period: unknown; did you mean redo.period'),
    (['--set=activation=tan'], r'activation=tan: must be one of \w+, \w+'),
    (['--eval_frames=40', '--set=eval_envs=11'],
     r'eval_envs=11: must be at most 10, the agent steps of an evaluation of eval_length=40'),
    (['--eval_frames=3', '--set=eval_envs=2'], r'eval_envs=2: must be at most 1'),
    (['--eval_frames=0'], r'eval_frames=0: must be at least 1 where eval_episodes=0'),
    (['--eval_frames=0', '--set=eval_episodes=-1'], r'eval_episodes=-1: must be at least 0'),
    (['--protocol=atari100k', '--set=eval_episodes=0'],
     r'eval_length=0: must be at least 1 where eval_episodes=0'),
    (['--eval_frames=-1'], r'eval_frames=-1: must be at least 0'),
    (['--agent=decqn'], r'agent=decqn: is not for atari'),
    (['--eval_every_frames=-1'], r'eval_every_frames=-1: must be at least 0'),
    (['--probe_every_frames=-1'], r'probe_every_frames=-1: must be at least 0'),
    (['--checkpoint_every_frames=-1'], r'checkpoint_every_frames=-1: must be at least 0'),
    (['--num_envs=0'], r'num_envs=0: must be at least 1'),
    (['--seed=-1'], r'seed=-1: must be from 0'),
    (['--set=nstep=3'], r'set=nstep: unknown; did you mean n_step'),
    (['--set=exploration_epsilon_end=0.1'],
     r'exploration_epsilon_end=0.1: says nothing where noisy=true; leave it out'),
    (['--agent=dqn', '--set=noisy_sigma=0.2'], r'noisy_sigma=0.2: says nothing where noisy=false'),
    (['--agent=dqn', '--set=eval_noise=false'], r'eval_noise=false: says nothing where noisy'),
    (['--agent=dqn', '--set=uniform_probability=0.1'],
     r'uniform_probability=0.1: says nothing where prioritized=false'),
    (['--agent=dqn', '--set=new_priority=1'], r'new_priority=1.0: says nothing where prior'),
    (['--set=new_priority=-1'], r'new_priority=-1.0: must be 0, or from 1e-06 to 1e\+06'),
    (['--set=importance_exponent_end=1.5'], r'importance_exponent_end=1.5: must be from 0 to 1'),
    (['--agent=dqn', '--set=dueling_gradient=0.7'], r'dueling_gradient=0.7: says nothing where'),
    (['--agent=dqn', '--set=v_max=5'], r'v_max=5.0: says nothing where distribution=none'),
    (['--set=hl_gauss_sigma=1'], r'hl_gauss_sigma=1.0: says nothing where distribution=categ'),
    (['--agent=dqn', '--set=adam_b1=0.5'], r'adam_b1=0.5: says nothing where optimizer=rmsprop'),
    (['--agent=dqn', '--set=num_atoms=11'], r'num_atoms=11: says nothing where distribution=none'),
    (['--set=error_loss=huber'], r'error_loss=huber: says nothing where distribution=categorical'),
    (['--set=hidden_layers=0', '--set=hidden_size=9'],
     r'hidden_size=9: says nothing where hidden_layers=0'),
    (['--set=bins=3'], r'bins=3: says nothing where domain=atari'),
    (['--set=n_step=x'], r'set=n_step=x: must be a whole number'),
    (['--replay=disk'], r'replay=disk: .*reverb'),
    (['--replay=local', '--replay_port=70000'], r'replay_port=70000: must be from 0 to 65535'),
    (['--probe_size=papers'], r'probe_size=papers: unknown; did you mean paper'),
    (['--track=mlflow'], r'track=mlflow: unknown; known are tensorboard'),
    (['--list=game'], r'list=game: unknown; did you mean games\?'),
    (['--game_name=pong'], r'flag=game_name: unknown; did you mean game'),
    (['--num_steps=9'], r'flag=num_steps: unknown; did you mean num_frames\?'),
    (['--env=Pong'], r'flag=env: unknown; did you mean game\?'),
    (['--task=walker_walk'], r'flag=task: unknown; did you mean game\?'),
    (['--learning-rate=1'],
     r'flag=learning-rate: unknown; did you mean --set=learning_rate=VALUE\?'),
    (['--eval_every=9'], r'flag=eval_every: unknown; did you mean eval_every_frames'),
    (['--gamma=0.9'], r'flag=gamma: unknown; did you mean --set=discount=VALUE\?'),
    (['--set=lr=1'], r'set=lr: unknown; did you mean learning_rate\?'),
    (['--agent=ddqn'], r'agent=ddqn: unknown; did you mean double_dqn\?'),
    (['pong'], r'argument=pong: must be a flag'),
    (['--resume'], r'resume=true: needs --run_dir'),
    (['--set=replay_capacity=900000000000', '--replay=local'],
     r'replay_capacity=900000000000: must fit in memory; .* takes [\d.]+ GB, [\d.]+ GB is free'),
    # All its memory is taken at once, however short the run.
    (['--set=replay_capacity=900000000', '--replay=device', '--num_frames=400000'],
     r'replay_capacity=900000000: must fit in memory; device replay of 900,000,000'),
)


@pytest.mark.parametrize('arguments, message', ATARI, ids=[' '.join(a) for a, _ in ATARI])
def test_bad_atari_arguments_are_refused(capsys, tmp_path, arguments, message):
  line = refuse(capsys, tmp_path, run_atari.ATARI, 'run_atari.py',
                f'--run_dir={tmp_path}/run', *arguments[:3] if arguments != ['--resume']
                else ('--run_dir=', '--resume'))
  assert re.match(message, line), line


def test_an_unknown_task_is_refused(capsys, tmp_path):
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', '--task=walker_wlk',
                f'--run_dir={tmp_path}/run')
  assert re.match(r'task=walker_wlk: unknown.*walker_walk', line), line


@pytest.mark.parametrize('arguments, message', [
    (['--observations=pixel'], r'observations=pixel: unknown; did you mean pixels\?'),
    (['--observations=pixels', '--video'], r'observations=pixels: needs OpenGL, and none works '),
    (['--video'], r'video=true: needs OpenGL, and none works here with MUJOCO_GL=disabled; ins')])
def test_pictures_without_opengl_are_refused(capsys, tmp_path, monkeypatch, arguments, message):
  monkeypatch.setenv('MUJOCO_GL', 'disabled')
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', *arguments,
                f'--run_dir={tmp_path}/run')
  assert re.match(message, line), line


@pytest.mark.parametrize('domain, script', [
    (run_atari.ATARI, 'run_atari.py'), (run_control.CONTROL, 'run_control.py')])
def test_video_without_its_package_says_what_to_install(
    capsys, tmp_path, monkeypatch, domain, script):
  monkeypatch.setattr(video.importlib.util, 'find_spec', lambda name: None)
  line = refuse(capsys, tmp_path, domain, script, '--video', f'--run_dir={tmp_path}/run')
  assert line == "video=true: needs imageio-ffmpeg; install it with pip install -e '.[video]'"


SMALL = ('--agent=double_dqn', '--replay=local', '--num_steps=20', '--eval_every_steps=0',
         '--probe_every_steps=0', '--set=torso=mlp', '--track=')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'run'
  assert cli.main(
      run_control.CONTROL, ['run_control.py', f'--run_dir={folder}', *SMALL]) == script_lib.DONE
  return folder


@pytest.mark.parametrize('arguments, message', [
    ([], r'run_dir=.*: holds a run already; continue it with --resume'),
    (['--resume', '--seed=7'], r'run_dir=.*: belongs to another config: there seed=1; here seed=7'),
    (['--resume', '--interventions=ln'],
     r"run_dir=.*: belongs to another config: there interventions=\[\]"),
    (['--resume', '--num_steps=19'],
     'run_dir=.*: is a run of 20 steps; it can be made longer, not shorter, but here '
     'run_length=19'),
    (['--resume', '--task=cheetah_run'],
     r'run_dir=.*: belongs to another config: there task=walker_walk; here task=cheetah_run; '
     'continue it with the flags that command_line in its config.json holds$'),
    (['--resume', '--set=discount=0.5', '--set=noisy=true'],
     r'run_dir=.*: belongs to another config: there noisy=false, discount=0.99; here noisy=true, '
     'discount=0.5; continue it with --set=noisy=false --set=discount=0.99$')])
def test_a_folder_that_holds_a_run_is_not_overwritten(capsys, finished, arguments, message):
  line = refuse(capsys, finished, run_control.CONTROL, 'run_control.py',
                f'--run_dir={finished}', *SMALL, *arguments)
  assert re.match(message, line), line


def test_a_folder_of_other_files_is_not_written_to(capsys, tmp_path):
  (tmp_path / 'thesis.tex').touch()
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', f'--run_dir={tmp_path}')
  assert re.match(r'run_dir=.*: must be new, empty or a run', line), line


def test_a_run_without_its_config_is_not_taken_for_another_folder(capsys, tmp_path):
  (tmp_path / 'checkpoints').mkdir()
  line = refuse(
      capsys, tmp_path, run_control.CONTROL, 'run_control.py', f'--run_dir={tmp_path}', '--resume')
  assert re.match(r'run_dir=.*: must be .* a run; it holds other files and no config.json', line)


def test_a_list_without_a_name_trains_nothing(capsys, tmp_path):
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', '--list=')
  assert line.startswith('list=: unknown; known are agents, interventions, settings, tasks')


@pytest.mark.parametrize('text', ['', '{', '[]', '{"seed": 1}'])
def test_a_damaged_config_is_refused(capsys, tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}', '--resume')
  assert re.match(r'run_dir=.*: its config.json must be one that a run wrote', line), line


@pytest.mark.parametrize('name', ['versions', 'command_line', 'continued_with'])
@pytest.mark.parametrize('change', [
    lambda stored, name: stored.pop(name), lambda stored, name: stored.update({name: 3})])
def test_a_config_without_what_it_holds_beside_settings_is_refused(
    capsys, finished, tmp_path, name, change):
  shutil.copytree(finished, tmp_path / 'run')
  path = tmp_path / 'run' / 'config.json'
  stored = json.loads(path.read_text())
  change(stored, name)
  path.write_text(json.dumps(stored))
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}/run', *SMALL, '--resume')
  assert re.match(r'run_dir=.*: its config.json must be one that a run wrote', line), line


def with_settings(finished, folder, **changes):
  """A copy of a run whose config.json has other settings; None: lacks it."""
  shutil.copytree(finished, folder)
  stored = json.loads((folder / 'config.json').read_text()) | changes
  (folder / 'config.json').write_text(json.dumps(
      {name: value for name, value in stored.items() if value is not None}))


def test_a_run_from_before_a_setting_came_goes_on_with_its_default(finished, tmp_path):
  folder = tmp_path / 'run'
  with_settings(finished, folder, eval_envs=None)
  arguments = ['run_control.py', f'--run_dir={folder}', *SMALL, '--resume', '--num_steps=24']
  assert cli.main(run_control.CONTROL, arguments) == script_lib.DONE
  assert json.loads((folder / 'config.json').read_text())['eval_envs'] == 1


def test_a_run_from_before_its_agent_had_a_setting_is_told_how_to_go_on(
    finished, tmp_path, capsys):
  folder = tmp_path / 'run'
  with_settings(finished, folder, dueling=True, dueling_gradient=None)
  line = refuse(
      capsys, tmp_path, run_control.CONTROL, 'run_control.py', f'--run_dir={folder}', *SMALL,
      '--resume', '--set=dueling=true', '--set=dueling_gradient=0.5')
  assert line.endswith('there dueling_gradient=1.0; here dueling_gradient=0.5; the run is from '
                       'before dueling_gradient came; continue it with --set=dueling_gradient=1.0')


@pytest.mark.parametrize('changes, arguments, message', [
    (dict(new_setting=3), [], 'must be of a version with these settings; its config.json has '
     'new_setting (written by '),
    (dict(task=None), [], 'must be of a version with these settings; its config.json lacks task'),
    (dict(task=None, num_critics=None), [], 'its config.json lacks num_critics, task (written by '),
    (dict(eval_envs=None), ['--set=eval_envs=2'],
     'belongs to another config: there eval_envs=1; here eval_envs=2')])
def test_a_run_of_a_version_with_other_settings_is_refused(
    capsys, finished, tmp_path, changes, arguments, message):
  with_settings(finished, tmp_path / 'run', **changes)
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}/run', *SMALL, '--resume', *arguments)
  assert message in line


@pytest.mark.parametrize('name', ['x' * 300, 'config.json/run'])
def test_an_impossible_folder_is_refused(capsys, tmp_path, name):
  (tmp_path / 'config.json').mkdir()
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}/{name}' if 'x' in name else f'--run_dir={tmp_path}',
                '--resume')
  assert re.match(r'run_dir=.*: must be ', line), line


def test_a_torso_that_does_not_fit_is_refused(capsys, tmp_path):
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', '--agent=dqn',
                '--set=torso=nature', '--replay=local', f'--run_dir={tmp_path}/run')
  assert line.startswith('torso=nature: must take observations of shape (24,); it does not')


def test_rows_without_a_checkpoint_are_not_lost_to_resume(capsys, finished, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(finished, folder, ignore=shutil.ignore_patterns('checkpoints'))
  (folder / 'results.csv').write_text('iteration,frame\n0,0\n1,20\n')
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', f'--run_dir={folder}',
                *SMALL, '--resume')
  assert re.match(r'run_dir=.*: must have a checkpoint to go on from', line), line


def test_a_folder_in_use_is_refused_before_anything_is_built(finished, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(finished, folder)
  arguments = ['run_control.py', f'--run_dir={folder}', *SMALL, '--resume']
  with (run_folder.locked(folder),
        pytest.raises(errors.UsageError, match='must be free; another process is running it')):
    commands.parse(run_control.CONTROL, arguments)
  command = commands.parse(run_control.CONTROL, arguments)
  with (run_folder.locked(folder),  # by who began in the meantime
        pytest.raises(errors.UsageError, match='must be free; another process is running it')):
    cli._build_and_run(run_control.CONTROL, command, threading.Event())


def test_a_folder_that_cannot_be_made_is_refused(capsys):
  arguments = ['run_control.py', '--run_dir=/proc/run', *SMALL]
  assert cli.main(run_control.CONTROL, arguments) == script_lib.BAD_ARGUMENT
  assert re.search(
      'run_control.py: run_dir=/proc/run: (cannot be made|must be writable)',
      capsys.readouterr().err)


def test_a_file_in_place_of_a_folder_is_refused(capsys, tmp_path):
  (tmp_path / 'file').touch()
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}/file/run')
  assert re.match(r'run_dir=.*: must be a folder; .*file is a file', line), line


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_an_unwritable_folder_is_refused(capsys, tmp_path):
  (tmp_path / 'closed').mkdir(mode=0o500)
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py',
                f'--run_dir={tmp_path}/closed/run')
  assert re.match(r'run_dir=.*: must be writable; .*closed is not', line), line


@pytest.mark.reverb
def test_a_busy_port_is_refused(capsys, tmp_path):
  with socket.socket() as other:
    other.bind(('', 0))
    other.listen()
    port = other.getsockname()[1]
    line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', '--replay=reverb',
                  f'--replay_port={port}', f'--run_dir={tmp_path}/run')
  assert line.startswith(f'replay_port={port}: '), line


def test_reverb_without_its_wheel_says_what_to_install(capsys, tmp_path, monkeypatch):
  monkeypatch.setattr(factory.importlib.util, 'find_spec', lambda name: None)
  line = refuse(capsys, tmp_path, run_control.CONTROL, 'run_control.py', '--replay=reverb',
                f'--run_dir={tmp_path}/run')
  assert line.startswith('replay=reverb: needs dm-reverb') and 'make setup' in line


def test_config_json_holds_every_setting_versions_and_the_command_line(finished):
  stored = json.loads((finished / 'config.json').read_text())
  assert stored['domain'] == 'control' and stored['unit'] == 'steps'
  assert stored['replay_capacity'] == 1_000_000 and stored['run_length'] == 20
  assert {'python', 'pliant', 'jax', 'numpy'} <= stored['versions'].keys()
  assert len(stored['run_id']) == 12 and stored['command_line']
  assert 'protocol_rules' not in stored  # of Atari: tests/test_video.py


@pytest.mark.parametrize('domain, table, some', [
    (run_atari.ATARI, 'games', {'pong', 'ms_pacman'}),
    (run_atari.ATARI, 'protocols', {'dqn_zoo', 'machado2018', 'dopamine'}),
    (run_control.CONTROL, 'tasks', {'walker_walk', 'cartpole_swingup'}),
    (run_control.CONTROL, 'agents', {'dqn', 'double_dqn'}),
    (run_control.CONTROL, 'interventions', {'ln', 'wd'}),
    (run_control.CONTROL, 'settings', {'n_step', 'replay_capacity', '# Replay.'})])
def test_lists_are_printed(capsys, domain, table, some):
  assert cli.main(domain, ['run.py', f'--list={table}']) == script_lib.DONE
  lines = capsys.readouterr().out.splitlines()
  assert some <= {line.split(':')[0] for line in lines}
  assert table != 'protocols' or any('repeat_action_probability=0.25' in line for line in lines)


@pytest.mark.parametrize('script', ['run_atari.py', 'run_control.py'])
def test_help_waits_for_nothing_that_is_slow_to_import(script):
  code = (f'import runpy, sys; sys.argv = [{script!r}, "--help"]\n'
          f'try:\n  runpy.run_path({script!r}, run_name="__main__")\n'
          'except SystemExit as end:\n  print(end.code, *sys.modules)')
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=pathlib.Path(__file__).parents[1], capture_output=True,
      text=True, timeout=60, check=True)
  *text, last = done.stdout.splitlines()
  status, *imported = last.split()
  assert status == '0' and any(line.startswith('--resume: ') for line in text)
  assert not {'jax', 'numpy', 'haiku', 'ale_py', 'dm_control', 'rich'} & set(imported)


def test_a_pager_that_is_closed_before_the_end_of_the_help_is_no_error():
  read, write = os.pipe()
  os.close(read)
  done = subprocess.run([sys.executable, 'run_atari.py', '--help'], cwd=runs.ROOT, stdout=write,
                        stderr=subprocess.PIPE, timeout=60)
  os.close(write)
  assert (done.returncode, done.stderr) == (0, b'')


def test_help_names_every_flag(capsys):
  assert cli.main(run_atari.ATARI, ['run_atari.py', '--help']) == script_lib.DONE
  out = capsys.readouterr().out
  for flag in ('--game', '--interventions', '--eval_every_frames', '--resume', '--set'):
    assert flag in out
  # Said without importing what decides it.
  assert f'probe: {", ".join(script_lib._PROBE_SIZES)};' in out
  assert 'five minutes' in out and parts.FILM_SECONDS == 5 * 60


def test_default_folder_is_named_after_the_run():
  command = commands.parse(
      run_atari.ATARI,
      ['run_atari.py', '--game=MsPacman', '--interventions=wd,ln', '--seed=3', '--replay=local'])
  assert re.fullmatch(
      r'runs/ms_pacman/rainbow\+ln\+wd/seed3-\d{8}-\d{6}', str(command.folder))
  assert command.config.protocol == 'dqn_zoo'


def atari(*arguments):
  """The config of a command line."""
  return commands.parse(
      run_atari.ATARI, ['run_atari.py', '--replay=local', *arguments]).config


def test_the_protocol_gives_the_lengths():
  config = atari('--protocol=atari100k', '--agent=double_dqn', '--set=replay_capacity=100000')
  assert (config.run_length, config.eval_length, config.eval_episodes) == (400_000, 0, 100)
  assert config.eval_every == config.probe_every == config.checkpoint_every == 40_000
  config = atari('--protocol=machado2018')
  assert (config.run_length, config.eval_length, config.eval_episodes) == (200_000_000, 500_000, 0)
  assert config.eval_every == config.probe_every == config.checkpoint_every == 1_000_000


def test_a_flag_and_set_are_stronger_than_the_protocol():
  flags = ('--protocol=atari100k', '--num_frames=1000', '--eval_frames=0', '--probe_every_frames=0')
  config = atari(*flags)
  assert (config.run_length, config.eval_length, config.probe_every) == (1000, 0, 0)
  assert (config.eval_episodes, config.checkpoint_every) == (100, 40_000)
  config = atari(flags[0], '--set=run_length=2000', '--set=eval_episodes=3')
  assert (config.run_length, config.eval_episodes) == (2000, 3)


def test_the_papers_probe_is_a_flag_and_set_is_stronger():
  def sizes(*arguments):
    config = atari(*arguments)
    return (config.probe_targets, config.probe_steps, config.probe_batch_size,
            config.probe_pool_size, config.probe_optimizer)
  assert sizes() == sizes('--probe_size=small') == (5, 200, 16, 16, 'small')
  assert sizes('--probe_size=paper') == (10, 2000, 256, 1024, 'agent')
  assert sizes('--probe_size=paper', '--set=probe_steps=7')[1] == 7


@pytest.mark.parametrize('agent, protocol', [
    ('rainbow', 'dqn_zoo'), ('dopamine_dqn', 'dopamine'), ('rainbow_der', 'atari100k')])
def test_the_agent_gives_the_protocol(agent, protocol):
  assert atari(f'--agent={agent}').protocol == protocol
  config = atari(f'--agent={agent}', '--protocol=machado2018')
  assert (config.protocol, config.run_length) == ('machado2018', 200_000_000)


@pytest.mark.rendering
def test_pixels_are_observed_where_opengl_works():
  config = commands.parse(
      run_control.CONTROL, ['run_control.py', '--observations=pixels', '--replay=local']).config
  assert config.observations == 'pixels'
  env = run_control.task(config).make_env(1, 1)
  assert env.reset().observation.shape == (1, 3, 84, 84, 3)


def test_a_protocols_epsilon_is_stronger_than_the_agents_and_weaker_than_set():
  def epsilon(*arguments):
    return atari('--agent=double_dqn', *arguments).eval_epsilon
  assert epsilon() == 0.01
  assert epsilon('--protocol=dopamine') == 0.001
  assert epsilon('--protocol=dopamine', '--set=eval_epsilon=0.2') == 0.2


def test_memory_is_the_least_of_machine_and_control_group(tmp_path, monkeypatch):
  machine = memory.available()
  assert machine > 0
  (tmp_path / 'memory.max').write_text('5000\n')
  (tmp_path / 'memory.current').write_text('2000\n')
  (tmp_path / 'memory.stat').write_text('anon 1500\ninactive_file 500\n')
  monkeypatch.setattr(memory, '_CGROUP', tmp_path)
  assert memory.available() == 3500
  (tmp_path / 'memory.max').write_text('max\n')
  assert memory.available() > 3500


def test_usage_errors_are_value_errors():
  assert issubclass(errors.UsageError, ValueError)
