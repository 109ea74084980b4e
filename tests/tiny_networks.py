"""Networks of every wiring, small where the torso can be."""

import jax.numpy as jnp
import numpy as np

from networks import heads, layers, q_network, types

FRAMES, PIXELS = ((4, 84, 84), 'uint8'), ((3, 84, 84, 3), 'uint8')
IMAGES = (1, 8, 8, 3), 'uint8'
SHAPES = {'drq': PIXELS, 'image_mlp': IMAGES, 'small_image_mlp': IMAGES,
          'small_cnn': IMAGES, 'resnet18': IMAGES,
          'residual_mlp': ((5,), 'float32'), 'mlp': ((5,), 'float32')}
SMALL = ('data_efficient', 'residual_mlp', 'mlp')
HEADS = {
    'plain': {}, 'hidden': dict(hidden_layers=2, hidden_size=8),
    'rainbow': dict(hidden_layers=1, hidden_size=8, dueling=True, noisy_sigma=0.1,
                    distribution='categorical', num_atoms=5),
    'shared': dict(hidden_layers=1, hidden_size=8, dueling=True, shared_hidden=True),
    'implicit': dict(hidden_layers=1, hidden_size=8, distribution='implicit', num_atoms=3)}


def switched(network, params, injected=True):
  """The parameters, as after an injection or before it."""
  return params | {name: {types.INJECTED: jnp.float32(injected)}
                   for name in network.injection.switches}


def make(torso, head='hidden', num_critics=1, injection=False, num_auxiliary=0, **style):
  """A network, and three observations for it."""
  shape, dtype = SHAPES.get(torso, FRAMES)
  network = q_network.make(
      torso=torso, observation_shape=shape, observation_dtype=dtype, num_critics=num_critics,
      head=heads.Head(2, 3, injection=injection, **HEADS[head]), style=layers.Style(**style),
      num_auxiliary=num_auxiliary)
  observations = np.random.default_rng(0).random((3, *shape)) * (255 if dtype == 'uint8' else 1)
  return network, observations.astype(dtype)
