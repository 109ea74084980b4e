"""Training on streams: seeds side by side, resumed, probed; and the script as a user starts it."""

import csv
import functools
import json
import pathlib
import re
import shutil
import tempfile
import threading

import jax
import numpy as np
import pytest

from agents import checkpoint, learner, objectives, parts, run_folder, saved_run, script
from agents import config as config_lib
from agents.actions import ActionMap
from agents.supervised import cli, experiments, main, training
from envs import datasets, streams
from tests import runs
from tests.image_streams import STREAMS

pytestmark = pytest.mark.usefixtures('own_signals')
COUNT = 40


def tiny():
  images = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 1), np.uint8)
  return datasets.Dataset('tiny', images, np.arange(COUNT, dtype=np.int32) % 5, 5)


def lane(folder, seed, **overrides):
  settings = dict(
      run_length=60, steps_per_task=20, eval_length=COUNT, checkpoint_every=20, probe_every=0)
  config = config_lib.resolve(
      'supervised', 'random_labels', 'small_mlp', ['ln'],
      dict(batch_size=8, probe_observations=COUNT, probe_inputs=8, probe_targets=2, probe_steps=3,
           probe_lanczos_steps=3), objective='classification', seed=seed,
      **settings | overrides)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(config_json(config)))
  return training.Lane(config, folder, streams.make('random_labels', tiny(), seed).task)


def config_json(config):
  return json.loads(json.dumps(config.__dict__))


@functools.cache
def program():
  """One for all, since compiling takes longer than all else."""
  return training.make_program(lane(pathlib.Path(tempfile.mkdtemp()), 1).config, (4, 4, 1), 5)


def train(lanes, stop=None):
  trainer = training.Trainer(lanes, program(), stop or threading.Event())
  return trainer, trainer.run()


def leaves(trainer):
  return checkpoint.to_tensors(trainer.states)


def test_each_task_leaves_a_row_that_says_how_it_was_learned(tmp_path):
  trainer, finished = train([lane(tmp_path / 'a', 1)])
  assert finished
  rows = runs.rows(tmp_path / 'a' / 'results.csv')
  assert [(row['iteration'], row['frame']) for row in rows] == [
      ('0', '20'), ('1', '40'), ('2', '60')]
  last = saved_run.load(saved_run.read(tmp_path / 'a'), 60)
  task = streams.make('random_labels', tiny(), 1).task(2)
  logits = last.model.network.apply(
      last.state.params, jax.random.key(0), task.inputs[:, None]).q_values[:, 0]
  right = np.mean(np.argmax(logits, axis=1) == task.targets)
  assert float(rows[-1]['accuracy']) == pytest.approx(right)
  assert 0 < float(rows[-1]['mean_accuracy']) < 1
  # While it is learned it is known less well than at the end, but better than by chance.
  assert float(rows[-1]['mean_loss']) > float(rows[-1]['loss']) > 0
  np.testing.assert_array_equal(last.inputs.batch.targets, task.targets[:8])


def test_one_seed_gives_one_result_and_another_another(tmp_path):
  first, again, other = (
      leaves(train([lane(tmp_path / name, seed)])[0])
      for name, seed in (('a', 1), ('b', 1), ('c', 2)))
  for name, tensor in first.items():
    np.testing.assert_array_equal(tensor, again[name])
  assert not np.array_equal(first['params/dense1/w'], other['params/dense1/w'])


def test_seeds_side_by_side_learn_as_alone(tmp_path):
  both = leaves(train([lane(tmp_path / 'both1', 1), lane(tmp_path / 'both2', 2)])[0])
  for i in (1, 2):
    alone = leaves(train([lane(tmp_path / f'alone{i}', i)])[0])
    for name, tensor in alone.items():
      np.testing.assert_allclose(tensor[0], both[name][i - 1], rtol=1e-2, atol=1e-3)
    rows = [runs.rows(tmp_path / f'{kind}{i}' / 'results.csv') for kind in ('both', 'alone')]
    for one, two in zip(*rows, strict=True):
      assert float(one['mean_loss']) == pytest.approx(float(two['mean_loss']), rel=1e-3)


def test_step_sizes_side_by_side_are_those_of_agents_of_their_own(tmp_path):
  lanes = [lane(tmp_path / f'{rate}', 1, learning_rate=rate, run_length=20)
           for rate in (1e-3, 3e-2)]
  found = leaves(train(lanes)[0])
  for i, one in enumerate(lanes):
    model = learner.make(one.config, (1, 4, 4, 1), 'uint8', ActionMap(1, 5, None))
    agent = learner.make_agent(one.config, model.network, model.optimizer, norms_every=1)
    state, task, norms = agent.init(parts.key(one.config, parts.INIT)), one.task(0), []
    for step in range(20):
      rows = jax.random.randint(
          jax.random.fold_in(parts.key(one.config, parts.ACT), step), (8,), 0, task.size)
      batch = objectives.Example(task.inputs[rows][:, None], task.targets[rows])
      state, _, measured = agent.learn(state, batch, np.ones(8, np.float32))
      norms.append(measured['gradient_norm'])
    row = runs.rows(one.folder / 'results.csv')[0]
    assert float(row['mean_gradient_norm']) == pytest.approx(np.mean(norms), rel=1e-2)
    for name, tensor in checkpoint.to_tensors(state).items():
      np.testing.assert_allclose(found[name][i], tensor, rtol=1e-2, atol=1e-3)
  assert np.abs(found['params/dense1/w'][0] - found['params/dense1/w'][1]).max() > 0.1


# A probe looks 24 times: before each of 3 steps on each of 2 targets and before each of 6 parts, of
# two networks. The first is cut in the middle, not at all, and the last one is cut.
@pytest.mark.parametrize('looks, num_probes, last_task', [
    (9, 0, ''), (29, 1, ''), (108, 3, '2'),
    *(pytest.param(*row, marks=pytest.mark.slow)
      for row in ((0, 0, ''), (26, 1, ''), (36, 1, '0')))])
def test_an_interrupted_run_goes_on_to_the_same_end(
    tmp_path, monkeypatch, looks, num_probes, last_task):
  monkeypatch.setattr(training, '_MOST_STEPS', 7)
  changed = dict(trace_steps=9, trace_every=3, probe_every=20)
  whole, _ = train([lane(tmp_path / 'whole', 1, **changed)])
  _, finished = train([lane(tmp_path / 'cut', 1, **changed)], runs.StopAfter(looks))
  assert not finished
  rows = runs.rows(tmp_path / 'cut' / 'results.csv')
  assert len(runs.rows(tmp_path / 'cut' / 'probes.csv')) == num_probes
  assert (rows[-1]['iteration'] if rows else '') == last_task
  resumed, finished = train([lane(tmp_path / 'cut', 1, **changed)])
  assert finished
  train([lane(tmp_path / 'cut', 1, **changed)])  # which finds nothing to do
  for file, length in (('results.csv', 3), ('probes.csv', 4), ('trace.csv', 9)):
    rows = runs.rows(tmp_path / 'whole' / file)
    assert runs.rows(tmp_path / 'cut' / file) == rows and len(rows) == length
  assert [row['since_change'] for row in rows] == ['0', '3', '6'] * 3
  ends = leaves(whole), leaves(resumed)
  for name, tensor in ends[0].items():
    np.testing.assert_array_equal(tensor, ends[1][name])


def test_of_seeds_side_by_side_those_are_probed_later_that_a_stop_left_out(tmp_path):
  def lanes(name):
    return [lane(tmp_path / name / f'seed{seed}', seed, probe_every=30, run_length=40)
            for seed in (1, 2)]

  train(lanes('whole'))
  # The first of two probes at 0, and half of the second.
  train(lanes('cut'), runs.StopAfter(1 + 24 + 1 + 12))
  assert [len(runs.rows(tmp_path / 'cut' / f'seed{i}' / 'probes.csv')) for i in (1, 2)] == [1, 0]
  for _ in range(2):
    train(lanes('cut'))
    for i in (1, 2):
      rows = runs.rows(tmp_path / 'whole' / f'seed{i}' / 'probes.csv')
      assert runs.rows(tmp_path / 'cut' / f'seed{i}' / 'probes.csv') == rows and len(rows) == 2


def test_probes_leave_training_as_it_was(tmp_path):
  plain, probed = (leaves(train([lane(tmp_path / name, 1, probe_every=every)])[0])
                   for name, every in (('plain', 0), ('probed', 20)))
  for name, tensor in plain.items():
    np.testing.assert_array_equal(tensor, probed[name])
  rows = runs.rows(tmp_path / 'probed' / 'probes.csv')
  assert [row['frame'] for row in rows] == ['0', '20', '40', '60']
  assert float(rows[0]['lost_since_first']) == 0 != float(rows[-1]['lost_since_first'])


SMALL = ('--num_tasks=2', '--steps_per_task=4', '--subset=64', '--num_seeds=2')


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'ways'
  status, out, err = runs.run(
      'run_supervised.py', '--experiment=ways', f'--run_dir={folder}', *SMALL)
  assert status == script.DONE, err
  return folder


def test_an_experiment_leaves_curves_figure_report_and_comparison(experiment):
  with open(experiment / 'curves.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [(row['way'], row['seed'], row['iteration']) for row in rows] == [
      (way, seed, task) for way in ('none', 'ln', 'l2', 'ln+l2') for seed in '12' for task in '01']
  assert all(np.isfinite(float(row['loss'])) for row in rows)
  assert (experiment / 'figure.png').read_bytes()[:4] == b'\x89PNG'
  assert '<svg' in (experiment / 'figure.svg').read_text()
  text = (experiment / 'report.md').read_text()
  assert 'mnist_5k' in text and 'seeds 1, 2' in text and 'ln+l2' in text
  assert 'expected shape' in text
  assert (experiment / 'comparison.html').exists()
  for way in ('none', 'ln+l2'):
    config = json.loads((experiment / way / 'seed2' / 'config.json').read_text())
    assert config['dataset'] == 'mnist_5k' and ['subset', 64] in config['stream_parameters']
    assert (experiment / way / 'seed2' / 'report.html').exists()


@pytest.mark.parametrize('flags, metrics', [
    ([], ['mean_accuracy', 'sharpness']), (['--probe_every_tasks=0'], ['mean_accuracy'])])
def test_each_claim_has_a_figure_but_those_on_probes_that_are_off(tmp_path, flags, metrics):
  argv = ['run', '--experiment=parameter_scale', f'--run_dir={tmp_path}/run', *SMALL[1:],
          '--interventions=', '--num_seeds=1', '--set=probe_targets=2', '--set=probe_steps=3',
          '--set=probe_inputs=8', '--set=probe_lanczos_steps=3', *flags]
  assert main.run(STREAMS, argv) == script.DONE
  text = (tmp_path / 'run' / 'report.md').read_text()
  found = re.findall(r'!\[(\w+)\]\((figure\d?).png\)', text)
  assert found == list(zip(metrics, ('figure', 'figure2'), strict=False))
  for _, figure in found:
    assert (tmp_path / 'run' / f'{figure}.png').read_bytes()[:4] == b'\x89PNG'
  assert ('(entk.png)' in text) == (not flags)


def test_the_first_updates_after_a_change_are_drawn(tmp_path):
  argv = ['run', '--experiment=task_change', f'--run_dir={tmp_path}/run', '--set=trace_steps=3',
          '--set=trace_every=2', '--interventions=leaky', *SMALL]
  assert main.run(STREAMS, argv) == script.DONE
  assert (tmp_path / 'run' / 'transient.png').read_bytes()[:4] == b'\x89PNG'
  with open(tmp_path / 'run' / 'trace.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [(row['seed'], row['iteration'], row['since_change']) for row in rows] == [
      (seed, task, since) for seed in '12' for task in '01' for since in '02']
  assert all(np.isfinite(float(row['entropy'])) for row in rows)


def test_what_is_done_is_not_done_again(experiment):
  before = {path: path.stat().st_mtime_ns for path in experiment.rglob('learner.safetensors')}
  argv = ['run', '--experiment=ways', f'--run_dir={experiment}', '--resume', *SMALL]
  assert main.run(STREAMS, argv) == script.DONE
  after = {path: path.stat().st_mtime_ns for path in experiment.rglob('learner.safetensors')}
  assert before == after and before


@pytest.mark.parametrize('arguments, message', [
    (['--experiment=random_label'], 'experiment=random_label: unknown; did you mean random_labels'),
    (['--experiment=ways,ways'], 'experiment=ways: given twice'),
    (['--experiment=random_labels(part=2)'], 'random_labels=part: unknown; known are'),
    (['--experiment=random_labels(fraction=2)'], 'fraction=2.0: must be above 0'),
    (['--experiment=random_labels(fraction=x)'], 'random_labels.fraction=x: must be a number'),
    (['--experiment=random_labels(x)'],
     r'experiment=random_labels\(x\): must be PARAMETER=VALUE'),
    (['--network=vgg'], 'network=vgg: unknown'),
    (['--probe_every=5'], 'flag=probe_every: unknown; did you mean probe_every_tasks'),
    (['--learning_rate=1'], 'flag=learning_rate: unknown; did you mean --set=learning_rate=VALUE'),
    (['--network=cnn', '--set=torso=nature'],
     r'torso=nature: must take observations of shape \(1, 28, 28, 1\)'),
    (['--network=dqn'],
     'network=dqn: is not for supervised; use one of mlp, small_mlp, cnn, resnet18'),
    (['--dataset=imagenet'], 'dataset=imagenet: unknown'),
    (['--dataset=cifar10'], 'dataset=cifar10: needs data_dir'),
    (['--data_dir=/nowhere'], 'data_dir=/nowhere: no such folder'),
    (['--num_tasks=0'], 'num_tasks=0: must be at least 1'),
    (['--num_seeds=0'], 'num_seeds=0: must be at least 1'),
    (['--seed=2147483647', '--num_seeds=2'],
     'num_seeds=2: must be at most 1, since seed=2147483647 is the first'),
    (['--seed=2147483648'], 'seed=2147483648: must be from 0 to 2147483647'),
    (['--subset=9999'], 'subset=9999: must be at most 5000, the images of mnist_5k'),
    (['--set=steps_per_task=7'], 'set=steps_per_task: has a flag of its own'),
    (['--experiment=parameter_scale', '--set=initial_scale=3'],
     'set=initial_scale: is what the ways that are compared differ in'),
    (['--experiment=shift_severity(fraction=0.5)'],
     'experiment=shift_severity.fraction=….: is what the ways that are compared differ in'),
    (['--experiment=growing_targets', '--num_tasks=100'], 'index=99: factor=2.0 to the power'),
    (['--set=random_shift=4'], 'random_shift=4: shifts transitions'),
    (['--sweep=learning_rate'], 'sweep=learning_rate: must be name=a,b,c'),
    (['--sweep=learning_rat=1,2'], 'sweep=learning_rat: unknown; did you mean learning_rate'),
    (['--sweep=learning_rate=1,x'], 'sweep=learning_rate=x: must be a number'),
    (['--sweep=learning_rate=0.1,1e-1'], 'sweep=learning_rate=.*: must name each value once'),
    (['--sweep=learning_rate=1', '--sweep=learning_rate=2'], 'learning_rate is swept twice'),
    (['--set=eval_envs=2'], 'eval_envs=2: says nothing where objective=classification'),
    (['--set=double=true'], 'double=true: says nothing where objective=classification'),
    (['--set=updates_per_dispatch=2'], 'updates_per_dispatch=2: says nothing where objective='),
    (['--sweep=double=true,false'], 'double=true: says nothing where objective=classification'),
    (['--interventions=so'], 'distribution=hl_gauss: the outputs are classes already'),
    (['--experiment=target_offset', '--interventions=so'],
     r'v_max=10.0: must hold targets of up to 10\d\.\d+; set v_max=10\d'),
    (['--experiment=growing_targets', '--interventions=so', '--set=v_max=9999999'],
     r'v_min=-10.0: must hold targets down to -\d'),
    (['--interventions=lm'], 'interventions=lm: unknown'),
    (['--probe_every_tasks=-1'], 'probe_every_tasks=-1: must be at least 0'),
    (['--probe_size=big'], 'probe_size=big: unknown'),
    (['--resume'], 'resume=true: needs --run_dir'),
    (['--list=games'], 'list=games: unknown'),
    (['--list='], 'list=: unknown; known are datasets, experiments'),
    (['pong'], 'argument=pong: must be a flag')])
def test_bad_arguments_are_refused(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    cli.parse(STREAMS, ['run', f'--run_dir={tmp_path}/run', *arguments]
                         if arguments != ['--resume'] else ['run', *arguments])
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('arguments, message', [
    ([], 'run_dir=.*: holds an experiment already; continue it with --resume'),
    (['--resume', '--experiment=random_labels'],
     'belongs to another experiment: there experiment=ways, here experiment=random_labels'),
    (['--resume', '--num_seeds=1'],
     'has seeds that are not asked for here, and that its report would lose: 2'),
    (['--resume', '--seed=2'], 'its report would lose: 1'),
    (['--resume', '--interventions=ln'],
     r'has ways that are not asked for here, .* would lose: none, l2, ln\+l2')])
def test_a_folder_that_holds_an_experiment_is_not_overwritten(experiment, arguments, message):
  before = {path: path.read_bytes() for path in experiment.rglob('*') if path.is_file()}
  argv = ['run', '--experiment=ways', f'--run_dir={experiment}', *SMALL, *arguments]
  with pytest.raises(ValueError, match=message):
    main.run(STREAMS, argv)
  assert {path: path.read_bytes() for path in experiment.rglob('*') if path.is_file()} == before


@pytest.mark.parametrize('resume', [[], ['--resume']])
def test_a_folder_of_other_files_is_not_written_to(experiment, tmp_path, resume):
  (tmp_path / 'report.md').write_text('of a run of Pong')
  with pytest.raises(ValueError, match='run_dir=.*: must be new, empty or an experiment; it holds'):
    main.run(STREAMS, ['run', f'--run_dir={tmp_path}', *SMALL, *resume])
  # Of a run in it no less.
  with pytest.raises(ValueError, match='run_dir=.*: must be new, empty or an experiment; it holds'):
    main.run(STREAMS, ['run', f'--run_dir={experiment / "ln" / "seed1"}', *SMALL, *resume])


@pytest.mark.parametrize('text, message', [
    ('{"ways": ', 'its experiment.json must be one that an experiment wrote'),
    ('[1]', 'its experiment.json must be one that an experiment wrote'),
    ('{"experiment": "ways", "dataset": "mnist_5k"}', 'must be one that an experiment wrote'),
    ('{"experiment": "ways", "dataset": "mnist_5k", "ways": 3, "seeds": []}',
     'must be one that an experiment wrote')])
def test_a_damaged_experiment_is_refused(tmp_path, text, message):
  (tmp_path / 'experiment.json').write_text(text)
  with pytest.raises(ValueError, match=message):
    main.run(STREAMS, ['run', '--experiment=ways', f'--run_dir={tmp_path}', *SMALL, '--resume'])


def test_a_folder_in_use_is_refused(experiment):
  with (run_folder.locked(experiment),
        pytest.raises(ValueError, match='must be free; another process is running it')):
    main.run(STREAMS, ['run', '--experiment=ways', f'--run_dir={experiment}', *SMALL, '--resume'])


def test_what_stops_a_run_is_said_with_its_cause(tmp_path):
  folder = tmp_path / 'run'
  argv = ['run', f'--run_dir={folder}', '--interventions=ln', *SMALL]
  assert main.run(STREAMS, argv) == script.DONE
  for path in (folder / 'ln' / 'seed1' / 'checkpoints').glob('*/learner.safetensors'):
    path.write_bytes(b'x')
  assert main.run(STREAMS, [*argv, '--resume']) == script.FAILED
  assert 'stopped: CheckpointError' in (folder / 'log.txt').read_text()


def test_more_seeds_leave_those_that_are_done_as_they_are(experiment, tmp_path):
  shutil.copytree(experiment, tmp_path / 'run')
  done = tmp_path / 'run' / 'ln' / 'seed2' / 'results.csv'
  before = done.read_text()
  argv = ['run', '--experiment=ways', f'--run_dir={tmp_path}/run', '--resume', *SMALL[:3],
          '--num_seeds=3']
  assert main.run(STREAMS, argv) == script.DONE
  assert done.read_text() == before
  assert len(runs.rows(tmp_path / 'run' / 'ln' / 'seed3' / 'results.csv')) == 2


def test_an_experiment_can_be_made_longer_also_from_a_damaged_checkpoint(
    experiment, tmp_path, caplog):
  shutil.copytree(experiment, tmp_path / 'run')
  damaged = tmp_path / 'run' / 'ln' / 'seed1'
  (checkpoint.newest(damaged / 'checkpoints') / checkpoint.STATE).write_text('{')
  argv = ['run', '--experiment=ways', f'--run_dir={tmp_path}/run', '--resume', *SMALL[1:],
          '--num_tasks=3']
  assert main.run(STREAMS, argv) == script.DONE
  assert 'a damaged checkpoint is set aside' in caplog.text
  rows = runs.rows(damaged / 'results.csv')
  assert [row['iteration'] for row in rows] == ['0', '1', '2']
  # Alone, not side by side with the other seed: the same numbers up to rounding.
  before = runs.rows(experiment / 'ln' / 'seed1' / 'results.csv')
  for row, old in zip(rows[:2], before, strict=True):
    assert float(row['mean_loss']) == pytest.approx(float(old['mean_loss']), rel=1e-4)


@pytest.mark.parametrize('size', [[], ['--full']])
@pytest.mark.parametrize('name', experiments.EXPERIMENTS)
def test_every_experiment_of_the_table_can_be_asked_for(tmp_path, name, size):
  command = cli.parse(
      STREAMS, ['run', f'--experiment={name}', f'--run_dir={tmp_path}/run', *size])
  row = experiments.EXPERIMENTS[name]
  assert [arm.name for arm in command.arms] == list(row.arms or ['none'])
  assert all(claim.text and claim.expected for claim in row.claims)
  lengths = [arm.configs[0].run_length for arm in command.arms]
  assert max(lengths) <= 1.02 * min(lengths)


@pytest.mark.parametrize('table, some', [
    ('experiments', 'shift_severity: Do sudden'), ('networks', 'resnet18: ResNet-18'),
    ('datasets', 'cifar10'), ('interventions', 'redo: ')])
def test_tables_are_listed(table, some):
  assert some in cli.parse(STREAMS, ['run', f'--list={table}'])


def test_a_setting_may_be_one_of_some_ways_alone(tmp_path):
  command = cli.parse(STREAMS, [
      'run', '--experiment=bandit', f'--run_dir={tmp_path}/run', '--set=num_atoms=51'])
  found = {arm.configs[0].distribution: arm.configs[0].num_atoms for arm in command.arms}
  assert found.keys() > {'none'} and set(found.values()) == {51}


def test_a_sweep_is_a_way_for_each_combination(tmp_path):
  command = cli.parse(STREAMS, [
      'run', '--sweep=learning_rate=0.1,0.01', '--sweep=batch_size=8,16,32', '--interventions=ln',
      f'--run_dir={tmp_path}/run'])
  found = {arm.name: (arm.configs[0].learning_rate, arm.configs[0].batch_size)
           for arm in command.arms}
  assert len(found) == 6
  assert found['ln learning_rate=0.01 batch_size=16'] == (0.01, 16)
  # One program for each size of batches; of a played stream each way is for itself.
  assert [arm.name for arm in main.merged(command.arms)] == [
      f'ln learning_rate=0.1 batch_size={size}, ln learning_rate=0.01 batch_size={size}'
      for size in (8, 16, 32)]
  assert all(len(arm.configs) == len(arm.folders) == len(arm.stored) == 2 * len(
      command.arms[0].configs) for arm in main.merged(command.arms))
  command = cli.parse(STREAMS, ['run', '--experiment=bandit', '--sweep=learning_rate=0.1,0.01',
                                f'--run_dir={tmp_path}/run'])
  assert main.merged(command.arms) == list(command.arms)


@pytest.mark.parametrize('arguments, expected', [
    ([], (5, 200, 'agent')),  # as the paper's ranks networks, which the small optimizer does not
    (['--probe_size=small'], (5, 200, 'small')),
    (['--probe_size=paper'], (10, 2000, 'agent')),
    (['--experiment=shift_severity'], (5, 1000, 'agent'))])
def test_the_probe_has_the_runs_own_optimizer(tmp_path, arguments, expected):
  command = cli.parse(STREAMS, ['run', f'--run_dir={tmp_path}/run', *arguments])
  config = command.arms[0].configs[0]
  assert (config.probe_targets, config.probe_steps, config.probe_optimizer) == expected


def test_gradual_changes_sum_to_as_much_as_sudden_ones(tmp_path):
  command = cli.parse(STREAMS, [
      'run', '--experiment=shift_severity', f'--run_dir={tmp_path}/run'])
  lengths = {arm.name: (arm.configs[0].run_length, arm.configs[0].steps_per_task)
             for arm in command.arms}
  assert lengths == {'1': (10_000, 1_000), '0.1': (91 * 110, 110), '0.01': (901 * 11, 11)}
  changes = {name: (length // steps - 1) * float(name)
             for name, (length, steps) in lengths.items()}
  assert changes == pytest.approx({'1': 9, '0.1': 9, '0.01': 9})
