"""What a Config may hold: a bound for each field, and what fields ask of each other."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from agents import errors, losses, objectives, optimizers
from networks import layers, norms, torsos
from networks.distributions import DISTRIBUTIONS
from probes import record
from replay import factory
from replay import types as replay_types


def _choice(names: Iterable[str]) -> tuple[Callable[[Any], bool], str]:
  names = tuple(names)
  return names.__contains__, f'one of {", ".join(filter(None, names))}'


NUM_SEEDS = 2**31

_FIELDS = (
    (('unit',), *_choice(('frames', 'steps'))),
    (('replay',), *_choice(factory.KINDS)),
    (('actor_epsilon',), *_choice(('same', 'ape_x'))),
    (('observations',), *_choice(('state', 'pixels'))),
    (('probe_kind',), *_choice(record.KINDS)),
    (('probe_optimizer',), *_choice(('small', 'agent'))),
    (('objective',), *_choice(objectives.OBJECTIVES)),
    (('torso',), *_choice(torsos.TORSOS)),
    (('norm',), *_choice(norms.NORMS)),
    (('activation',), *_choice(('', *layers.ACTIVATIONS))),
    (('initializer',), *_choice(layers.INITIALIZERS)),
    (('compute_dtype',), *_choice(layers.COMPUTE_DTYPES)),
    (('distribution',), *_choice(DISTRIBUTIONS)),
    (('error_loss',), *_choice(losses.ERROR_LOSSES)),
    (('optimizer',), *_choice(optimizers.OPTIMIZERS)),
    (('num_envs', 'eval_envs', 'run_length', 'n_step', 'batch_size', 'steps_per_update',
      'updates_per_dispatch', 'target_update_period', 'replay_capacity', 'min_replay_size', 'width',
      'hidden_size', 'num_critics', 'num_atoms', 'probe_observations', 'probe_pool_size',
      'probe_targets', 'probe_steps', 'probe_batch_size', 'probe_lanczos_steps', 'steps_per_task',
      'trace_every'),
     lambda x: x >= 1, 'at least 1'),
    (('num_actors',), lambda x: x >= 0, 'at least 0; 0 is one process'),
    (('eval_every', 'probe_every', 'checkpoint_every'), lambda x: x >= 0,
     'at least 0; 0 turns it off'),
    (('bins',), lambda x: x >= 2, 'at least 2: a choice needs alternatives'),
    (('probe_inputs',), lambda x: x >= 2, 'at least 2: a kernel is of pairs'),
    (('seed',), lambda x: 0 <= x < NUM_SEEDS, f'from 0 to {NUM_SEEDS - 1}'),
    (('learning_rate', 'optimizer_epsilon', 'noisy_sigma', 'hl_gauss_sigma', 'initial_scale',
      'dueling_gradient'), lambda x: x > 0, 'above 0'),
    (('eval_length', 'eval_episodes', 'trace_steps', 'hidden_layers', 'random_shift', 'reward_clip',
      'exploration_decay_steps', 'auxiliary_outputs', 'max_gradient_norm', 'weight_decay',
      'priority_exponent'), lambda x: x >= 0, 'at least 0'),
    (('new_priority',),
     lambda x: not x or replay_types.MIN_PRIORITY <= x <= replay_types.MAX_PRIORITY,
     f'0, or from {replay_types.MIN_PRIORITY:g} to {replay_types.MAX_PRIORITY:g}'),
    (('adam_b1', 'adam_b2', 'label_smoothing'), lambda x: 0 <= x < 1, 'at least 0 and below 1'),
    (('discount', 'exploration_epsilon_begin', 'exploration_epsilon_end', 'eval_epsilon',
      'uniform_probability', 'importance_exponent_begin', 'importance_exponent_end'),
     lambda x: 0 <= x <= 1, 'from 0 to 1'),
)

# Settings that say nothing beside others: a run that somebody asked for with them would be the same
# without. Presets carry some of them, for when the others are changed.
_IDLE = (
    (('noisy_sigma', 'eval_noise'), 'noisy', lambda config: not config.noisy),
    (('exploration_epsilon_begin', 'exploration_epsilon_end', 'exploration_decay_steps'), 'noisy',
     lambda config: config.noisy),
    (('priority_exponent', 'uniform_probability', 'new_priority', 'importance_exponent_begin',
      'importance_exponent_end'), 'prioritized', lambda config: not config.prioritized),
    (('dueling_gradient', 'shared_hidden'), 'dueling', lambda config: not config.dueling),
    (('adam_b1', 'adam_b2'), 'optimizer', lambda config: config.optimizer == 'rmsprop'),
    (('num_atoms',), 'distribution', lambda config: config.distribution == 'none'),
    (('v_min', 'v_max'), 'distribution',
     lambda config: not DISTRIBUTIONS[config.distribution].has_support),
    (('hl_gauss_sigma',), 'distribution', lambda config: config.distribution != 'hl_gauss'),
    (('error_loss',), 'distribution', lambda config: config.distribution != 'none'),
    (('hidden_size', 'shared_hidden'), 'hidden_layers', lambda config: not config.hidden_layers),
    (('bins',), 'domain', lambda config: config.domain == 'atari'),
    (('eval_envs', 'eval_episodes', 'eval_epsilon', 'double', 'discount', 'n_step', 'reward_clip',
      'steps_per_update', 'updates_per_dispatch', 'target_update_period', 'replay_capacity',
      'min_replay_size', 'prioritized', 'exploration_epsilon_begin', 'exploration_epsilon_end',
      'exploration_decay_steps'),
     'objective', lambda config: config.objective != 'q_learning'),
)

# Bound on a reward where a domain has one of its own; supervised: of a bandit.
_MAX_REWARD = {'control': 1.0, 'supervised': 1.0}


def check(config: Any) -> None:
  """Raises UsageError where a Config breaks a rule, with the value and what to set instead."""
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if isinstance(value, float) and not math.isfinite(value):
      raise errors.UsageError(f'{field.name}={value}: must be finite')
  for names, holds, rule in _FIELDS:
    for name in names:
      value = getattr(config, name)
      if not holds(value):
        raise errors.UsageError(f'{name}={value}: must be {rule}')
  for rule in _BETWEEN_FIELDS:
    rule(config)
  if DISTRIBUTIONS[config.distribution].has_support:
    _check_support(config)


def check_said(configs: Sequence[Any], names: Iterable[str]) -> None:
  """Raises UsageError where a field of `names`, which somebody set, says nothing in any config."""
  for fields, other, is_idle in _IDLE:
    for name in fields:
      if name in names and all(map(is_idle, configs)):
        there = errors.shown(getattr(configs[0], other))
        _refuse(configs[0], name, f'says nothing where {other}={there}; leave it out')


def check_targets(config: Any, *targets: np.ndarray) -> None:
  """Raises UsageError where atoms cannot hold what is regressed on."""
  if config.objective != 'regression' or not DISTRIBUTIONS[config.distribution].has_support:
    return
  least, most = min(each.min() for each in targets), max(each.max() for each in targets)
  if config.v_min > least:
    _refuse(config, 'v_min', f'must hold targets down to {least:g}; set v_min={math.floor(least)}')
  if config.v_max < most:
    _refuse(config, 'v_max', f'must hold targets of up to {most:g}; set v_max={math.ceil(most)}')


def _refuse(config: Any, name: str, text: str) -> None:
  value = getattr(config, name)
  raise errors.UsageError(f'{name}={errors.shown(value)}: {text}')


def _sizes(config: Any) -> None:
  for name, bound in (
      ('min_replay_size', 'replay_capacity'), ('probe_pool_size', 'probe_observations')):
    if getattr(config, name) > getattr(config, bound):
      _refuse(config, name, f'must be at most {bound}={getattr(config, bound)}')
  most = max(config.probe_inputs, config.batch_size)
  if config.probe_kind == 'own_loss' and config.probe_pool_size > most:
    _refuse(config, 'probe_pool_size', f'must be at most {most} where probe_kind=own_loss, the '
            'larger of probe_inputs and batch_size')
  if config.trace_steps and config.objective == 'q_learning':
    _refuse(config, 'trace_steps', 'looks at the first updates on a task, and what is played is '
            'one; set trace_steps=0')
  if not config.eval_length and not config.eval_episodes:
    _refuse(config, 'eval_length', 'must be at least 1 where eval_episodes=0')
  if config.eval_episodes and config.eval_envs > config.eval_episodes:
    _refuse(config, 'eval_envs', f'must be at most eval_episodes={config.eval_episodes}')
  most = max(1, config.eval_length // config.units_per_step)
  if config.eval_length and config.eval_envs > most:
    _refuse(config, 'eval_envs', f'must be at most {most}, the agent steps of an evaluation of '
            f'eval_length={config.eval_length}')


def _network(config: Any) -> None:
  torso = torsos.TORSOS[config.torso]
  if config.observations == 'pixels' and not torso.takes_frames:
    others = ', '.join(name for name, row in torsos.TORSOS.items() if row.takes_frames)
    _refuse(config, 'torso', f'takes no frames, which observations=pixels are; set one of {others}')
  if config.norm == 'own' and not torso.has_own_norm:
    others = ', '.join(name for name, row in torsos.TORSOS.items() if row.has_own_norm)
    _refuse(config, 'norm', f'torso={config.torso} has none of its own; set norm=none, norm=layer '
            f'or torso to one of {others}')
  for name in ('norm_affine', 'hidden_bias'):
    if config.norm == 'none' and not getattr(config, name):
      _refuse(config, name, 'says nothing where norm=none; set norm=layer or leave it out')
  if config.random_shift and config.objective != 'q_learning':
    _refuse(config, 'random_shift', 'shifts transitions, which a stream of tasks has none of; set '
            'random_shift=0')
  if config.random_shift and not torso.takes_frames:
    _refuse(config, 'random_shift', f'torso={config.torso} takes no frames; set random_shift=0')


def _outputs(config: Any) -> None:
  if not config.shared_bias:
    return
  for name, off in (('dueling', False), ('noisy', False), ('distribution', 'none')):
    if getattr(config, name) != off:
      _refuse(config, 'shared_bias', 'one bias for all outputs contradicts '
              f'{name}={errors.shown(getattr(config, name))}; set shared_bias=false')


def _targets(config: Any) -> None:
  """What is said of a target distribution needs one."""
  if config.objective == 'classification':
    if config.distribution != 'none':
      _refuse(config, 'distribution', 'the outputs are classes already, without returns; set '
              'distribution=none, as without --interventions=so')
    return
  if DISTRIBUTIONS[config.distribution].has_support:
    return
  with_one = ', '.join(name for name, row in DISTRIBUTIONS.items() if row.has_support)
  for name in ('symlog', 'label_smoothing'):
    if getattr(config, name):
      _refuse(config, name, f'distribution={config.distribution} has no target distribution; set '
              f'it to one of {with_one}, as --interventions=so does')


def _timing(config: Any) -> None:
  """What an intervention does once must happen before the run ends."""
  for name, value in config.intervention_parameters:
    if name.endswith('.at') and value > config.num_updates:
      less = f'set less, as by --set={name}={max(1, config.num_updates // 4)}'
      raise errors.UsageError(
          f'{name}={value}: is after the end of this run, which makes {config.num_updates} '
          f'updates; {less if config.num_updates else "make it longer"}')


def _actors(config: Any) -> None:
  if config.num_actors and config.replay != 'reverb':
    _refuse(config, 'num_actors', 'actors of their own need --replay=reverb, which processes '
            f'share; this is replay={config.replay}')
  if config.actor_epsilon != 'same' and (config.noisy or config.num_actors < 2):
    _refuse(config, 'actor_epsilon', 'says nothing where noisy=true or num_actors is below 2; set '
            'actor_epsilon=same')


_BETWEEN_FIELDS = (_sizes, _network, _outputs, _targets, _timing, _actors)


def _check_support(config: Any) -> None:
  """Refuses atoms that cannot hold the returns.

  Where the domain bounds rewards, values do come near that bound's geometric sum. Where rewards
  are clipped they stay far below it (Atari's published support ends at 10, not at 100), so that
  only one reward must fit.
  """
  if config.num_atoms < 2:
    _refuse(config, 'num_atoms', f'must be at least 2 where distribution={config.distribution}')
  if config.num_atoms < 2 + 2 * config.atom_margin:
    _refuse(config, 'num_atoms', f'must be at least {math.ceil(2 + 2 * config.atom_margin)} where '
            f'hl_gauss_sigma={config.hl_gauss_sigma:g}')
  if config.v_min >= config.v_max:
    _refuse(config, 'v_min', f'must be below v_max={config.v_max}')
  if config.objective != 'q_learning':  # Targets are known only when they are drawn.
    return
  if config.domain in _MAX_REWARD and config.discount == 1:
    _refuse(config, 'discount', 'returns without a bound cannot be held by atoms; set it below 1 '
            'or distribution=quantile')
  if config.domain in _MAX_REWARD:
    least, most = 0.0, _MAX_REWARD[config.domain] / (1 - config.discount)
  elif config.reward_clip:
    least, most = -config.reward_clip, config.reward_clip
  else:
    _refuse(config, 'reward_clip', 'rewards without a bound cannot be held by '
            f'v_min={config.v_min} to v_max={config.v_max}; set reward_clip=1 or '
            'distribution=quantile')
  if config.v_max * (1 + 1e-6) < most:  # 1 / (1 - 0.99) is not 100 in binary.
    _refuse(config, 'v_max', f'must hold returns of up to {most:g}; set v_max={most:g}')
  if config.v_min > least:
    _refuse(config, 'v_min', f'must hold returns down to {least:g}; set v_min={least:g}')
