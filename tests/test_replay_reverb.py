"""What only the Reverb replay can suffer: its server dies, stops, is another run's or not there."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from envs import atari
from replay import factory, types
from tests import replay_twin

pytestmark = pytest.mark.reverb
pytest.importorskip('reverb', reason='needs Reverb')

from replay import reverb_client, reverb_process, reverb_replay, reverb_server  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
SIGNATURE = types.Signature((5,), 'float32', 1, 2, 3, 1)
SETTINGS = types.Settings(100, prioritized=True)


def fill(replay):
  """Adds a few transitions; returns the replay's world."""
  ours = replay_twin.World(replay, SIGNATURE, replay_twin.synthetic(0, SIGNATURE))
  ours.run(60)
  ours.check(replay.sample(1))
  return ours


@pytest.fixture
def start():
  """Starts replays, which end with the test."""
  with contextlib.ExitStack() as stack:
    def start_one(run_id='first', port=0, signature=SIGNATURE, settings=SETTINGS, **arguments):
      spec = reverb_process.new_spec(signature, settings, run_id, port)
      server = reverb_process.begin(spec, arguments.get('scratch'))
      replay = reverb_replay.start(spec, server, **arguments)
      return stack.enter_context(contextlib.closing(replay))
    yield start_one


@pytest.fixture(scope='module')
def shared():
  """The replay of the run `first`, which stays as it is."""
  spec = reverb_process.new_spec(SIGNATURE, SETTINGS, 'first', port=0)
  server = reverb_process.begin(spec, None)
  with contextlib.closing(reverb_replay.start(spec, server)) as replay:
    fill(replay)
    yield replay


def listener(host):
  return socket.create_server((host, 0))


def wait_until(condition, seconds=30.0):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it never came true'
    time.sleep(0.02)


@pytest.mark.parametrize('number, cause', [
    (signal.SIGKILL, 'is dead; .* it ended with status -9'),
    (signal.SIGSTOP, 'does not answer within 2 s; ')])
def test_a_server_that_is_gone_is_an_error_and_never_a_hang(start, tmp_path, number, cause):
  replay = start(deadline_s=2.0)
  ours = fill(replay)
  keys, server = replay.sample(4).keys, replay.server
  os.kill(server.process.pid, number)
  for task, ask in {
      'sample 4 transitions': lambda: replay.sample(4),
      r'set \d priorities': lambda: replay.update(keys, np.arange(4.0)),
      'take transitions': lambda: ours.run(200),
      '(take transitions|write a checkpoint)': lambda: replay.save(tmp_path / 'saved')}.items():
    begin = time.monotonic()
    with pytest.raises(types.ReplayError, match=f'of run first at localhost:.*{cause}') as caught:
      ask()
    assert caught.match(f'asked to {task}') and time.monotonic() - begin < 15
  replay.close()
  assert server.process.poll() is not None and not server.folder.exists()


def test_a_server_of_ours_may_be_slow_to_begin_to_answer():
  spec = reverb_process.new_spec(SIGNATURE, SETTINGS, 'first', port=0)
  server = reverb_process.await_port(reverb_process.begin(spec, None))
  os.kill(server.process.pid, signal.SIGSTOP)
  later = threading.Timer(3.0, os.kill, (server.process.pid, signal.SIGCONT))
  later.start()
  try:
    replay = reverb_replay.ReverbReplay(spec, server, None, deadline_s=1.0, patience_s=60.0)
    with contextlib.closing(replay):
      fill(replay)
  finally:
    later.cancel()
    reverb_process.stop(server)


def test_a_process_can_end_whose_server_has_stopped_and_which_then_ends_too():
  """Threads that wait inside Reverb must not keep the process; the server removes its folder."""
  code = """
import os, signal
import numpy as np
from replay import reverb_process, reverb_replay, types
spec = reverb_process.new_spec(
    types.Signature((5,), 'float32', 1, 2, 3, 1), types.Settings(100), 'stopped', port=0)
replay = reverb_replay.start(spec, reverb_process.begin(spec, None), deadline_s=1.0)
outcome = types.Outcome(1, np.zeros(2, np.int32), 0.0, 1.0)
for t in range(50):
  replay.add(types.Step(0, t == 0, np.zeros(5, np.float32), (outcome,) if t else ()))
print(replay.server.process.pid, replay.server.folder, flush=True)
os.kill(replay.server.process.pid, signal.SIGSTOP)
try:
  replay.sample(8)
except types.ReplayError as error:
  print(error)
"""
  child = subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=100)
  hello, error = child.stdout.splitlines()
  pid, folder = hello.split()
  try:
    assert child.returncode == 0 and 'does not answer within 1 s' in error
    assert pathlib.Path(folder).exists()
  finally:
    os.kill(int(pid), signal.SIGCONT)  # Only now can it notice that its parent has died.
  wait_until(lambda: not pathlib.Path(folder).exists())
  wait_until(lambda: not psutil.pid_exists(int(pid)))


def test_the_server_is_begun_before_reverb_is_imported_and_ends_where_that_fails(tmp_path):
  code = """
import pathlib
import sys
import psutil
from replay import factory, types

class Interrupted:
  def find_spec(name, path=None, target=None):
    if name == 'reverb' and (children := psutil.Process().children()):
      print(' '.join(children[0].cmdline()), flush=True)
      raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted)
try:
  factory.make('reverb', types.Signature((5,), 'float32', 1, 2, 3, 1), types.Settings(100), 'run',
               scratch=pathlib.Path(sys.argv[1]))
except KeyboardInterrupt:
  print(psutil.Process().children())
"""
  child = subprocess.run(
      [sys.executable, '-c', code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True,
      timeout=100)
  server, left = child.stdout.splitlines()
  assert 'replay.reverb_server' in server and left == '[]' and not list(tmp_path.iterdir())


@pytest.mark.parametrize('change, deadline_s, message', [
    (dict(parent=-1), 100.0, 'ended before it listened: '),  # to the server its parent is dead
    ({}, 0.01, 'did not listen within 0.01 s')])
def test_a_server_that_does_not_come_up_leaves_nothing(tmp_path, change, deadline_s, message):
  spec = reverb_process.new_spec(SIGNATURE, SETTINGS, 'first', port=0)._replace(**change)
  before = psutil.Process().children()
  server = reverb_process.begin(spec, tmp_path)
  with pytest.raises(types.ReplayError, match=message):
    reverb_process.await_port(server, deadline_s)
  assert psutil.Process().children() == before and not list(tmp_path.iterdir())


def test_a_replay_that_does_not_come_about_leaves_no_server(tmp_path, monkeypatch, caplog):
  def broken(*arguments):
    raise RuntimeError('the first client fails')
  monkeypatch.setattr(reverb_client.reverb, 'Client', broken)
  before = psutil.Process().children()
  with pytest.raises(RuntimeError, match='the first client fails'):
    factory.make('reverb', SIGNATURE, SETTINGS, 'first', scratch=tmp_path)
  assert psutil.Process().children() == before and not list(tmp_path.iterdir())
  assert 'listens on port' in caplog.text and 'without authentication' in caplog.text


def test_what_a_terminal_or_a_scheduler_sends_is_for_the_trainer_alone(shared):
  for number in (signal.SIGINT, signal.SIGTERM):
    shared.server.process.send_signal(number)
  assert len(shared.sample(50).keys) == 50
  assert os.getpgid(shared.server.process.pid) != os.getpgid(0)
  assert shared.server.folder.stat().st_mode & 0o777 == 0o700


def test_a_busy_port_is_refused_and_the_culprit_named(shared):
  reverb_replay.check_port(0)
  with listener('127.0.0.1') as other:
    port = other.getsockname()[1]
    message = f'replay_port={port}: Address already in use, and it is no replay server of ours'
    with pytest.raises(ValueError, match=message):
      reverb_replay.check_port(port)
  reverb_replay.check_port(port)
  port = shared.server.endpoint.port
  before = psutil.Process().children()
  with pytest.raises(ValueError, match=f'replay_port={port}: in use by the replay server of run '
                     'first; end that run'):
    factory.make('reverb', SIGNATURE, SETTINGS, 'second', port)
  assert psutil.Process().children() == before


def test_another_runs_server_is_refused(shared):
  endpoint = shared.server.endpoint
  server = shared.server._replace(endpoint=endpoint._replace(run_id='second'))
  with pytest.raises(types.ReplayError, match=f'at localhost:{endpoint.port} belongs to run first, '
                     'not to second'):
    reverb_client.Client(server, 5.0, 5.0)


def test_a_server_with_our_process_id_in_another_namespace_is_refused(shared):
  endpoint = shared.server.endpoint._replace(pid=os.getpid(), pid_namespace='pid:[1]')
  with pytest.raises(types.ReplayError, match=f'our process id, {os.getpid()}, in another'):
    reverb_client.Client(shared.server._replace(endpoint=endpoint), 5.0, 5.0)


def test_a_proxy_is_bypassed(shared, monkeypatch):
  with listener('127.0.0.1') as silent:
    monkeypatch.setenv('http_proxy', f'http://127.0.0.1:{silent.getsockname()[1]}')
    monkeypatch.setenv(reverb_client.NO_PROXY, 'cluster')
    client = reverb_client.Client(shared.server, 5.0, 5.0)
    assert reverb_server.TABLE in client.info('answer')
    assert os.environ[reverb_client.NO_PROXY] == 'cluster,localhost,127.0.0.1,::1'


def test_nothing_is_drawn_ahead(shared):
  client = reverb_client.Client(shared.server, 5.0, 5.0)
  def num_drawn():
    return client.info('count')[reverb_server.TABLE].rate_limiter_info.sample_stats.completed
  before = num_drawn()
  shared.sample(32)
  assert num_drawn() == before + 32


def test_the_public_way_to_draw_gives_the_same(shared):
  import reverb
  client = reverb.Client(shared.server.endpoint.address)
  drawn = [{key: (*chances, frames.tobytes(), scalars.tobytes())
            for key, *chances, frames, scalars in reverb_client.draw(client, 1500, new_sampler)}
           for new_sampler in (False, True)]
  assert drawn[0] == drawn[1] and len(drawn[0]) == shared.size()


def test_a_mean_that_cannot_be_reaches_no_weight(start, monkeypatch):
  replay = start(settings=SETTINGS._replace(uniform_probability=0.5))
  ours = fill(replay)
  draw = replay._client.sample
  for mean in (np.nan, np.inf, -1.0):
    monkeypatch.setattr(replay._client, 'sample', lambda size, mean=mean: [
        (key, probability, mean, *rest) for key, probability, _, *rest in draw(size)])
    replay.update(replay.sample(9).keys, np.ones(9))
    ours.run(20)
  monkeypatch.undo()
  sample = replay.sample(3000)
  chances = dict(zip(sample.keys.tolist(), sample.probabilities.tolist(), strict=True))
  assert sum(chances.values()) == pytest.approx(1, abs=0.05) and min(chances.values()) > 0


def test_a_folder_continues_under_another_run_id_and_on_a_fixed_port(start, shared, tmp_path):
  shared.save(tmp_path / 'saved')
  with listener('') as free:
    port = free.getsockname()[1]
  replay = start('second', port=port)
  ours = fill(replay)
  replay.restore(tmp_path / 'saved')
  assert replay.server.endpoint.port == port and replay.size() == shared.size()
  assert set(ours.check(replay.sample(1500))) == set(ours.newest(replay.size()))
  replay.save(tmp_path / 'again')
  state = json.loads((tmp_path / 'again' / 'state.json').read_text())
  assert state['run_ids'] == ['second', 'first']
  os.truncate(tmp_path / 'saved' / 'reverb' / 'chunks.tfrecord', 50)
  with pytest.raises(types.ReplayError, match='were saved, but the server loaded 0'):
    replay.restore(tmp_path / 'saved')


def test_a_checkpoints_settings_do_not_win_unnoticed(shared):
  """Reverb silently prefers them to those asked for, so it is the server that must be asked."""
  table = reverb_client.Client(shared.server, 5.0, 5.0).info('describe it')[reverb_server.TABLE]
  spec = reverb_process.new_spec(SIGNATURE, SETTINGS, 'first', port=0)
  reverb_server.check_table(table, spec)
  for part, field, message in [
      ('settings', {'capacity': 20}, 'max_size 100, not 20'),
      ('settings', {'prioritized': False}, 'sampler .*, not uniform'),
      ('signature', {'n_step': 2}, r'signature .*\(4, 5\).*, not .*\(3, 5\)')]:
    wrong = spec._replace(**{part: getattr(spec, part)._replace(**field)})
    with pytest.raises(types.ReplayError, match=f'the replay server has {message}'):
      reverb_server.check_table(table, wrong)


def test_a_save_outlives_the_next_one_and_a_failed_one_is_an_error(start, tmp_path):
  """Reverb keeps only the newest checkpoint in its own folder; ours are links to its files."""
  replay = start(scratch=tmp_path)
  fill(replay)
  for name in ('first', 'second'):
    replay.save(tmp_path / name)
  assert (tmp_path / 'first' / 'reverb' / 'DONE').exists()
  assert (tmp_path / 'first' / 'reverb' / 'chunks.tfrecord').stat().st_size > 0
  newest = tmp_path / 'second' / 'reverb' / 'chunks.tfrecord'
  assert newest.stat().st_nlink == 2
  # As where the disk is full: it cannot write.
  shutil.rmtree(replay.server.folder)
  replay.server.folder.write_text('not a folder')
  with pytest.raises(types.ReplayError, match='failed: .*; it was asked to write a checkpoint'):
    replay.save(tmp_path / 'third')
  assert len(replay.sample(9).keys) == 9
  replay.server.folder.unlink()
  replay.close()
  assert newest.stat().st_nlink == 1


@pytest.mark.parametrize('count, most_bytes', [
    (20_000, 50e6), pytest.param(100_000, 250e6, marks=pytest.mark.slow)])
def test_pong_transitions_take_2500_bytes(start, count, most_bytes):
  """Real frames of a random policy, 8,000 of them, again and again."""
  signature = types.Signature(atari.FRAME_SHAPE, 'uint8', atari.STACK, 1, 3, 1)
  settings = types.Settings(count, prioritized=True)
  env, rng = atari.make('pong', 'dopamine', num_envs=2, seed=0), np.random.default_rng(0)
  frames = [env.reset().observation[:, -1]]
  for _ in range(4_000):
    frames.append(env.step(rng.integers(0, 6, 2, np.int32)).observation[:, -1])
  frames = np.swapaxes(frames, 0, 1).reshape(-1, *atari.FRAME_SHAPE)
  replay = start(signature=signature, settings=settings)
  process = psutil.Process(replay.server.process.pid)
  before = process.memory_info().rss
  outcome = types.Outcome(3, np.zeros(1, np.int32), 0.0, 0.97)
  for t in itertools.takewhile(lambda _: replay.size() < count, itertools.count()):
    outcomes = (outcome,) if t % 900 >= 3 else ()
    replay.add(types.Step(0, t % 900 == 0, frames[t % len(frames)], outcomes))
  replay.sample(32)
  taken = process.memory_info().rss
  assert taken - before < most_bytes
  low, high = reverb_process.estimate_bytes(signature, settings)
  assert 0.9 * low < taken < high
