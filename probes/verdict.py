"""Whether the network can still learn, in words, with the numbers that say so."""

import math
from typing import NamedTuple

import numpy as np

from probes import run_data
from probes.wording import count, interval, number, percent, times

THRESHOLD = 0.1  # Plasticity is lost where more than this part of a fresh network's is.
# Where neither network gains this part of what there is to gain, the probe tells nothing.
MIN_GAIN = 0.2
_USUAL_BASELINE = 0.5  # of probes before version 4


class Verdict(NamedTuple):
  """The first thing a reader sees."""
  outcome: str  # kept, lost, undecided, unknown
  headline: str
  reasons: list[str]


class Tile(NamedTuple):
  """One number that stands out."""
  label: str
  value: str
  note: str


def threshold(row: run_data.Row) -> float:
  """The plasticity lost from which on it counts as lost."""
  return THRESHOLD * max(row.get('plasticity_fresh', math.nan), _least(row))


def _least(row: run_data.Row) -> float:
  return MIN_GAIN * row.get('baseline', _USUAL_BASELINE)


def is_blind(row: run_data.Row) -> bool:
  """Whether neither network learned enough of the targets for the probe to tell anything."""
  return max(_get(row, 'plasticity'), _get(row, 'plasticity_fresh')) < _least(row)


def judge(probes: list[run_data.Row]) -> Verdict:
  """Judges the last probe against its fresh network."""
  if not probes:
    return Verdict('unknown', 'No probe was made: whether it can still learn is unknown.', [])
  row = probes[-1]
  num_invalid = row.get('invalid_targets', 0.0)
  if math.isnan(_get(row, 'plasticity')) and num_invalid > 0:
    return Verdict('lost', 'The network is broken: it can no longer learn.', [
        f'Trained on {num_invalid:.0f} random targets, it ended with a finite loss on none.'])
  if math.isnan(_get(row, 'plasticity_lost')):
    return Verdict('unknown', 'The last probe holds no result.', [])
  return Verdict(*_outcome(row), _reasons(probes))


def _outcome(row: run_data.Row) -> tuple[str, str]:
  low, high = _get(row, 'plasticity_lost_low'), _get(row, 'plasticity_lost_high')
  if is_blind(row):
    return 'undecided', 'Undecided: this probe cannot tell.'
  if math.isnan(low):
    return 'undecided', 'Undecided: fewer than two targets give no interval.'
  if low > threshold(row):
    return 'lost', 'Plasticity was lost.'
  if high < -threshold(row):
    return 'kept', 'The network can still learn, and better than a fresh one.'
  if high < threshold(row):
    return 'kept', 'The network can still learn.'
  return 'undecided', 'Undecided: the interval reaches across the threshold.'


def _reasons(probes: list[run_data.Row]) -> list[str]:
  row = probes[-1]
  low, high = _get(row, 'plasticity_lost_low'), _get(row, 'plasticity_lost_high')
  fresh = _get(row, 'plasticity_fresh')
  reasons = [
      f'Plasticity lost: {number(_get(row, "plasticity_lost"))} {interval(low, high)} against the '
      f'{number(fresh)} of a freshly initialised network.',
      f'Above {number(threshold(row))}, a tenth of that, it counts as lost.']
  if is_blind(row):
    reasons[1] = ('In it not even a fresh network learns: give it more steps, fewer observations '
                  'or another optimizer.')
  elif low <= 0 <= high:
    reasons.append('The 95% interval holds 0.')
  if min(_get(row, 'plasticity'), fresh) > (1 - THRESHOLD) * row.get('baseline', _USUAL_BASELINE):
    reasons.append('Both networks came near the end of what there is to learn: what is judged is '
                   'where they ended, and the curves show which was faster.')
  if 'num_targets' in row and 'num_steps' in row:
    reasons.append(f'The probe: {row["num_targets"]:.0f} targets, {row["num_steps"]:.0f} steps '
                   'on each; a larger one, --probe_size=paper, measures with more care.')
  if len(probes) > 1:
    reasons.append(f'At the first probe it was {number(_get(probes[0], "plasticity_lost"))}'
                   f'{_since_first(row)}.')
  if row.get('invalid_targets', 0.0) > 0:
    reasons.append(f'Left out: {row["invalid_targets"]:.0f} target(s) without a finite loss.')
  return reasons


def _since_first(row: run_data.Row) -> str:
  """What the run itself has cost, where the probes say so."""
  since = _get(row, 'lost_since_first')
  if math.isnan(since):
    return ''
  bounds = interval(_get(row, 'lost_since_first_low'), _get(row, 'lost_since_first_high'))
  return f'; since then it lost {number(since)} {bounds}'


def _get(row: run_data.Row, name: str) -> float:
  return row.get(name, math.nan)


def tiles(run: run_data.Run) -> list[Tile]:
  """The run in a few numbers; only those it has."""
  found = [_play_tile(run.results)]
  if run.probes:
    found += [_plasticity_tile(run.probes[-1]), _dead_tile(run.probes[-1]), _norm_tile(run.probes)]
  return [tile for tile in found if tile]


def _play_tile(results: list[run_data.Row]) -> Tile | None:
  score = run_data.score(results)
  values = run_data.column(results, score.column)
  if np.isnan(values).all():
    return None
  best = int(score.best(values))
  note = f'best {number(values[best])} at {count(results[best]["frame"])}'
  if len(results) > 1:
    note += f', first {number(values[0])}'
  if results[-1].get('eval_num_episodes') == 0:
    note += '; the last one saw no episode to its end: its return so far'
  normalized = _get(results[-1], 'normalized_return')
  if math.isfinite(normalized):
    note += f'; human-normalised {number(normalized)}'
  return Tile(score.title, number(values[-1]), note)


def _plasticity_tile(row: run_data.Row) -> Tile:
  bounds = interval(_get(row, 'plasticity_lost_low'), _get(row, 'plasticity_lost_high'))
  return Tile('Plasticity lost', number(_get(row, 'plasticity_lost')),
              f'{bounds} against a fresh network’s {number(_get(row, "plasticity_fresh"))}')


def _dead_tile(row: run_data.Row) -> Tile | None:
  layers = run_data.group(row, 'dead')
  if not layers:
    return None
  worst = max(layers, key=lambda name: np.nan_to_num(layers[name], nan=-1.0))
  where = f'worst layer {worst}, {percent(layers[worst])}' if layers[worst] else 'in no layer'
  note = f'{where}; fresh network {percent(_get(row, "fresh_dead/total"))}'
  return Tile('Dead units', percent(_get(row, 'dead/total')), note)


def _norm_tile(probes: list[run_data.Row]) -> Tile | None:
  first, last = run_data.group(probes[0], 'norm'), run_data.group(probes[-1], 'norm')
  if not last:
    return None
  before, after = _get(probes[0], 'norm/total'), _get(probes[-1], 'norm/total')
  if len(probes) == 1:
    return Tile('Parameter norm', number(after), 'one probe, so its growth is unknown')
  growth = {name: last[name] / first[name] for name in last if first.get(name)}
  most = max(growth, key=lambda name: np.nan_to_num(growth[name], nan=-1.0), default='')
  note = f'{number(before)} to {number(after)}'
  if most:
    note += f'; most in {most}, {times(growth[most])}'
  return Tile('Parameter norm', times(after / before) if before else number(after), note)
