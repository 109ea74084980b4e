"""The report of a run: report.html and report.md, from nothing but the files of its folder."""

import pathlib
from typing import Any

import numpy as np

from probes import charts, pages, run_data, tables, verdict
from probes.pages import Chart
from probes.wording import count


def write_report(run_dir: pathlib.Path) -> pathlib.Path:
  """Writes report.html and report.md into `run_dir`, each replaced whole; returns the former.

  An interrupted or broken run gets a report too, which says what is missing.
  """
  run_dir = pathlib.Path(run_dir)
  return pages.write(run_dir, 'report', _context(run_data.read(run_dir), run_dir.name))


def _context(run: run_data.Run, name: str) -> dict[str, Any]:
  unit = run.config.get('unit')
  unit = unit if unit in ('frames', 'steps') else 'frames'
  return dict(
      title=str(run.config.get('task', name)), facts=_facts(run, unit),
      verdict=verdict.judge(run.probes), tiles=verdict.tiles(run), missing=run.missing,
      play_charts=_play_charts(run, unit), probe_charts=_probe_charts(run, unit),
      state_charts=_state_charts(run, unit),
      evaluations=tables.evaluations(run.results, unit) if run.results else None,
      probes=tables.probes(run.probes, unit) if run.probes else None,
      layers=tables.by_layer(run.probes) if run.probes else [],
      settings=tables.settings(run.config), schema=tables.schema(),
      arrays=tables.arrays())


def _facts(run: run_data.Run, unit: str) -> list[tuple[str, str]]:
  """What was run and how far it came."""
  config = run.config
  interventions = config.get('interventions') or []
  if isinstance(interventions, list):
    interventions = ', '.join(map(str, interventions))
  facts = [(name, str(config[name])) for name in ('agent', 'protocol', 'seed', 'replay')
           if config.get(name) not in (None, '')]
  facts.insert(1, ('interventions', str(interventions) or 'none'))
  reached = max((row['frame'] for row in run.results + run.probes), default=None)
  if reached is not None:
    length = config.get('run_length')
    goal = f' of {count(length)}' if isinstance(length, int | float) else ''
    facts.append(('measured up to', f'{count(reached)}{goal} {unit}'))
  return facts


def _play_charts(run: run_data.Run, unit: str) -> list[Chart]:
  if not run.results:
    return []
  score = run_data.score(run.results)
  return [Chart(score.title, score.caption, charts.learning_curve(run.results, score, unit))]


def _probe_charts(run: run_data.Run, unit: str) -> list[Chart]:
  found = []
  if run.probes:
    thresholds = np.array([verdict.threshold(row) for row in run.probes])
    found.append(Chart(
        'Plasticity lost', 'How much less the network learns of random targets than a freshly '
        'initialised one.', charts.plasticity_lost(run.probes, thresholds, unit)))
  top = charts.probe_curves_top([curves for _, curves in run.curves])
  for frame, curves in run.curves:
    found.append(Chart(
        f'Probe at {count(frame)} {unit}',
        'Loss on random targets, mean and range over them. Lost plasticity is a shallower curve.',
        charts.probe_curves(curves, top)))
  return found


def _state_charts(run: run_data.Run, unit: str) -> list[Chart]:
  """Spectra and kernels; of runs that were probed before there were any, none."""
  named = [(f'{count(frame)} {unit}', state) for frame, state in run.states]
  if not named:
    return []
  found = [Chart('Spectrum of the features', 'A value far above the others is one direction that '
                  'all features share; a steep fall is a loss of rank.', charts.spectra(named))]
  caption = ('Cosines between gradients of the outputs at 64 observations, clustered: red 1, white '
             '0, blue -1. Large ones mean that learning one changes all.')
  for label, matrix in [*((label, state.kernel) for label, state in named),
                        ('a fresh network', named[-1][1].fresh_kernel)]:
    found.append(Chart(f'eNTK: {label}', caption, charts.kernel(matrix, f'eNTK, {label}')))
    caption = ''
  return found
