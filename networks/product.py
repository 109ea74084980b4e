"""Products of examples and weights: the same numbers, in the order that is fastest here."""

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# The identity, which XLA computes nothing across. jax.lax.optimization_barrier is that, too, but
# JAX 0.4.34 neither differentiates nor batches it.
_stored = Primitive('stored')
_stored.def_impl(lambda x: x)
_stored.def_abstract_eval(lambda x: x)
mlir.register_lowering(
    _stored, mlir.lower_fun(jax.lax.optimization_barrier, multiple_results=False))
ad.deflinear2(_stored, lambda gradient, _: [_stored.bind(gradient)])
batching.defvectorized(_stored)


_FEW = 64  # examples


@jax.custom_jvp
def _by_columns(x: jax.Array) -> jax.Array:
  return x


@_by_columns.defjvp
def _by_columns_jvp(primals, tangents):
  # A gradient goes the way of tangents backwards: a product with weights gives [D, B], which is
  # stored, then transposed.
  return primals[0], _stored.bind(tangents[0].T).T


def factor(x: jax.Array) -> jax.Array:
  """[B, D] to be multiplied by weights [D, D'] -> the same; its gradient may come by columns.

  The gradient is that of the product, [B, D'], times the weights' transpose. Of few examples XLA
  takes up to four times as long for it on a CPU as for its transpose (0.4.34: 2.5 ms instead of 0.6
  for B, D, D' = 32, 3136, 512 on two cores; 0.10.2: 1.5 times); of many the transpose is slower
  (256, 39200, 100: twice). Left alone XLA computes no transpose but swaps the factors back.
  """
  by_columns = x.shape[0] <= _FEW and jax.default_backend() == 'cpu'
  return _by_columns(x) if by_columns else x
