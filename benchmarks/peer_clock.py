"""How many updates a second a peer makes. Peers' programs import this and nothing else of ours."""

import time
from collections.abc import Callable

_AT_ONCE = 5  # updates between two looks at the clock; the first of them compile


def updates_per_second(
    update: Callable[[], object], seconds: float,
    wait: Callable[[], object] = lambda: None) -> float:
  """Of `update`, over so many seconds; `wait` returns when what was begun is done."""
  def some() -> None:
    for _ in range(_AT_ONCE):
      update()
    wait()

  some()
  some()
  done, start = 0, time.perf_counter()
  while time.perf_counter() - start < seconds:
    some()
    done += _AT_ONCE
  return done / (time.perf_counter() - start)
