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

_FILES = ('*.png', '*.svg', 'curves.csv', 'figure.csv', 'trace.csv', 'comparison.csv', 'report.md')
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


_ABOUT = """# Supervised experiments at their small size

Made by `make figures` on two cores; what each took is below it. `--full` makes its full size. The
data is the part of MNIST that is installed.
Shapes are tested on means of the last quarter of the tasks, with 95% t intervals over seeds and
in pairs of seeds; one that is not there, or that the intervals do not show, is said to be so.
"""


def write_index(folder: pathlib.Path) -> None:
  """README.md: the reports one after the other, in the table's order."""
  text = [_ABOUT]
  for name in experiments.EXPERIMENTS:
    report = folder / name / 'report.md'
    if report.exists():
      lines = report.read_text().replace('](', f']({name}/').replace('# ', '## ', 1)
      text += [lines, '']
  (folder / 'README.md').write_text('\n'.join(text))


def main(argv: list[str]) -> None:
  """See the top."""
  folder = pathlib.Path(argv[1])
  compared = [name for name, row in experiments.EXPERIMENTS.items() if row.arms]
  for name in argv[2:] or compared:
    is_whole = not (_RUNS / name).exists()
    seconds = run(name, folder)
    if is_whole:
      with open(folder / name / 'report.md', 'a') as file:
        file.write(f'\nIt took {seconds:.0f} s.\n')
    write_index(folder)
    print(f'{name}: {seconds:.0f} s', flush=True)


if __name__ == '__main__':
  main(sys.argv)
