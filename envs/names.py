"""One wording for a name that is not known."""

import difflib
from collections.abc import Iterable


def unknown(argument: str, value: str, known: Iterable[str]) -> ValueError:
  """An error that names the argument, its value and the nearest known names, or all of them."""
  known = sorted(known)
  near = difflib.get_close_matches(value.lower(), known, n=3, cutoff=0.7)
  rule = f'did you mean {" or ".join(near)}?' if near else f'known are {", ".join(known)}'
  return ValueError(f'{argument}={value}: unknown; {rule}')
