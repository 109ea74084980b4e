"""Charts as inline SVG whose colours are the page's, light or dark."""

import io
import re
from collections.abc import Callable
from typing import NamedTuple

import markupsafe
import matplotlib
import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker

from probes import ntk, run_data, wording

# Colours no one would draw with: each is replaced by a variable of the page's style sheet.
_VARIABLES = {
    '#a00001': '--agent', '#a00002': '--fresh', '#a00003': '--ink', '#a00004': '--rule',
    '#a00011': '--g1', '#a00012': '--g2', '#a00013': '--g3', '#a00014': '--g4', '#a00015': '--g5',
    '#a00016': '--g6', '#a00020': '--soft'}
_AGENT, _FRESH, _INK, _RULE, *_GROUPS, _REST = _VARIABLES
_DASHES = ('-', '--', '-.', ':', (0, (5, 1)), (0, (1, 1)))  # to be told apart without colours

_STYLE = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'pliant', 'font.size': 9, 'text.color': _INK,
    'axes.edgecolor': _RULE, 'axes.labelcolor': _INK, 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.grid': True, 'grid.color': _RULE, 'grid.linewidth': 0.5,
    'xtick.color': _RULE, 'ytick.color': _RULE, 'xtick.labelcolor': _INK, 'ytick.labelcolor': _INK,
    'legend.frameon': False, 'lines.linewidth': 1.6, 'lines.markersize': 3.5,
    'legend.handlelength': 1.4, 'legend.columnspacing': 1.2, 'legend.borderpad': 0.0,
}
_MAX_POINTS = 200  # A phone cannot show more, and the file stays small.


def learning_curve(
    results: list[run_data.Row], score: run_data.Score, unit: str) -> markupsafe.Markup:
  """Both columns of a score over the run."""
  frames = run_data.column(results, 'frame')

  def draw(axes: axes_lib.Axes) -> None:
    for name, label, color in ((score.other, score.other_label, _FRESH),
                               (score.column, score.label, _AGENT)):
      axes.plot(frames, run_data.column(results, name), _line(frames), color=color, label=label)
    axes.set(xlabel=unit, ylabel=score.title.lower())
    _time_axis(axes)

  return _svg(draw, f'{score.title} over the run')


def plasticity_lost(probes: list[run_data.Row], thresholds: np.ndarray,
                    unit: str) -> markupsafe.Markup:
  """Plasticity lost with its interval over the run, beside the threshold."""
  frames = run_data.column(probes, 'frame')
  names = ('plasticity_lost', 'plasticity_lost_low', 'plasticity_lost_high')
  lost, low, high = (run_data.column(probes, name) for name in names)

  def draw(axes: axes_lib.Axes) -> None:
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.plot(frames, thresholds, color=_FRESH, linestyle='--', label='counts as lost')
    axes.vlines(frames, low, high, color=_AGENT, alpha=0.45, linewidth=min(3, 90 / len(frames)))
    axes.plot(frames, lost, _line(frames), color=_AGENT, label='plasticity lost, 95% interval')
    axes.set(xlabel=unit, ylabel='plasticity lost')
    _time_axis(axes)

  return _svg(draw, 'Plasticity lost over the run')


class Curve(NamedTuple):
  """One number over the run, of some seeds."""
  frames: np.ndarray  # [P]
  values: np.ndarray  # [seeds, P]


def several(
    curves: dict[str, Curve], title: str, unit: str, logarithmic: bool) -> markupsafe.Markup:
  """Means over seeds with their range, by label; from the seventh on all look the same."""

  def draw(axes: axes_lib.Axes) -> None:
    for i, (label, (frames, values)) in enumerate(curves.items()):
      if not len(frames):
        continue
      color, dash = (_GROUPS[i], _DASHES[i]) if i < len(_GROUPS) else (_REST, '-')
      axes.fill_between(frames, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)
      axes.plot(frames, values.mean(0), color=color, linestyle=dash, label=label,
                marker='o' if len(frames) == 1 else None)
    axes.set(xlabel=unit, ylabel=title.lower(), yscale='log' if logarithmic else 'linear')
    _time_axis(axes)

  return _svg(draw, f'{title} over the run')


def probe_curves(curves: run_data.ProbeCurves, top: float) -> markupsafe.Markup:
  """Loss on the random targets: the agent's network and a fresh one; mean and range of targets."""

  def draw(axes: axes_lib.Axes) -> None:
    for values, label, color in ((curves.fresh, 'fresh network', _FRESH),
                                 (curves.agent, 'this network', _AGENT)):
      steps, values = _thin(values)
      axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.18, linewidth=0)
      axes.plot(steps, values.mean(0), color=color, label=label)
    axes.axhline(curves.constant, color=_INK, linestyle=':', linewidth=1, label='best constant')
    axes.set(xlabel='optimizer steps on random targets', ylabel='loss', ylim=(0, top))

  return _svg(draw, 'Loss on random targets, this network and a fresh one')


def probe_curves_top(probes: list[run_data.ProbeCurves]) -> float:
  """A common upper limit: all of the curves, but at most three times the targets' variance."""
  losses = [values for curves in probes for values in (curves.agent, curves.fresh)]
  highest = max((values[np.isfinite(values)].max(initial=0.0) for values in losses), default=0.0)
  return float(np.clip(1.1 * highest, 0.1, 1.5))


def spectra(states: list[tuple[str, run_data.State]]) -> markupsafe.Markup:
  """Singular values of the features at each of some times, and a fresh network's at the last."""

  def draw(axes: axes_lib.Axes) -> None:
    for i, (label, state) in enumerate(states, 1):
      axes.plot(state.singular_values, color=_AGENT, alpha=i / len(states), label=label)
    axes.plot(states[-1][1].fresh_singular_values, color=_FRESH, label='fresh network')
    # Below float32's precision are zeros, whose logarithms would leave the rest no room.
    top = max(values.max(initial=0.0) for values in (
        *(state.singular_values for _, state in states), states[-1][1].fresh_singular_values))
    axes.set(xlabel='index', ylabel='singular value', yscale='log')
    if 0 < top < np.inf:
      axes.set_ylim(1e-8 * top, 2 * top)

  return _svg(draw, 'Singular values of the features')


def kernel(matrix: np.ndarray, description: str) -> markupsafe.Markup:
  """[n, n] eNTK -> its cosines, similar inputs beside each other; colours from -1 to 1."""
  order = ntk.display_order(matrix)
  values = ntk.cosines(matrix)[np.ix_(order, order)]

  def draw(axes: axes_lib.Axes) -> None:
    axes.grid(False)
    axes.imshow(values, cmap='RdBu_r', vmin=-1, vmax=1, interpolation='nearest')
    axes.set(xticks=[], yticks=[])

  return _svg(draw, description)


def _thin(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Means over blocks of steps, so that at most `_MAX_POINTS` are left: [P], [K, P]."""
  num_steps = curves.shape[1]
  starts = np.arange(0, num_steps, -(-num_steps // _MAX_POINTS))
  widths = np.diff(np.append(starts, num_steps))
  return starts + (widths - 1) / 2, np.add.reduceat(curves, starts, axis=1) / widths


def _line(frames: np.ndarray) -> str:
  return 'o-' if len(frames) <= 40 else '-'


def _time_axis(axes: axes_lib.Axes) -> None:
  axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: wording.count(value)))


def _svg(draw: Callable[[axes_lib.Axes], None], description: str) -> markupsafe.Markup:
  """Draws without pyplot, which would keep global state, and makes the SVG fit for a page."""
  out = io.StringIO()
  with matplotlib.rc_context(_STYLE):
    figure = figure_lib.Figure(figsize=(4.6, 2.9), layout='constrained')
    axes = figure.subplots()
    draw(axes)
    if axes.get_legend_handles_labels()[0]:
      figure.legend(loc='outside upper left', ncols=3)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    figure.savefig(out, format='svg', metadata={'Date': None})
  return _inline(out.getvalue(), description)


def _inline(svg: str, description: str) -> markupsafe.Markup:
  """An SVG document as an element of a page: no header, no repeated identifiers, its colours."""
  svg = svg[svg.index('<svg'):]
  for pattern, replacement in (
      (r'<metadata>.*?</metadata>|<style.*?</style>| xmlns(:xlink)?="[^"]*"', ''),
      (r'<g id="[^"]*">', '<g>'),
      (r'font-family: [^;"]*', 'font-family: inherit'),
      (r'^<svg width="[^"]*" height="[^"]*"', f'<svg role="img" aria-label="{description}"')):
    svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
  for color, variable in _VARIABLES.items():
    svg = svg.replace(color, f'var({variable})')
  return markupsafe.Markup(svg)
