"""What every replay must do: one suite for all back ends."""

import json
import logging

import dm_env
import numpy as np
import pytest
from scipy import stats

from envs import atari
from replay import factory, types
from tests import replay_twin

STACKED = types.Signature((3, 2), 'uint8', 4, 1, 3, 1)
FLAT = types.Signature((5,), 'float32', 1, 2, 3, 1)
KINDS = ['local', 'device', pytest.param('reverb', marks=pytest.mark.reverb)]
TWINNED = pytest.mark.parametrize(
    'make, is_reverb', [
        ('local', False), ('device', False),
        pytest.param('reverb', True, marks=pytest.mark.reverb)], indirect=['make'])


@pytest.fixture
def make(request):
  """Makes replays of one kind, which end with the test."""
  made = []
  def make_one(signature, **settings):
    settings = types.Settings(**{'capacity': 100, 'seed': 1, **settings})
    made.append(factory.make(request.param, signature, settings, 'test'))
    return made[-1]
  yield make_one
  for replay in made:
    replay.close()


@pytest.fixture(scope='module')
def shared(request):
  """One replay for the tests that can do with one that others have used."""
  replay = factory.make(request.param, FLAT, types.Settings(20, True, 1.0, uniform_probability=0.2),
                        'test')
  world(replay, FLAT).run(100)
  yield replay
  replay.close()


def world(replay, signature, seed=0, max_length=12):
  return replay_twin.World(replay, signature, replay_twin.synthetic(seed, signature, max_length))


def settle(replay, folder):
  """Has every item added reach the table: until it saves, Reverb's writers keep a few back."""
  replay.save(folder / f'settled{len(list(folder.iterdir()))}')


def check_all(ours):
  """Draws until every item was seen and compared; every one of them the newest, and no other."""
  live, seen = set(ours.newest(ours.replay.size())), set()
  for _ in range(100):
    seen.update(ours.check(ours.replay.sample(200)))
    if seen >= live:
      break
  assert seen == live


@pytest.mark.parametrize('make', KINDS, indirect=True)
@pytest.mark.parametrize('signature', [STACKED, FLAT])
def test_what_is_drawn_is_what_was_seen(make, tmp_path, signature):
  replay = make(signature)
  with pytest.raises(types.ReplayError, match='sample: the replay holds no transition yet'):
    replay.sample(1)
  ours = world(replay, signature)
  ours.run(40)
  settle(replay, tmp_path)
  assert replay.size() == len(ours.items) < 100
  check_all(ours)
  ours.run(130)
  settle(replay, tmp_path)
  assert replay.size() == 100 < len(ours.items)
  check_all(ours)  # The oldest have left, and only they.
  sample = replay.sample(2000)
  assert len(np.unique(sample.keys)) == 100
  np.testing.assert_allclose(sample.probabilities, 0.01)
  observations = replay.peek(7, seed=3).obs_tm1
  assert observations.shape == (7, *signature.observation_shape)
  assert observations.dtype == signature.frame_dtype
  stored = {item.obs_tm1.tobytes() for item in ours.items.values()}
  assert all(observation.tobytes() in stored for observation in observations)


def pong_and_breakout(num_steps, limit):
  """Real timesteps of two games as two streams, random play, each episode at most `limit` long."""
  rng = np.random.default_rng(0)
  envs = [atari.make('pong', 'dopamine', 1, seed=5), atari.make('breakout', 'dqn_zoo', 1, seed=5)]
  steps = [env.reset() for env in envs]
  ages = [0, 0]
  for _ in range(num_steps):
    yield dm_env.TimeStep(*(np.concatenate(parts) for parts in zip(*steps, strict=True)))
    for i, env in enumerate(envs):
      if ages[i] == limit:  # The step before was made the last: a time limit.
        steps[i], ages[i] = env.reset(), 0
        continue
      steps[i] = env.step(rng.integers(0, env.action_spec().num_values, 1, np.int32))
      ages[i] = 0 if steps[i].step_type == replay_twin.FIRST else ages[i] + 1
      if ages[i] == limit:
        steps[i] = steps[i]._replace(step_type=np.full(1, replay_twin.LAST))
  for env in envs:
    env.close()


@pytest.mark.parametrize('make', KINDS, indirect=True)
def test_what_is_drawn_is_what_was_seen_on_atari(make, tmp_path):
  """Real episodes: their starts, lost lives, real ends, and time limits."""
  signature = types.Signature(atari.FRAME_SHAPE, 'uint8', atari.STACK, 1, 3, 2)
  replay = make(signature, capacity=1000)
  ours = replay_twin.World(replay, signature, pong_and_breakout(350, limit=220))
  ours.run(350)
  settle(replay, tmp_path)
  assert 600 < len(ours.items) == replay.size()
  # Breakout's lives, and then its ends; every other item goes on.
  assert 10 < sum(item.discount_t == 0 for item in ours.items.values()) < 100
  check_all(ours)


@pytest.fixture
def begin(make, is_reverb, tmp_path):
  """Begins a trial of a prioritized replay."""
  def begin_one(**settings):
    settings = types.Settings(**{'capacity': 100, 'prioritized': True, **settings})
    replay = make(STACKED, **settings._asdict())
    return replay_twin.Trial(replay, settings, STACKED, tmp_path, 2, is_reverb)
  return begin_one


@TWINNED
@pytest.mark.parametrize('settings', [
    {}, dict(uniform_probability=0.2), dict(new_priority=3.0)], ids=str)
def test_chances_are_as_the_priorities_say(begin, settings):
  """Random adds, draws and updates; among the errors are zero, negative, huge and not finite."""
  trial, rng = begin(**settings), np.random.default_rng(2)
  for _ in range(6):
    trial.add(50)
    trial.draw(300)
    trial.update(replay_twin.td_errors(rng, 30))
    trial.draw(50)
  assert trial.replay.num_refused > 10


@pytest.mark.parametrize('shared', KINDS, indirect=True)
def test_items_are_drawn_as_often_as_their_chances_say(shared):
  keys = np.unique(shared.sample(1000).keys)
  shared.update(keys, np.arange(1.0, 21.0))
  sample = shared.sample(8000)
  _, first, counts = np.unique(sample.keys, return_index=True, return_counts=True)
  assert stats.chisquare(counts, sample.probabilities[first] * 8000).pvalue > 1e-6


@pytest.mark.parametrize('shared', KINDS, indirect=True)
def test_a_refused_error_is_said_and_changes_nothing(shared, caplog):
  before = shared.sample(500)
  num_refused = shared.num_refused
  with caplog.at_level(logging.WARNING):
    shared.update(before.keys[:3], np.array([np.nan, np.inf, -np.inf]))
  assert 'refused 3 of 3 TD errors' in caplog.text and shared.num_refused == num_refused + 3
  shared.update(np.zeros(0, np.uint64), np.zeros(0))
  after = shared.sample(500)
  chance = dict(zip(before.keys.tolist(), before.probabilities.tolist(), strict=True))
  for key, probability in zip(after.keys.tolist(), after.probabilities.tolist(), strict=True):
    assert chance.get(key, probability) == pytest.approx(probability)


@TWINNED
def test_a_restored_replay_continues(begin):
  """Saved in the middle of episodes, after the ring has wrapped around."""
  trial = begin(capacity=60, uniform_probability=0.2)
  trial.add(90)
  trial.draw(100)
  trial.update(np.append(np.linspace(0.1, 7.0, 40), np.nan))
  trial.draw(1)
  trial.save()

  trial.add(50)  # All of this must be forgotten.
  trial.update(np.full(40, 100.0))
  trial.draw(100)
  trial.restore()
  assert trial.replay.size() == 60 and trial.replay.num_refused == 1

  added = trial.add(20)  # They enter with the largest priority of before the save.
  assert set(trial.draw(900)) >= set(added)


@pytest.mark.parametrize('shared', KINDS, indirect=True)
def test_another_replays_folder_is_refused(shared, tmp_path):
  shared.save(tmp_path / 'saved')
  with pytest.raises(FileExistsError):
    shared.save(tmp_path / 'saved')
  path = tmp_path / 'saved' / 'state.json'
  whole = json.loads(path.read_text())
  for part, field, was, message in [
      ('signature', 'frame_shape', [7], r'signature.frame_shape: .* has \(7,\), this one \(5,\)'),
      ('signature', 'stack', 4, 'signature.stack: the saved replay has 4, this one 1'),
      ('settings', 'capacity', 9, 'settings.capacity: .* has 9, this one 20'),
      ('settings', 'uniform_probability', 0.5, 'uniform_probability: .* has 0.5, this one 0.2')]:
    path.write_text(json.dumps({**whole, part: {**whole[part], field: was}}))
    with pytest.raises(ValueError, match=message):
      shared.restore(tmp_path / 'saved')
  del whole['settings']['uniform_probability']  # As before there was any: none was drawn so.
  path.write_text(json.dumps(whole))
  with pytest.raises(ValueError, match='uniform_probability: .* has 0.0, this one 0.2'):
    shared.restore(tmp_path / 'saved')
  assert len(shared.sample(9).keys) == 9  # It goes on as if nothing had been asked.


@pytest.mark.parametrize('shared', KINDS, indirect=True)
def test_what_does_not_fit_is_refused_by_name(shared):
  frame, a_tm1 = np.zeros(5, np.float32), np.zeros(2, np.int32)
  first = types.Step(0, True, frame, ())
  shared.add(first)
  shared.add(first._replace(is_first=False))
  size, outcome = shared.size(), types.Outcome(1, a_tm1, 0.0, 1.0)
  for step, message in [
      (first._replace(frame=frame.astype(int)), r'frame: got int64 \[5\], .* float32 \[5\]'),
      (first._replace(frame=frame[:4]), r'frame: got float32 \[4\], .* float32 \[5\]'),
      (first._replace(outcomes=(outcome,)), 'num_steps: got 1, must be 1 to 0'),
      (outcome._replace(num_steps=3), r'num_steps: got 3, must be 1 to 2 \(n_step=3, 2 frames'),
      (outcome._replace(num_steps=0), 'num_steps: got 0'),
      (outcome._replace(a_tm1=np.zeros(1, np.int32)), r'a_tm1: got int32 \[1\], .* int32 \[2\]'),
      (outcome._replace(a_tm1=np.zeros(2)), r'a_tm1: got float64 \[2\]'),
      (outcome._replace(r_t=float('nan')), 'r_t, discount_t: got nan, 1.0, must be finite'),
      (outcome._replace(discount_t=float('inf')), 'r_t, discount_t: got 0.0, inf')]:
    if isinstance(step, types.Outcome):
      step = types.Step(0, False, frame, (step,))
    with pytest.raises(ValueError, match=message):
      shared.add(step)
  for keys in (np.zeros(2, np.int64), np.zeros(3, np.uint64)):
    with pytest.raises(ValueError, match=r'keys: got .* must be uint64 \[2\]'):
      shared.update(keys, np.zeros(2))
  shared.add(types.Step(0, False, frame, (outcome._replace(num_steps=2),)))
  assert size == shared.size() == 20
