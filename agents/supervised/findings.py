"""Stated tests on curves of several seeds: is the shape there that a paper reports?

Most look at means over the last quarter of the tasks, one a seed; all give 95% t intervals. Seeds
of two ways saw the same tasks, so that ways are compared in pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from probes import groups

Curves = Mapping[str, np.ndarray]  # way -> [seeds, tasks], the more the better


class Finding(NamedTuple):
  """What a test says."""
  holds: bool | None  # None: the intervals do not decide
  text: str


class Interval(NamedTuple):
  """A mean over seeds with its 95% t interval; infinite with one seed."""
  mean: float
  low: float
  high: float


def interval(values: np.ndarray, num_comparisons: int = 1) -> Interval:
  """[seeds] -> their mean and its interval, as wide as so many at once need (Bonferroni)."""
  mean = float(np.mean(values))
  if len(values) < 2 or not np.isfinite(values).all():
    return Interval(mean, -np.inf, np.inf)
  half = groups.half_width(values, num_comparisons)
  return Interval(mean, mean - half, mean + half)


def late(curves: np.ndarray) -> np.ndarray:
  """[seeds, tasks] -> [seeds] means over the last quarter of the tasks."""
  return curves[:, -max(1, curves.shape[1] // 4):].mean(axis=1)


def difference(curves: Curves, one: str, other: str, num_comparisons: int = 1) -> Interval:
  """How much better `one` is late, in pairs of seeds."""
  return interval(late(curves[one]) - late(curves[other]), num_comparisons)


MARGIN = 0.05  # a lead below it is a tie


def best_or_tied(name: str, above: str = '') -> Callable[[Curves], Finding]:
  """No way leads `name` by MARGIN or more, and `name` is better than `above`."""
  def test(curves: Curves) -> Finding:
    others = [other for other in curves if other != name]
    gaps = {other: difference(curves, other, name, len(others)) for other in others}
    better = [other for other, gap in gaps.items() if gap.low > 0]
    told = [f'{name}: {_shown(interval(late(curves[name])))}',
            f'better than it: {", ".join(better) or "none"}']
    verdicts = [False if gap.low > MARGIN else True if gap.high < MARGIN else None
                for gap in gaps.values()]
    if above in curves:
      lead = late(curves[name]) - late(curves[above])
      told.append(f'its lead on {above}: {_shown(interval(lead))}')
      verdicts.append(_sign(lead))
    return Finding(_all(verdicts), '; '.join(told))

  return test


def _sign(values: np.ndarray, num_signs: int = 1) -> bool | None:
  """Whether the mean of [seeds] is above zero, one of so many signs that all must be.

  Where all must hold each is tested alone; that one does not, of all together (Bonferroni).
  """
  if interval(values).low > 0:
    return True
  return False if interval(values, num_signs).high < 0 else None


def _all(verdicts: Sequence[bool | None]) -> bool | None:
  """False where one is, else None where one is."""
  return False if False in verdicts else None if None in verdicts else True


def ordered(names: Sequence[str]) -> Callable[[Curves], Finding]:
  """Each way is better than the next."""
  return each_ordered((names,))


def each_ordered(orders: Sequence[Sequence[str]]) -> Callable[[Curves], Finding]:
  """In each of several orders each way is better than the next."""
  pairs = [pair for names in orders for pair in zip(names, names[1:], strict=False)]

  def test(curves: Curves) -> Finding:
    gaps = [late(curves[one]) - late(curves[other]) for one, other in pairs]
    return Finding(_all([_sign(gap, len(pairs)) for gap in gaps]), '; '.join(
        f'{one} over {other}: {_shown(interval(gap))}'
        for (one, other), gap in zip(pairs, gaps, strict=True)))

  return test


def beyond_margin(names: Sequence[str]) -> Callable[[Curves], Finding]:
  """What is measured of each way is more than MARGIN away from zero."""
  def test(curves: Curves) -> Finding:
    sizes = {name: np.abs(late(curves[name])) for name in names}
    return Finding(
        _all([_sign(size - MARGIN, len(names)) for size in sizes.values()]),
        '; '.join(f'{name}: {_shown(interval(size))}' for name, size in sizes.items()))

  return test


def at_first(test: Callable[[Curves], Finding]) -> Callable[[Curves], Finding]:
  """The same of the first task alone."""
  return lambda curves: test({name: values[:, :1] for name, values in curves.items()})


def grows(names: Sequence[str]) -> Callable[[Curves], Finding]:
  """Each way's last value is above its first."""
  def test(curves: Curves) -> Finding:
    gains = {name: curves[name][:, -1] - curves[name][:, 0] for name in names}
    return Finding(_all([_sign(gain, len(names)) for gain in gains.values()]), '; '.join(
        f'{name}, last less first: {_shown(interval(gain))}' for name, gain in gains.items()))

  return test


def growing_gap(one: str, other: str) -> Callable[[Curves], Finding]:
  """The lead of `one` on `other` grows from the first quarter of the tasks to the last."""
  def test(curves: Curves) -> Finding:
    leads = curves[one] - curves[other]
    growth = late(leads) - late(leads[:, ::-1])
    return Finding(_sign(growth), f'the lead of {one} on {other}, last quarter less first: '
                          f'{_shown(interval(growth))}')

  return test


def _shown(value: Interval) -> str:
  return f'{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]'
