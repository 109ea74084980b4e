"""One typed configuration, the presets that fill it, and the rules it keeps."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from agents import errors, losses
from agents import interventions as interventions_lib
from networks import layers, torsos
from probes import random_target


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that decides what a run computes.

  Lengths and periods of the run are in `unit`; those of learning say their own.
  """
  # What runs.
  domain: str  # atari, control
  task: str  # a game or a task, in the domain's own names
  agent: str = 'double_dqn'  # a row of PRESETS
  interventions: tuple[str, ...] = ()  # rows of interventions.TABLE, sorted
  protocol: str = ''  # Atari: a row of envs/protocols.py
  seed: int = 1
  num_envs: int = 1  # environments stepped together
  replay: str = 'local'  # reverb, local

  # How long, in `unit`; a period of 0 turns the thing off.
  unit: str = 'steps'  # frames (Atari), steps (Control)
  run_length: int = 1_000_000
  eval_every: int = 25_000
  eval_length: int = 10_000
  probe_every: int = 50_000
  checkpoint_every: int = 50_000

  # Network.
  torso: str = 'mlp'  # a row of networks/torsos.py
  norm: str = 'none'  # a row of NORMS in networks/layers.py, before every nonlinearity
  initializer: str = 'uniform_fan_in'  # a row of INITIALIZERS in networks/layers.py
  shared_bias: bool = False  # one bias for all outputs
  bins: int = 2  # choices in each dimension of a continuous action

  # Learning.
  error_loss: str = 'huber'  # a row of losses.ERROR_LOSSES
  double: bool = False  # the online network selects the bootstrapped action
  discount: float = 0.99  # per agent step
  n_step: int = 1  # agent steps
  reward_clip: float = 0.0  # bound on each |reward| before summing; 0: none
  batch_size: int = 32  # transitions
  steps_per_update: int = 4  # agent steps
  target_update_period: int = 2_500  # updates
  optimizer: str = 'adam'  # adam, rmsprop (centred, decay 0.95)
  learning_rate: float = 1e-4
  optimizer_epsilon: float = 1e-8
  max_gradient_norm: float = 0.0  # over all parameters; 0: none
  weight_decay: float = 0.0  # decoupled, kernels only; a step shrinks by learning_rate * this

  # Replay.
  replay_capacity: int = 1_000_000  # transitions
  min_replay_size: int = 1_000  # transitions before the first update
  prioritized: bool = False
  priority_exponent: float = 0.6
  importance_exponent: float = 0.4

  # Exploration: linear in agent steps, once min_replay_size steps are taken.
  exploration_epsilon_begin: float = 1.0
  exploration_epsilon_end: float = 0.1
  exploration_decay_steps: int = 1_000_000  # agent steps
  eval_epsilon: float = 0.0

  # Probe: see probes/random_target.py, which says why these are so small.
  probe_observations: int = 1024  # drawn from replay, for the counts of units
  probe_pool_size: int = random_target.SMALL.pool_size  # of these, to be memorized
  probe_targets: int = random_target.SMALL.num_targets
  probe_steps: int = random_target.SMALL.num_steps  # optimiser steps on each target
  probe_batch_size: int = random_target.SMALL.batch_size
  probe_optimizer: str = 'small'  # small: random_target.SMALL_OPTIMIZER; agent: the agent's own

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, float) and not math.isfinite(value):
        raise errors.UsageError(f'{field.name}={value}: must be finite')
    for names, holds, rule in _RULES:
      for name in names:
        value = getattr(self, name)
        if not holds(value):
          raise errors.UsageError(f'{name}={value}: must be {rule}')
    if self.min_replay_size > self.replay_capacity:
      raise errors.UsageError(
          f'min_replay_size={self.min_replay_size}: must be at most '
          f'replay_capacity={self.replay_capacity}')
    if self.probe_pool_size > self.probe_observations:
      raise errors.UsageError(
          f'probe_pool_size={self.probe_pool_size}: must be at most '
          f'probe_observations={self.probe_observations}')

  @property
  def units_per_step(self) -> int:
    """What one agent step counts in `unit`."""
    return 4 if self.unit == 'frames' else 1


def _choice(names: Iterable[str]) -> tuple[Any, str]:
  names = tuple(names)
  return names.__contains__, f'one of {", ".join(names)}'


_RULES = (
    (('unit',), *_choice(('frames', 'steps'))),
    (('replay',), *_choice(('reverb', 'local'))),
    (('probe_optimizer',), *_choice(('small', 'agent'))),
    (('torso',), *_choice(torsos.TORSOS)),
    (('norm',), *_choice(layers.NORMS)),
    (('initializer',), *_choice(layers.INITIALIZERS)),
    (('error_loss',), *_choice(losses.ERROR_LOSSES)),
    (('optimizer',), *_choice(('adam', 'rmsprop'))),
    (('num_envs', 'run_length', 'eval_length', 'n_step', 'batch_size', 'steps_per_update',
      'target_update_period', 'replay_capacity', 'min_replay_size', 'exploration_decay_steps',
      'probe_observations', 'probe_pool_size', 'probe_targets', 'probe_steps',
      'probe_batch_size'),
     lambda x: x >= 1, 'at least 1'),
    (('eval_every', 'probe_every', 'checkpoint_every'), lambda x: x >= 0,
     'at least 0; 0 turns it off'),
    (('bins',), lambda x: x >= 2, 'at least 2: a choice needs alternatives'),
    (('seed',), lambda x: 0 <= x < 2**31, 'from 0 to 2147483647'),
    (('learning_rate', 'optimizer_epsilon'), lambda x: x > 0, 'above 0'),
    (('reward_clip', 'max_gradient_norm', 'weight_decay', 'priority_exponent',
      'importance_exponent'), lambda x: x >= 0, 'at least 0'),
    (('discount', 'exploration_epsilon_begin', 'exploration_epsilon_end', 'eval_epsilon'),
     lambda x: 0 <= x <= 1, 'from 0 to 1'),
)


# What a domain's agents share. Atari: dqn_zoo. Control: DecQN (Seyde et al. 2023) with one critic
# and uniform replay, and with the three bins of REValueD's (Ireland & Montana 2024) instead of
# two: the suite rewards small controls, so that on cartpole_swingup bang-bang control earns at
# most 0.8 a step.
DOMAINS: Mapping[str, Mapping[str, Any]] = {
    'atari': dict(
        unit='frames', run_length=200_000_000, eval_every=1_000_000, eval_length=500_000,
        probe_every=1_000_000, checkpoint_every=1_000_000, torso='nature', reward_clip=1.0,
        optimizer='rmsprop', learning_rate=2.5e-4, optimizer_epsilon=0.01 / 32**2,
        replay_capacity=1_000_000, min_replay_size=50_000, batch_size=32, steps_per_update=4,
        target_update_period=2_500, exploration_decay_steps=1_000_000),
    'control': dict(
        unit='steps', run_length=1_000_000, eval_every=25_000, eval_length=10_000,
        probe_every=50_000, checkpoint_every=50_000, torso='residual_mlp',
        initializer='uniform_fan_out', bins=3, n_step=3, optimizer='adam', learning_rate=1e-4,
        optimizer_epsilon=1e-8, max_gradient_norm=40.0, replay_capacity=1_000_000,
        min_replay_size=1_000, batch_size=256, steps_per_update=8, target_update_period=100,
        exploration_epsilon_begin=0.1, exploration_epsilon_end=0.1, eval_epsilon=0.0),
}

# An agent is settings: for every domain, then for one.
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    'dqn': {'any': dict(double=False), 'atari': dict(eval_epsilon=0.05)},
    'double_dqn': {
        'any': dict(double=True),
        'atari': dict(
            target_update_period=7_500, exploration_epsilon_end=0.01, eval_epsilon=0.01,
            shared_bias=True)},
    # Dopamine's JaxDQNAgent (dqn.gin), for the protocol `dopamine`.
    'dopamine_dqn': {
        'atari': dict(
            torso='nature_same', initializer='glorot_uniform', error_loss='squared',
            optimizer='adam', learning_rate=6.25e-5, optimizer_epsilon=1.5e-4,
            min_replay_size=20_000, target_update_period=2_000, exploration_epsilon_end=0.01,
            exploration_decay_steps=250_000, eval_epsilon=0.001)},
}

# Fields that other fields were resolved from: they have a flag of their own.
_IDENTITY = ('domain', 'task', 'agent', 'interventions', 'protocol', 'unit')


def resolve(
    domain: str, task: str, agent: str, interventions: Iterable[str],
    overrides: Mapping[str, Any], **flags) -> Config:
  """Domain, preset, interventions, flags and overrides, each stronger than the one before."""
  if agent not in PRESETS:
    raise errors.unknown('agent', agent, PRESETS)
  names = tuple(interventions)
  preset = PRESETS[agent]
  settings = dict(DOMAINS[domain]) | preset.get('any', {}) | preset.get(domain, {})
  settings |= interventions_lib.settings(names) | flags | overrides
  return Config(
      domain=domain, task=task, agent=agent, interventions=tuple(sorted(names)), **settings)


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
  """Turns `name=value` words into typed settings of Config."""
  fields = {f.name: f.type for f in dataclasses.fields(Config)}
  overrides = {}
  for word in assignments:
    name, equals, text = word.partition('=')
    if not equals:
      raise errors.UsageError(f'set={word}: must be name=value')
    if name in _IDENTITY:
      raise errors.UsageError(f'set={word}: {name} has a flag of its own or follows from one')
    if name not in fields:
      raise errors.unknown('set', name, fields)
    if name in overrides:
      raise errors.UsageError(f'set={word}: {name} is set twice')
    overrides[name] = _parse(name, text, fields[name])
  return overrides


def _parse(name: str, text: str, kind: type) -> Any:
  try:
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is int:
      return int(text.replace('_', ''))
    return kind(text)
  except (KeyError, ValueError):
    word = {bool: 'true or false', int: 'a whole number', float: 'a number'}[kind]
    raise errors.UsageError(f'set={name}={text}: must be {word}') from None
