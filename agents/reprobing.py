"""Probes of saved checkpoints: a folder beside the run's own probes, with a report of its own."""

import dataclasses
import json
import pathlib
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from agents import checkpoint, errors, metrics, probing, run_folder, saved_run
from agents.config import Config
from agents.display import log
from probes import files


def probe(
    run: saved_run.SavedRun, frames: Iterable[int], settings: Mapping[str, Any],
    out_dir: pathlib.Path, stop: threading.Event) -> bool:
  """Probes checkpoints with some `probe_…` settings of Config changed; False where one failed.

  A checkpoint that cannot be read or probed is said and left out. What `out_dir` holds from an
  earlier call with the same settings is kept and not computed again. `stop` ends it early.

  Raises:
    UsageError: a setting is bad, or `out_dir` holds anything else.
  """
  config = dataclasses.replace(run.config, **settings)
  _prepare(out_dir, run, config)
  with run_folder.locked(out_dir):
    return _probe_all(run._replace(config=config), frames, out_dir, stop)


def _probe_all(
    run: saved_run.SavedRun, frames: Iterable[int], out_dir: pathlib.Path,
    stop: threading.Event) -> bool:
  config, prober, whole = run.config, None, True
  rows = metrics.CsvFile(out_dir / 'probes.csv', keep=None)
  for frame in sorted({run.frames[0], *frames}):  # all are compared with the run's first
    if stop.is_set():
      break
    if frame in rows.frames:
      log.info('%s %s: probed already', f'{frame:,}', config.unit)
      continue
    try:
      saved = saved_run.load(run, frame)
      prober = prober or probing.make(config, saved.model)
      probing.probe(prober, saved.state, saved.inputs, frame, rows, out_dir, stop)
    except (checkpoint.CheckpointError, ValueError) as error:
      log.error('%s %s: not probed: %s', f'{frame:,}', config.unit, error)
      whole = False
  return whole


def _prepare(out_dir: pathlib.Path, run: saved_run.SavedRun, config: Config) -> None:
  """Makes `out_dir` a folder that a report can be made of, or finds that it is this one's."""
  run_folder.check_is_folder('out_dir', out_dir)
  if (out_dir / 'checkpoints').exists():
    raise errors.UsageError(f'out_dir={out_dir}: must be a folder of its own; it holds a run')
  stored = json.loads((run.folder / run_folder.CONFIG).read_text())
  content = stored | run_folder.as_json(config)
  path = out_dir / run_folder.CONFIG
  if path.exists():
    try:
      there = dict(json.loads(path.read_text()))
      there |= run_folder.as_json(run_folder.config_of(out_dir, there))
    except (ValueError, TypeError) as error:
      raise errors.UsageError(
          f'out_dir={out_dir}: its {path.name} must be one that was written here: {error}'
      ) from None
    names = run_folder.as_json(config).keys() - set(run_folder.MAY_CHANGE) | {'run_id'}
    if any(there.get(name) != content.get(name) for name in names):
      raise errors.UsageError(
          f'out_dir={out_dir}: holds probes with other settings or of another run; name another')
  elif out_dir.exists() and any(out_dir.iterdir()):
    raise errors.UsageError(f'out_dir={out_dir}: must be new, empty or of an earlier such call')
  out_dir.mkdir(parents=True, exist_ok=True)
  files.write_text(path, json.dumps(content, indent=2) + '\n')
  results = run.folder / 'results.csv'
  if results.exists():  # The scores belong in the report.
    files.write_text(out_dir / results.name, results.read_text())
