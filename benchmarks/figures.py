"""Every supervised experiment at its small size, for results/supervised: `make figures`.

    python -m benchmarks.figures results/supervised [EXPERIMENT ...]

Goes on where it was interrupted: what runs/figures holds is not computed again.
"""

import pathlib
import shutil
import subprocess
import sys
import time

from agents import experiments

_FILES = ('*.png', '*.svg', 'curves.csv', 'trace.csv', 'comparison.csv', 'report.md')
_RUNS = pathlib.Path('runs', 'figures')


def run(name: str, folder: pathlib.Path) -> float:
  """Runs an experiment and copies what is small of it; returns the seconds it took."""
  started = time.monotonic()
  subprocess.run(
      [sys.executable, 'run_supervised.py', f'--experiment={name}', f'--run_dir={_RUNS / name}',
       '--resume'], check=True)
  target = folder / name
  target.mkdir(parents=True, exist_ok=True)
  for pattern in _FILES:
    for path in (_RUNS / name).glob(pattern):
      shutil.copyfile(path, target / path.name)
  return time.monotonic() - started


def main(argv: list[str]) -> None:
  """See the top."""
  folder = pathlib.Path(argv[1])
  compared = [name for name, row in experiments.EXPERIMENTS.items() if row.arms]
  for name in argv[2:] or compared:
    seconds = run(name, folder)
    print(f'{name}: {seconds:.0f} s', flush=True)


if __name__ == '__main__':
  main(sys.argv)
