"""Presets, interventions, overrides and every rule of Config."""

import dataclasses
import itertools

import pytest

from agents import config as config_lib
from agents import errors, interventions


def resolve(domain='atari', agent='double_dqn', names=(), overrides=None, **flags):
  return config_lib.resolve(domain, 'pong', agent, names, overrides or {}, **flags)


def test_dqn_has_the_published_settings():
  config = resolve(agent='dqn')
  published = dict(  # dqn_zoo's dqn/run_atari.py; its periods in frames are 4 agent steps' worth
      torso='nature', initializer='uniform_fan_in', shared_bias=False, double=False, discount=0.99,
      n_step=1, reward_clip=1.0, batch_size=32, steps_per_update=16 // 4,
      target_update_period=40_000 // 16, optimizer='rmsprop', learning_rate=0.00025,
      optimizer_epsilon=0.01 / 32**2, replay_capacity=1_000_000, min_replay_size=50_000,
      prioritized=False, exploration_epsilon_begin=1.0, exploration_epsilon_end=0.1,
      exploration_decay_steps=int(0.02 * 200_000_000) // 4, eval_epsilon=0.05, norm='none',
      weight_decay=0.0, max_gradient_norm=0.0, run_length=200_000_000, eval_length=500_000)
  assert {name: getattr(config, name) for name in published} == published


def test_double_dqn_differs_from_dqn_as_published():
  dqn, double = (dataclasses.asdict(resolve(agent=a)) for a in ('dqn', 'double_dqn'))
  assert {k: v for k, v in double.items() if v != dqn[k]} == dict(
      agent='double_dqn', double=True, target_update_period=120_000 // 16,
      exploration_epsilon_end=0.01, eval_epsilon=0.01, shared_bias=True)


def test_control_has_decqns_settings():
  config = resolve('control')
  published = dict(  # Seyde et al. 2023, but three bins
      bins=3, optimizer='adam', learning_rate=1e-4, max_gradient_norm=40.0, batch_size=256,
      discount=0.99, n_step=3, target_update_period=100, steps_per_update=8,
      replay_capacity=1_000_000, min_replay_size=1_000, exploration_epsilon_begin=0.1,
      exploration_epsilon_end=0.1, reward_clip=0.0, torso='residual_mlp', double=True)
  assert {name: getattr(config, name) for name in published} == published


def test_interventions_are_settings_in_any_order():
  plain = resolve()
  configs = [resolve(names=names) for names in itertools.permutations(interventions.TABLE)]
  assert all(config == configs[0] for config in configs)
  changed = {f.name for f in dataclasses.fields(plain)
             if getattr(plain, f.name) != getattr(configs[0], f.name)}
  assert changed == {'interventions', 'norm', 'weight_decay'}
  assert configs[0].interventions == ('ln', 'wd')


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
    (['zzzzzz=3'], 'set=zzzzzz: unknown; known are agent, '),
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
    ({'replay': 'disk'}, 'replay=disk: must be one of reverb, local'),
    ({'probe_optimizer': 'sgd'}, 'probe_optimizer=sgd: must be one of small, agent'),
    ({'torso': 'vgg'}, 'torso=vgg: must be one of nature'),
    ({'norm': 'batch'}, 'norm=batch: must be one of none, own, layer'),
    ({'initializer': 'zeros'}, 'initializer=zeros: must be one of'),
    ({'optimizer': 'sgd'}, 'optimizer=sgd: must be one of adam, rmsprop'),
    ({'num_envs': 0}, 'num_envs=0: must be at least 1'),
    ({'run_length': 0}, 'run_length=0: must be at least 1'),
    ({'batch_size': -1}, 'batch_size=-1: must be at least 1'),
    ({'eval_every': -1}, 'eval_every=-1: must be at least 0; 0 turns it off'),
    ({'bins': 1}, 'bins=1: must be at least 2'),
    ({'seed': -1}, 'seed=-1: must be from 0 to 2147483647'),
    ({'learning_rate': 0.0}, 'learning_rate=0.0: must be above 0'),
    ({'learning_rate': float('nan')}, 'learning_rate=nan: must be finite'),
    ({'weight_decay': -1e-3}, 'weight_decay=-0.001: must be at least 0'),
    ({'discount': 1.5}, 'discount=1.5: must be from 0 to 1'),
    ({'min_replay_size': 2_000_000},
     'min_replay_size=2000000: must be at most replay_capacity=1000000'),
    ({'probe_pool_size': 2000},
     'probe_pool_size=2000: must be at most probe_observations=1024')])
def test_every_rule_is_kept(change, message):
  with pytest.raises(errors.UsageError) as caught:
    resolve(overrides=change)
  assert str(caught.value).startswith(message)


@pytest.mark.parametrize('names, message', [
    (['nl'], 'interventions=nl: unknown; did you mean ln?'),
    (['zzz'], 'interventions=zzz: unknown; known are ln, wd'),
    (['ln', 'wd', 'ln'], 'interventions=ln: given twice; name each once')])
def test_bad_interventions_are_refused(names, message):
  with pytest.raises(errors.UsageError) as caught:
    resolve(names=names)
  assert str(caught.value) == message


def test_unknown_agent_is_refused():
  with pytest.raises(errors.UsageError, match='agent=duble_dqn: unknown; did you mean double_dqn'):
    resolve(agent='duble_dqn')


def test_interventions_that_contradict_each_other_are_refused(monkeypatch):
  row = interventions.Intervention('', '', {'norm': 'none'})
  monkeypatch.setattr(interventions, 'TABLE', {**interventions.TABLE, 'plain': row})
  with pytest.raises(errors.UsageError, match='sets norm=none, but ln sets norm=layer'):
    resolve(names=['ln', 'plain'])
