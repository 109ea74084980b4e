"""The memory that this process's C library hands out."""

import ctypes

# Of mallopt(3), in malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Of what is kept, the largest first: glibc before 2.35 takes 32 MB at most. What is larger, as a
# replay's frames, is mapped on its own.
_LARGEST_BYTES = 2**30, 2**25


def keep_freed() -> None:
  """Keeps what is freed for what is asked for next, where the C library is glibc.

  It returns blocks of 32 MB and more to the kernel, and XLA asks for such a block for each run of a
  program with large layers: all its pages are faulted in anew, a sixth of an update's time with
  `dopamine_dqn` (results/bench). Threads that have begun already may have heaps of their own, which
  hold blocks of 64 MB at most; so this is to be called early.
  """
  library = ctypes.CDLL(None)
  if not hasattr(library, 'mallopt'):
    return
  library.mallopt(_M_ARENA_MAX, 1)
  # The last without the ones before would have glibc map all that is larger than 128 kB.
  if any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST_BYTES):
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
