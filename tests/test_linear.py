"""The linear layer is Haiku's; its input's gradient is the same number in either order."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import backend, linear, noisy

pytestmark = pytest.mark.optimized

INIT = hk.initializers.RandomNormal()


def random(*shapes):
  keys = jax.random.split(jax.random.key(1), len(shapes))
  return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize('with_bias', [True, False])
def test_the_module_is_haikus(with_bias):
  x, = random((8, 5))
  ours, haikus = (hk.without_apply_rng(hk.transform(f)) for f in (
      lambda x: linear.Linear(3, with_bias, INIT, INIT, name='linear')(x),
      lambda x: hk.Linear(3, with_bias, INIT, INIT, name='linear')(x)))
  params = ours.init(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, params, haikus.init(jax.random.key(0), x))
  np.testing.assert_array_equal(ours.apply(params, x), haikus.apply(params, x))


def test_parameters_are_float32_whatever_the_input_is():
  module = hk.transform(lambda x: linear.Linear(3, True, INIT, INIT, name='linear')(x))
  params = module.init(jax.random.key(0), jnp.ones((2, 5), jnp.bfloat16))
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}


def value(loss):
  return loss


def gradients(loss):
  return jax.grad(loss, (0, 1))


def hessian_products(loss):
  return lambda x, w: jax.jvp(jax.grad(loss, (0, 1)), (x, w), (x, w))[1]


def gradients_of_gradients(loss):
  return jax.grad(lambda x, w: sum(jnp.sum(g ** 2) for g in jax.grad(loss, (0, 1))(x, w)), (0, 1))


def gradients_of_copies(loss):
  return lambda x, w: jax.vmap(jax.grad(loss), (0, None))(jnp.stack([x, 2 * x]), w)


@pytest.mark.parametrize(
    'of', [value, gradients, hessian_products, gradients_of_gradients, gradients_of_copies])
@pytest.mark.parametrize(
    'batch, fan_in, size', [(1, 4, 1), (1, 33, 5), (2, 7, 3), (3, 12, 12), (64, 8, 2)])
def test_by_columns_all_numbers_are_the_same_up_to_rounding(of, batch, fan_in, size):
  x, w, target = random((batch, fan_in), (fan_in, size), (batch, size))

  def loss(read):
    return lambda x, w: jnp.sum(jnp.tanh(read(jnp.sin(x)) @ w - target) ** 2)

  ours, plain = (jax.jit(of(loss(read)))(x, w)
                 for read in (linear.gradient_by_columns, lambda x: x))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * (1 + np.max(np.abs(b))))


def num_barriers(module, batch):
  """Of the gradient of its input [batch, 5]."""
  x, = random((batch, 5))
  network = hk.transform(lambda x: jnp.sum(module()(x) ** 2))
  key = jax.random.key(0)
  gradient = jax.jit(jax.grad(network.apply, 2))
  return gradient.lower(network.init(key, x), key, x).as_text().count('optimization_barrier')


@pytest.mark.parametrize('module, products', [
    (lambda: linear.Linear(3, True, INIT, INIT, name='linear'), 1),
    (lambda: noisy.NoisyLinear(3, 0.5, True, INIT, INIT, name='linear'), 2)])
def test_gradients_of_few_examples_come_by_columns_and_only_on_a_cpu(
    module, products, monkeypatch):
  for on_cpu, batch, expected in (
      (True, 64, products), (True, 65, 0), (False, 64, 0)):
    monkeypatch.setattr(backend, 'on_cpu', lambda on_cpu=on_cpu: on_cpu)
    assert num_barriers(module, batch) == expected
