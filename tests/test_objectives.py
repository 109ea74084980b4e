"""What is minimized on examples: by NumPy, and with mechanisms that know no target network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import actions, learner, objectives
from agents import config as config_lib
from tests.ways import WAYS

IMAGE = (1, 3, 4, 1)


def make(objective, num_outputs, names=(), **overrides):
  config = config_lib.resolve(
      'supervised', 'a_stream', 'mlp', names, dict(batch_size=6, **overrides),
      objective=objective)
  built = learner.make(config, IMAGE, 'uint8', actions.ActionMap(1, num_outputs, None))
  return config, built


@functools.cache  # One function for all examples is compiled once.
def with_loss(wrap, objective, num_outputs, **overrides):
  config, built = make(objective, num_outputs, **overrides)
  return built, wrap(objectives.make(config, built.network).loss)


def examples(targets, seed=0):
  rng = np.random.default_rng(seed)
  return objectives.Example(rng.integers(0, 256, (len(targets), *IMAGE), np.uint8), targets)


def outputs(built, params, batch):
  return np.asarray(built.network.apply(params, jax.random.key(0), batch.inputs).q_values[:, 0])


@WAYS
@pytest.mark.parametrize('smoothing', [0.0, 0.3])
@settings(max_examples=10, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_classification_is_cross_entropy_with_smoothed_labels(wrap, labels, smoothing):
  built, loss = with_loss(wrap, 'classification', 5, label_smoothing=smoothing)
  params, batch = built.network.init(jax.random.key(1)), examples(np.array(labels, np.int32))
  found, aux = loss(params, {}, jax.random.key(0), batch, 1.0)
  logits = outputs(built, params, batch).astype(np.float64)
  log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  wanted = (1 - smoothing) * np.eye(5)[labels] + smoothing / 5
  each = -(wanted * log_probabilities).sum(axis=1)
  np.testing.assert_allclose(aux.each, each, rtol=1e-4)
  np.testing.assert_allclose(found, each.mean(), rtol=1e-4)
  assert aux.metrics['accuracy'] == pytest.approx(np.mean(logits.argmax(axis=1) == labels))


@settings(max_examples=10, deadline=None)
@given(targets=st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3))
@WAYS
def test_regression_is_the_squared_error(wrap, targets):
  built, loss = with_loss(wrap, 'regression', 1)
  params, batch = built.network.init(jax.random.key(1)), examples(np.array(targets, np.float32))
  found, aux = loss(params, {}, jax.random.key(0), batch, 1.0)
  errors = outputs(built, params, batch)[:, 0] - np.array(targets)
  np.testing.assert_allclose(aux.each, errors**2, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(aux.metrics['squared_error'], np.mean(errors**2), rtol=1e-4)
  gradient, _ = jax.grad(loss, has_aux=True)(params, {}, jax.random.key(0), batch, 1.0)
  np.testing.assert_allclose(gradient['head']['b'], [2 * errors.mean()], rtol=1e-3, atol=1e-4)


def test_weights_count_in_the_mean_alone():
  config, built = make('regression', 1)
  params, batch = built.network.init(jax.random.key(1)), examples(np.arange(3, dtype=np.float32))
  found, aux = objectives.make(config, built.network).loss(
      params, {}, jax.random.key(0), batch, np.array([3.0, 0.0, 0.0]))
  assert found == pytest.approx(float(aux.each[0]))


def test_a_value_is_a_two_hot_class_where_the_output_is_scale_invariant():
  config, built = make('regression', 1, ['so(target=two_hot)'], v_min=0.0, v_max=4.0, num_atoms=5)
  params, batch = built.network.init(jax.random.key(1)), examples(np.array([1.25], np.float32))
  found, _ = objectives.make(config, built.network).loss(params, {}, jax.random.key(0), batch, 1.0)
  critic, = built.network.apply(params, jax.random.key(0), batch.inputs).critics
  log_probabilities = jax.nn.log_softmax(critic.distribution[0, 0, 0])
  expected = -0.75 * log_probabilities[1] - 0.25 * log_probabilities[2]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('name', [
    'redo(period=2)', 'cbp(maturity=1,rate=0.5)', 'sp(period=2)', 'reset(period=2)', 'inject(at=2)',
    'infer', 'nap', 'trac', 'bn', 'gradpen'])
def test_mechanisms_do_without_a_target_network(name):
  _, built = make('classification', 3, [name])
  state = built.agent.init(jax.random.key(0))
  assert state.target_params == {}
  first = jax.tree.map(jnp.copy, state.params)
  for step in range(3):
    batch = examples(np.arange(6, dtype=np.int32) % 3, step)
    state, _, metrics = built.agent.learn(state, batch, np.ones(6, np.float32))
  assert state.target_params == {}
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, metrics)))
  moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (first, state.params)),
                                              strict=True)]
  assert max(moved) > 0  # trac starts with steps of 1e-8


@pytest.mark.parametrize('names, overrides, message', [
    (['so'], {}, 'distribution=hl_gauss: the outputs are classes already'),
    ([], {'distribution': 'quantile'}, 'distribution=quantile: the outputs are classes already')])
def test_classes_have_no_distribution_of_returns(names, overrides, message):
  with pytest.raises(ValueError, match=message):
    make('classification', 3, names, **overrides)


def test_examples_are_evaluated_one_by_one_whatever_is_normalized_over_them_in_training():
  config, built = make('classification', 5, ['bn'])
  params, batch = built.network.init(jax.random.key(1)), examples(np.arange(5, dtype=np.int32))
  objective = objectives.make(config, built.network)
  first = objectives.Example(batch.inputs[:1], batch.targets[:1])
  for training in (False, True):
    together, alone = (
        objective.loss(params, {}, jax.random.key(0), some, 1.0, training)[1].each[0]
        for some in (batch, first))
    assert (together == pytest.approx(float(alone), rel=1e-4)) == (not training)
