"""Pictures of an experiment: curves, first updates after a change, tangent kernels."""

import pathlib
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib import figure as figure_lib

from agents import probing
from agents.supervised import curves as curves_lib
from agents.supervised import findings
from probes import ntk

_TRACED = ('entropy', 'dead/total', 'linear/total', 'aligned')
_MOST_COLOURS = 10


def draw(curves: curves_lib.Curves) -> figure_lib.Figure:
  """Means and ranges over seeds, over the run (left) and over its last quarter (right)."""
  height = max(3.6, 0.2 * len(curves.values))  # a line for each way
  figure = figure_lib.Figure(figsize=(9, height), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
  ranked = curves_lib.ranked(curves)
  for i, (name, values) in enumerate(curves.values.items()):
    color = f'C{i}' if len(ranked) <= _MOST_COLOURS else '0.6'
    left.fill_between(curves.steps[name], values.min(0), values.max(0), color=color, alpha=0.15,
                      linewidth=0)
    left.plot(curves.steps[name], values.mean(0), color=color, label=name)
    found = findings.interval(findings.late(values))
    place = ranked.index(name)
    right.plot(found.mean, place, 'o', color=color)
    if np.isfinite(found.low):
      right.hlines(place, found.low, found.high, color=color)
  label = curves.metric.replace('_', ' ')
  left.set(xlabel='updates', ylabel=label)
  right.set(xlabel=f'{label},\nlast quarter, 95% interval', yticks=range(len(ranked)),
            yticklabels=ranked)
  if curves.metric in curves_lib.LOGARITHMIC:
    left.set_yscale('log')
    right.set_xscale('log')
  if 1 < len(ranked) <= _MOST_COLOURS:
    left.legend(fontsize=8)
  return figure


def draw_kernels(folders: Mapping[str, pathlib.Path]) -> figure_lib.Figure:
  """Of a run of each way the last eNTK: cosines (above) and norms of gradients (below)."""
  kernels = {}
  for name, folder in folders.items():
    path = max((folder / 'probes').glob('*.npz'), key=lambda path: int(path.stem), default=None)
    found = path and probing.read_arrays(path)
    if not found:  # damaged, as the way's own report says
      continue
    kernels.setdefault('a fresh network', found['fresh_ntk'])
    kernels[name] = found['agent_ntk']
  figure = figure_lib.Figure(figsize=(2.4 * len(kernels), 4.4), layout='constrained')
  above, below = figure.subplots(
      2, max(1, len(kernels)), height_ratios=(2, 1), squeeze=False)
  for (name, kernel), top, bottom in zip(kernels.items(), above, below, strict=False):
    order = ntk.display_order(kernel)
    top.imshow(ntk.cosines(kernel)[np.ix_(order, order)], cmap='RdBu_r', vmin=-1, vmax=1)
    top.set(title=textwrap.fill(name, 20, break_long_words=False), xticks=[], yticks=[])
    norms = np.sqrt(np.diag(kernel))
    bottom.bar(range(len(norms)), np.sort(norms)[::-1] / norms.mean(), width=1)
    bottom.set(xticks=[], xlabel='inputs')
  below[0].set(ylabel='norm of the gradient,\nover its mean')
  return figure


def draw_traces(rows: dict[str, list[list[dict[str, str]]]]) -> figure_lib.Figure:
  """What the first updates after a change do, means over seeds and the later half of changes."""
  figure = figure_lib.Figure(figsize=(12, 3.2), layout='constrained')
  panels = figure.subplots(1, len(_TRACED))
  for i, (name, seeds) in enumerate(rows.items()):
    last = max(int(row['iteration']) for row in seeds[0])
    late = [row for seed in seeds for row in seed if 2 * int(row['iteration']) >= last]
    since = sorted({int(row['since_change']) for row in late})
    for panel, column in zip(panels, _TRACED, strict=True):
      means = [np.mean([float(row[column]) for row in late if int(row['since_change']) == step])
               for step in since]
      panel.plot(since, means, color=f'C{i % _MOST_COLOURS}', label=name)
      panel.set(title=column, xlabel='updates since the change')
  panels[0].legend(fontsize=8)
  return figure
