"""The loop on Catch: order, counting, learning, several environments, evaluation."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import loop, parts, probing, snapshot
from replay import types
from tests.catch_runs import ROWS, build, learn, make_config, mean_return, train


@pytest.mark.timeout(400)  # A seed may need the whole bound, and machines are slower or faster.
@pytest.mark.parametrize('kind', ['local', pytest.param('reverb', marks=pytest.mark.reverb)])
@pytest.mark.parametrize('overrides', [
    {}, {'prioritized': True, 'n_step': 3, 'norm': 'layer', 'weight_decay': 1e-2,
         'updates_per_dispatch': 4},
], ids=['plain', 'prioritized_3_step_ln_wd_4_updates_a_dispatch'])
def test_learns_catch(kind, overrides):
  run = build(make_config(eval_length=250, run_length=10_000, **overrides), kind)
  try:
    assert mean_return(run, snapshot.start(run)) < 0.5
    learn(run, 0.9)
  finally:
    run.replay.close()


@pytest.mark.parametrize('num_envs', [1, 3])
@pytest.mark.parametrize('period', [1, 4, 5])
def test_one_update_for_every_period_of_agent_steps(num_envs, period):
  config = make_config(steps_per_update=period, min_replay_size=1, num_envs=num_envs)
  state, updates = train(build(config), 60)
  # A first frame is no agent step, and the first step or two store what there is to learn from.
  assert updates == pytest.approx(state.num_steps / period, abs=num_envs / period + 1)
  assert int(state.learner.num_updates) == updates


@pytest.mark.parametrize('num_envs', [1, 3, 16])
def test_a_dispatch_makes_the_updates_of_as_many_periods(num_envs):
  config = make_config(
      steps_per_update=2, updates_per_dispatch=3, min_replay_size=1, num_envs=num_envs)
  run = build(config)
  steps = loop.train(
      run.player, run.env, run.accumulator, run.replay, config, snapshot.start(run))
  before = 0
  for _ in range(20):
    progress = next(steps)
    now = progress.state.num_steps
    due = (now // 6 - before // 6) if run.replay.size() else 0
    assert len(progress.dispatches) == due
    assert all(metrics['loss'].shape == (3,) for metrics in progress.dispatches)
    before = now
  assert int(progress.state.learner.num_updates) == 3 * (now // 6) > 0


@pytest.mark.parametrize('kind', ['local', 'device'])
def test_uniform_updates_of_one_step_are_the_same_in_one_dispatch(kind):
  def params(updates_per_dispatch):
    # Adam turns the rounding of a gradient that is next to nothing into a step without the epsilon.
    config = make_config(
        num_envs=8, updates_per_dispatch=updates_per_dispatch, optimizer_epsilon=1e-3)
    state, _ = train(build(config, kind), 160)
    assert state.learner.num_updates == 4 * 8  # steps 104 to 160, 8 at a time
    return state.learner.params

  # One program fuses what two compute, and rounds otherwise.
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               params(1), params(4))


def test_priorities_of_a_dispatch_are_those_of_all_its_errors():
  class Watched:
    def __init__(self, replay):
      self._replay, self.drawn, self.set = replay, None, None

    def sample(self, batch_size):
      self.drawn = self._replay.sample(batch_size)
      return self.drawn

    def update(self, keys, td_errors):
      self.set = keys, td_errors

  config = make_config(prioritized=True, updates_per_dispatch=3, batch_size=4, min_replay_size=50)
  run = build(config)
  state, _ = train(run, 60)
  watched = Watched(run.replay)
  before = jax.tree.map(jnp.copy, state.learner)
  loop.dispatch(run.player.agent, watched, config, state.learner, 60)
  sample, (keys, errors) = watched.drawn, watched.set
  assert errors.shape == keys.shape == (12,)
  np.testing.assert_array_equal(keys, sample.keys)
  learner, exponent = before, loop.importance_exponent(config, 60)
  for part in (slice(0, 4), slice(4, 8), slice(8, 12)):  # one after the other
    weights = (1 / sample.probabilities[part]) ** exponent  # over the largest of each batch
    learner, expected, _ = run.player.agent.learn(
        learner, types.Transition(*(leaf[part] for leaf in sample.transition)),
        (weights / weights.max()).astype(np.float32))
    np.testing.assert_allclose(errors[part], expected, rtol=1e-4, atol=1e-6)


def test_no_update_before_the_replay_has_its_least_size():
  _, updates = train(build(make_config(min_replay_size=100)), 99)
  assert updates == 0


def test_first_frames_are_no_agent_steps():
  run = build(make_config())
  state, _ = train(run, 40)
  assert run.replay.size() == state.num_steps  # Catch's every step completes a transition


def test_the_atari_torso_learns_from_stacked_frames():
  run = build(make_config(torso='nature', min_replay_size=20, batch_size=4), pixels=True)
  state, updates = train(run, 30)
  assert updates > 0
  assert np.isfinite(jax.tree.leaves(state.learner.params)[0]).all()


def test_epsilon_is_linear_after_the_least_size():
  config = make_config(min_replay_size=100, exploration_decay_steps=200,
                       exploration_epsilon_begin=1.0, exploration_epsilon_end=0.2)
  epsilons = [loop.exploration_epsilon(config, steps) for steps in (0, 100, 150, 200, 300, 9000)]
  assert epsilons == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.2, 0.2])


def test_noisy_networks_explore_by_themselves():
  assert loop.exploration_epsilon(make_config(noisy=True), 0) == 0.0


def test_importance_exponent_is_linear_from_the_least_size_to_the_end_of_the_run():
  config = make_config(min_replay_size=100, run_length=500, importance_exponent_begin=0.4,
                       importance_exponent_end=1.0)
  exponents = [loop.importance_exponent(config, steps) for steps in (0, 100, 200, 500, 900)]
  assert exponents == pytest.approx([0.4, 0.4, 0.55, 1.0, 1.0])
  atari = dataclasses.replace(config, unit='frames', run_length=2000)
  assert loop.importance_exponent(atari, 200) == pytest.approx(0.55)  # In agent steps.


def test_evaluation_leaves_training_as_it_was_and_repeats():
  def params(evaluate):
    run = build(make_config(eval_length=20))
    state = snapshot.start(run)
    steps = loop.train(
        run.player, run.env, run.accumulator, run.replay, run.config, state)
    for step in range(300):
      state = next(steps).state
      if evaluate and step % 50 == 0:
        first, second = mean_return(run, state), mean_return(run, state)
        assert first == second
        parts.transitions(run, state.learner.params, state.num_steps, 60)
    return state.learner.params

  jax.tree.map(np.testing.assert_array_equal, params(False), params(True))


def test_an_evaluation_that_is_stopped_gives_nothing():
  run, stop = build(make_config()), threading.Event()
  stop.set()
  params = snapshot.start(run).learner.params
  assert parts.evaluate(run, params, 0, stop, lambda done: None) is None


@pytest.mark.parametrize('stored', [0, 200])
def test_transitions_come_from_acting_until_replay_has_enough(stored):
  run = build(make_config())
  state, _ = train(run, stored)
  transition = parts.transitions(run, state.learner.params, state.num_steps, 50)
  seen = transition.obs_tm1
  assert seen.shape == transition.obs_t.shape == (50, ROWS, 5)
  assert not np.array_equal(seen, transition.obs_t)
  assert transition.a_tm1.shape == (50, 1)
  assert len(np.unique(seen.reshape(50, -1), axis=0)) > 5
  assert set(np.unique(seen)) == {0.0, 1.0}


@pytest.mark.parametrize('updates_per_dispatch', [1, 4])
def test_three_environments_with_priorities_go_on_from_a_snapshot_to_the_bit(
    tmp_path, updates_per_dispatch):
  config = make_config(
      num_envs=3, prioritized=True, n_step=3, updates_per_dispatch=updates_per_dispatch)

  def advance(run, state, count):
    steps = loop.train(run.player, run.env, run.accumulator, run.replay, config, state)
    for _ in range(count):
      state = next(steps).state
    return state

  straight = build(config)
  state = advance(straight, snapshot.start(straight), 100)
  assert state.num_steps % 8  # between two dispatches
  inputs = probing.draw(straight, state.learner.params, state.num_steps)
  snapshot.save(tmp_path, straight, state, 1, {'any': 'thing'}, inputs)
  state = advance(straight, state, 60)
  again = build(config)
  restored, counters = snapshot.restore(tmp_path / '1', again)
  assert counters == {'any': 'thing'}
  restored = advance(again, restored, 60)
  assert restored.num_steps == state.num_steps
  assert int(state.learner.num_updates) > 100
  jax.tree.map(np.testing.assert_array_equal, restored.learner.params, state.learner.params)
  np.testing.assert_array_equal(restored.timestep.observation, state.timestep.observation)
