"""Several runs side by side: comparison.html, .md and .csv, from nothing but their folders.

Runs that differ in nothing but their seed are a group, where nothing else is said.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from probes import charts, files, pages, run_data, tables, verdict
from probes.groups import NAMED, Group, Seed, curve, grouped, labelled, last, lost, mean, names
from probes.groups import scores as scores_of
from probes.groups import settings as settings_of
from probes.wording import count, interval, number, percent


def write_comparison(
    run_dirs: Sequence[pathlib.Path], out_dir: pathlib.Path,
    labels: Sequence[str] = ()) -> pathlib.Path:
  """Writes comparison.html, .md and .csv into `out_dir`, each replaced whole; returns the first.

  Whatever of a run is missing or broken is said, and the rest compared. Runs of one label are a
  group; without labels, those whose settings differ in nothing but the seed.

  Raises:
    ValueError: there are fewer than two folders, or one of them is none.
  """
  run_dirs = [pathlib.Path(folder) for folder in run_dirs]
  if len(run_dirs) < 2:
    raise ValueError(f'run_dirs={", ".join(map(str, run_dirs))}: must be at least two runs')
  for folder in run_dirs:
    if not folder.is_dir():
      raise ValueError(f'run_dir={folder}: must be a folder')
  if len({folder.resolve() for folder in run_dirs}) < len(run_dirs):
    raise ValueError(f'run_dirs={", ".join(map(str, run_dirs))}: must each be named once')
  seeds = [Seed(name, run_data.read(folder))
           for name, folder in zip(names(run_dirs), run_dirs, strict=True)]
  groups = labelled(seeds, labels) if labels else grouped(seeds)
  out_dir.mkdir(parents=True, exist_ok=True)
  _write_csv(out_dir / 'comparison.csv', groups)
  return pages.write(out_dir, 'comparison', _context(groups))


def _context(groups: list[Group]) -> dict[str, Any]:
  runs = [seed.run for group in groups for seed in group.seeds]
  units = {run.config.get('unit') for run in runs}
  unit = units.pop() if len(units) == 1 else None
  missing = [f'{seed.name}: {sentence}' for group in groups for seed in group.seeds
             for sentence in seed.run.missing]
  if unit is None:
    missing.append('The runs count in different units: lengths do not compare.')
  if len({run.probes[-1]['frame'] for run in runs if run.probes}) > 1:
    missing.append('The last probes were made after lengths that differ.')
  tasks = {str(run.config.get('task')) for run in runs}
  if len(tasks) > 1:
    missing.append('The runs are of different tasks: their returns do not compare.')
  versions = {row['record_version'] for run in runs for row in run.probes[-1:]
              if 'record_version' in row}
  if len(versions) > 1:
    missing.append('The probes are of different versions: a name may not mean the same in all.')
  return dict(
      title=f'{len(runs)} runs compared', facts=[('tasks', ', '.join(sorted(tasks)))],
      verdict=_verdict(groups), missing=missing, groups=_group_table(groups),
      charts=_charts(groups, unit or 'frames or steps'), layers=_layers(groups),
      runs=_run_table(groups), settings=_setting_table(groups))


def _verdict(groups: list[Group]) -> verdict.Verdict:
  """Who lost less, where the intervals say so; of no group whose probes tell nothing."""
  found = {group.label: lost(group) for group in groups}
  reasons = [f'{label}: plasticity lost {number(mean.value)} {interval(mean.low, mean.high)}.'
             for label, mean in found.items() if not np.isnan(mean.value)]
  known = {}
  for group in groups:
    if reason := _left_out(group):
      reasons.append(f'Left out: {group.label}, {reason}.')
    else:
      known[group.label] = found[group.label]
  if not any(seed.run.probes for group in groups for seed in group.seeds):
    return verdict.Verdict('unknown', 'None of these was probed.', [])
  if len(known) < 2:
    return verdict.Verdict(
        'unknown', 'Fewer than two of these have a probe that tells something.', reasons)
  probed = [seed.run for group in groups if group.label in known for seed in group.seeds]
  values = {name: {_probe_setting(run, name) for run in probed} for name in _SAME}
  if differing := [name for name, found in values.items() if len(found) > 1]:
    return verdict.Verdict('unknown', 'Their probes do not compare.', [
        *reasons, f'They differ in {", ".join(differing)}.'])
  single = [group.label for group in groups if group.label in known and len(group.seeds) == 1]
  reasons.append('Intervals of 95%, by t over seeds' + (
      f'; of {", ".join(single)}, one seed, over the probe’s targets.' if single else '.'))
  best = min(known, key=lambda label: known[label].value)
  worse = [label for label, mean in known.items() if mean.low > known[best].high]
  if not worse:
    return verdict.Verdict('undecided', 'The intervals do not tell them apart.', reasons)
  told = f'{best} kept more plasticity than {" and ".join(worse)}'
  if {best, *worse} & set(single):
    return verdict.Verdict(
        'undecided', f'In these runs {told}; one seed says nothing of others.', reasons)
  return verdict.Verdict('kept', f'{told}.', reasons)


# What must be the same in probes that are compared: columns of probes.csv, settings of the run.
_SAME = ('record_version', 'num_targets', 'num_steps', 'batch_size', 'pool_size', 'probe_kind',
         'probe_optimizer')


def _probe_setting(run: run_data.Run, name: str) -> str:
  return str(run.probes[-1].get(name, run.config.get(name, '')))


def _left_out(group: Group) -> str:
  """Why a group's probes tell nothing; empty where they do."""
  rows = [seed.run.probes[-1] for seed in group.seeds if seed.run.probes]
  if len(rows) < len(group.seeds):
    return f'{len(group.seeds) - len(rows)} of {len(group.seeds)} without a probe'
  broken = sum(np.isnan(row.get('plasticity_lost', np.nan)) for row in rows)
  if broken:
    return f'{broken} of {len(rows)} whose last probe holds no result, as of a broken network'
  if any(verdict.is_blind(row) for row in rows):
    return 'where not even a fresh network learned the targets, so that the probe cannot tell'
  return ''


_COLUMNS = (  # Title, column of the last probe, form
    ('Dead', 'dead/total', percent), ('Linear', 'linear/total', percent),
    ('Dormant', 'dormant/total', percent), ('Norm', 'norm/total', number),
    ('Distance', 'distance/total', number), ('Sharpness', 'sharpness', number),
    ('Feature rank', 'feature_rank', number), ('eNTK |cos|', 'ntk/mean_abs_cosine', number))


def _group_table(groups: list[Group]) -> tables.Table:
  rows = []
  for group in groups:
    found = lost(group)
    rows.append([
        group.label, str(len(group.seeds)), number(mean(scores_of(group))),
        number(mean(scores_of(group, best=True))), number(found.value),
        interval(found.low, found.high), number(mean(last(group, 'plasticity_fresh'))),
        *(form(mean(last(group, column))) for _, column, form in _COLUMNS)])
  header = ['Group', 'Seeds', 'Last score', 'Best', 'Plasticity lost', '95% interval',
            'Fresh network’s plasticity', *(title for title, _, _ in _COLUMNS)]
  return tables.plain('Groups', 'Means over seeds, at the last evaluation and probe.', header, rows)


def _run_table(groups: list[Group]) -> tables.Table:
  rows = []
  for group in groups:
    for seed in group.seeds:
      row = seed.run.probes[-1] if seed.run.probes else {}
      alone = group._replace(seeds=[seed])
      rows.append([
          seed.name, group.label, str(seed.run.config.get('seed', '')),
          count(row.get('frame', np.nan)), number(mean(scores_of(alone))),
          number(row.get('plasticity_lost', np.nan)),
          interval(row.get('plasticity_lost_low', np.nan),
                   row.get('plasticity_lost_high', np.nan))])
  return tables.plain('Runs', 'comparison.csv has every number of their last probes.', [
      'Run', 'Group', 'Seed', 'Probed at', 'Last score', 'Plasticity lost', '95% interval'], rows)


def _setting_table(groups: list[Group]) -> tables.Table:
  settings = [settings_of(group.seeds[0].run.config) for group in groups]
  names = sorted({name for found in settings for name in found})
  differing = [name for name in names if len({found.get(name) for found in settings}) > 1]
  rows = [[name, *(found.get(name, '') for found in settings)] for name in differing]
  return tables.plain('Settings that differ', '', ['Name', *(g.label for g in groups)], rows)


def _layers(groups: list[Group]) -> list[tables.Table]:
  """Groups by layers, where they have the same ones."""
  lasts = [[seed.run.probes[-1] for seed in group.seeds if seed.run.probes] for group in groups]
  if not all(lasts):
    return []
  found = []
  for title, prefix in (('Dead units', 'dead'), ('Linear units', 'linear'),
                        ('Dormant units', 'dormant')):
    names = list(dict.fromkeys(name for rows in lasts for name in run_data.group(rows[0], prefix)))
    cells = []
    for name in names:
      means = [mean([row.get(f'{prefix}/{name}', np.nan) for row in rows])
               for rows in lasts]
      cells.append([tables.Cell(name), *(
          tables.Cell(percent(mean), np.nan_to_num(mean)) for mean in means)])
    if cells:
      found.append(tables.Table(title, '', ['Layer', *(group.label for group in groups)], cells))
  return found


_CURVES = (  # Title, column of probes.csv, whether on a logarithmic axis
    ('Plasticity lost', 'plasticity_lost', False), ('Dead units', 'dead/total', False),
    ('Linear units', 'linear/total', False), ('Parameter norm', 'norm/total', False),
    ('Sharpness', 'sharpness', True), ('eNTK: mean |cosine|', 'ntk/mean_abs_cosine', False))


def _charts(groups: list[Group], unit: str) -> list[pages.Chart]:
  score = run_data.score([row for group in groups for seed in group.seeds
                          for row in seed.run.results])
  wanted = [(score.title, lambda run: run.results, score.column, False)]
  wanted += [(title, lambda run: run.probes, column, log) for title, column, log in _CURVES]
  found, caption = [], 'Means over seeds, and their range.'
  for title, rows_of, column, log in wanted:
    curves = {group.label: curve([rows_of(seed.run) for seed in group.seeds], column)
              for group in groups}
    if any(len(curve.frames) for curve in curves.values()):
      found.append(pages.Chart(title, caption, charts.several(curves, title, unit, log)))
      caption = ''
  return found


def _write_csv(path: pathlib.Path, groups: list[Group]) -> None:
  """A row a run: what it is, then all numbers of its last probe."""
  rows = []
  for group in groups:
    for seed in group.seeds:
      settings, last = settings_of(seed.run.config), (seed.run.probes or [{}])[-1]
      named = {name: settings.get(name, '') for name in NAMED}
      scores = scores_of(group._replace(seeds=[seed]))
      rows.append(dict(
          run=seed.name, group=group.label, **named, seed=seed.run.config.get('seed', ''),
          last_score=scores[0] if scores else '', **last))
  files.write_rows(path, rows)
