"""What `make bench` found over time, on whatever machine: a table, and history.png beside records.

    python -m benchmarks.history results/bench

Reads every *.json there. Ratios are geometric means of rounds, with 95% intervals; rounds of parts
are by turns from 2026-11-28 on.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from benchmarks import bench, compare

matplotlib.use('Agg')
from matplotlib import pyplot as plt

_RENAMED = {'actor: environment and network': 'actor: network, environments: 1'}
_LOCAL, _DEVICE, _REVERB = (f'Pliant, {kind} replay' for kind in ('local', 'device', 'reverb'))
_ALONE, _ACTING = 'environment and updates alone', 'acting and updates alone'


class Panel(NamedTuple):
  """Ratios of one kind: label -> what was measured, and what it is measured by."""
  title: str
  targets: tuple[float, ...]
  ratios: Mapping[str, tuple[str, str]]


PANELS = (
    Panel('whole loop, times as fast (at least 2.1)', (2.1,), {
        'local replay over Stable-Baselines3': (_LOCAL, 'Stable-Baselines3'),
        'device replay over Stable-Baselines3': (_DEVICE, 'Stable-Baselines3'),
        'Reverb over Stable-Baselines3': (_REVERB, 'Stable-Baselines3'),
        "local replay over Dopamine, both with its padding": (
            f'{_LOCAL}, nature_same', 'Dopamine')}),
    Panel("frames/s over the bare emulator's (at least 0.6)", (0.6,), {
        'environment alone': ('environment', bench.ALE), **{
            f'acting, environments: {count}': (f'actor: network, environments: {count}', bench.ALE)
            for count in bench.ACTED}}),
    Panel("share of the matrices' bound (at least 0.6)", (0.6,), {
        f'update, {agent}': (f'flop, {agent}', bench.MATRICES) for agent in bench.LEARNERS}),
    Panel('times as long', (1.15, 1.3, 1.5), {
        'a batch, local replay over a plain gather (at most 1.5)': (bench.GATHER, 'replay, local'),
        'Control, loop over its parts (at most 1.3)': (_ALONE, bench.CONTROL.loop),
        'Control, loop over its parts and acting': (_ACTING, bench.CONTROL.loop),
        'whole loop, Reverb over local replay (at most 1.15)': (_LOCAL, _REVERB)}),
)


def speeds_of(record: Mapping[str, Any]) -> dict[str, Sequence[float]]:
  """All that a record holds, by name: a speed for each round."""
  speeds = {_RENAMED.get(name, name): part['values'] for name, part in record['parts'].items()}
  speeds |= record.get('comparison', {}).get('frames_per_second', {})
  for agent, update in record.get('updates', {}).items():
    speeds[f'flop, {agent}'] = [update['flop'] / 1e6 * rate for rate in speeds[f'learner, {agent}']]
  if 'control' in record:
    period = record['control']['steps_per_update']
    speeds[_ALONE] = bench.alone(speeds, period)
    if bench.CONTROL.actor in speeds:
      speeds[_ACTING] = bench.alone(speeds, period, bench.CONTROL.actor)
  return speeds


def find(records: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, compare.Ratio]]:
  """Label -> record -> ratio, where the record has it."""
  speeds = {name: speeds_of(record) for name, record in records.items()}
  return {
      label: {name: compare.ratio(own[ours], own[over]) for name, own in speeds.items()
              if ours in own and over in own}
      for panel in PANELS for label, (ours, over) in panel.ratios.items()}


def about(record: Mapping[str, Any]) -> str:
  """Where and with what it was measured."""
  machine = record['machine']
  processor = machine['processor'].replace('(R)', '').removesuffix(' Processor')
  return f'{processor}, JAX {machine["versions"]["jax"]}'


def table(records: Mapping[str, Mapping[str, Any]],
          found: Mapping[str, Mapping[str, compare.Ratio]]) -> Iterator[str]:
  """Lines of Markdown: a column for each record."""
  names = tuple(records)
  yield '| | ' + ' | '.join(names) + ' |'
  yield '|---' * (1 + len(names)) + '|'
  yield '| machine | ' + ' | '.join(map(about, records.values())) + ' |'
  for label, ratios in found.items():
    cells = ('{:.2f} ({:.2f} to {:.2f})'.format(*ratios[name]) if name in ratios else ''
             for name in names)
    yield f'| {label} | ' + ' | '.join(cells) + ' |'


def draw(path: pathlib.Path, names: Sequence[str],
         found: Mapping[str, Mapping[str, compare.Ratio]]) -> None:
  """A panel for each kind of ratio, targets dashed."""
  figure, panels = plt.subplots(2, 2, figsize=(12, 9.6), layout='constrained')
  for axis, panel in zip(panels.flat, PANELS, strict=True):
    for i, label in enumerate(panel.ratios):
      own = [(names.index(name), ratio) for name, ratio in found[label].items()]
      if own:
        places, ratios = zip(*own, strict=True)
        mean, low, high = np.array(ratios).T
        axis.errorbar(np.array(places) + 0.05 * i, mean, (mean - low, high - mean), marker='o',
                      capsize=3, label=label)
    for target in panel.targets:
      axis.axhline(target, color='grey', linestyle='--', linewidth=1)
    axis.set_title(panel.title)
    axis.set_xticks(range(len(names)), names, fontsize=7, rotation=30, ha='right')
    axis.set(xlim=(-0.3, len(names) - 0.5), ylim=(0, None))
    axis.legend(fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.14))
  figure.savefig(path, dpi=110)


def main() -> None:
  """See the top."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  folder = parser.parse_args().folder
  records = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))}
  found = find(records)
  print('\n'.join(table(records, found)))
  draw(folder / 'history.png', tuple(records), found)


if __name__ == '__main__':
  main()
