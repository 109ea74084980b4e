"""Learner, actors and evaluator as threads of this process, around a real replay server."""

import contextlib
import dataclasses
import functools
import os
import resource
import signal
import threading
import time

import numpy as np
import pytest

from agents import checkpoint, errors, learner
from agents import parts as parts_lib
from agents.distributed import driver, job
from envs import catch
from replay import factory, types
from tests import catch_runs, runs
from tests.thread_engine import ThreadEngine

reverb = pytest.importorskip('reverb')
from replay import reverb_client, reverb_server  # noqa: E402 (they need Reverb)

pytestmark = pytest.mark.reverb

FRAMES = ['0', '200', '400', '600']
SIGNATURE = types.Signature((2,), 'float32', 1, 1, 1, 1)


make_model = functools.lru_cache(learner.make)


@pytest.fixture(autouse=True)
def shared_models(monkeypatch):
  """The roles of this process share what is compiled, and so do all runs of one config."""
  monkeypatch.setattr(learner, 'make', make_model)


class Run:
  """A run of threads, whose server and learner can be killed."""

  def __init__(self, folder, **overrides):
    self.folder, self.engine, self.stop = folder, ThreadEngine(), threading.Event()
    folder.mkdir(exist_ok=True)
    self.config = catch_runs.make_config(**dict(
        replay='reverb', num_actors=2, run_length=600, eval_every=200, eval_length=100,
        probe_every=0, checkpoint_every=200, min_replay_size=50, steps_per_update=4,
        probe_observations=64) | overrides)
    env = catch.make(1, 1, catch_runs.ROWS)
    self.signature = parts_lib.describe(self.config, None, env).signature
    self.pids, self.ports = [], []
    self.driver = driver.Driver(
        self.config, folder, self.engine, self.serve, self.make_job, self.stop)

  def serve(self, saved):
    remote = factory.remote()
    server = remote.serve(
        self.signature, job.replay_settings(self.config), 'a-run', 0, self.folder.parent, saved,
        'localhost', job.SLOTS, job.QUEUES)
    self.pids.append(server.endpoint.pid)
    self.ports.append(server.endpoint.port)
    return driver.Served(tuple(server.endpoint), server.end, lambda: remote.stop(server))

  def make_job(self, endpoint, epoch, frame):
    return job.Job(dataclasses.asdict(self.config), 'tests.catch_task', str(self.folder), (),
                   endpoint, epoch, frame)

  def rows(self):
    return runs.rows(self.folder / 'results.csv')

  def once(self, condition, action):
    """Does something in another thread once a condition holds."""
    def wait():
      until = time.monotonic() + runs.DEADLINE
      while not condition():
        if time.monotonic() > until:
          return
        time.sleep(0.005)
      action()
    threading.Thread(target=wait, daemon=True).start()

  def assert_whole(self):
    """Every row once, at its frame, after as many updates as one process makes."""
    assert [row['frame'] for row in self.rows()] == FRAMES
    assert [row['iteration'] for row in self.rows()] == ['0', '1', '2', '3']
    # One at step 52, then one every 4 steps; or 4 at step 64, then 4 every 16.
    updates = {1: [0, 38, 88, 138], 4: [0, 36, 88, 136]}[self.config.updates_per_dispatch]
    assert [int(row['updates']) for row in self.rows()] == updates
    state = checkpoint.load(self.folder / 'checkpoints' / '600')[1]
    assert state['num_steps'] == 600
    assert not list((self.folder / 'evaluations').iterdir())


def wedge(port, signature):
  """What a client that is not ours can do to a prioritized table, for good."""
  window = reverb_server.window_length(signature), *signature.frame_shape
  writer = reverb.Client(f'localhost:{port}').trajectory_writer(1)
  writer.append({'frames': np.zeros(window, signature.frame_dtype),
                 'scalars': np.zeros(signature.num_action_dims + 3, np.float32)})
  item = {name: column[-1] for name, column in writer.history.items()}
  writer.create_item(reverb_server.TABLE, -1.0, item)
  with contextlib.suppress(reverb.DeadlineExceededError):
    writer.flush(timeout_ms=1000)


@pytest.mark.parametrize('updates_per_dispatch', [1, 4])
def test_a_run_has_the_frames_and_updates_of_one_process(tmp_path, updates_per_dispatch):
  run = Run(tmp_path / 'run', updates_per_dispatch=updates_per_dispatch)
  assert run.driver.run()
  run.assert_whole()
  assert sum(int(row['train_num_episodes']) for row in run.rows()) > 0


@pytest.mark.parametrize('victim', [
  'server', 'learner', 'wedged server',
  *(pytest.param(name, marks=pytest.mark.slow)
    for name in ('stopped server', 'evaluator', 'actor-0'))])
def test_a_death_changes_no_count(tmp_path, monkeypatch, victim):
  monkeypatch.setattr(job, 'DEADLINE_SECONDS', 2.0)
  monkeypatch.setattr(reverb_client, '_WEDGED_SECONDS', 3.0)
  # A batch that was drawn ahead is lost with its learner, whatever it is of.
  several = 4 if victim == 'learner' else 1
  run = Run(tmp_path / 'run', prioritized=True, updates_per_dispatch=several)
  act = {'server': lambda: os.kill(run.pids[0], signal.SIGKILL),
         'stopped server': lambda: os.kill(run.pids[0], signal.SIGSTOP),
         'wedged server': lambda: wedge(run.ports[0], run.signature)}
  run.once((tmp_path / 'run' / 'checkpoints' / '200').exists,
           act.get(victim) or (lambda: run.engine.die(victim)))
  began = time.monotonic()
  assert run.driver.run()
  assert time.monotonic() - began < 60.0
  run.assert_whole()
  assert len(run.pids) == (2 if 'server' in victim or victim == 'learner' else 1)
  assert victim != 'wedged server' or 'is wedged' in run.driver.cause


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
  run = Run(tmp_path / 'run')
  _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  run.once((tmp_path / 'run' / 'checkpoints' / '200').exists,
           # Smaller than a checkpoint, larger than rows.
           lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard)))
  try:
    with pytest.raises(errors.RunError, match='the learner ended: OSError: .*File too large'):
      run.driver.run()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
  newest = checkpoint.newest(tmp_path / 'run' / 'checkpoints')
  assert checkpoint.load(newest)[1]['num_steps'] == int(newest.name) < 600
  again = Run(tmp_path / 'run')
  assert again.driver.run()
  again.assert_whole()


def test_stopped_it_goes_on_where_it_was(tmp_path):
  first = Run(tmp_path / 'run')
  first.once((tmp_path / 'run' / 'checkpoints' / '200').exists, first.stop.set)
  assert not first.driver.run()
  again = Run(tmp_path / 'run')
  assert again.driver.run()
  again.assert_whole()


@pytest.fixture
def served(tmp_path):
  """A server that lets writers be 4 transitions ahead of 2 draws for each, and its replays."""
  remote = factory.remote()
  settings = types.Settings(100, samples_per_insert=2.0, min_size=6, max_ahead=4)
  servers = []
  def serve(saved=None):
    servers.append(remote.serve(
        SIGNATURE, settings, 'a-run', 0, tmp_path, saved, 'localhost', job.SLOTS, job.QUEUES))
    return lambda num_streams: remote.RemoteReplay(
        servers[-1].endpoint, SIGNATURE._replace(num_streams=num_streams), settings,
        deadline_s=5.0, patience_s=1.0 if num_streams else 60.0)
  yield serve
  for server in servers:
    remote.stop(server)


def add(replay, count):
  for i in range(count):
    outcome = types.Outcome(1, np.zeros(1, np.int32), 0.0, 1.0)
    replay.add(types.Step(0, False, np.full(2, i, np.float32), (outcome,) if i else ()))


def test_writers_are_held_back_and_let_go_by_draws(served):
  connect = served()
  learner, writer = connect(0), connect(1)
  add(writer, 11)
  writer.flush()
  assert learner.count().delivered == 10
  add(writer, 3)
  with pytest.raises(types.ReplayError, match='answers, but did not finish'):
    writer.flush()
  assert learner.count().delivered == 10
  learner.sample(8)
  writer.flush()
  assert learner.count().delivered == 12


def test_what_was_drawn_is_shown_again_without_another_draw(served):
  connect = served()
  learner, writer = connect(0), connect(1)
  learner._num_kept = 6
  add(writer, 11)
  writer.flush()
  learner.count()
  drawn = np.concatenate([learner.sample(4).transition.obs_t for _ in range(3)])
  np.testing.assert_array_equal(learner.peek(6, 0).obs_t, drawn[-6:])
  assert len(learner.peek(9, 0).r_t) == 9
  draws = learner.client.info('count')['transitions'].rate_limiter_info.sample_stats.completed
  assert draws == 13  # 12, and the one that was lacking: two batches of 4 were kept.


def test_a_saved_server_goes_on_with_its_counts_and_letters(served, tmp_path):
  connect = served()
  learner, writer = connect(0), connect(1)
  add(writer, 8)
  writer.flush()
  writer.client.put(job.REPORTS, (1, 2), b'abc')
  assert learner.count().delivered == 7
  learner.sample(4)
  learner.save(tmp_path / 'saved')
  again = served(tmp_path / 'saved')(0)
  again.restore(tmp_path / 'saved')
  counts = again.count()
  assert counts.delivered == again.size() == 7 and counts.letters[job.REPORTS] == 1
  [(header, blob)] = again.client.letters(job.REPORTS, 1)
  assert header[:2].tolist() == [1, 2] and blob == b'abc'
  assert again.count().letters[job.REPORTS] == 0


def test_a_wedged_table_is_noticed_and_not_saved(tmp_path, monkeypatch):
  monkeypatch.setattr(reverb_client, '_WEDGED_SECONDS', 2.0)
  remote = factory.remote()
  settings = types.Settings(100, prioritized=True)
  server = remote.serve(
      SIGNATURE, settings, 'a-run', 0, tmp_path, None, 'localhost', job.SLOTS, job.QUEUES)
  try:
    replay = remote.RemoteReplay(server.endpoint, SIGNATURE, settings)
    add(replay, 8)
    replay.flush()
    wedge(server.endpoint.port, SIGNATURE)
    with pytest.raises(types.ReplayError, match='transitions is wedged; .* write a checkpoint'):
      replay.save(tmp_path / 'saved')
    assert not (tmp_path / 'saved' / 'reverb').exists()
    with pytest.raises(types.ReplayError, match='table transitions is wedged'):
      replay.sample(4)
  finally:
    remote.stop(server)


def test_a_dead_server_is_noticed_by_who_did_not_start_it(served):
  connect = served()
  learner = connect(0)
  pid = learner.server.endpoint.pid
  os.kill(pid, 9)
  until = time.monotonic() + 30.0
  with pytest.raises(types.ReplayError, match='does not answer|failed'):
    while time.monotonic() < until:
      learner.count()
