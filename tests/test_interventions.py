"""The table of interventions: what is read, set, refused; what each does is tested beside it."""

import dataclasses
import itertools
import math
import pathlib
import re

import pytest

from agents import choice, errors, interventions, mechanism, presets
from agents import config as config_lib

FIELDS = {field.name: field for field in dataclasses.fields(config_lib.Config)}


def resolve(*words, domain='atari', agent='dqn', **overrides):
  return config_lib.resolve(domain, 'task', agent, words, overrides)


def test_interventions_are_settings_in_any_order():
  plain = resolve()
  configs = [resolve(*words) for words in itertools.permutations(('ln', 'wd', 'l2'))]
  assert all(config == configs[0] for config in configs)
  changed = {name for name in FIELDS if getattr(plain, name) != getattr(configs[0], name)}
  assert changed == {'interventions', 'intervention_parameters', 'norm', 'weight_decay'}
  assert configs[0].interventions == ('l2', 'ln', 'wd')
  assert configs[0].intervention_parameters == (('l2.scope', 'all'), ('l2.strength', 1e-5))


@pytest.mark.parametrize('text, found', [
    ('', {}), (' ln , wd', {'ln': {}, 'wd': {}}), ('ln,', {'ln': {}}), ('ln()', {'ln': {}}),
    ('l2(strength=1e-3,scope=kernels),ln',
     {'l2': {'strength': '1e-3', 'scope': 'kernels'}, 'ln': {}}),
    ('l2( strength = 1 )', {'l2': {'strength': '1'}})])
def test_names_and_parameters_are_read(text, found):
  assert choice.parse(text) == found


def test_a_parameter_sets_its_field_or_the_mechanism():
  config = resolve('wd(strength=0.5)', 'l2(strength=0.25)')
  assert config.weight_decay == 0.5
  assert dict(config.intervention_parameters)['l2.strength'] == 0.25


def test_set_is_stronger_than_a_default_and_than_a_field():
  assert dict(resolve('l2', **{'l2.strength': '2'}).intervention_parameters) == {
      'l2.scope': 'all', 'l2.strength': 2.0}
  assert resolve('wd', weight_decay=0.5).weight_decay == 0.5
  assert resolve('wd', **{'wd.strength': '0.25'}).weight_decay == 0.25


@pytest.mark.parametrize('words, overrides, message', [
    (['l2inti'], {}, 'interventions=l2inti: unknown; did you mean '),
    (['ln', 'wd', 'ln'], {}, 'interventions=ln: given twice; name each once'),
    (['l2(strength)'], {}, 'interventions=l2(strength): must be PARAMETER=VALUE'),
    (['l2(strength=1'], {}, 'interventions=l2(strength=1: must be NAME or NAME(PARAMETER=VALUE,'),
    (['l2(size=1)'], {}, 'interventions=l2: parameter=size: unknown; known are scope, strength'),
    (['l2(strength=0)'], {}, 'l2.strength=0: must be above 0'),
    (['l2(strength=much)'], {}, 'l2.strength=much: must be a number'),
    (['l2(scope=some)'], {}, 'l2.scope=some: must be one of all, kernels'),
    (['cbp(decay=1)'], {}, 'cbp.decay=1: must be at least 0 and below 1'),
    (['wd(strength=0)'], {}, 'wd.strength=0: must be above 0'),
    (['ls(part=0)', 'so'], {}, 'ls.part=0: must be above 0'),
    (['wd'], {'weight_decay': 0.0}, 'set=weight_decay=0.0: must be above 0 where'),
    (['layer_norm'], {}, 'interventions=layer_norm: unknown; did you mean ln?'),
    (['Shrink-and-perturb'], {}, 'interventions=Shrink-and-perturb: unknown; did you mean sp?'),
    (['ln+wd'], {}, 'interventions=ln+wd: names must be separated by commas'),
    (['sn(iterations=1)'], {}, 'interventions=sn(iterations=…): sn has no parameters'),
    (['l2(strength=nan)'], {}, 'l2.strength=nan: must be a number'),
    (['l2(strength=1,strength=2)'], {}, 'interventions=l2(strength=2): strength is set twice'),
    (['ln'], {'norm': 'none'}, 'set=norm=none: --interventions=ln sets norm=layer; leave one out'),
    (['nap'], {'hidden_bias': True}, 'set=hidden_bias=true: --interventions=nap sets hidden_bias='),
    (['redo'], {'count_each': False}, 'set=count_each=false: --interventions=redo sets'),
    (['inject'], {'injection': False}, 'set=injection=false: --interventions=inject sets'),
    (['so'], {'distribution': 'none'},
     'set=distribution=none: must be one of two_hot, hl_gauss where --interventions=so'),
    (['infer'], {'auxiliary_outputs': 0}, 'set=auxiliary_outputs=0: must be at least 1 where'),
    (['so(atoms=6)'], {}, 'num_atoms=6: must be at least 7 where hl_gauss_sigma=0.75'),
    ([], {'l2.scope': 'all'},
     'set=l2.scope: must be of an intervention in use; add --interventions=l2'),
    (['l2'], {'l2.scop': 'all'}, 'set=l2.scop: unknown; did you mean l2.scope')])
def test_what_cannot_be_is_refused(words, overrides, message):
  with pytest.raises(errors.UsageError) as caught:
    resolve(*words, **overrides)
  assert str(caught.value).startswith(message)


def test_two_that_set_one_field_apart_are_refused(monkeypatch):
  row = interventions.TABLE['ln']._replace(settings={'norm': 'none'})
  monkeypatch.setattr(interventions, 'TABLE', {**interventions.TABLE, 'plain': row})
  with pytest.raises(errors.UsageError, match='plain: sets norm=none, but ln sets norm=layer'):
    resolve('plain', 'ln')


def test_conflicts_name_rows_and_are_refused_in_both_orders():
  for some, others, reason in interventions.CONFLICTS:
    assert {*some, *others} <= interventions.TABLE.keys() and reason
    for one, other in itertools.product(some, others):
      for pair in ((one, other), (other, one)) if one != other else ():
        with pytest.raises(errors.UsageError, match=re.escape(reason)):
          resolve(*pair)


@pytest.mark.parametrize('name', interventions.TABLE)
def test_a_row_is_complete(name):
  row = interventions.TABLE[name]
  assert row.summary and row.paper and row.touches and row.kind
  assert row.settings or row.parameters or row.mechanism
  for key, parameter in row.parameters.items():
    assert key.isidentifier()
    holds, rule = parameter.rule
    assert holds(parameter.default)
    if parameter.field:
      assert parameter.field in FIELDS and type(parameter.default) is FIELDS[parameter.field].type
    else:
      assert row.mechanism and rule
      assert not isinstance(parameter.default, float) or not holds(math.nan)
  assert row.settings.keys() <= FIELDS.keys()


def test_other_names_are_none_of_the_tables_and_lead_to_its_rows():
  for others, table in ((interventions.OTHER_NAMES, interventions.TABLE),
                        (presets.OTHER_NAMES, presets.PRESETS),
                        (config_lib.OTHER_NAMES, FIELDS)):
    assert set(others.values()) <= table.keys() and not others.keys() & table.keys()
    assert all(re.fullmatch('[a-z0-9]+', name) for name in others)


FOLDER = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize('name', interventions.TABLE)
def test_a_name_stands_in_its_row_alone(name):
  """Outside the table no code asks for an intervention by its quoted name."""
  quoted = re.compile(rf"""['"]{name}['"]""")
  for folder in ('agents', 'networks', 'probes', 'replay', 'envs'):
    for path in (FOLDER / folder).rglob('*.py'):
      lines = path.read_text().splitlines()
      found = [line for line in lines if quoted.search(line)]
      if path.name == 'interventions.py':
        assert any(re.match(rf"    '{name}': ", line) for line in found)
        found = [line for line in found if 'interventions' in line]
      elif path.name == 'experiments.py':
        continue  # It says, as a user would, which ones an experiment compares.
      elif name in (
          'rms', 'hybrid', 'leaky', 'gelu', 'crelu', 'tanh', 'fourier', 'muon'):
        continue  # Rows of other tables are called what the field calls them.
      assert not found, (path, found)


def test_periodic_changes_happen_at_their_updates_only():
  import jax.numpy as jnp

  from agents.state import LearnerState

  def change(key, state, memory, observations):
    return state, memory + 1

  periodic = mechanism.every(3, change)
  memory = jnp.zeros(())
  counts = []
  for num_updates in range(1, 8):
    state = LearnerState({}, {}, (), None, jnp.int32(num_updates), {})
    _, memory = periodic(None, state, memory, None)
    counts.append(int(memory))
  assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_what_excludes_what_is_what_is_refused():
  """Of each pair the listing says what resolving it does, on an agent that takes both."""
  for one, other in itertools.combinations(interventions.TABLE, 2):
    listed = other in choice.excluded(one)
    assert listed == (one in choice.excluded(other))
    try:
      resolve(one, other, **{f'{name}.at': '1' for name in (one, other)
                             if 'at' in interventions.TABLE[name].parameters})
      refused = False
    except errors.UsageError as error:
      refused = 'label_smoothing' not in str(error)  # Without `so` dqn has nothing to smooth.
    assert listed == refused, (one, other)


def test_a_row_is_described_with_all_that_a_user_needs():
  text = choice.described('redo')
  for words in ('redo: every `period` updates', 'Sokar et al. 2023', 'touches: state, moments',
                'parameters: period=1000, tau=0.025', 'not with inject: the frozen heads',
                'not with trac: '):
    assert words in text


def test_what_happens_once_happens_before_the_end():
  with pytest.raises(errors.UsageError) as caught:
    resolve('inject', run_length=1_600_000)
  assert str(caught.value) == (
      'inject.at=3125000: is after the end of this run, which makes 87501 updates; set less, as '
      'by --set=inject.at=21875')
  assert resolve('inject', run_length=1_600_000, **{'inject.at': '25000'})
  # A dispatch of 8 is every 32 steps, of which 1,562 are before the replay has its 50,000.
  with pytest.raises(errors.UsageError, match='which makes 87504 updates'):
    resolve('inject', run_length=1_600_000, updates_per_dispatch=8)


def test_smoothing_needs_a_target_distribution():
  with pytest.raises(errors.UsageError, match='label_smoothing=0.05: distribution=none has no tar'):
    resolve('ls')
  assert resolve('ls', 'so').label_smoothing == 0.05 and resolve('ls', agent='c51')


def test_the_pages_table_is_the_generated_one():
  from benchmarks import interventions as benchmark
  page = benchmark.PAGE.read_text()
  rows = benchmark.read(benchmark.RESULTS / 'costs.csv')
  assert {row['name'] for row in rows} == set(interventions.TABLE)
  assert page == benchmark.with_table(page, benchmark.table(rows))
