"""Probes of saved checkpoints: a folder beside the run's own probes, with a report of its own."""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from agents import checkpoint, errors, metrics, probing, run_folder, saved_run
from agents.config import Config
from agents.display import log


def probe(
    run: saved_run.SavedRun, frames: Iterable[int], settings: Mapping[str, Any],
    out_dir: pathlib.Path) -> bool:
  """Probes checkpoints with some `probe_…` settings of Config changed; False where one failed.

  A checkpoint that cannot be read or probed is said and left out. What `out_dir` holds from an
  earlier call with the same settings is kept and not computed again.

  Raises:
    UsageError: a setting is bad, or `out_dir` holds anything else.
  """
  config = dataclasses.replace(run.config, **settings)
  _prepare(out_dir, run, config)
  run = run._replace(config=config)
  rows = metrics.CsvFile(out_dir / 'probes.csv', keep=len(run.frames))
  prober, whole = None, True
  for frame in sorted({run.frames[0], *frames}):  # all are compared with the run's first
    if frame in rows.frames:
      log.info('%s %s: probed already', f'{frame:,}', config.unit)
      continue
    try:
      saved = saved_run.load(run, frame, prober and prober.model)
      prober = prober or probing.make(config, saved.model)
      probing.probe(prober, saved.state, saved.inputs, frame, rows, out_dir)
    except (checkpoint.CheckpointError, ValueError) as error:
      log.error('%s %s: not probed: %s', f'{frame:,}', config.unit, error)
      whole = False
  return whole


def _prepare(out_dir: pathlib.Path, run: saved_run.SavedRun, config: Config) -> None:
  """Makes `out_dir` a folder that a report can be made of, or finds that it is this one's."""
  stored = json.loads((run.folder / run_folder.CONFIG).read_text())
  content = json.dumps(stored | run_folder.as_json(config), indent=2) + '\n'
  path = out_dir / run_folder.CONFIG
  if path.exists():
    if path.read_text() != content:
      raise errors.UsageError(
          f'out_dir={out_dir}: holds probes with other settings or of another run; name another')
  elif out_dir.exists() and any(out_dir.iterdir()):
    raise errors.UsageError(f'out_dir={out_dir}: must be new, empty or of an earlier such call')
  out_dir.mkdir(parents=True, exist_ok=True)
  if (run.folder / 'results.csv').exists():  # The scores belong in the report.
    aside = out_dir / '.results.csv.tmp'
    shutil.copyfile(run.folder / 'results.csv', aside)
    os.replace(aside, out_dir / 'results.csv')
  if not path.exists():
    aside = out_dir / f'.{run_folder.CONFIG}.tmp'
    aside.write_text(content)
    os.replace(aside, path)
