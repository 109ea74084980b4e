"""Every supervised experiment at its small size, for results/supervised: `make figures`.

    python -m benchmarks.figures results/supervised [EXPERIMENT ...]

As many at a time as there are cores, each on one of them: networks so small gain nothing from two.
Goes on where it was interrupted: what runs/figures holds is not computed again. A log lies in each
experiment's folder there.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time

from agents.supervised import experiments

_FILES = ('*.png', '*.svg', 'curves.csv', 'figure*.csv', 'trace.csv', 'comparison.csv', 'report.md')
_RUNS = pathlib.Path('runs', 'figures')
_ONE_CORE = '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'


def run(name: str, folder: pathlib.Path) -> float:
  """Runs an experiment and copies what is small of it; returns the seconds that it took.

  Raises:
    RuntimeError: the experiment failed; its last words are in the text.
  """
  source, target = _RUNS / name, folder / name
  started = time.monotonic()
  done = subprocess.run(
      [sys.executable, 'run_supervised.py', f'--experiment={name}', f'--run_dir={source}',
       '--resume'], stderr=subprocess.PIPE, text=True, env=os.environ | dict(XLA_FLAGS=_ONE_CORE))
  if done.returncode:
    raise RuntimeError(f'{name}: ended with {done.returncode}: {done.stderr[-500:]}')
  seconds = time.monotonic() - started
  target.mkdir(parents=True, exist_ok=True)
  for pattern in _FILES:
    for path in source.glob(pattern):
      shutil.copyfile(path, target / path.name)
  taken = source / 'seconds'  # of every call that worked on it
  seconds += float(taken.read_text()) if taken.exists() else 0.0
  taken.write_text(str(seconds))
  with open(target / 'report.md', 'a') as file:
    file.write(f'\nIt took {seconds:.0f} s on one core.\n')
  return seconds


_ABOUT = """# Supervised experiments at their small size

Made by `make figures`, one on each of two cores; what each took is below it. The data is the part
of MNIST that is installed. Shapes are tested on means of the last quarter of the tasks, with 95% t
intervals over seeds and in pairs of seeds; one that is not there, or that the intervals do not
show, is said to be so.

`run_supervised.py --experiment=NAME --full` makes an experiment's full size, of a network of 512
units (batches of 128, of the bandit 32). The hours are counted from the speed of one such run on
two cores, 400 updates of a seed in a second, without probes:
"""


# Updates of a seed in a second, on two cores: `run_supervised.py --experiment=random_labels --full
# --num_tasks=1 --steps_per_task=4000` makes 20,000 of them in 53 s, with what it compiles.
_SPEED = 400


def _full_sizes() -> list[str]:
  """What --full computes, and for how long at that speed."""
  lines = ['| experiment | ways | updates of each | seeds | updates in all | hours, about |',
           '|---|---:|---:|---:|---:|---:|']
  for name, row in experiments.EXPERIMENTS.items():
    if row.arms:
      size, ways = row.full, len(row.arms)
      each = size.num_tasks * size.steps_per_task
      total = ways * each * size.num_seeds
      lines.append(f'| `{name}` | {ways} | {each:,} | {size.num_seeds} | {total:,} | '
                   f'{total / _SPEED / 3600:.1f} |')
  return lines


def write_index(folder: pathlib.Path) -> None:
  """README.md: notes.md, written by hand, and the reports in the table's order."""
  notes = folder / 'notes.md'
  text = [_ABOUT, *_full_sizes(), '', notes.read_text() if notes.exists() else '']
  for name in experiments.EXPERIMENTS:
    report = folder / name / 'report.md'
    if report.exists():
      lines = report.read_text().replace('](', f']({name}/').replace('# ', '## ', 1)
      text += [lines, '']
  (folder / 'README.md').write_text('\n'.join(text))


def main(argv: list[str]) -> int:
  """See the top; an experiment that fails does not keep the others."""
  folder, started = pathlib.Path(argv[1]), time.monotonic()
  compared = [name for name, row in experiments.EXPERIMENTS.items() if row.arms]
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    running = {pool.submit(run, name, folder): name for name in argv[2:] or compared}
    failed = []
    for done in concurrent.futures.as_completed(running):
      if error := done.exception():
        failed.append(error)
      print(error or f'{running[done]}: {done.result():.0f} s', flush=True)
  write_index(folder)
  print(f'all: {time.monotonic() - started:.0f} s', flush=True)
  return bool(failed)


if __name__ == '__main__':
  sys.exit(main(sys.argv))
