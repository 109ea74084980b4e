"""How the whole loop's speed and memory change as its work grows: for results/growth.

    python -m benchmarks.growth results/growth [--rounds=5]

DQN on Pong with a local replay, as in `benchmarks.compare`, one setting changed at a time. Every
point is a process of its own, all of them by turns; a row is a median over rounds.
"""

import pathlib
import statistics
import sys
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from benchmarks import compare

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib import ticker

_LAYERS = ('ln', 'wd', 'so', 'l2init', 'redo', 'parseval')


class Sweep(NamedTuple):
  """A setting, and what each of its values changes in `compare.SETTINGS`."""
  label: str
  points: dict[int, dict[str, Any]]


SWEEPS = {
    'batch_size': Sweep('batch size', {n: dict(batch_size=n) for n in (8, 32, 64, 128, 256)}),
    'width': Sweep(
        "channels of the convolutions, times dqn_zoo's",
        {n: dict(overrides=dict(width=n)) for n in (1, 2, 3, 4)}),
    'num_envs': Sweep(
        'environments', {n: dict(overrides=dict(num_envs=n)) for n in (1, 2, 4, 8, 16)}),
    'replay_capacity': Sweep(
        'transitions in replay', {n: dict(replay_capacity=n, stored=n)
                                  for n in (10_000, 100_000, 300_000, 1_000_000)}),
    'interventions': Sweep(
        'interventions: ' + ', '.join(_LAYERS), {
            n: dict(interventions=_LAYERS[:n]) for n in range(len(_LAYERS) + 1)}),
}


def measure(rounds: int) -> list[dict[str, Any]]:
  """A row for each point."""
  changes = {(name, value): changed
             for name, sweep in SWEEPS.items() for value, changed in sweep.points.items()}
  commands = dict.fromkeys(changes, (sys.executable, '-m', 'benchmarks.whole_loop', 'local'))
  rows = []
  for (name, value), runs in compare.by_turns(commands, rounds, changes).items():
    rates = [run['frames_per_second'] for run in runs]
    rows.append(dict(
        setting=name, value=value, frames_per_second=round(statistics.median(rates), 1),
        least=round(min(rates), 1), most=round(max(rates), 1),
        megabytes=round(statistics.median(run['bytes'] for run in runs) / 1e6)))
  return rows


def milliseconds(rows: list[dict[str, Any]]) -> tuple[float, float]:
  """Of an agent step at value 0, and for each one more, by least squares."""
  slope, begin = np.polyfit(
      [row['value'] for row in rows], [4e3 / row['frames_per_second'] for row in rows], 1)
  return float(begin), float(slope)


def draw(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
  """Frames/s by each setting, and memory by transitions in replay."""
  panels = [(name, 'frames_per_second') for name in SWEEPS] + [('replay_capacity', 'megabytes')]
  figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), layout='constrained')
  for axis, (name, column) in zip(axes.flat, panels, strict=True):
    own = [row for row in rows if row['setting'] == name]
    values = [row['value'] for row in own]
    heights = np.array([row[column] for row in own])
    spread = None
    if column == 'frames_per_second':
      spread = [heights - [row['least'] for row in own], [row['most'] for row in own] - heights]
    axis.errorbar(values, heights, spread, marker='o', capsize=3)
    axis.set(xlabel=SWEEPS[name].label, ylabel=column.replace('_', ' '), ylim=(0, None))
    ticks = values
    if column == 'megabytes':  # a straight line
      ticks = (0, 500_000, 1_000_000)
    elif name not in ('interventions', 'width'):
      axis.set_xscale('log')
    axis.set_xticks(ticks)
    axis.minorticks_off()
    axis.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))  # 100k
  figure.savefig(path, dpi=110)


def main() -> None:
  """See the top."""
  arguments = compare.read_arguments(__doc__, rounds=5)
  rows = measure(arguments.rounds)
  compare.write_table(arguments.folder / 'growth.csv', rows)
  draw(arguments.folder / 'growth.png', rows)
  print('| setting | value | frames/s | least | most | memory, MB |', '|---' * 6 + '|', sep='\n')
  for row in rows:
    print('| ' + ' | '.join(map(str, row.values())) + ' |')
  for name in SWEEPS:
    own = [row for row in rows if row['setting'] == name]
    print('{}: {:.4g} ms an agent step at 0, and {:.3g} for each one more'.format(
        name, *milliseconds(own)))


if __name__ == '__main__':
  main()
