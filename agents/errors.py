"""Errors a user can mend: one line with the argument's name, its value and the rule."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any


class UsageError(ValueError):
  """A bad argument, refused before anything is built."""


class RunError(RuntimeError):
  """A run that cannot go on, with the cause in words."""


def unknown(
    name: str, value: str, known: Iterable[str],
    other_names: Mapping[str, str] = {}) -> UsageError:
  """The error for a value that is not in a table, with the nearest that are.

  `other_names` are what else people call some of them, in small letters and digits alone.
  """
  known = sorted(known)
  small = {one.lower(): one for one in known}
  plain = re.sub('[^a-z0-9]', '', value.lower())
  near = [other_names[plain]] if plain in other_names else [
      small[one] for one in difflib.get_close_matches(value.lower(), small)]
  hint = f'did you mean {" or ".join(near)}?' if near else f'known are {", ".join(known)}'
  return UsageError(f'{name}={value}: unknown; {hint}')


def shown(value: Any) -> str:
  """A value, as a user types it."""
  return str(value).lower() if isinstance(value, bool) else str(value)


_WORDS = {bool: 'true or false', int: 'a whole number, in digits', float: 'a number'}


def mistyped(name: str, text: str, kind: type) -> UsageError:
  """The error for a word that is no value of the type."""
  return UsageError(f'{name}={text}: must be {_WORDS[kind]}')


def typed(name: str, text: str, kind: type) -> Any:
  """A value of the type, from a word on the command line.

  Raises:
    UsageError: the word is no such value.
  """
  try:
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is int:
      return int(text.replace('_', ''))
    value = kind(text)
    if kind is float and math.isnan(value):  # which is not even equal to itself
      raise ValueError
    return value
  except (KeyError, ValueError):
    raise mistyped(name, text, kind) from None
