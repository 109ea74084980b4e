"""The accumulator against numbers worked out by hand and against a slow twin."""

import dm_env
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from replay import accumulator as accumulator_lib
from replay import types
from tests import replay_twin

FIRST, MID, LAST = replay_twin.FIRST, replay_twin.MID, replay_twin.LAST


def drive(accumulator, rows, stack=1):
  """Feeds one stream (step_type, reward, discount) rows; action and frame t are t. Its steps."""
  steps = []
  for t, (step_type, reward, discount) in enumerate(rows):
    observation = np.full((1, stack, 2) if stack > 1 else (1, 2), t, np.float32)
    if stack > 1:
      observation[:, :-1] = -1
    timestep = dm_env.TimeStep(np.array([step_type]), np.array([reward], np.float32),
                               np.array([discount], np.float32), observation)
    steps += accumulator.step(timestep, None if t == 0 else np.array([[t]], np.int32))
  return steps


def outcomes(steps):
  return [[(o.num_steps, int(o.a_tm1[0]), round(o.r_t, 6), round(o.discount_t, 6))
           for o in step.outcomes] for step in steps]


def test_three_steps_by_hand():
  accumulator = accumulator_lib.Accumulator(3, 0.5, 0.0, 1, 1)
  steps = drive(accumulator, [
      (FIRST, 0, 1), (MID, 1, 1), (MID, 2, 1), (MID, 4, 1), (MID, 8, 1), (LAST, 16, 0)])
  assert outcomes(steps) == [
      [], [], [],
      [(3, 1, 1 + 0.5 * 2 + 0.25 * 4, 0.125)],
      [(3, 2, 2 + 0.5 * 4 + 0.25 * 8, 0.125)],
      [(3, 3, 4 + 0.5 * 8 + 0.25 * 16, 0.0), (2, 4, 8 + 0.5 * 16, 0.0), (1, 5, 16.0, 0.0)]]
  assert [step.is_first for step in steps] == [True] + [False] * 5


def test_a_time_limit_bootstraps():
  accumulator = accumulator_lib.Accumulator(2, 0.5, 0.0, 1, 1)
  steps = drive(accumulator, [(FIRST, 0, 1), (MID, 1, 1), (LAST, 2, 1)])
  assert outcomes(steps) == [[], [], [(2, 1, 2.0, 0.25), (1, 2, 2.0, 0.5)]]


def test_a_lost_life_zeroes_what_follows_and_the_episode_goes_on():
  accumulator = accumulator_lib.Accumulator(2, 0.5, 0.0, 1, 1)
  steps = drive(accumulator, [(FIRST, 0, 1), (MID, 1, 0), (MID, 2, 1), (MID, 4, 1)])
  assert outcomes(steps) == [[], [], [(2, 1, 1.0, 0.0)], [(2, 2, 2 + 0.5 * 4, 0.25)]]


def test_rewards_are_clipped_before_they_are_summed():
  accumulator = accumulator_lib.Accumulator(2, 1.0, 1.0, 1, 1)
  steps = drive(accumulator, [(FIRST, 0, 1), (MID, 7, 1), (LAST, -7, 1)])
  assert outcomes(steps)[-1] == [(2, 1, 0.0, 1.0), (1, 2, -1.0, 1.0)]


def test_an_episode_shorter_than_n_gives_all_its_lengths():
  accumulator = accumulator_lib.Accumulator(5, 1.0, 0.0, 1, 1)
  steps = drive(accumulator, [(FIRST, 0, 1), (MID, 1, 1), (LAST, 2, 0)])
  assert outcomes(steps)[-1] == [(2, 1, 3.0, 0.0), (1, 2, 2.0, 0.0)]


@pytest.mark.parametrize('before', [LAST, MID])
def test_no_return_crosses_an_episode(before):
  accumulator = accumulator_lib.Accumulator(3, 1.0, 0.0, 1, 1)
  steps = drive(accumulator, [(FIRST, 0, 1), (before, 100, 1), (FIRST, 0, 1), (MID, 1, 1),
                              (MID, 2, 1), (MID, 3, 1)])
  assert outcomes(steps)[2:] == [[], [], [], [(3, 3, 6.0, 1.0)]]


def test_the_frame_is_the_newest_of_the_stack():
  steps = drive(accumulator_lib.Accumulator(1, 1.0, 0.0, 4, 1), [(FIRST, 0, 1), (MID, 0, 1)], 4)
  assert [step.frame.tolist() for step in steps] == [[0, 0], [1, 1]]


@hypothesis.given(num_streams=st.integers(1, 3), n_step=st.integers(1, 5),
                  clip=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 99))
def test_it_agrees_with_the_slow_twin(num_streams, n_step, clip, seed):
  signature = types.Signature((2,), 'float32', 3, 2, n_step, num_streams)
  source = replay_twin.synthetic(seed, signature, max_length=7)
  accumulator = accumulator_lib.Accumulator(n_step, 0.9, clip, 3, num_streams)
  twin = replay_twin.Twin(n_step, 0.9, clip or np.inf, num_streams)
  for t in range(40):
    timestep = next(source)
    actions = (t * num_streams + np.arange(num_streams, dtype=np.int32))[:, None] + [[0, 7]]
    completed = twin.observe(timestep, actions)
    found = [o for s in accumulator.step(timestep, actions) for o in s.outcomes]
    assert [int(o.a_tm1[0]) for o in found] == completed
    for outcome in found:
      item = twin.items[int(outcome.a_tm1[0])]
      np.testing.assert_array_equal(outcome.a_tm1, item.a_tm1)
      np.testing.assert_allclose([outcome.r_t, outcome.discount_t], [item.r_t, item.discount_t],
                                 rtol=1e-12, atol=1e-12)


@hypothesis.given(num_steps=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_restored_accumulator_continues_to_the_bit(num_steps, seed):
  signature = types.Signature((2,), 'float32', 1, 1, 3, 2)
  source = replay_twin.synthetic(seed, signature)
  first, second = (accumulator_lib.Accumulator(3, 0.9, 1.0, 1, 2) for _ in range(2))
  for t in range(num_steps):
    first.step(next(source), np.full((2, 1), t, np.int32))
  second.restore(first.state())
  for t in range(10):
    timestep = next(source)
    for a, b in zip(*(x.step(timestep, np.full((2, 1), 50 + t, np.int32))
                      for x in (first, second)), strict=True):
      np.testing.assert_equal(tuple(a), tuple(b))


def test_a_stored_choice_outlives_the_callers_array():
  accumulator = accumulator_lib.Accumulator(2, 1.0, 0.0, 1, 1)
  actions = np.array([[5]], np.int32)
  timestep = dm_env.TimeStep(np.array([FIRST]), np.zeros(1), np.ones(1), np.zeros((1, 2)))
  accumulator.step(timestep, None)
  accumulator.step(timestep._replace(step_type=np.array([MID])), actions)
  actions[:] = 9
  [step] = accumulator.step(timestep._replace(step_type=np.array([MID])), actions)
  assert step.outcomes[0].a_tm1.tolist() == [5]


@pytest.mark.parametrize('field, value, rule', [
    ('n_step', 0, 'at least 1'), ('stack', 0, 'at least 1'), ('num_streams', 0, 'at least 1'),
    ('discount', 1.5, r'in \[0, 1\]'), ('reward_clip', -1.0, 'at least 0'),
    ('reward_clip', float('nan'), 'at least 0')])
def test_a_bad_argument_is_named(field, value, rule):
  arguments = {'n_step': 1, 'discount': 0.9, 'reward_clip': 0.0, 'stack': 1, 'num_streams': 1}
  with pytest.raises(ValueError, match=f'{field}: got {value}, must be {rule}'):
    accumulator_lib.Accumulator(**{**arguments, field: value})


def test_an_action_must_be_there_inside_an_episode():
  accumulator = accumulator_lib.Accumulator(1, 0.9, 0.0, 1, 1)
  timestep = dm_env.TimeStep(np.array([MID]), np.zeros(1), np.ones(1), np.zeros((1, 2)))
  with pytest.raises(ValueError, match='action_tm1: got None, but stream 0'):
    accumulator.step(timestep, None)


def test_a_state_of_other_streams_is_refused():
  state = accumulator_lib.Accumulator(3, 0.9, 0.0, 1, 2).state()
  with pytest.raises(ValueError, match=r'state: holds .* \[2, 3\], .* has \[1, 3\]'):
    accumulator_lib.Accumulator(3, 0.9, 0.0, 1, 1).restore(state)
