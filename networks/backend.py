"""What depends on the version of JAX and on where it computes."""

import jax

VERSION = tuple(int(part) for part in jax.__version__.split('.')[:2])


def on_cpu() -> bool:
  """Whether what is traced now runs on a CPU."""
  return jax.default_backend() == 'cpu'


def _make_barrier():
  """For versions that neither differentiate nor batch jax.lax.optimization_barrier."""
  from jax.extend.core import Primitive
  from jax.interpreters import ad, batching, mlir

  identity = Primitive('barrier')
  identity.def_impl(lambda x: x)
  identity.def_abstract_eval(lambda x: x)
  mlir.register_lowering(
      identity, mlir.lower_fun(jax.lax.optimization_barrier, multiple_results=False))
  ad.deflinear2(identity, lambda gradient, _: [identity.bind(gradient)])
  batching.defvectorized(identity)
  return identity.bind


# The identity, across which XLA neither moves nor merges anything: what goes in is computed as
# written, and stored.
barrier = jax.lax.optimization_barrier if VERSION >= (0, 6) else _make_barrier()
