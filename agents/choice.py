"""Interventions as a user asks for them: read, checked against each other, described, built."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from agents import errors, interventions
from agents.mechanism import Mechanism
from networks import types


class Chosen(NamedTuple):
  """Some interventions, checked."""
  names: tuple[str, ...]  # sorted
  settings: dict[str, Any]  # Config fields
  parameters: tuple[tuple[str, Any], ...]  # ('redo.period', 1000), …, sorted


def parse(text: str, flag: str = 'interventions') -> dict[str, dict[str, str]]:
  """ln,redo(period=1000,tau=0.1) -> {ln: {}, redo: {period: 1000, tau: 0.1}}, all text.

  `flag` is what errors call it.

  Raises:
    UsageError: the text cannot be read, or a name or parameter is given twice.
  """
  found = {}
  for word in re.findall(r'(?:[^,(]|\([^)]*\)?)+', text):
    match = re.fullmatch(r'\s*([^(\s]+)\s*(?:\((.*)\))?\s*', word)
    if not match:
      raise errors.UsageError(
          f'{flag}={word.strip()}: must be NAME or NAME(PARAMETER=VALUE,...), '
          'separated by commas')
    name, inside = match.groups()
    if name in found:
      raise errors.UsageError(f'{flag}={name}: given twice; name each once')
    found[name] = {}
    for part in filter(str.strip, (inside or '').split(',')):
      parameter, value = _assignment(flag, name, part)
      if parameter in found[name]:
        raise errors.UsageError(f'{flag}={name}({part.strip()}): {parameter} is set twice')
      found[name][parameter] = value
  return found


def _assignment(flag: str, name: str, text: str) -> tuple[str, str]:
  parameter, equals, value = (part.strip() for part in text.partition('='))
  if not equals:
    raise errors.UsageError(f'{flag}={name}({text.strip()}): must be PARAMETER=VALUE')
  return parameter, value


def choose(asked: Mapping[str, Mapping[str, str]], overrides: Mapping[str, str]) -> Chosen:
  """What some interventions set, whatever their order.

  Args:
    asked: intervention -> parameter -> value, as text.
    overrides: 'redo.period' -> value, as text.

  Raises:
    UsageError: a name or parameter is unknown, a value breaks its rule, or two exclude each other.
  """
  _check_known(asked)
  given = {name: dict(values) for name, values in sorted(asked.items())}
  for dotted, value in overrides.items():
    name, _, parameter = dotted.partition('.')
    if name not in interventions.TABLE or parameter not in interventions.TABLE[name].parameters:
      raise errors.unknown('set', dotted, (
          f'{other}.{key}' for other, row in interventions.TABLE.items() for key in row.parameters))
    if parameter in asked.get(name, ()):
      raise errors.UsageError(
          f'set={dotted}: --interventions={name}({parameter}={asked[name][parameter]}) sets it, '
          'too; leave one out')
    if name not in given:
      raise errors.UsageError(f'set={dotted}: must be of an intervention in use; add '
                              f'--interventions={name}')
    given[name][parameter] = value
  _check_conflicts(tuple(given))
  settings, parameters = _settings(given), []
  for name, values in given.items():
    for parameter, row in interventions.TABLE[name].parameters.items():
      if not row.field:
        parameters.append((f'{name}.{parameter}', _value(name, parameter, values)))
  return Chosen(tuple(given), settings, tuple(sorted(parameters)))


def check_overrides(names: Iterable[str], overrides: Mapping[str, Any]) -> None:
  """Refuses settings, by field of Config, with which an intervention would not be what it is."""
  for name in names:
    row = interventions.TABLE[name]
    for field, value in row.settings.items():
      if overrides.get(field, value) != value:
        raise errors.UsageError(
            f'set={field}={errors.shown(overrides[field])}: --interventions={name} sets '
            f'{field}={errors.shown(value)}; leave one out')
    for parameter in row.parameters.values():
      holds, rule = parameter.rule
      if parameter.field in overrides and not holds(overrides[parameter.field]):
        raise errors.UsageError(
            f'set={parameter.field}={errors.shown(overrides[parameter.field])}: must be {rule} '
            f'where --interventions={name}')


def _check_known(names: Iterable[str]) -> None:
  for name in names:
    if '+' in name:  # as folders of runs have it
      raise errors.UsageError(f'interventions={name}: names must be separated by commas')
    if name not in interventions.TABLE:
      raise errors.unknown(
          'interventions', name, interventions.TABLE, interventions.OTHER_NAMES)


def _check_conflicts(names: tuple[str, ...]) -> None:
  for one, other, reason in _conflicts():
    if one in names and other in names:
      raise errors.UsageError(f'interventions={one},{other}: {reason}; leave one out')


def _conflicts() -> Iterator[tuple[str, str, str]]:
  """(one, other, reason) of each pair that the table refuses."""
  for some, others, reason in interventions.CONFLICTS:
    yield from ((one, other, reason) for one in some for other in others if one != other)


def _settings(given: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
  merged, setter = {}, {}
  for name, values in given.items():
    row = interventions.TABLE[name]
    for parameter in values:
      if parameter not in row.parameters:
        if not row.parameters:
          raise errors.UsageError(f'interventions={name}({parameter}=…): {name} has no parameters')
        raise errors.unknown(f'interventions={name}: parameter', parameter, row.parameters)
    own = row.settings | {
        parameter.field: _value(name, key, values)
        for key, parameter in row.parameters.items() if parameter.field}
    for field, value in own.items():
      if merged.get(field, value) != value:
        raise errors.UsageError(
            f'interventions={name}: sets {field}={value}, but {setter[field]} sets '
            f'{field}={merged[field]}; leave one out')
      merged[field], setter[field] = value, name
  return merged


def _value(name: str, parameter: str, values: Mapping[str, str]) -> Any:
  row = interventions.TABLE[name].parameters[parameter]
  if parameter not in values:
    return row.default
  text = values[parameter]
  value = errors.typed(f'{name}.{parameter}', text, type(row.default))
  holds, rule = row.rule
  if not holds(value):
    raise errors.UsageError(f'{name}.{parameter}={text}: must be {rule}')
  return value


def excluded(name: str) -> dict[str, str]:
  """The interventions that one cannot go with, and why."""
  own, reasons = _settings({name: {}}), {}
  for one, other, reason in _conflicts():
    if name in (one, other):
      reasons[other if name == one else one] = reason
  for other in interventions.TABLE:
    theirs = _settings({other: {}})
    apart = [field for field in own if theirs.get(field, own[field]) != own[field]]
    if apart:
      reasons[other] = f'it sets another {", ".join(apart)}'
  return reasons


def described(name: str) -> str:
  """A row in words: what it does, its source, parameters, what it touches and cannot go with."""
  row, others = interventions.TABLE[name], {}
  for other, reason in excluded(name).items():
    others.setdefault(reason, []).append(other)
  parameters = ', '.join(
      f'{key}={errors.shown(parameter.default)}' for key, parameter in row.parameters.items())
  lines = [f'{name}: {row.summary} ({row.paper})', f'    touches: {row.touches}']
  lines += [f'    parameters: {parameters}'] if parameters else []
  lines += [f'    not with {", ".join(names)}: {reason}' for reason, names in others.items()]
  return '\n'.join(lines)


def mechanisms(
    names: Iterable[str], parameters: Iterable[tuple[str, Any]],
    network: types.QNetwork) -> dict[str, Mechanism]:
  """What the learner calls, by intervention; those that are settings alone have nothing here."""
  values = dict(parameters)
  built = {}
  for name in names:
    row = interventions.TABLE[name]
    if row.mechanism:
      own = {key: values[f'{name}.{key}']
             for key, parameter in row.parameters.items() if not parameter.field}
      built[name] = row.mechanism(network, **own)
  return built
