"""What the roles of a run of many processes are made of, without any such process."""

import threading
import time

import dm_env
import jax
import numpy as np
import pytest

import run_control
from agents import checkpoint, cli, errors, run_folder
from agents.distributed import driver, epsilon, evaluations, flow, job, letters, reports, roles
from tests import catch_runs
from tests.thread_engine import ThreadEngine

DEADLINE = 30.0


class Mail:
  """A client whose slots are here; counts what is taken."""

  def __init__(self):
    self.slots, self.taken = {}, []

  def put(self, table, header, blob=b''):
    self.slots[table] = np.array([*header, *[0.0] * (8 - len(header))]), blob

  def letters(self, table, count):
    assert count == 1
    self.taken.append(table)
    return [self.slots[table]]


def test_weights_travel_once_and_only_when_they_are_new():
  mail = Mail()
  sender, receiver = (kind(mail, 'weights', 7) for kind in (letters.Sender, letters.Receiver))
  sender.send((3, 4.5), b'abc')
  assert receiver.receive() == letters.Letter((3, 4.5, 0, 0, 0), b'abc')
  assert receiver.receive() is None
  assert mail.taken == ['weights_version', 'weights', 'weights_version']
  sender.send((5,), b'abc')
  assert receiver.receive().numbers[0] == 5


def test_letters_of_another_epoch_and_damaged_ones_are_not_taken():
  mail = Mail()
  receiver = letters.Receiver(mail, 'weights', 8)
  letters.Sender(mail, 'weights', 7).send((1,), b'abc')
  assert receiver.receive() is None
  letters.Sender(mail, 'weights', 8).send((1,), b'abc')
  header, blob = mail.slots['weights']
  mail.slots['weights'] = header, b'abd'
  assert receiver.receive() is None
  mail.slots['weights'] = header, blob
  assert receiver.receive().blob == b'abc'


def test_weights_come_back_as_they_were_and_others_are_refused():
  params = {'torso': {
      'w': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.ones(3, np.float32)}}
  template = jax.eval_shape(lambda: params)
  back = letters.unpack(template, letters.pack(params))
  assert jax.tree.all(jax.tree.map(np.array_equal, back, params))
  other = {'torso': {'w': params['torso']['w'].T, 'b': params['torso']['b']}}
  for blob in (letters.pack(other), b'', b'\0' * 200, letters.pack(params)[:-1]):
    with pytest.raises(checkpoint.CheckpointError):
      letters.unpack(template, blob)


class Post:
  """A client that keeps what is sent, and passes it on as Reverb would."""

  def __init__(self):
    self.sent = []

  def put(self, table, header, blob=b''):
    assert table == job.REPORTS
    self.sent.append(([float(number) for number in header], blob))


def played(step_types, rewards):
  for step_type, reward in zip(step_types, rewards, strict=True):
    yield dm_env.TimeStep(
        np.array([step_type]), np.array([reward]), np.array([1.0]), np.zeros([1, 2]))


def test_what_actors_tell_is_counted_once_and_what_is_lost_is_noticed():
  post = Post()
  first, other = (reports.Reports(post, (5, actor, 0), 1) for actor in (0, 1))
  for timestep in played([0, 1, 2, 0, 1], [0.0, 1.0, 2.0, 0.0, 7.0]):
    first.add(timestep)
  first.send(4)
  for timestep in played([2, 0], [5.0, 0.0]):
    first.add(timestep)
  first.send(6)
  other.send(6)
  ledger = reports.Ledger()
  told = ledger.take(*post.sent[0])
  assert (told.epoch, told.returns, told.num_steps, told.num_updates) == (5, [3.0], 3, 4)
  assert np.isnan(told.state_value)
  assert ledger.take(*post.sent[0]) is None  # a second time
  header, blob = post.sent[1]
  assert ledger.take(header, blob[:-1] + b'?') is None  # damaged
  assert ledger.take([*header[:3], float('inf'), *header[4:]], blob) is None
  assert ledger.rows == {'5/0/0': [1, 3, 1, 0]}
  restored = reports.Ledger(ledger.rows)
  assert restored.take(header, blob).returns == [12.0]
  assert restored.take(*post.sent[2]).returns == []
  assert restored.rows == {'5/0/0': [2, 4, 2, 0], '5/1/0': [1, 0, 0, 0]}
  assert ledger.rows['5/0/0'][0] == 1  # the one before is its own
  for _ in range(3):
    first.send(6)
  assert restored.take(*post.sent[-1]) is not None
  assert restored.rows['5/0/0'] == [5, 4, 2, 2]
  assert restored.summary() == 'actors told of 2 episodes and 4 steps; 2 reports were lost'
  assert 'lost' not in ledger.summary() and reports.Ledger().summary()


def test_actors_explore_alike_or_as_in_ape_x():
  config = catch_runs.make_config(replay='reverb', num_actors=3)
  assert epsilon.of_actor(config, 2, 0) == epsilon.mean(config, 0) == 1.0
  ape_x = catch_runs.make_config(replay='reverb', num_actors=3, actor_epsilon='ape_x')
  found = [epsilon.of_actor(ape_x, number, 10**6) for number in range(3)]
  np.testing.assert_allclose(found, [0.4, 0.4 ** 4.5, 0.4 ** 8])


def test_evaluations_that_wait_survive_and_what_comes_again_is_forgotten(tmp_path):
  waiting = evaluations.Evaluations(tmp_path / 'waiting', 10, [])
  for frame in (0, 8, 20):
    waiting.add(frame, dict(frame=frame, loss=float('nan')), b'%d' % frame)
  (tmp_path / 'waiting' / '30.json').write_text('{}')  # a kill before its weights
  again = evaluations.Evaluations(tmp_path / 'waiting', 10, [0])
  assert again.frames() == [8]
  assert again.weights(8) == b'8' and again.trained(8)['frame'] == 8
  again.remove(8)
  assert not list((tmp_path / 'waiting').iterdir())


def test_one_learner_at_a_time_writes_to_a_folder(tmp_path):
  freed = threading.Event()
  with run_folder.locked(tmp_path, 'learner.lock'):
    with pytest.raises(errors.UsageError, match='another process is running it'), \
        run_folder.locked(tmp_path, 'learner.lock', 0.2):
      pass
    with run_folder.locked(tmp_path):  # the driver's
      pass

  def hold():
    with run_folder.locked(tmp_path, 'learner.lock'):
      taken.set()
      freed.wait(DEADLINE)

  taken = threading.Event()
  threading.Thread(target=hold, daemon=True).start()
  assert taken.wait(DEADLINE)
  threading.Timer(0.2, freed.set).start()
  with run_folder.locked(tmp_path, 'learner.lock', DEADLINE):
    assert freed.is_set()


def test_the_note_says_who_waits():
  stream = flow.Flow(max_ahead=10)
  now = time.monotonic()
  assert stream.note(now, 0, 5) == ''
  assert stream.note(now, 9, 5) == 'actors throttled'
  stream.waited(60.0)
  stream.heard(2)
  assert stream.note(now + 60.0, 0, 5) == 'learner starved, weights 3 updates old'
  assert 'at most 3 updates old' in stream.summary()


# The driver, over roles that only wait.

class Run:
  """A driver with an engine of threads, and a server that dies when told to."""

  def __init__(self, tmp_path, monkeypatch, learner):
    def wait(*arguments):
      *_, stop, _ = arguments
      return not stop.wait(DEADLINE)
    table = {roles.LEARNER: learner, roles.ACTOR: wait, roles.EVALUATOR: wait}
    monkeypatch.setattr(roles, 'ROLES', table)
    self.engine, self.stop = ThreadEngine(), threading.Event()
    self.checkpoints, self.server_end, self.served = tmp_path / 'checkpoints', None, []
    config = catch_runs.make_config(replay='reverb', num_actors=2)
    self.driver = driver.Driver(
        config, tmp_path, self.engine, self.serve, self.make_job, self.stop)

  def serve(self, saved):
    self.server_end = None
    self.served.append(saved)
    return driver.Served(('here',), lambda: self.server_end, lambda: None)

  def make_job(self, endpoint, epoch, frame):
    return job.Job({}, 'none', 'none', (), endpoint, epoch, frame)

  def generations(self, name):
    return [row[-1] for row in self.engine.started if row[0] == name]


def save(root, frame):
  tensors = {'x': np.zeros(1)}
  checkpoint.save(root, frame, tensors, {}, lambda folder: folder.mkdir(), tensors)


def wait_until(condition):
  until = time.monotonic() + DEADLINE
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.005)


def test_an_actor_and_an_evaluator_that_die_are_started_again(tmp_path, monkeypatch):
  def learner(the_job, stop, report):
    wait_until(lambda: run.generations('evaluator') == [0])
    run.engine.die('actor-1')
    wait_until(lambda: run.generations('actor-1') == [0, 1])
    run.engine.die('evaluator')
    wait_until(lambda: run.generations('evaluator') == [0, 1])
    return True
  run = Run(tmp_path, monkeypatch, learner)
  assert run.driver.run()
  assert run.generations('actor-0') == [0] and len(run.served) == 1


@pytest.mark.parametrize('victim', ['learner', 'server'])
def test_server_and_learner_go_back_to_the_newest_checkpoint_together(
    tmp_path, monkeypatch, victim):
  def learner(the_job, stop, report):
    if the_job.frame == 20:
      return True
    save(run.checkpoints, 20)
    if victim == 'server':
      run.server_end = 'it ended with status -9'
    else:
      run.engine.die('learner')
    return not stop.wait(DEADLINE)
  run = Run(tmp_path, monkeypatch, learner)
  assert run.driver.run()
  assert run.served == [None, run.checkpoints / '20' / 'replay']
  assert [the_job.frame for the_job in run.engine.jobs] == [-1, 20]
  assert run.engine.jobs[0].epoch != run.engine.jobs[1].epoch
  assert run.generations('actor-0') == [0, 1]


@pytest.mark.parametrize('name', ['actor-1', 'evaluator', 'learner'])
@pytest.mark.parametrize('patience', ['_SILENT_SECONDS', '_FIRST_WORD_SECONDS'])
def test_one_that_says_nothing_or_never_a_word_is_taken_for_dead(
    tmp_path, monkeypatch, name, patience):
  monkeypatch.setattr(driver, '_WATCH_SECONDS', 0.01)
  monkeypatch.setattr(driver, patience, 1.0)

  def learner(the_job, stop, report):
    if len(run.engine.jobs) == 2:
      return True
    if patience == '_SILENT_SECONDS':
      wait_until(lambda: name in run.engine.spoken)
      run.engine.hung.add(name)
    if name == 'learner':
      return not stop.wait(DEADLINE)
    wait_until(lambda: run.generations(name) == [0, 1])
    return True
  run = Run(tmp_path, monkeypatch, learner)
  if patience == '_FIRST_WORD_SECONDS':
    run.engine.hung.add(name)
  assert run.driver.run()
  assert len(run.served) == (2 if name == 'learner' else 1)
  others = {'actor-0', 'actor-1', 'evaluator'} - {name}
  if name != 'learner':
    assert all(run.generations(other) == [0] for other in others)


def test_server_and_learner_pass_over_a_damaged_checkpoint_together(tmp_path, monkeypatch):
  run = Run(tmp_path, monkeypatch, lambda *_: True)
  for frame in (10, 20):
    save(run.checkpoints, frame)
  (run.checkpoints / '20' / checkpoint.STATE).write_text('{"cut')
  assert run.driver.run()
  assert run.served == [run.checkpoints / '10' / 'replay']
  assert [the_job.frame for the_job in run.engine.jobs] == [10]


def test_starts_that_come_to_nothing_end_with_the_cause(tmp_path, monkeypatch):
  def learner(the_job, stop, report):
    raise runtime('ReplayError', 'no answer')
  run = Run(tmp_path, monkeypatch, learner)
  with pytest.raises(errors.RunError, match='3 starts in a row .*ReplayError: no answer'):
    run.driver.run()


def runtime(name, text):
  return type(name, (RuntimeError,), {})(text)


@pytest.mark.parametrize('role', ['learner', 'actor'])
def test_what_would_only_fail_again_ends_the_run(tmp_path, monkeypatch, role):
  def fail(*arguments):
    raise errors.UsageError('task=x: unknown')
  run = Run(tmp_path, monkeypatch, fail if role == 'learner' else lambda job, stop, report: (
      not stop.wait(DEADLINE)))
  if role == 'actor':
    roles.ROLES['actor'] = fail
  with pytest.raises(errors.RunError, match=f'{role}.* ended: UsageError: task=x: unknown'):
    run.driver.run()


def test_an_actor_that_keeps_dying_ends_the_run(tmp_path, monkeypatch):
  run = Run(tmp_path, monkeypatch, lambda job, stop, report: not stop.wait(DEADLINE))
  monkeypatch.setattr(driver, 'FIRST_WAIT_SECONDS', 0.001)
  def fail(*arguments):
    raise OSError('no game')
  roles.ROLES['actor'] = fail
  with pytest.raises(errors.RunError, match=r'actor-\d died 5 times .*OSError: no game'):
    run.driver.run()


def test_a_stopped_run_lets_its_learner_save(tmp_path, monkeypatch):
  def learner(the_job, stop, report):
    run.stop.set()
    assert stop.wait(DEADLINE)
    return False
  run = Run(tmp_path, monkeypatch, learner)
  assert not run.driver.run()


@pytest.mark.usefixtures('own_signals')
@pytest.mark.parametrize('arguments, line', [
  (['--num_actors=-1'], 'num_actors=-1: must be at least 0; 0 is one process'),
  (['--num_actors=2', '--replay=local'], 'num_actors=2: actors of their own need --replay=reverb'),
  (['--ray_address=auto'], 'ray_address=auto: needs --num_actors of at least 1'),
  (['--learner_gpus=0'], 'learner_gpus=0.0: needs --num_actors of at least 1'),
  (['--num_actors=2', '--replay=reverb', '--actor_cpus=-1'], 'actor_cpus=-1: must be at least 0'),
  (['--num_actors=2', '--replay=reverb', '--learner_cpus=nan'], 'learner_cpus=nan: must be at '),
  (['--num_actors=2', '--replay=reverb', '--ray_address=ray://here:1'],
   'ray_address=ray://here:1: must be auto or host:port'),
  (['--set=actor_epsilon=ape_y'], 'actor_epsilon=ape_y: must be one of same, ape_x'),
  (['--set=actor_epsilon=ape_x'], 'actor_epsilon=ape_x: says nothing where'),
  (['--num_actors=2', '--replay=reverb', '--video'], 'video=true: '),
])
def test_refusals(capsys, arguments, line):
  assert cli.main(run_control.CONTROL, ['run_control.py', *arguments]) == 2
  assert capsys.readouterr().err.startswith(f'run_control.py: {line}')


@pytest.mark.usefixtures('own_signals')
def test_without_ray_it_is_said_what_to_install(capsys, monkeypatch):
  find = run_control.importlib.util.find_spec
  monkeypatch.setattr(
      'importlib.util.find_spec', lambda name: None if name == 'ray' else find(name))
  arguments = ['run_control.py', '--num_actors=2', '--replay=reverb']
  assert cli.main(run_control.CONTROL, arguments) == 2
  assert "num_actors=2: needs the extra 'distributed'" in capsys.readouterr().err
