"""Every batched environment keeps the same contract."""

import functools
import io
import itertools
from collections.abc import Callable
from typing import NamedTuple

import dm_env
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from envs import atari, bandit, batched, catch, control, protocols, tasks

FIRST, MID, LAST = dm_env.StepType


def make_catch(num_envs, seed, pixels=False, segment_steps=0, rows=10):
  boards = catch.Boards(num_envs, rows, 5, pixels)
  boards.segment_steps = segment_steps
  return batched.Environment(boards, seed)


def make_atari(num_envs, seed, segment_steps, game='breakout', protocol='dqn_zoo', **changes):
  games = atari.Games(game, protocols.get(protocol)._replace(**changes), num_envs)
  games.segment_steps = segment_steps
  return batched.Environment(games, seed)


def make_control(num_envs, seed, time_limit=None, task='ball_in_cup_catch', pixels=False):
  tasks = control.Tasks(task, num_envs, pixels)
  for environment in tasks._environments if time_limit else ():
    environment._step_limit = time_limit  # The suite has no public way to shorten an episode.
    environment.physics.model.vis.quality.shadowsize = 0  # Most of a picture's time.
  return batched.Environment(tasks, seed)


def make_bandit(num_envs, seed):
  images = np.random.default_rng(0).integers(0, 256, (20, 4, 3, 1), np.uint8)
  task = tasks.Task(images, np.arange(20, dtype=np.int32) % 5, 20)
  return bandit.make(task, 5, num_envs, seed, episode_steps=9)


class Case(NamedTuple):
  """How to make an environment, how many steps to play, and how often segments begin."""
  make: Callable[[int, int], dm_env.Environment]  # number of environments, seed -> environment
  num_envs: int
  steps: int


short = {'max_frames_per_episode': 90, 'segment_steps': 30}
CASES = {
    'catch-1': Case(make_catch, 1, 50),
    'catch-3': Case(make_catch, 3, 50),
    'catch-3-pixels': Case(functools.partial(make_catch, pixels=True, segment_steps=20), 3, 50),
    'bandit-3': Case(make_bandit, 3, 50),
    # Lives are lost, and games end, at other times in each of the three.
    'breakout-3-dqn_zoo': Case(functools.partial(make_atari, segment_steps=100), 3, 300),
    'pong-3-machado2018': Case(
        functools.partial(make_atari, game='pong', protocol='machado2018', **short), 3, 60),
    'pong-1-dopamine': Case(
        functools.partial(make_atari, game='pong', protocol='dopamine', **short), 1, 60),
    'control-1': Case(make_control, 1, 1010),
    'control-3': Case(functools.partial(make_control, time_limit=20), 3, 100),
    'control-2-pixels': Case(functools.partial(
        make_control, time_limit=4, task='point_mass_easy', pixels=True), 2, 12),
}
MARKS = {'control-2-pixels': pytest.mark.rendering}


def cases(*names: str) -> list:
  return [pytest.param(name, marks=MARKS.get(name, ())) for name in names]


class Run(NamedTuple):
  """What was played, what came back, and a copy of that made at once."""
  case: Case
  actions: np.ndarray
  timesteps: list[dm_env.TimeStep]
  copies: list[dm_env.TimeStep]
  states: list[dict[str, np.ndarray]]


def random_actions(env: dm_env.Environment, steps: int, seed: int = 0) -> np.ndarray:
  spec, generator = env.action_spec(), np.random.default_rng(seed)
  shape = (steps, env.num_envs, *spec.shape)
  if spec.dtype.kind == 'i':
    return generator.integers(spec.minimum, spec.maximum + 1, shape, spec.dtype)
  return generator.uniform(spec.minimum, spec.maximum, shape).astype(spec.dtype)


def play(env: dm_env.Environment, actions: np.ndarray) -> list[dm_env.TimeStep]:
  return [env.step(action) for action in actions]


def assert_equal(ours: list[dm_env.TimeStep], theirs: list[dm_env.TimeStep]):
  for time, (one, other) in enumerate(zip(ours, theirs, strict=True)):
    for name, a, b in zip(one._fields, one, other, strict=True):
      np.testing.assert_array_equal(a, b, err_msg=f'{name} at step {time}')


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  file = io.BytesIO()
  np.savez(file, **state)
  file.seek(0)
  return dict(np.load(file, allow_pickle=False))


@pytest.fixture(params=cases(*CASES), scope='module')
def run(request) -> Run:
  case = CASES[request.param]
  env = case.make(case.num_envs, 1)
  actions = random_actions(env, case.steps)
  timesteps, copies, states = [], [], []
  for t in range(case.steps + 1):
    timesteps.append(env.step(actions[t - 1]) if t else env.reset())
    copies.append(dm_env.TimeStep(*(np.array(array) for array in timesteps[-1])))
    states.append(env.state())
  env.close()
  return Run(case, actions, timesteps, copies, states)


def test_timesteps_keep_the_specs_and_the_order_of_dm_env(run):
  env = run.case.make(run.case.num_envs, 1)
  assert env.num_envs == run.case.num_envs
  for timestep in run.timesteps:
    assert timestep.step_type.dtype == np.int32
    assert timestep.reward.dtype == timestep.discount.dtype == np.float32
    for i in range(env.num_envs):
      env.observation_spec().validate(timestep.observation[i])
      env.reward_spec().validate(timestep.reward[i])
      env.discount_spec().validate(timestep.discount[i])
  kinds = np.stack([timestep.step_type for timestep in run.timesteps])
  rewards = np.stack([timestep.reward for timestep in run.timesteps])
  discounts = np.stack([timestep.discount for timestep in run.timesteps])
  assert (kinds[0] == FIRST).all()
  assert (np.sum(kinds == LAST, axis=0) > 0).all(), 'play longer: no episode ended'
  np.testing.assert_array_equal(kinds[1:] == FIRST, kinds[:-1] == LAST)
  assert (rewards[kinds == FIRST] == 0).all()
  assert (discounts[kinds == FIRST] == 1).all()


@pytest.mark.parametrize('run', cases(
    'catch-3-pixels', 'breakout-3-dqn_zoo', 'pong-3-machado2018', 'pong-1-dopamine',
    'control-2-pixels'), indirect=True)
def test_a_stack_is_made_of_the_newest_frames(run):
  for older, newer in itertools.pairwise(run.timesteps):
    starts = newer.step_type == FIRST
    assert not newer.observation[starts, :-1].any()
    np.testing.assert_array_equal(newer.observation[~starts, :-1], older.observation[~starts, 1:])


def test_what_was_returned_is_never_overwritten(run):
  assert_equal(run.timesteps, run.copies)


def test_one_seed_gives_the_same_bits_and_another_gives_others(run):
  same, other = run.case.make(run.case.num_envs, 1), run.case.make(run.case.num_envs, 2)
  assert_equal([same.reset(), *play(same, run.actions)], run.timesteps)
  others = [other.reset(), *play(other, run.actions[:100])]
  assert any((a.observation != b.observation).any()
             for a, b in zip(run.timesteps, others, strict=False))


def test_sub_environments_differ_and_do_not_depend_on_their_number(run):
  three, one = run.case.make(3, 1), run.case.make(1, 1)
  actions = np.repeat(random_actions(one, min(60, run.case.steps)), 3, axis=1)
  together = [three.reset(), *play(three, actions)]
  alone = [one.reset(), *play(one, actions[:, :1])]
  assert any((t.observation[0] != t.observation[1]).any() for t in together)
  assert_equal([dm_env.TimeStep(*(array[:1] for array in t)) for t in together], alone)


def test_the_action_after_an_end_is_ignored(run):
  env = run.case.make(run.case.num_envs, 1)
  env.reset()
  others = random_actions(env, run.case.steps, seed=9)
  for action, other, older, newer in zip(
      run.actions, others, run.timesteps[:-1], run.timesteps[1:], strict=True):
    ended = (older.step_type == LAST).reshape(-1, *[1] * (action.ndim - 1))
    assert_equal([env.step(np.where(ended, other, action))], [newer])


def test_a_restored_environment_goes_on_to_the_bit(run):
  assert (run.states[-1]['segment'] > 0).any(), 'play longer: no second segment'
  end = next(t for t, timestep in enumerate(run.timesteps) if (timestep.step_type == LAST).any())
  second = next(t for t, state in enumerate(run.states) if (state['segment'] > 0).any())
  env = run.case.make(run.case.num_envs, 99)  # The seed is in the state.
  for t in {0, 1, end, end + 1, second, run.case.steps // 2, run.case.steps}:
    assert_equal([env.restore(through_a_file(run.states[t]))], [run.timesteps[t]])
    assert_equal(play(env, run.actions[t:t + 20]), run.timesteps[t + 1:t + 21])


@pytest.mark.parametrize(
    'run', cases('catch-3', 'catch-3-pixels', 'bandit-3', 'breakout-3-dqn_zoo', 'control-2-pixels'),
    indirect=True)
def test_a_picture_is_for_people_and_changes_nothing(run):
  env, pictures = run.case.make(run.case.num_envs, 1), []
  for actions, timestep in zip([None, *run.actions[:10]], run.timesteps, strict=False):
    assert_equal([env.reset() if actions is None else env.step(actions)], [timestep])
    pictures.append([env.render(index) for index in range(env.num_envs)])
    np.testing.assert_array_equal(env.render(), pictures[-1][0])
  for picture in itertools.chain(*pictures):
    height, width, channels = picture.shape
    assert picture.dtype == np.uint8 and channels == 3 and height % 2 == width % 2 == 0
  assert any((picture != pictures[0][0]).any() for (picture, *_) in pictures)


def test_a_state_is_small_and_numeric(run):
  for state in run.states:
    assert state['actions'].shape[:2] == (state['length'].max(), run.case.num_envs)
    assert all(array.dtype.kind in 'iuf' for array in state.values())


def test_the_caller_may_use_its_array_of_actions_again():
  env = make_catch(3, 1)
  env.reset()
  actions = np.array([0, 1, 2], np.int32)
  env.step(actions)
  actions[:] = 1
  np.testing.assert_array_equal(env.state()['actions'], [[0, 1, 2]])


@hypothesis.given(num_envs=st.integers(1, 4), segment_steps=st.integers(0, 40),
                  seed=st.integers(0, 2**63 - 1), moments=st.lists(st.integers(0, 60)))
def test_restore_at_any_moment_with_any_segments(num_envs, segment_steps, seed, moments):
  env = make_catch(num_envs, seed, segment_steps=segment_steps)
  actions = random_actions(env, 80)
  timesteps = [env.reset()]
  for t, action in enumerate(actions):
    if t in moments:
      restored = make_catch(num_envs, 0, segment_steps=segment_steps)
      assert_equal([restored.restore(env.state())], [timesteps[-1]])
      env = restored
    timesteps.append(env.step(action))
  uninterrupted = make_catch(num_envs, seed, segment_steps=segment_steps)
  assert_equal(timesteps, [uninterrupted.reset(), *play(uninterrupted, actions)])


def test_reset_begins_new_episodes_at_once():
  env = make_catch(3, 1)
  env.reset()
  play(env, random_actions(env, 4))
  timestep = env.reset()
  assert (timestep.step_type == FIRST).all()
  assert (timestep.observation[:, 0].sum(axis=1) == 1).all(), 'the balls are at the top again'
  # Each reset is another segment: eight of them drop eight different sets of balls.
  assert len({env.reset().observation.tobytes() for _ in range(8)}) > 4


def test_a_step_before_the_first_reset_is_a_reset():
  env, other = make_catch(3, 1), make_catch(3, 1)
  assert_equal([env.step(np.zeros(3, np.int32))], [other.reset()])


class Broken(catch.Boards):
  """Its second board gives what is not a number, as a diverged simulation would."""

  def __init__(self, field):
    super().__init__(3, rows=4, columns=3, pixels=False)
    self.field = field

  def advance(self, actions):
    outcome = super().advance(actions)
    getattr(outcome, self.field)[1] = np.nan
    return outcome


@pytest.mark.parametrize('field', ['reward', 'observation'])
def test_what_is_not_finite_is_an_error(field):
  env = batched.Environment(Broken(field), seed=1)
  env.reset()
  with pytest.raises(FloatingPointError) as error:
    env.step(np.ones(3, np.int32))
  assert str(error.value) == (
      f'Catch: the {field} of sub-environments [1] is not finite; every {field} must be')


@pytest.mark.parametrize('actions, message', [
    (np.zeros(2, np.int32), 'actions: int32[2]; must be int32[3] in Catch'),
    (np.zeros((3, 1), np.int32), 'actions: int32[3, 1]; must be int32[3] in Catch'),
    (np.zeros(3), 'actions: float64[3]; must be int32[3] in Catch'),
    (np.zeros(3, bool), 'actions: bool[3]; must be int32[3] in Catch'),
    (np.array([0, 3, 4]), 'actions[1]=3: must be in [0, 2] in Catch'),
    (np.array([0, 1, -1]), 'actions[2]=-1: must be in [0, 2] in Catch'),
])
def test_bad_discrete_actions(actions, message):
  env = make_catch(3, 1)
  env.reset()
  with pytest.raises(ValueError) as error:
    env.step(actions)
  assert str(error.value) == message


@pytest.mark.parametrize('value', [np.nan, np.inf, 1.5])
def test_bad_continuous_actions(value):
  env = control.make('quadruped_walk', num_envs=2, seed=1)
  env.reset()
  actions = np.zeros((2, 12), np.float32)
  actions[1, 3] = value
  with pytest.raises(ValueError) as error:
    env.step(actions)
  high = env.action_spec().maximum[3]
  low = env.action_spec().minimum[3]
  assert str(error.value) == (
      f'actions[1, 3]={value}: must be in [{low}, {high}] in Control quadruped_walk')
  with pytest.raises(ValueError, match=r'actions: int64\[2, 12\]; must be float32\[2, 12\]'):
    env.step(np.zeros((2, 12), np.int64))


def test_a_bad_action_changes_nothing():
  env, other = make_catch(3, 1), make_catch(3, 1)
  env.reset(), other.reset()
  with pytest.raises(ValueError):
    env.step(np.full(3, 7))
  assert_equal([env.step(np.ones(3, np.int32))], [other.step(np.ones(3, np.int32))])


@pytest.mark.parametrize('seed', [-1, 2**63])
def test_bad_seed(seed):
  with pytest.raises(ValueError) as error:
    catch.make(1, seed)
  assert str(error.value) == f'seed={seed}: must be in [0, 2**63)'


@pytest.mark.parametrize('make', [
    lambda: catch.make(0, 1), lambda: control.make('walker_walk', 0, 1),
    lambda: atari.make('pong', 'dqn_zoo', 0, 1)], ids=['catch', 'control', 'atari'])
def test_no_environments(make):
  with pytest.raises(ValueError) as error:
    make()
  assert str(error.value) == 'num_envs=0: must be at least 1'


def test_state_before_reset():
  with pytest.raises(RuntimeError, match=r'^state\(\) before reset\(\)'):
    make_catch(1, 1).state()


def test_a_picture_before_reset():
  with pytest.raises(RuntimeError, match=r'^render\(\) before reset\(\)'):
    make_catch(1, 1).render()


def test_restore_of_another_number_of_environments():
  env = make_catch(2, 1)
  env.reset()
  with pytest.raises(ValueError) as error:
    make_catch(3, 1).restore(env.state())
  assert str(error.value) == (
      'state: is of 2 environments; must be of as many as there are here, 3')


def test_restore_of_another_game():
  env = make_catch(2, 1, rows=10)
  env.reset()
  play(env, random_actions(env, 5))
  with pytest.raises(ValueError) as error:
    make_catch(2, 1, rows=9).restore(env.state())
  assert str(error.value) == (
      'state: its actions lead elsewhere in sub-environments [0, 1] of Catch; it must come from '
      'the same game or task, protocol, simulator version and kind of processor')
