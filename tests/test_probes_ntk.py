"""Gram matrices of gradients against known ones and finite differences; what is drawn from them."""

import json
import math
import pathlib
import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from networks import heads, layers, q_network, types
from probes import ntk

KEY = jax.random.key(0)


def linear_apply(params, key, observations):
  del key
  return types.QOutput((observations @ params['head']['w'])[:, None], {})


def inputs(num=7, size=5, seed=0):
  return np.random.default_rng(seed).normal(size=(num, size)).astype(np.float32)


@pytest.mark.parametrize('reduction', ['sum', 'trace'])
def test_a_linear_models_kernel_is_the_gram_matrix_of_its_inputs(reduction):
  x = inputs()
  expected = [[3 * sum(one * other) for other in x] for one in x]  # 3 outputs
  found = ntk.gram(ntk.outputs(linear_apply, reduction), {'head': {'w': jnp.ones((5, 3))}}, KEY, x)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def small_apply(params, key, observations, xp=jnp):
  """One tanh layer and two outputs, in NumPy or JAX."""
  del key
  hidden = xp.tanh(observations @ params['dense1']['w'] + params['dense1']['b'])
  return types.QOutput((hidden @ params['head']['w'])[:, None], {})


def slow_gradients(params, x):
  """[outputs, n, P] by central differences in float64; changes `params` and puts them back."""
  columns = []
  for leaf in jax.tree.leaves(params):
    for index in np.ndindex(leaf.shape):
      ends, value = [], leaf[index]
      for step in (1e-5, -1e-5):
        leaf[index] = value + step
        ends.append(small_apply(params, None, x, np).q_values[:, 0])
      leaf[index] = value
      columns.append((ends[0] - ends[1]) / 2e-5)
  return np.moveaxis(np.array(columns), 0, 2).swapaxes(0, 1)


# Once all parameters together, once five at a time.
@pytest.mark.parametrize('max_bytes', [10**9, 5 * 4 * 7])
def test_a_small_network_against_finite_differences(max_bytes):
  rng = np.random.default_rng(0)
  params = {'dense1': {'b': rng.normal(size=4), 'w': rng.normal(size=(5, 4))},
            'head': {'w': rng.normal(size=(4, 2))}}
  slow = slow_gradients(params, inputs().astype(np.float64))
  expected = {'trace': sum(g @ g.T for g in slow), 'sum': slow.sum(axis=0) @ slow.sum(axis=0).T}
  assert np.abs(expected['trace'] - expected['sum']).max() > 1
  for reduction, kernel in expected.items():
    found = ntk.gram(ntk.outputs(small_apply, reduction), jax.tree.map(jnp.float32, params), KEY,
                     inputs(), max_bytes)
    np.testing.assert_allclose(found, kernel, rtol=1e-4, atol=1e-4)


def test_gradients_of_losses_interfere_where_errors_of_similar_inputs_differ_in_sign():
  x, targets = inputs(), np.linspace(-2, 2, 7, dtype=np.float32)

  def loss(params, key, example):
    observation, target = example
    return (linear_apply(params, key, observation[None]).q_values.sum() - target)**2

  found = ntk.gram(loss, {'head': {'w': jnp.zeros((5, 1))}}, KEY, (x, targets))
  slopes = -2 * targets[:, None] * x
  np.testing.assert_allclose(found, slopes @ slopes.T, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(found[3], 0)  # The one of target 0 has no gradient, and no cosine.
  assert not ntk.cosines(found)[3].any()
  expected = [[np.dot(a, b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-9) for b in slopes]
              for a in slopes]
  np.testing.assert_allclose(ntk.cosines(found), expected, atol=1e-5)


def test_noise_is_one_for_all_examples_and_the_keys_own():
  network = q_network.make(
      torso='mlp', observation_shape=(5,), observation_dtype='float32',
      head=heads.Head(1, 2, hidden_layers=1, hidden_size=8, noisy_sigma=0.5), style=layers.Style())
  params, x = network.init(KEY), np.repeat(inputs(1), 3, axis=0)
  one, again, other = (ntk.gram(ntk.outputs(network.apply, 'sum'), params, jax.random.key(seed), x)
                       for seed in (1, 1, 2))
  np.testing.assert_array_equal(one, again)
  np.testing.assert_allclose(ntk.cosines(one), 1, rtol=1e-5)
  assert one[0, 0] != other[0, 0]


def test_a_second_kernel_compiles_nothing():
  num_traces = []

  def apply(params, key, observations):
    num_traces.append(1)
    return linear_apply(params, key, observations)

  for seed in range(2):
    ntk.gram(ntk.outputs(apply, 'trace'), {'head': {'w': jnp.ones((5, 3))}}, KEY, inputs(seed=seed))
    assert len(num_traces) <= 2 + seed  # the number of outputs, each time, and the gradient


def test_statistics_by_hand():
  kernel = np.array([[4.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 9.0]])  # eigenvalues 9, 5, 0
  found = ntk.kernel_stats(kernel)
  assert found.mean_abs_cosine == pytest.approx(1 / 3)
  assert found.mean_norm == pytest.approx(2.0)
  assert found.norm_variation == pytest.approx(np.sqrt(2 / 3) / 2)
  assert found.negative_share == 0
  assert found.effective_rank == pytest.approx((9 / 14)**(-9 / 14) * (5 / 14)**(-5 / 14))
  assert found.srank == 2
  assert found.top_share == pytest.approx(9 / 14)
  assert found.condition == np.inf
  # Without the diagonal: eigenvalues 2, 0, -2.
  assert found.off_effective_rank == pytest.approx(2.0)
  assert found.off_srank == 2
  assert found.off_top_share == pytest.approx(1 / np.sqrt(2))


@hypothesis.given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 8))
def test_statistics_against_slow_ones(seed, num, num_parameters):
  gradients = np.random.default_rng(seed).normal(size=(num, num_parameters))
  kernel = gradients @ gradients.T
  found = ntk.kernel_stats(kernel)
  norms = [math.sqrt(sum(g**2)) for g in gradients]
  pairs = [(i, j) for i in range(num) for j in range(num) if i != j]
  cosines = [sum(gradients[i] * gradients[j]) / norms[i] / norms[j] for i, j in pairs]
  assert found.mean_abs_cosine == pytest.approx(np.mean(np.abs(cosines)))
  assert found.negative_share == pytest.approx(sum(cosine < 0 for cosine in cosines) / len(pairs))
  assert found.mean_norm == pytest.approx(sum(norms) / num)
  assert found.norm_variation == pytest.approx(np.std(norms) / np.mean(norms))
  values = np.linalg.eigvalsh(kernel)
  assert found.top_share == pytest.approx(values[-1] / np.trace(kernel))
  rest = kernel - np.diag(np.diag(kernel))
  top = max(abs(np.linalg.eigvalsh(rest)))
  assert found.off_top_share == pytest.approx(top / math.sqrt(sum(rest.ravel()**2)))
  assert 1 - 1e-6 <= found.effective_rank <= min(num, num_parameters) + 1e-6
  if num_parameters < num:
    assert found.condition == np.inf


def test_nothing_shared_and_everything_shared():
  nothing = ntk.kernel_stats(2 * np.eye(5))
  assert (nothing.mean_abs_cosine, nothing.srank, nothing.condition) == (0, 5, 1)
  assert nothing.effective_rank == pytest.approx(5)
  assert nothing.off_effective_rank == 0
  assert math.isnan(nothing.off_top_share)
  everything = ntk.kernel_stats(np.full((5, 5), 3.0))
  assert (everything.mean_abs_cosine, everything.top_share, everything.effective_rank) == (
      pytest.approx((1, 1, 1)))
  assert everything.norm_variation == 0


def test_a_kernel_of_zeros_or_not_finite():
  zeros = ntk.kernel_stats(np.zeros((4, 4)))
  assert zeros.mean_abs_cosine == zeros.effective_rank == zeros.mean_norm == 0
  assert math.isnan(zeros.norm_variation)
  broken = np.eye(4)
  broken[1, 1] = np.inf
  assert np.isnan(ntk.kernel_stats(broken)).all()
  np.testing.assert_array_equal(ntk.display_order(broken), range(4))


def test_similar_inputs_stand_together():
  rng = np.random.default_rng(0)
  group = rng.permutation(np.repeat([0, 1, 2], 8))
  gradients = 5 * np.eye(3, 40)[group] + 0.2 * rng.normal(size=(24, 40))
  order = ntk.display_order(gradients @ gradients.T)
  assert sorted(order) == list(range(24))
  assert np.count_nonzero(np.diff(group[order])) == 2


@pytest.mark.parametrize('num', [1, 2, 3])
def test_few_rows_have_an_order_too(num):
  assert sorted(ntk.display_order(np.eye(num))) == list(range(num))


MEASURE = """
import json, re, sys, time
import jax
import numpy as np
from networks import heads, layers, q_network
from probes import ntk

network = q_network.make(
    torso=sys.argv[1], observation_shape=(4, 84, 84), observation_dtype='uint8',
    head=heads.Head(1, 18, hidden_layers=1), style=layers.Style())
params = network.init(jax.random.key(0))
observations = np.random.default_rng(0).integers(0, 256, (64, 4, 84, 84)).astype(np.uint8)
started = time.monotonic()
kernel = ntk.gram(ntk.outputs(network.apply, 'sum'), params, jax.random.key(1), observations)
seconds = time.monotonic() - started
peak = int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) * 1024
print(json.dumps(dict(peak=peak, seconds=seconds, finite=bool(np.isfinite(kernel).all()),
                      size=sum(leaf.size for leaf in jax.tree.leaves(params)))))
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='reads the peak of memory from /proc')
@pytest.mark.parametrize('torso', ['nature', pytest.param('impala', marks=pytest.mark.slow)])
def test_64_inputs_fit_in_2_gb(torso):
  done = subprocess.run([sys.executable, '-c', MEASURE, torso], capture_output=True, text=True,
                        cwd=pathlib.Path(__file__).parents[1], check=True)
  found = json.loads(done.stdout.splitlines()[-1])
  print(found)
  assert found['finite']
  assert found['size'] > 1_600_000
  assert 4 * 64 * found['size'] < found['peak'] < 2 * 10**9
