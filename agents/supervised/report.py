"""What is left of a supervised experiment: curves.csv, figures as PNG and SVG, report.md."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure as figure_lib

from agents import metrics
from agents.config import Config
from agents.supervised import cli, experiments, figures, findings
from agents.supervised import curves as curves_lib
from probes import comparison, files


def write(command: cli.Command) -> pathlib.Path:
  """Makes the experiment's files from those of its runs; returns report.md.

  curves.csv has a row for each way, seed and task: the columns of the runs' results.csv. Beside
  each figure is a CSV of what it draws.
  """
  row = experiments.EXPERIMENTS[command.about.experiment]
  rows = {name: _rows(command, name) for name in ('results', 'trace', 'probes')}
  _write_csv(command.folder / 'curves.csv', rows['results'], command.arms[0].configs)
  # Flags may have turned off what a claim is about.
  claims = [claim for claim in row.claims
            if all(seed for seeds in rows[claim.file].values() for seed in seeds)
            ] or [experiments.Claim('', None, row.metric)]
  curves = [curves_lib.of(rows[claim.file], claim) for claim in claims]
  for i, one in enumerate(curves):
    _save(figures.draw(one), command.folder, _figure(i))
    files.write_rows(command.folder / f'{_figure(i)}.csv', [
        {'way': name, 'seed': config.seed, 'frame': int(step), one.metric: value}
        for name, seeds in one.values.items()
        for config, values in zip(command.arms[0].configs, seeds, strict=True)
        for step, value in zip(one.steps[name], values, strict=True)])
  if any(seed for seeds in rows['trace'].values() for seed in seeds):
    _write_csv(command.folder / 'trace.csv', rows['trace'], command.arms[0].configs)
    _save(figures.draw_traces(rows['trace']), command.folder, 'transient')
  if any(seed for seeds in rows['probes'].values() for seed in seeds):
    _save(figures.draw_kernels(
        {arm.name: arm.folders[0] for arm in command.arms}), command.folder, 'entk')
  runs = [(folder, arm.name) for arm in command.arms for folder in arm.folders]
  if len(runs) > 1:
    folders, ways = zip(*runs, strict=True)
    comparison.write_comparison(folders, command.folder, ways)
  path = command.folder / 'report.md'
  files.write_text(path, _text(command, row, claims, curves))
  return path


def _figure(i: int) -> str:
  return 'figure' if not i else f'figure{i + 1}'


def _rows(command: cli.Command, file: str) -> dict[str, list[list[dict[str, str]]]]:
  """Rows of a file of each run: way -> seed -> rows."""
  return {arm.name: [metrics.read_rows(folder / f'{file}.csv') for folder in arm.folders]
          for arm in command.arms}


def _save(drawn: figure_lib.Figure, folder: pathlib.Path, name: str) -> None:
  for kind in ('png', 'svg'):
    path = folder / f'{name}.{kind}'
    drawn.savefig(files.aside(path), format=kind, dpi=120)
    os.replace(files.aside(path), path)


def _text(
    command: cli.Command, row: experiments.Experiment,
    claims: Sequence[experiments.Claim], curves: Sequence[curves_lib.Curves]) -> str:
  """report.md."""
  config = command.arms[0].configs[0]
  lines = [
      f'# {command.about.experiment}', '', row.question, '',
      f'{config.agent}, {command.dataset.name}, stream `{config.task}` with '
      f'{", ".join(f"{name}={value}" for name, value in config.stream_parameters)}; '
      f'{config.run_length:,} updates; seeds {_listed(command.arms[0].configs)}.', '',
      *_pictures(config)]
  for i, (claim, one) in enumerate(zip(claims, curves, strict=True)):
    lines += [f'![{one.metric}]({_figure(i)}.png)', '', _conclusion(row, claim, one), '',
              *_table(one), '']
  return '\n'.join(lines)


def _table(curves: curves_lib.Curves) -> list[str]:
  label = curves.metric.replace('_', ' ')
  lines = [f'| way | {label}, first | mean of the last quarter | 95% interval |',
           '|---|---:|---:|---:|']
  for name in reversed(curves_lib.ranked(curves)):
    values = curves.values[name]
    found = findings.interval(findings.late(values))
    bounds = f'{found.low:.4g} to {found.high:.4g}' if np.isfinite(found.low) else 'one seed'
    lines.append(f'| {name} | {values[:, 0].mean():.4g} | {found.mean:.4g} | {bounds} |')
  return lines


def _pictures(config: Config) -> list[str]:
  """Those that are made of traces and probes."""
  found = [('after a change', 'transient', config.trace_steps),
           ('tangent kernels', 'entk', config.probe_every)]
  return [line for title, name, made in found if made for line in (f'![{title}]({name}.png)', '')]


def _conclusion(
    row: experiments.Experiment, claim: experiments.Claim, curves: curves_lib.Curves) -> str:
  if not claim.expected or curves.values.keys() != row.arms.keys():
    return 'No shape is expected of these ways.'
  found = claim.expected(curves_lib.in_merit(curves))
  verdict = {True: 'The expected shape is there', False: 'The expected shape is not there',
             None: 'Whether the expected shape is there the intervals do not say'}[found.holds]
  return f'{verdict}: {claim.text} ({found.text}).'


def _listed(configs: Sequence[Config]) -> str:
  return ', '.join(str(config.seed) for config in configs)


def _write_csv(path: pathlib.Path, rows: Mapping[str, list[list[dict[str, str]]]],
               configs: Sequence[Config]) -> None:
  files.write_rows(path, [
      dict(way=name, seed=config.seed, **row) for name, seeds in rows.items()
      for config, seed in zip(configs, seeds, strict=True) for row in seed])
