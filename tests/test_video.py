"""Films: whole files or none, of an episode as evaluation plays it, and no matter to training."""

import json
import re
import resource
import subprocess
import threading

import imageio_ffmpeg
import jax
import numpy as np
import pytest

import run_atari
from agents import cli, parts, script, snapshot, trainer, video
from tests import catch_runs, runs


def decode(path):
  """Frames per second and [T, H, W, 3] of a film."""
  done = subprocess.run(
      [imageio_ffmpeg.get_ffmpeg_exe(), '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
      capture_output=True, check=True, timeout=60)
  about = re.search(r'Video: h264.* (\d+)x(\d+)[, ].* ([\d.]+) fps', done.stderr.decode())
  width, height = int(about[1]), int(about[2])
  return float(about[3]), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def pictures(count):
  """A white square that moves down."""
  for i in range(count):
    picture = np.zeros((64, 48, 3), np.uint8)
    picture[4 * i:4 * i + 8, 8:24] = 255
    yield picture


def test_every_picture_is_in_the_film_upright(tmp_path):
  path = tmp_path / 'videos' / '7.mp4'
  video.write(path, pictures(12), 12.5)
  rate, frames = decode(path)
  assert rate == 12.5 and frames.shape == (12, 64, 48, 3)
  for frame, picture in zip(frames, pictures(12), strict=True):
    assert np.abs(frame.astype(int) - picture).mean() < 3  # of 255
  assert [file.name for file in path.parent.iterdir()] == ['7.mp4']


def test_an_older_film_stays_until_the_new_one_is_whole(tmp_path):
  path = tmp_path / '7.mp4'
  video.write(path, pictures(3), 5)

  def breaks_off():
    yield from pictures(2)
    raise ArithmeticError('the simulation')

  with pytest.raises(ArithmeticError, match='the simulation'):
    video.write(path, breaks_off(), 5)
  assert len(decode(path)[1]) == 3


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), np.uint8)
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))  # ffmpeg inherits it
  try:
    with pytest.raises(OSError, match=r'7\.mp4: not written'):
      video.write(tmp_path / '7.mp4', noise, 5)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert not list(tmp_path.iterdir())


def train(folder, film, checkpoint_every=100, stop=None):
  """Whether a run on Catch in `folder` came to its end, and its last parameters."""
  config = catch_runs.make_config(
      run_length=200, eval_every=100, eval_length=20, probe_every=0,
      checkpoint_every=checkpoint_every)
  folder.mkdir(exist_ok=True)
  run = trainer.Trainer(catch_runs.build(config), folder, stop or threading.Event(), film=film)
  ended = run.run()
  run.close()
  return ended, run.state.learner.params


def films(folder):
  return {path.name: decode(path)[1] for path in (folder / 'videos').iterdir()}


def test_films_change_nothing_that_training_computes(tmp_path):
  (_, with_films), (_, without) = train(tmp_path / 'films', True), train(tmp_path / 'none', False)
  jax.tree.map(np.testing.assert_array_equal, with_films, without)
  assert not (tmp_path / 'none' / 'videos').exists()
  found = films(tmp_path / 'films')
  assert found.keys() == {'0.mp4', '100.mp4', '200.mp4'}
  for frames in found.values():  # the ball in the first row, then one lower at a time
    assert frames.shape == (catch_runs.ROWS, 16 * catch_runs.ROWS, 16 * 5, 3)
    balls = [[frame[16 * row:16 * row + 16].mean() > 30 for row in range(catch_runs.ROWS - 1)]
             for frame in frames[:-1]]
    np.testing.assert_array_equal(balls, np.eye(catch_runs.ROWS - 1))


def test_the_film_of_the_end_needs_no_period_and_is_made_up_for(tmp_path):
  path, made = tmp_path / 'videos' / '200.mp4', []
  for lost in (False, False, True):
    if lost:
      path.unlink()
    assert train(tmp_path, True, checkpoint_every=0)[0]
    assert films(tmp_path).keys() == {'200.mp4'}
    made.append(path.stat().st_mtime_ns)
  assert made[0] == made[1] < made[2]


def test_a_film_that_was_cut_short_is_made_anew(tmp_path, monkeypatch):
  stop, write = threading.Event(), video.write

  def interrupted(*arguments):
    stop.set()
    write(*arguments)

  monkeypatch.setattr(video, 'write', interrupted)
  assert not train(tmp_path, True, stop=stop)[0]
  assert not films(tmp_path)
  monkeypatch.undo()
  assert train(tmp_path, True)[0]
  assert [len(frames) for frames in films(tmp_path).values()] == [catch_runs.ROWS] * 3


def test_a_film_is_cut_after_its_seconds_or_when_the_run_stops(monkeypatch):
  run, stop = catch_runs.build(catch_runs.make_config()), threading.Event()
  params = snapshot.start(run).learner.params

  def count():
    return len(list(parts.film(run, params, 0, stop, lambda count: None).pictures))

  assert count() == catch_runs.ROWS
  monkeypatch.setattr(parts, 'FILM_SECONDS', 0.5)
  assert count() == 3  # of five a second
  stop.set()
  assert count() == 1


def test_a_film_has_no_more_pictures_a_second_than_are_seen_and_its_last_step(monkeypatch):
  run, counts = catch_runs.build(catch_runs.make_config()), []
  params = snapshot.start(run).learner.params
  arguments = run, params, 0, threading.Event(), counts.append
  whole = list(parts.film(*arguments).pictures)
  assert counts == list(range(1, 1 + catch_runs.ROWS))
  counts.clear()
  monkeypatch.setattr(parts, '_FILM_RATE', 2)
  film = parts.film(*arguments)
  found = list(film.pictures)
  assert film.per_second == 5 / 3 and counts == [1, 2, 3]
  for picture, step in zip(found, (0, 3, 5), strict=True):
    np.testing.assert_array_equal(picture, whole[step])


TINY = ('--video', '--agent=dqn', '--replay=local', '--track=', '--set=replay_capacity=100',
        '--set=min_replay_size=10', '--set=batch_size=4')


@pytest.mark.usefixtures('own_signals')
def test_an_atari_run_leaves_films_and_says_its_protocol(tmp_path, monkeypatch):
  monkeypatch.setattr(parts, 'FILM_SECONDS', 2)
  assert cli.main(run_atari.ATARI, [
      'run_atari.py', *TINY, f'--run_dir={tmp_path}/run', '--num_frames=80',
      '--eval_frames=40', '--probe_every_frames=0']) == script.DONE
  rows = runs.rows(tmp_path / 'run' / 'results.csv')
  assert [list(row.items())[-1] for row in rows] == [('protocol', 'dqn_zoo')] * 2
  rules = json.loads((tmp_path / 'run' / 'config.json').read_text())['protocol_rules']
  assert (rules['noop_max'], rules['max_frames_per_episode']) == (30, 108_000)
  films = sorted(tmp_path.glob('run/videos/*'))
  assert [path.name for path in films] == ['0.mp4', '80.mp4']
  for path in films:
    rate, frames = decode(path)
    assert rate == 15 and frames.shape == (30, 336, 336, 3)
    assert frames[-1].std() > 10  # a game is seen


@pytest.mark.rendering
@pytest.mark.usefixtures('own_signals')
def test_a_control_run_leaves_films(tmp_path, monkeypatch):
  import run_control  # which cannot be imported where dm-control cannot be had

  monkeypatch.setattr(parts, 'FILM_SECONDS', 0.1)
  assert cli.main(run_control.CONTROL, [
      'run_control.py', *TINY, f'--run_dir={tmp_path}/run', '--task=pendulum_swingup',
      '--num_steps=20', '--eval_every_steps=0', '--probe_every_steps=0']) == script.DONE
  assert sorted(path.name for path in tmp_path.glob('run/videos/*')) == ['0.mp4', '20.mp4']
  rate, frames = decode(tmp_path / 'run' / 'videos' / '20.mp4')
  assert rate == 25 and frames.shape == (3, 240, 320, 3)  # of 5 steps, 50 a second
  assert frames[-1].std() > 10
