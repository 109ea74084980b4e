"""A long run of four actors, watched: does memory stay flat, is any episode lost or told twice?

    python -m benchmarks.soak results/soak [SECONDS]

Writes memory.csv (every ten seconds, by process), rates.csv, the run's log and README.md. Every
episode of the task has 1,000 steps, so that an actor's steps say how many episodes it must have
told of.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import time

import numpy as np

from benchmarks import watched
from probes import files

_COMMAND = (
    'run_control.py', '--task=cartpole_swingup', '--agent=double_dqn', '--num_actors=4',
    '--replay=reverb', '--num_steps=100000000', '--eval_every_steps=50000',
    '--probe_every_steps=0', '--checkpoint_every_steps=50000', '--set=replay_capacity=50000',
    '--track=')
_EPISODE_STEPS = 1_000
_PERIOD_SECONDS = 10.0
_SETTLED = 0.5  # of the time, after which memory must be flat
_BATCH_SIZE, _STEPS_PER_UPDATE, _MIN_REPLAY_SIZE = 256, 8, 1_000


def watch(run: watched.Watched, seconds: float) -> list[watched.Counters]:
  """Counts every ten seconds."""
  run.wait_for_transitions(4, _MIN_REPLAY_SIZE)
  found = [run.count()]
  while found[-1].time - found[0].time < seconds:
    if run.process.poll() is not None:
      raise RuntimeError(f'the run ended: {run.log()[-2000:]}')
    time.sleep(_PERIOD_SECONDS)
    found.append(run.count())
  return found


def growth(found: list[watched.Counters], role: str) -> tuple[float, float, float]:
  """A role's memory, MB, when half of the time is over and at the end; its slope, MB an hour."""
  settled = [one for one in found if role in one.rss_bytes][int(_SETTLED * len(found)):]
  hours = np.array([one.time for one in settled]) / 3600
  sizes = np.array([one.rss_bytes[role] for one in settled]) / 1e6
  return sizes[0], sizes[-1], np.polyfit(hours, sizes, 1)[0]


def check_episodes(state: dict) -> tuple[list[str], bool]:
  """A table of what each actor told, and whether every episode was told of once."""
  lines, good = ['| actor | reports | steps | episodes | whole episodes in these steps |',
                 '|---|---:|---:|---:|---:|'], True
  for who, (reports, steps, episodes, missing) in sorted(state['counters']['heard'].items()):
    good &= episodes == steps // _EPISODE_STEPS and not missing
    lines.append(f'| {who.split("/")[1]} | {reports:,} | {steps:,} | {episodes:,} | '
                 f'{steps // _EPISODE_STEPS:,} |')
  return lines, good


def main(argv: list[str]) -> int:
  """See the top."""
  out, seconds = pathlib.Path(argv[1]), float((argv[2:] or ['3600'])[0])
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch, 'run')
    with watched.started(folder, _COMMAND) as run:
      found = watch(run, seconds)
    state = json.loads(max((folder / 'checkpoints').glob('*/state.json'),
                           key=lambda path: int(path.parent.name)).read_text())
    log = run.log().replace(scratch, '')
    status = run.process.returncode
    shutil.copyfile(folder / 'results.csv', out / 'results.csv')
  (out / 'log.txt').write_text(log)
  begun, names = found[0].time, list(found[0].rss_bytes)
  files.write_rows(out / 'memory.csv', [
      dict(seconds=round(one.time - begun)) | {
          f'{name}_mb': round(one.rss_bytes.get(name, 0) / 1e6, 1) for name in names}
      for one in found])
  files.write_rows(out / 'rates.csv', [
      dict(seconds=round(new.time - begun),
           inserted_per_second=round((new.inserted - old.inserted) / (new.time - old.time), 1),
           sampled_per_inserted=round(
               (new.sampled - old.sampled) / max(new.inserted - old.inserted, 1), 2))
      for old, new in zip(found[::6], found[6::6], strict=False)])
  episodes, good = check_episodes(state)
  step = min(30, len(found) - 1)
  ratios = [(new.sampled - old.sampled) / (new.inserted - old.inserted)
            for old, new in zip(found[::step], found[step::step], strict=False)]
  lines = [
      '# One hour with four actors', '',
      'Made by `' + ' '.join(['python -m benchmarks.soak results/soak', *argv[2:]]) + '`.',
      'It ran `' + ' '.join(_COMMAND) + '` on two cores and stopped it by SIGTERM.', '',
      f'- {found[-1].inserted:,} transitions in {found[-1].time - begun:,.0f} s; exit status '
      f'{status} (130: stopped, and saved).',
      f'- Draws for each transition over five minutes: {min(ratios):.2f} to {max(ratios):.2f}; '
      f'{_BATCH_SIZE / _STEPS_PER_UPDATE:g} were asked for.',
      f'- {"Every episode was told of once." if good else "EPISODES ARE MISSING OR DOUBLE."}', '',
      *episodes, '',
      '| process | MB at half time | MB at the end | MB an hour, fitted to the second half |',
      '|---|---:|---:|---:|',
      *(f'| {name} | {first:,.0f} | {last:,.0f} | {slope:+,.1f} |'
        for name in names for first, last, slope in [growth(found, name)]), '',
      *(f'    {line}' for line in log.splitlines()
        if ' train ' not in line and any(word in line for word in ('throttled', 'died', 'dead')))]
  (out / 'README.md').write_text('\n'.join(lines) + '\n')
  return not good


if __name__ == '__main__':
  sys.exit(main(sys.argv))
