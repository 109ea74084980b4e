"""Flags in, their values or the help text out; imports nothing that is slow to import."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import flags

from agents import errors

_INTERNAL = {'flagfile', 'undefok'}  # the library's own
_KINDS = {'int': int, 'float': float, 'bool': bool}  # what the library calls them


def read_flags(
    argv: Sequence[str], define: Callable[[flags.FlagValues], None],
    other_names: Mapping[str, str] = {}) -> flags.FlagValues | str:
  """The values of the flags that `define` defines; the help text where that is asked for.

  `other_names` are of `errors.unknown`.

  Raises:
    UsageError: a flag is unknown or has no such value; the text is one line.
  """
  values = flags.FlagValues()
  define(values)
  flags.DEFINE_bool('help', False, 'show this', short_name='h', flag_values=values)
  try:
    rest = values(argv)
  except (flags.Error, ValueError) as error:  # the latter of --noname=value
    raise _refused(values, error, other_names) from None
  if values.help:
    return _help(values)
  if len(rest) > 1:
    raise errors.UsageError(f'argument={rest[1]}: must be a flag, as in --name=value')
  return values


def show(text: str) -> None:
  """Prints what was asked for; a pager that is closed before its end is no error."""
  try:
    print(text, flush=True)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is flushed at the exit


def _refused(
    values: flags.FlagValues, error: Exception,
    other_names: Mapping[str, str]) -> errors.UsageError:
  """What the library refuses, in the words of all other refusals."""
  if isinstance(error, flags.UnrecognizedFlagError):
    return errors.unknown('flag', error.flagname, _names(values), other_names)
  text = ' '.join(str(error).split())
  match = re.match(r'flag --(\w+)=(.*?): ', text)
  kind = match and _KINDS.get(values[match[1]].flag_type())
  return errors.mistyped(*match.groups(), kind) if kind else errors.UsageError(text)


def _help(values: flags.FlagValues) -> str:
  own = (values[name] for name in sorted(_names(values)))
  return '\n'.join(
      f'--{flag.name}: {" ".join(flag.help.split())}{_default(flag)}' for flag in own)


def _names(values: flags.FlagValues) -> set[str]:
  return {values[name].name for name in values} - _INTERNAL  # -h is --help too


def _default(flag: flags.Flag) -> str:
  return '' if flag.default in (None, '', []) else f' (default: {flag.default_as_str})'


def define_probe_size(to: flags.FlagValues, default: str = 'small') -> None:
  """Defines --probe_size, which `script.probe_size` reads; the default may be empty."""
  flags.DEFINE_string(
      'probe_size', default, 'of the random-target probe: small, paper; the paper\'s takes the '
      'agent\'s own optimizer', flag_values=to)


def listed(table: str, tables: Mapping[str, Callable[[], Iterable[str]]]) -> str:
  """What --list prints of one of the tables, a line each.

  Raises:
    UsageError: there is no such table.
  """
  if table not in tables:
    raise errors.unknown('list', table, tables)
  return '\n'.join(tables[table]())


def names(text: str) -> list[str]:
  """What a comma-separated flag names."""
  return [name.strip() for name in text.split(',') if name.strip()]
