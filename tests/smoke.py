"""The libraries of the Reverb set at work together in one process: `smoke.py reverb|jax`.

The argument is imported first, for each brings native code of its own and order may matter.
"""

import importlib
import sys

importlib.import_module(sys.argv[1])

import haiku as hk  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import reverb  # noqa: E402
import rlax  # noqa: E402
from ale_py import vector_env  # noqa: E402
from dm_control import suite  # noqa: E402


def step_atari():
  env = vector_env.AtariVectorEnv('pong', 1)
  env.reset(seed=1)
  assert env.step(np.array([0]))[0].shape == (1, 4, 84, 84)
  env.close()


def step_control():
  env = suite.load('cartpole', 'swingup', task_kwargs={'random': 1})
  env.reset()
  assert env.step(np.zeros(1)).reward is not None


def learn():
  network = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([8, 2])(x)))
  optimizer = optax.adam(1e-2)
  observations, actions = jnp.ones([3, 4]), jnp.zeros(3, jnp.int32)

  def loss(params):
    q_values = network.apply(params, observations)
    td_errors = jax.vmap(rlax.q_learning)(
      q_values, actions, jnp.ones(3), jnp.ones(3), jnp.zeros_like(q_values))
    return jnp.mean(rlax.l2_loss(td_errors))

  @jax.jit
  def update(params, state):
    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state

  before = network.init(jax.random.PRNGKey(1), observations)
  after, _ = update(before, optimizer.init(before))
  assert loss(after) < loss(before)


def replay():
  table = reverb.Table('replay', reverb.selectors.Prioritized(1.0), reverb.selectors.Fifo(), 10,
                       reverb.rate_limiters.MinSize(1))
  server = reverb.Server([table])
  client = reverb.Client(f'localhost:{server.port}')
  client.insert([np.ones(2, np.float32)], {'replay': 1.0})
  key = next(client.sample('replay', 1))[0].info.key
  client.mutate_priorities('replay', {key: 2.5})
  assert next(client.sample('replay', 1))[0].info.priority == 2.5
  server.stop()


for part in (step_atari, step_control, learn, replay):
  part()
  print(part.__name__)
