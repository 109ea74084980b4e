import jax
import jax.numpy as jnp
import numpy as np
import pytest

from networks import product


def both(batch, fan_in, size, of):
  """`of` a loss of the product with and without its factor, and what it is of."""
  keys = jax.random.split(jax.random.key(1), 3)
  x, w, target = (jax.random.normal(key, shape) for key, shape in zip(
      keys, ((batch, fan_in), (fan_in, size), (batch, size)), strict=True))

  def loss(factor):
    return lambda x, w: jnp.sum(jnp.tanh(factor(jnp.sin(x)) @ w - target) ** 2)

  return [jax.jit(of(loss(factor)))(x, w) for factor in (product.factor, lambda x: x)]


def gradients(loss):
  return jax.grad(loss, (0, 1))


def hessian_products(loss):
  return lambda x, w: jax.jvp(jax.grad(loss, (0, 1)), (x, w), (x, w))[1]


def gradients_of_gradients(loss):
  return jax.grad(lambda x, w: sum(jnp.sum(g ** 2) for g in jax.grad(loss, (0, 1))(x, w)), (0, 1))


def gradients_of_copies(loss):
  return lambda x, w: jax.vmap(jax.grad(loss), (0, None))(jnp.stack([x, 2 * x]), w)


@pytest.mark.parametrize(
    'of', [lambda loss: loss, gradients, hessian_products, gradients_of_gradients,
           gradients_of_copies], ids=lambda of: of.__name__)
@pytest.mark.parametrize(
    'batch, fan_in, size', [(1, 4, 1), (1, 33, 5), (2, 7, 3), (3, 12, 12), (64, 8, 2)])
def test_a_factor_changes_no_number(of, batch, fan_in, size):
  ours, plain = both(batch, fan_in, size, of)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * (1 + np.max(np.abs(b))))


@pytest.mark.parametrize('batch, stored', [(64, True), (65, False)])
def test_only_the_gradient_of_few_examples_comes_by_columns(batch, stored):
  x, w = jnp.ones((batch, 64)), jnp.ones((64, 8))

  def forward(x):
    return jnp.sum(product.factor(x) @ w)

  assert 'barrier' not in jax.jit(forward).lower(x).as_text()
  assert ('barrier' in jax.jit(jax.grad(forward)).lower(x).as_text()) == stored
