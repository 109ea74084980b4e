"""The tables that fill a Config: what a domain's agents share, and each published agent."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Settings = Mapping[str, Any]  # Config fields

# What a domain's agents share. Atari: dqn_zoo. Control: DecQN (Seyde et al. 2023) with one critic
# and uniform replay, and with the three bins of REValueD's (Ireland & Montana 2024) instead of
# two: the suite rewards small controls, so that on cartpole_swingup bang-bang control earns at
# most 0.8 a step. Its rewards are in [0, 1], so that returns are in [0, 1 / (1 - discount)].
DOMAINS: Mapping[str, Settings] = {
    'atari': dict(
        unit='frames', run_length=200_000_000, eval_every=1_000_000, eval_length=500_000,
        probe_every=1_000_000, checkpoint_every=1_000_000, torso='nature', hidden_layers=1,
        hidden_size=512, error_loss='clipped', reward_clip=1.0, optimizer='rmsprop',
        learning_rate=2.5e-4, optimizer_epsilon=0.01 / 32**2, replay_capacity=1_000_000,
        min_replay_size=50_000, batch_size=32, steps_per_update=4, target_update_period=2_500,
        exploration_epsilon_end=0.01),
    'control': dict(
        unit='steps', run_length=1_000_000, eval_every=25_000, eval_length=10_000,
        probe_every=50_000, checkpoint_every=50_000, torso='residual_mlp',
        initializer='uniform_fan_out', bins=3, v_min=0.0, v_max=100.0, n_step=3, optimizer='adam',
        learning_rate=1e-4, optimizer_epsilon=1e-8, max_gradient_norm=40.0,
        replay_capacity=1_000_000, min_replay_size=1_000, batch_size=256, steps_per_update=8,
        target_update_period=100, exploration_epsilon_begin=0.1, exploration_epsilon_end=0.1,
        eval_epsilon=0.0),
    # Lyle et al. 2024 train with Adam; the rest, which they do not give, is ours. A network that
    # memorized labels has large outputs, which a copy must unlearn first: the small probe's
    # optimizer is still at it after 200 steps, the agent's own has long done with it.
    'supervised': dict(
        unit='steps', eval_length=2_048, optimizer='adam', learning_rate=1e-3,
        initializer='truncated_fan_in', error_loss='squared', batch_size=128, num_atoms=101,
        steps_per_update=1, probe_optimizer='agent'),
}

# What Control from pixels changes, whatever the agent: DecQN's encoder, two ReLU layers, random
# shifts. Other than in DecQN's code the bottleneck is drawn as the convolutions are, the target has
# an encoder of its own, one optimizer serves encoder and critics, and the replay is a tenth of the
# size: a million transitions would take 21 GB. Before an episode's first frame there are zeros, not
# copies of it, and frames shift by whole pixels, as in DrQ-v2, not by parts of one.
PIXELS: Settings = dict(
    torso='drq', initializer='truncated_fan_in', hidden_layers=2, hidden_size=1024,
    random_shift=4, replay_capacity=100_000)


class Preset(NamedTuple):
  """An agent is settings: for every domain, then for each of those that it is for."""
  summary: str
  settings: Settings
  domains: Mapping[str, Settings]


def _preset(summary: str, settings: Settings, **domains: Settings) -> Preset:
  return Preset(summary, settings, domains)


# dqn_zoo's choices for the agents it trains with Adam.
_ADAM = dict(optimizer='adam', optimizer_epsilon=0.01 / 32, max_gradient_norm=10.0)
_QUANTILES = dict(**_ADAM, learning_rate=5e-5, eval_epsilon=0.001)
_ANNEALED = dict(
    prioritized=True, uniform_probability=1e-3, importance_exponent_begin=0.4,
    importance_exponent_end=1.0)
_DOUBLE = dict(target_update_period=7_500, eval_epsilon=0.01, shared_bias=True)
# In DecQN's code an episode's start, too, gives transitions of fewer than n steps, not its end
# alone.
_DECQN = dict(
    double=True, num_critics=2, bins=2, prioritized=True, priority_exponent=0.6, new_priority=1.0,
    importance_exponent_begin=0.2, importance_exponent_end=0.2)
_DOPAMINE = dict(
    protocol='dopamine', torso='nature_same', optimizer='adam', learning_rate=6.25e-5,
    optimizer_epsilon=1.5e-4, min_replay_size=20_000, target_update_period=2_000,
    exploration_decay_steps=250_000, eval_epsilon=0.001)

PRESETS: Mapping[str, Preset] = {
    'dqn': _preset(
        'deep Q-learning (Mnih et al. 2015; dqn_zoo)', {},
        atari=dict(exploration_epsilon_end=0.1, eval_epsilon=0.05), control={}),
    'double_dqn': _preset(
        'double Q-learning (van Hasselt et al. 2016; dqn_zoo)', dict(double=True),
        atari=_DOUBLE, control={}),
    'prioritized': _preset(
        'double Q-learning with prioritized replay (Schaul et al. 2016; dqn_zoo)',
        dict(double=True, priority_exponent=0.6, **_ANNEALED),
        atari=dict(
            **_DOUBLE, learning_rate=2.5e-4 / 4, optimizer_epsilon=0.01 / 32**2 / 4**2),
        control={}),
    'dueling': _preset(
        'double Q-learning with value and advantage streams (Wang et al. 2016)',
        dict(double=True, dueling=True, dueling_gradient=2**-0.5),
        atari=dict(
            _DOUBLE, shared_bias=False, learning_rate=6.25e-5, max_gradient_norm=10.0),
        control=dict(hidden_layers=1)),
    'c51': _preset(
        'categorical returns (Bellemare et al. 2017; dqn_zoo)',
        dict(distribution='categorical', num_atoms=51),
        atari=dict(**_ADAM, learning_rate=2.5e-4, eval_epsilon=0.001), control={}),
    'qr_dqn': _preset(
        'returns at fixed quantiles (Dabney et al. 2018; dqn_zoo)',
        dict(distribution='quantile'),
        atari=dict(**_QUANTILES, num_atoms=201), control=dict(num_atoms=51)),
    'iqn': _preset(
        'returns at drawn quantiles (Dabney et al. 2018; dqn_zoo)',
        dict(distribution='implicit', num_atoms=64),
        atari=dict(_QUANTILES, max_gradient_norm=0.0, min_replay_size=20_000),
        control=dict(num_atoms=32)),
    'rainbow': _preset(
        'double, dueling, prioritized, 3-step, categorical and noisy (Hessel et al. 2018; dqn_zoo)',
        dict(
            double=True, dueling=True, n_step=3, distribution='categorical', num_atoms=51,
            noisy=True, noisy_sigma=0.1, priority_exponent=0.5, **_ANNEALED),
        atari=dict(
            _ADAM, optimizer_epsilon=0.005 / 32, learning_rate=6.25e-5, min_replay_size=20_000,
            target_update_period=2_000, eval_epsilon=0.0,
            exploration_decay_steps=62_500),  # Hessel et al. 2018, where noise is ablated
        control=dict(hidden_layers=1)),
    'dopamine_dqn': _preset(
        "Dopamine's JAX DQN: Adam and squared error, padded convolutions (dqn.gin)", {},
        atari=dict(**_DOPAMINE, initializer='glorot_uniform', error_loss='squared')),
    'dopamine_rainbow': _preset(
        "Dopamine's JAX Rainbow: prioritized, 3-step, categorical (rainbow.gin)", {},
        atari=dict(
            **_DOPAMINE, initializer='narrow_fan_in', n_step=3, distribution='categorical',
            num_atoms=51, prioritized=True, priority_exponent=0.5, importance_exponent_begin=0.5,
            importance_exponent_end=0.5)),
    'rainbow_der': _preset(
        'data-efficient Rainbow for 100,000 agent steps (van Hasselt et al. 2019)', {},
        atari=dict(
            protocol='atari100k', torso='data_efficient', hidden_size=256, double=True,
            dueling=True, n_step=20, distribution='categorical', num_atoms=51, noisy=True,
            noisy_sigma=0.1, prioritized=True, priority_exponent=0.5,
            importance_exponent_begin=0.4, importance_exponent_end=1.0, optimizer='adam',
            learning_rate=1e-4, optimizer_epsilon=1.5e-4, max_gradient_norm=10.0,
            min_replay_size=1_600, steps_per_update=1, target_update_period=2_000,
            replay_capacity=100_000, eval_noise=False,
            exploration_decay_steps=2_000)),  # where noise is ablated
    'decqn': _preset(
        'decoupled Q-learning: twin critics, prioritized, LayerNorm of its own (Seyde et al. 2023)',
        dict(**_DECQN, norm='own'), control={}),
    'decqn_plain': _preset(
        'decqn without any normalization, for the study of it', _DECQN, control={}),
    'mlp': _preset('two ReLU layers of 512', {}, supervised=dict(torso='image_mlp')),
    'small_mlp': _preset(
        'two ReLU layers of 128, and half the batch', {},
        supervised=dict(torso='small_image_mlp', batch_size=64)),
    'cnn': _preset('three convolutions and a layer of 256', {}, supervised=dict(torso='small_cnn')),
    'resnet18': _preset(
        'ResNet-18 for small images (He et al. 2016)', {}, supervised=dict(torso='resnet18')),
}

# What else people call some of them: see `errors.unknown`.
OTHER_NAMES = {
    'ddqn': 'double_dqn', 'per': 'prioritized', 'prioritizeddqn': 'prioritized',
    'duelingdqn': 'dueling', 'categoricaldqn': 'c51', 'der': 'rainbow_der', 'qr': 'qr_dqn'}

DEFAULT_AGENT: Mapping[str, str] = {'atari': 'rainbow', 'control': 'decqn'}
