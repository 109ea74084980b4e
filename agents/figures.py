"""What is left of a supervised experiment: curves.csv, figure.png and .svg, report.md."""

import csv
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure as figure_lib

from agents import experiments, findings, metrics, supervised_cli
from agents.config import Config
from probes import comparison

_SMALLER_IS_BETTER = ('mean_squared_error', 'squared_error', 'loss')
_MOST_COLOURS = 10


def write(command: supervised_cli.Command) -> pathlib.Path:
  """Makes the experiment's files from those of its runs; returns report.md.

  curves.csv has a row for each way, seed and task: the columns of the runs' results.csv.
  """
  row = experiments.EXPERIMENTS[command.experiment]
  rows = {arm.name: [metrics.read_rows(folder / 'results.csv') for folder in arm.folders]
          for arm in command.arms}
  _write_csv(command.folder / 'curves.csv', rows, command.arms[0].configs)
  curves = {name: np.array([[float(one[row.metric]) for one in seed] for seed in seeds])
            for name, seeds in rows.items()}
  steps = {name: np.array([float(one['frame']) for one in seeds[0]])
           for name, seeds in rows.items()}
  drawn = draw(steps, curves, row.metric)
  for kind in ('png', 'svg'):
    drawn.savefig(command.folder / f'figure.{kind}', dpi=120)
  if len([folder for arm in command.arms for folder in arm.folders]) > 1:
    comparison.write_comparison(
        [folder for arm in command.arms for folder in arm.folders], command.folder)
  path = command.folder / 'report.md'
  aside = path.with_suffix('.tmp')
  aside.write_text(_text(command, row, curves))
  os.replace(aside, path)
  return path


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
  if 1 < len(curves) <= _MOST_COLOURS:
    left.legend(fontsize=8)
  return figure


def _ranked(curves: dict[str, np.ndarray], metric: str) -> list[str]:
  """Ways, the worst first."""
  sign = -1 if metric in _SMALLER_IS_BETTER else 1
  return sorted(curves, key=lambda name: sign * findings.late(curves[name]).mean())


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
      '![curves](figure.png)', '', _conclusion(row, curves), '',
      f'| way | {label}, first task | last quarter of the tasks | 95% interval |',
      '|---|---:|---:|---:|']
  for name in reversed(_ranked(curves, row.metric)):
    found = findings.interval(findings.late(curves[name]))
    bounds = f'{found.low:.4g} to {found.high:.4g}' if np.isfinite(found.low) else 'one seed'
    lines.append(f'| {name} | {curves[name][:, 0].mean():.4g} | {found.mean:.4g} | {bounds} |')
  return '\n'.join(lines) + '\n'


def _conclusion(row: experiments.Experiment, curves: dict[str, np.ndarray]) -> str:
  if not row.expected or curves.keys() != row.arms.keys():
    return 'No shape is expected of these ways.'
  sign = -1 if row.metric in _SMALLER_IS_BETTER else 1
  found = row.expected({name: sign * values for name, values in curves.items()})
  verdict = {True: 'The expected shape is there', False: 'The expected shape is not there',
             None: 'Whether the expected shape is there the intervals do not say'}[found.holds]
  return f'{verdict}: {row.claim} ({found.text}).'


def _listed(configs: Sequence[Config]) -> str:
  return ', '.join(str(config.seed) for config in configs)


def _write_csv(path: pathlib.Path, rows: Mapping[str, list[list[dict[str, str]]]],
               configs: Sequence[Config]) -> None:
  named = [dict(way=name, seed=config.seed, **row) for name, seeds in rows.items()
           for config, seed in zip(configs, seeds, strict=True) for row in seed]
  aside = path.with_suffix('.tmp')
  with open(aside, 'w', newline='') as file:
    writer = csv.DictWriter(file, named[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(named)
  os.replace(aside, path)
