"""Both ways that a pure function is tried: compiled, and as it stands."""

import jax
import pytest

WAYS = pytest.mark.parametrize('wrap', [jax.jit, lambda f: f], ids=['jit', 'plain'])
