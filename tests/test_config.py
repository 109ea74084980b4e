"""Presets, interventions, overrides and every rule of Config."""

import dataclasses
import re

import pytest

from agents import config as config_lib
from agents import errors


def resolve(domain='atari', agent='double_dqn', names=(), overrides=None, **flags):
  return config_lib.resolve(domain, 'pong', agent, names, overrides or {}, **flags)


def test_control_has_decqns_settings():
  config = resolve('control')
  published = dict(  # Seyde et al. 2023, but three bins
      bins=3, optimizer='adam', learning_rate=1e-4, max_gradient_norm=40.0, batch_size=256,
      discount=0.99, n_step=3, target_update_period=100, steps_per_update=8,
      replay_capacity=1_000_000, min_replay_size=1_000, exploration_epsilon_begin=0.1,
      exploration_epsilon_end=0.1, reward_clip=0.0, torso='residual_mlp', double=True)
  assert {name: getattr(config, name) for name in published} == published


def test_flags_are_stronger_than_presets_and_overrides_than_flags():
  assert resolve(n_step=5).n_step == 5
  assert resolve(overrides={'n_step': 7}, n_step=5).n_step == 7
  assert resolve(names=['wd'], overrides={'weight_decay': 0.5}).weight_decay == 0.5


@pytest.mark.parametrize('words, parsed', [
    (['n_step=3'], {'n_step': 3}), (['replay_capacity=1_000'], {'replay_capacity': 1000}),
    (['double=True'], {'double': True}), (['discount=1e-1'], {'discount': 0.1}),
    (['norm=layer', 'bins=5'], {'norm': 'layer', 'bins': 5})])
def test_overrides_are_typed(words, parsed):
  assert config_lib.parse_overrides(words) == parsed


@pytest.mark.parametrize('words, message', [
    (['nstep=3'], 'set=nstep: unknown; did you mean n_step'),
    (['zzzzzz=3'], 'set=zzzzzz: unknown; known are activation, '),
    (['n_step=x'], 'set=n_step=x: must be a whole number'),
    (['n_step=1.5'], 'set=n_step=1.5: must be a whole number'),
    (['double=maybe'], 'set=double=maybe: must be true or false'),
    (['discount=high'], 'set=discount=high: must be a number'),
    (['n_step'], 'set=n_step: must be name=value'),
    (['agent=dqn'], 'set=agent=dqn: agent has a flag of its own'),
    (['interventions=ln'], 'set=interventions=ln: interventions has a flag of its own'),
    (['n_step=2', 'n_step=3'], 'set=n_step=3: n_step is set twice')])
def test_bad_overrides_are_refused(words, message):
  with pytest.raises(errors.UsageError) as caught:
    config_lib.parse_overrides(words)
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize('change, message', [
    ({'unit': 'hours'}, 'unit=hours: must be one of frames, steps'),
    ({'replay': 'disk'}, 'replay=disk: must be one of local, device, reverb'),
    ({'probe_optimizer': 'sgd'}, 'probe_optimizer=sgd: must be one of small, agent'),
    ({'torso': 'vgg'}, 'torso=vgg: must be one of nature'),
    ({'norm': 'group'}, 'norm=group: must be one of none, own, layer, rms, batch, hybrid'),
    ({'initializer': 'zeros'}, 'initializer=zeros: must be one of'),
    ({'optimizer': 'sgd'}, 'optimizer=sgd: must be one of adam, rmsprop'),
    ({'num_envs': 0}, 'num_envs=0: must be at least 1'),
    ({'run_length': 0}, 'run_length=0: must be at least 1'),
    ({'batch_size': -1}, 'batch_size=-1: must be at least 1'),
    ({'updates_per_dispatch': 0}, 'updates_per_dispatch=0: must be at least 1'),
    ({'eval_every': -1}, 'eval_every=-1: must be at least 0; 0 turns it off'),
    ({'bins': 1}, 'bins=1: must be at least 2'),
    ({'seed': -1}, 'seed=-1: must be from 0 to 2147483647'),
    ({'learning_rate': 0.0}, 'learning_rate=0.0: must be above 0'),
    ({'learning_rate': float('nan')}, 'learning_rate=nan: must be finite'),
    ({'weight_decay': -1e-3}, 'weight_decay=-0.001: must be at least 0'),
    ({'discount': 1.5}, 'discount=1.5: must be from 0 to 1'),
    ({'min_replay_size': 2_000_000},
     'min_replay_size=2000000: must be at most replay_capacity=1000000'),
    ({'probe_kind': 'own_loss', 'probe_pool_size': 65, 'batch_size': 32},
     'probe_pool_size=65: must be at most 64 where probe_kind=own_loss'),
    ({'probe_pool_size': 2000},
     'probe_pool_size=2000: must be at most probe_observations=1024')])
def test_every_rule_is_kept(change, message):
  with pytest.raises(errors.UsageError) as caught:
    resolve(overrides=change)
  assert str(caught.value).startswith(message)


ATARI, C51 = dict(domain='atari'), dict(domain='control', agent='c51')


@pytest.mark.parametrize('settings, change, message', [
    (ATARI, {'dueling': True},
     'shared_bias=true: one bias for all outputs contradicts dueling=true; set shared_bias=false'),
    (ATARI, {'noisy': True}, 'shared_bias=true: one bias for all outputs contradicts noisy=true'),
    (ATARI, {'distribution': 'quantile'},
     'shared_bias=true: one bias for all outputs contradicts distribution=quantile'),
    (ATARI, {'norm': 'own'},
     'norm=own: torso=nature has none of its own; set norm=none, norm=layer or torso to one of '
     'drq, residual_mlp'),
    (ATARI, {'norm_affine': False},
     'norm_affine=false: says nothing where norm=none; set norm=layer or leave it out'),
    (ATARI, {'hidden_bias': False}, 'hidden_bias=false: says nothing where norm=none'),
    (dict(domain='control'), {'random_shift': 4},
     'random_shift=4: torso=residual_mlp takes no frames; set random_shift=0'),
    (dict(domain='control', observations='pixels'), {'torso': 'residual_mlp'},
     'torso=residual_mlp: takes no frames, which observations=pixels are; set one of nature, '),
    (ATARI, {'eval_length': 0}, 'eval_length=0: must be at least 1 where eval_episodes=0'),
    (ATARI, {'eval_envs': 4, 'eval_episodes': 3}, 'eval_envs=4: must be at most eval_episodes=3'),
    (C51, {'num_atoms': 1},
     'num_atoms=1: must be at least 2 where distribution=categorical'),
    (C51, {'v_max': 10.0}, 'v_max=10.0: must hold returns of up to 100; set v_max=100'),
    (C51, {'discount': 0.999},
     'v_max=100.0: must hold returns of up to 1000; set v_max=1000'),
    (C51, {'discount': 1.0},
     'discount=1.0: returns without a bound cannot be held by atoms; set it below 1 or '
     'distribution=quantile'),
    (C51, {'v_min': 1.0}, 'v_min=1.0: must hold returns down to 0; set v_min=0'),
    (C51, {'v_min': 200.0}, 'v_min=200.0: must be below v_max=100.0'),
    (dict(domain='atari', agent='c51'), {'v_max': 0.5},
     'v_max=0.5: must hold returns of up to 1; set v_max=1'),
    (dict(domain='atari', agent='c51'), {'v_min': 0.0},
     'v_min=0.0: must hold returns down to -1; set v_min=-1'),
    (dict(domain='atari', agent='rainbow'), {'reward_clip': 0.0},
     'reward_clip=0.0: rewards without a bound cannot be held by v_min=-10.0 to v_max=10.0; set '
     'reward_clip=1 or distribution=quantile')])
def test_settings_that_contradict_each_other_are_refused(settings, change, message):
  with pytest.raises(errors.UsageError) as caught:
    resolve(overrides=change, **settings)
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize('agent, change', [
    ('c51', {'distribution': 'quantile', 'v_max': 10.0}), ('dqn', {'v_max': 1.0})])
def test_a_support_counts_only_where_it_is_used(agent, change):
  assert resolve(agent=agent, overrides=change).v_max == change['v_max']


def test_unknown_agent_is_refused():
  with pytest.raises(errors.UsageError, match='agent=duble_dqn: unknown; did you mean double_dqn'):
    resolve(agent='duble_dqn')


def test_every_setting_is_listed_with_what_it_is_where_nothing_else_is_said():
  lines = [line for line in config_lib.described() if re.match(r'\w+: ', line)]
  fields = {field.name: field for field in dataclasses.fields(config_lib.Config)}
  listed = {line.partition(':')[0] for line in lines}
  assert fields.keys() - listed == set(config_lib.IDENTITY)
  assert 'probe_steps: int = 200  # optimiser steps on each target' in lines
  assert 'prioritized: bool = False' in lines
