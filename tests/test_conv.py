"""Both forms of the convolution are one function; the module is Haiku's."""

import haiku as hk
import jax
import numpy as np
import pytest

from networks import conv

pytestmark = pytest.mark.optimized


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('size, kernel, stride', [(84, 8, 4), (20, 4, 2), (12, 6, 3), (8, 4, 4)])
def test_space_to_depth_is_the_plain_convolution_and_has_its_gradient(size, kernel, stride):
  x, w = random(2, size, size, 3), random(kernel, kernel, 3, 5, seed=1)

  def loss(form):
    return lambda x, w: (form(x, w, stride) ** 2).mean()

  np.testing.assert_allclose(
      conv.space_to_depth(x, w, stride), conv.plain(x, w, stride), rtol=1e-4, atol=1e-4)
  for ours, plain in zip(jax.grad(loss(conv.space_to_depth), (0, 1))(x, w),
                         jax.grad(loss(conv.plain), (0, 1))(x, w), strict=True):
    np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('padding', ['VALID', 'SAME'])
@pytest.mark.parametrize('size, kernel, stride', [(84, 8, 4), (21, 4, 2), (20, 3, 2), (9, 3, 1)])
def test_the_module_is_haikus(size, kernel, stride, padding):
  x, init = random(2, size, size, 3), hk.initializers.RandomNormal()

  def ours(x):
    return conv.Conv2D(5, kernel, stride, padding, init, init, name='conv')(x)

  def haikus(x):
    return hk.Conv2D(5, kernel, stride, padding=padding, w_init=init, b_init=init, name='conv')(x)

  ours, haikus = (hk.without_apply_rng(hk.transform(f)) for f in (ours, haikus))
  params = ours.init(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, params, haikus.init(jax.random.key(0), x))
  np.testing.assert_allclose(
      ours.apply(params, x), haikus.apply(params, x), rtol=1e-4, atol=1e-4)
