"""rlax, imported without TensorFlow.

TensorFlow Probability, which rlax rests on, imports it for the sake of docstrings where it is
installed, as beside Reverb. That takes seconds of every start.
"""

import sys

_HIDDEN = 'tensorflow'

_is_new = _HIDDEN not in sys.modules
if _is_new:
  sys.modules[_HIDDEN] = None  # An import of it fails, as where it is not installed.
try:
  import rlax  # noqa: F401
finally:
  if _is_new:
    del sys.modules[_HIDDEN]
