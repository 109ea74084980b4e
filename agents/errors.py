"""Errors a user can mend: one line with the argument's name, its value and the rule."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
  """A bad argument, refused before anything is built."""


def unknown(name: str, value: str, known: Iterable[str]) -> UsageError:
  """The error for a value that is not in a table, with the nearest that are."""
  known = sorted(known)
  near = difflib.get_close_matches(value, known, cutoff=0.5)
  hint = f'did you mean {" or ".join(near)}?' if near else f'known are {", ".join(known)}'
  return UsageError(f'{name}={value}: unknown; {hint}')
