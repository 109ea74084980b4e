"""Every intervention in a real agent: it trains, and goes on from a checkpoint to the bit."""

import jax
import numpy as np
import pytest

from agents import checkpoint, interventions
from benchmarks import interventions as benchmark

NAMES = list(interventions.TABLE)


@pytest.mark.parametrize('name, problem', [
    (name, benchmark.TINY[i % 2]) for i, name in enumerate(NAMES)],
    ids=[f'{name}-{benchmark.TINY[i % 2].domain}' for i, name in enumerate(NAMES)])
def test_it_trains_and_resumes_exactly(name, problem):
  if benchmark.refusal(problem, (name,)):  # What is said of target distributions needs one.
    settings = problem.settings | {'distribution': 'categorical'}
    problem = problem._replace(settings=settings)
  training = benchmark.start(problem, (benchmark.soon(name),))
  template = jax.eval_shape(lambda: training.state)
  for _ in range(30):
    training = training.update()
  tensors = checkpoint.to_tensors(training.state)
  assert all(np.isfinite(leaf).all() for leaf in tensors.values() if leaf.dtype != np.uint32)
  restored = training._replace(state=checkpoint.from_tensors(template, tensors))
  for _ in range(12):  # A change at the 40th update is among them.
    training, restored = training.update(), restored.update()
  ends = [checkpoint.to_tensors(each.state) for each in (training, restored)]
  assert ends[0].keys() == ends[1].keys()
  for key, leaf in ends[0].items():
    assert leaf.tobytes() == ends[1][key].tobytes(), key
  # Several updates in one program are a loop, whose state keeps its shapes and types.
  batches = jax.tree.map(lambda leaf: np.repeat(leaf, 2, axis=0), training.transition)
  weights = np.ones((2, len(training.transition.r_t)), np.float32)
  after, _, _ = jax.eval_shape(training.agent.learn, training.state, batches, weights)
  for one, other in zip(*map(jax.tree.leaves, (after, template)), strict=True):
    assert (one.shape, one.dtype) == (other.shape, other.dtype)


@pytest.mark.parametrize('problem', benchmark.TINY, ids=[p.domain for p in benchmark.TINY])
def test_what_is_off_adds_no_parameter_and_keeps_nothing(problem):
  state = benchmark.start(problem, ()).state
  assert state.memory == {}
  leaves = {name for module in state.params.values() for name in module}
  assert leaves == {'w', 'b'}
  assert not any(word in module for module in state.params
                 for word in ('norm', 'injected', 'auxiliary'))


def test_the_committed_matrix_has_every_pair_and_the_reasons_that_are_given_today():
  rows = benchmark.read(benchmark.RESULTS / 'pairs.csv')
  found = {tuple(filter(None, (row['first'], row['second']))): row for row in rows}
  names = sorted(NAMES)
  assert found.keys() == {*((name,) for name in names), *(
      (one, other) for i, one in enumerate(names) for other in names[i + 1:])}
  for pair, row in found.items():
    for problem in benchmark.TINY:
      refused = benchmark.refusal(problem, pair)
      assert row[problem.domain] == (refused or 'finite'), pair
