"""The memory that this process's C library hands out."""

import ctypes

# Of mallopt(3), in malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 2**30  # bytes; what is larger, as a replay's frames, is mapped on its own


def keep_freed() -> None:
  """Keeps what is freed for what is asked for next, where the C library is glibc.

  It returns blocks of 32 MB and more to the kernel, and XLA asks for such a block for each run of a
  program with large layers: all its pages are faulted in anew, a sixth of an update's time with
  `dopamine_dqn` (results/bench).
  To be called before threads begin: those other than the first have heaps of 64 MB at most.
  """
  library = ctypes.CDLL(None)
  if hasattr(library, 'mallopt'):
    library.mallopt(_M_ARENA_MAX, 1)
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
