"""What is particular to Atari: protocols, lives, rewards, time limits, names."""

import pathlib
import subprocess
import sys

import numpy as np
import psutil
import pytest
from dm_env import StepType

from envs import atari, batched, protocols, scores


def make(game, protocol, num_envs=1, seed=1, **changes):
  row = protocols.get(protocol)._replace(**changes)
  return batched.Environment(atari.Games(game, row, num_envs), seed)


def play(env, steps, seed=0):
  """Random actions, the same in every sub-environment; the FIRST step and all that follow."""
  actions = np.random.default_rng(seed).integers(env.action_spec().num_values, size=steps)
  return [env.reset(), *(env.step(np.full(env.num_envs, action)) for action in actions)]


def column(timesteps, field, i=0):
  return np.array([getattr(timestep, field)[i] for timestep in timesteps])


def test_the_table_of_protocols():
  long = (200_000_000, 1_000_000, 500_000, 0)
  assert {name: row[:-1] for name, row in protocols.PROTOCOLS.items()} == {
      'dqn_zoo': (0.0, True, False, 30, 108_000, None, *long),
      'machado2018': (0.25, False, True, 0, 18_000, None, *long),
      'dopamine': (0.25, False, False, 0, 108_000, 0.001, *long),
      'atari100k': (0.0, True, False, 30, 108_000, 0.001, 400_000, 40_000, 0, 100)}
  assert protocols.get('dopamine') is protocols.PROTOCOLS['dopamine']


def test_unknown_protocol():
  with pytest.raises(ValueError) as error:
    protocols.get('dqnzoo')
  assert str(error.value) == 'protocol=dqnzoo: unknown; did you mean dqn_zoo?'
  with pytest.raises(ValueError) as error:
    protocols.get('mnih')
  assert str(error.value) == (
      'protocol=mnih: unknown; known are atari100k, dopamine, dqn_zoo, machado2018')


@pytest.mark.parametrize('protocol, num_actions', [
    ('dqn_zoo', 6), ('machado2018', 18), ('dopamine', 6), ('atari100k', 6)])
def test_make(protocol, num_actions):
  env = atari.make('Pong', protocol, num_envs=2, seed=1)
  assert env.action_spec().num_values == num_actions
  assert (env.num_envs, env.stack, env.frames_per_step) == (2, 4, 4)
  assert env.reset().observation.shape == (2, 4, 84, 84)


def test_a_lost_life_has_no_discount_but_the_game_goes_on():
  # Breakout has five lives: four losses in the middle and one that ends the game.
  timesteps = play(make('breakout', 'dqn_zoo'), 1000)
  kinds, discounts = column(timesteps, 'step_type'), column(timesteps, 'discount')
  ends = np.flatnonzero(kinds == StepType.LAST)
  assert ends.size >= 2
  losses = np.flatnonzero(discounts == 0)
  for start, end in zip([0, *ends], ends, strict=False):
    assert np.sum((losses > start) & (losses <= end)) == 5
    assert losses[losses <= end][-1] == end


@pytest.mark.parametrize('protocol', ['machado2018', 'dopamine'])
def test_elsewhere_lives_are_hidden(protocol):
  timesteps = play(make('breakout', protocol), 1000)
  kinds, discounts = column(timesteps, 'step_type'), column(timesteps, 'discount')
  assert np.sum(kinds == StepType.LAST) >= 2
  np.testing.assert_array_equal(discounts == 0, kinds == StepType.LAST)


def test_a_time_limit_keeps_its_discount_and_counts_no_noops():
  # 90 frames are 22 steps of four frames and one of two; the three games start with different
  # numbers of no-ops and end together.
  env = make('ms_pacman', 'dqn_zoo', num_envs=3, max_frames_per_episode=90)
  timesteps = play(env, 60)
  assert (timesteps[10].observation[0] != timesteps[10].observation[1]).any()
  for i in range(3):
    kinds = column(timesteps, 'step_type', i)
    np.testing.assert_array_equal(np.flatnonzero(kinds == StepType.LAST), [23, 47])
    np.testing.assert_array_equal(np.flatnonzero(kinds == StepType.FIRST), [0, 24, 48])
    assert (column(timesteps, 'discount', i) == 1).all()


def test_rewards_are_true():
  rewards = column(play(make('ms_pacman', 'dqn_zoo'), 200), 'reward')
  assert set(rewards) >= {0.0, 10.0}
  pong = make('pong', 'dqn_zoo')
  pong.reset()
  # Nobody moves: the other side scores.
  assert min(pong.step(np.zeros(1, np.int32)).reward[0] for _ in range(150)) == -1


def test_the_start_is_the_only_chance_without_sticky_actions():
  def same_ends(**changes):
    timesteps = play(make('space_invaders', 'dqn_zoo', num_envs=2, **changes), 100)
    return (timesteps[-1].observation[0] == timesteps[-1].observation[1]).all()
  assert same_ends(noop_max=0)
  assert not same_ends(noop_max=30)
  assert not same_ends(noop_max=0, repeat_action_probability=0.25)


def test_no_ops_go_up_to_the_maximum():
  games = atari.Games('pong', protocols.get('dqn_zoo')._replace(noop_max=2), num_envs=10)
  _, info = games._games.reset(seed=np.arange(10))
  assert set(info['frame_number']) == {0, 1, 2}


def test_a_segment_is_worth_its_reload():
  # Seeds are drawn anew only after many steps, so the second episode is of the same segment.
  env = make('pong', 'dqn_zoo', max_frames_per_episode=40)
  play(env, 25)
  assert env.state()['segment'].tolist() == [0]
  assert atari.Games.segment_steps == 20_000


@pytest.mark.parametrize('name', [
    'ms_pacman', 'MsPacman', 'mspacman', 'ms-pacman', 'ALE/MsPacman-v5', 'Ms. Pacman',
    'MsPacmanNoFrameskip-v4', 'MsPacmanDeterministic-v4'])
def test_names_of_a_game(name):
  assert atari.canonical_name(name) == 'ms_pacman'


@pytest.mark.parametrize('name, message', [
    ('Pongg', 'game=Pongg: unknown; did you mean pong?'),
    ('MsPackman', 'game=MsPackman: unknown; did you mean ms_pacman or pacman?'),
    ('chess3', 'game=chess3: unknown; known are adventure, air_raid, alien,'),
    ('', 'game=: unknown; known are adventure,')])
def test_unknown_game(name, message):
  with pytest.raises(ValueError) as error:
    atari.canonical_name(name)
  assert str(error.value).startswith(message)
  with pytest.raises(ValueError):
    atari.make(name, 'dqn_zoo', num_envs=1, seed=1)


def test_every_game_with_a_human_score_can_be_played():
  assert atari.game_names() == sorted(atari.game_names())
  assert set(scores.RANDOM_AND_HUMAN) <= set(atari.game_names())
  assert len(atari.game_names()) > 100


@pytest.mark.timeout(300)
def test_every_game_listed_starts_and_is_played():
  # In a process of its own: of a game that one cannot play alone ale-py would end it.
  code = '''
import numpy as np
from envs import atari
for game in atari.game_names():
  env = atari.make(game, 'dqn_zoo', num_envs=1, seed=1)
  first = env.reset()
  step = env.step(np.zeros(1, np.int32))
  assert first.observation.shape == step.observation.shape == (1, 4, 84, 84), game
  assert 3 <= env.action_spec().num_values <= 18 and np.isfinite(step.reward).all(), game
  env.close()
  print(game, flush=True)
'''
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=pathlib.Path(__file__).parents[1], capture_output=True,
      text=True, timeout=240)
  assert done.stdout.split() == atari.game_names(), done.stderr


@pytest.mark.parametrize('game', sorted(atari._MULTIPLAYER))
def test_games_left_out_would_end_the_process(game):
  assert game not in atari.game_names()
  load = f'from ale_py import vector_env; vector_env.AtariVectorEnv({game!r}, 1); print("loaded")'
  result = subprocess.run(
      [sys.executable, '-c', load], capture_output=True, text=True, timeout=60, check=False)
  assert (result.returncode, result.stdout) == (1, '')
  assert 'Traceback' not in result.stderr


def test_a_picture_is_the_newest_frame_four_times_as_large():
  env = make('breakout', 'dqn_zoo', num_envs=2)
  timestep = play(env, 30)[-1]
  for i in range(2):
    picture = env.render(i)
    assert picture.shape == (336, 336, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[::4, ::4, 0], timestep.observation[i, -1])
    np.testing.assert_array_equal(picture[3::4, 3::4, 2], timestep.observation[i, -1])
  assert env.steps_per_second == 15


def test_close_ends_the_threads_and_may_be_called_twice():
  process = psutil.Process()
  before = process.num_threads()
  env = atari.make('pong', 'dqn_zoo', num_envs=3, seed=1)
  env.reset()
  assert process.num_threads() > before
  env.close()
  assert process.num_threads() == before
  env.close()
