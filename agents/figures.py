"""What is left of a supervised experiment: curves.csv, figure.png and .svg, report.md."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure as figure_lib

from agents import experiments, findings, metrics, probing, supervised_cli
from agents.config import Config
from probes import comparison, files, ntk

# What makes numbers of a metric the more the better; of the others they are so.
_MERITS = {
    'squared_error': lambda values: -np.log10(values),  # by orders of magnitude
    'mean_squared_error': lambda values: -np.log10(values),
    'plasticity_lost': lambda values: -values,
    'dead/total': lambda values: -values, 'linear/total': lambda values: -values}
_TRACED = ('entropy', 'dead/total', 'linear/total', 'aligned')
_MOST_COLOURS = 10


def write(command: supervised_cli.Command) -> pathlib.Path:
  """Makes the experiment's files from those of its runs; returns report.md.

  curves.csv has a row for each way, seed and task: the columns of the runs' results.csv. figure.csv
  has what is drawn, of whichever file it is.
  """
  row = experiments.EXPERIMENTS[command.experiment]
  rows = {name: _rows(command, name) for name in ('results', 'trace', 'probes')}
  _write_csv(command.folder / 'curves.csv', rows['results'], command.arms[0].configs)
  counted = {name: [_last_of_each_task(one) for one in seeds]
             for name, seeds in rows[row.file].items()}
  curves = {name: np.array([[float(one[row.metric]) for one in seed] for seed in seeds])
            for name, seeds in counted.items()}
  steps = {name: np.array([float(one['frame']) for one in seeds[0]])
           for name, seeds in counted.items()}
  _write_csv(command.folder / 'figure.csv', {
      name: [[dict(frame=one['frame'], **{row.metric: one[row.metric]}) for one in seed]
             for seed in seeds] for name, seeds in counted.items()}, command.arms[0].configs)
  _save(draw(steps, curves, row.metric), command.folder, 'figure')
  if any(seed for seeds in rows['trace'].values() for seed in seeds):
    _write_csv(command.folder / 'trace.csv', rows['trace'], command.arms[0].configs)
    _save(draw_traces(rows['trace']), command.folder, 'transient')
  if any(seed for seeds in rows['probes'].values() for seed in seeds):
    _save(draw_kernels(command), command.folder, 'entk')
  if len([folder for arm in command.arms for folder in arm.folders]) > 1:
    comparison.write_comparison(
        [folder for arm in command.arms for folder in arm.folders], command.folder)
  path = command.folder / 'report.md'
  files.write_text(path, _text(command, row, curves))
  return path


def _rows(command: supervised_cli.Command, file: str) -> dict[str, list[list[dict[str, str]]]]:
  """Rows of a file of each run: way -> seed -> rows."""
  return {arm.name: [metrics.read_rows(folder / f'{file}.csv') for folder in arm.folders]
          for arm in command.arms}


def _last_of_each_task(rows: list[dict[str, str]]) -> list[dict[str, str]]:
  """All rows where they have no task, as probes have none."""
  return list({row.get('iteration', row['frame']): row for row in rows}.values())


def _save(drawn: figure_lib.Figure, folder: pathlib.Path, name: str) -> None:
  for kind in ('png', 'svg'):
    aside = folder / f'.{name}.tmp'
    drawn.savefig(aside, format=kind, dpi=120)
    os.replace(aside, folder / f'{name}.{kind}')


def draw_kernels(command: supervised_cli.Command) -> figure_lib.Figure:
  """Of the first seed of each way the last eNTK: cosines (above) and norms of gradients (below)."""
  kernels = {}
  for arm in command.arms:
    path = max((arm.folders[0] / 'probes').glob('*.npz'), key=lambda path: int(path.stem))
    found = probing.read_arrays(path) or {}
    kernels.setdefault('a fresh network', found['fresh_ntk'])
    kernels[arm.name] = found['agent_ntk']
  figure = figure_lib.Figure(figsize=(2.4 * len(kernels), 4.4), layout='constrained')
  above, below = figure.subplots(2, len(kernels), height_ratios=(2, 1), squeeze=False)
  for name, kernel, top, bottom in zip(kernels, kernels.values(), above, below, strict=True):
    order = ntk.display_order(kernel)
    top.imshow(ntk.cosines(kernel)[np.ix_(order, order)], cmap='RdBu_r', vmin=-1, vmax=1)
    top.set(title=name, xticks=[], yticks=[])
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


def draw(
    steps: dict[str, np.ndarray], curves: dict[str, np.ndarray], metric: str) -> figure_lib.Figure:
  """Means and ranges over seeds, over the run (left) and over its last quarter (right)."""
  figure = figure_lib.Figure(figsize=(9, 3.6), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
  ranked = _ranked(curves, metric)
  for i, name in enumerate(curves):
    color = f'C{i}' if len(curves) <= _MOST_COLOURS else '0.6'
    values = curves[name]
    left.fill_between(steps[name], values.min(0), values.max(0), color=color, alpha=0.15,
                      linewidth=0)
    left.plot(steps[name], values.mean(0), color=color, label=name)
    found = findings.interval(findings.late(values))
    place = ranked.index(name)
    right.plot(found.mean, place, 'o', color=color)
    if np.isfinite(found.low):
      right.hlines(place, found.low, found.high, color=color)
  label = metric.replace('_', ' ')
  left.set(xlabel='updates', ylabel=label)
  right.set(xlabel=f'{label}, last quarter, 95% interval', yticks=range(len(ranked)),
            yticklabels=ranked)
  if metric in ('squared_error', 'mean_squared_error'):
    left.set_yscale('log')
    right.set_xscale('log')
  if 1 < len(curves) <= _MOST_COLOURS:
    left.legend(fontsize=8)
  return figure


def _ranked(curves: dict[str, np.ndarray], metric: str) -> list[str]:
  """Ways, the worst first."""
  return sorted(curves, key=lambda name: findings.late(_merit(metric, curves[name])).mean())


def _merit(metric: str, values: np.ndarray) -> np.ndarray:
  return _MERITS.get(metric, lambda values: values)(values)


def _text(
    command: supervised_cli.Command, row: experiments.Experiment,
    curves: dict[str, np.ndarray]) -> str:
  """report.md."""
  config = command.arms[0].configs[0]
  label = row.metric.replace('_', ' ')
  lines = [
      f'# {command.experiment}', '', row.question, '',
      f'{config.agent}, {command.dataset.name}, stream `{config.task}` with '
      f'{", ".join(f"{name}={value}" for name, value in config.stream_parameters)}; '
      f'{config.run_length:,} updates; seeds {_listed(command.arms[0].configs)}.', '',
      '![curves](figure.png)', '', *_pictures(config), _conclusion(row, curves), '',
      f'| way | {label}, first | mean of the last quarter | 95% interval |',
      '|---|---:|---:|---:|']
  for name in reversed(_ranked(curves, row.metric)):
    found = findings.interval(findings.late(curves[name]))
    bounds = f'{found.low:.4g} to {found.high:.4g}' if np.isfinite(found.low) else 'one seed'
    lines.append(f'| {name} | {curves[name][:, 0].mean():.4g} | {found.mean:.4g} | {bounds} |')
  return '\n'.join(lines) + '\n'


def _pictures(config: Config) -> list[str]:
  """Those that are made of traces and probes."""
  found = [('after a change', 'transient', config.trace_steps),
           ('tangent kernels', 'entk', config.probe_every)]
  return [line for title, name, made in found if made for line in (f'![{title}]({name}.png)', '')]


def _conclusion(row: experiments.Experiment, curves: dict[str, np.ndarray]) -> str:
  if not row.expected or curves.keys() != row.arms.keys():
    return 'No shape is expected of these ways.'
  found = row.expected({name: _merit(row.metric, values) for name, values in curves.items()})
  verdict = {True: 'The expected shape is there', False: 'The expected shape is not there',
             None: 'Whether the expected shape is there the intervals do not say'}[found.holds]
  return f'{verdict}: {row.claim} ({found.text}).'


def _listed(configs: Sequence[Config]) -> str:
  return ', '.join(str(config.seed) for config in configs)


def _write_csv(path: pathlib.Path, rows: Mapping[str, list[list[dict[str, str]]]],
               configs: Sequence[Config]) -> None:
  files.write_rows(path, [
      dict(way=name, seed=config.seed, **row) for name, seeds in rows.items()
      for config, seed in zip(configs, seeds, strict=True) for row in seed])
