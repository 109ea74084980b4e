"""Learning curves of run folders, for results/: a plot, the CSV files, tables of last scores.

    python -m benchmarks.curves results/control runs/walker_walk/decqn/seed1-… results/control/*/*

What was collected before can be named too, so that it is drawn again.
"""

import argparse
import collections
import json
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping

import matplotlib
import numpy as np

from agents import metrics
from agents.supervised import findings

matplotlib.use('Agg')
from matplotlib import pyplot as plt

# Mean evaluation return at 500k steps that a Control run is to reach; Breakout's is the training
# return of its third million frames.
TARGETS = {
    'cartpole_swingup': 800, 'walker_walk': 850, 'finger_spin': 700, 'reacher_easy': 800,
    'cheetah_run': 400, 'breakout': 14.2}
_FILES = ('config.json', 'results.csv', 'probes.csv')


def collect(run: pathlib.Path, folder: pathlib.Path) -> tuple[str, str, list[dict[str, str]]]:
  """Copies a run's small files under `folder`; returns task, name and rows of results.

  The name is agent, interventions, what --set said, and seed.
  """
  config = json.loads((run / 'config.json').read_text())
  agent = '+'.join((config['agent'], *config['interventions']))
  said = re.findall(r'(?<= --set[= ])\S+', ' '.join(config['command_line']))
  name = '-'.join((agent, *said, f'seed{config["seed"]}'))
  target = folder / config['task'] / name
  target.mkdir(parents=True, exist_ok=True)
  for file in _FILES:
    if (run / file).exists() and run.resolve() != target.resolve():
      shutil.copyfile(run / file, target / file)
  # A path of the machine that ran it says nothing to others.
  for start in (config, *config['continued_with']):
    flags = [word for word in start['command_line'][1:] if not word.startswith('--run_dir')]
    start['command_line'] = ['python', *flags]
  (target / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
  return config['task'], name, metrics.read_rows(run / 'results.csv')


def draw(path: pathlib.Path, runs: dict[str, list[tuple[str, list[dict[str, str]]]]]) -> None:
  """One panel a task: evaluation returns (lines), training returns (dots), the target (dashes)."""
  figure, panels = plt.subplots(
      1, len(runs), figsize=(4 * len(runs), 3.2), squeeze=False, layout='constrained')
  for panel, (task, curves) in zip(panels[0], sorted(runs.items()), strict=True):
    for name, rows in curves:
      frames = [int(row['frame']) for row in rows]
      line, = panel.plot(frames, [float(row['eval_episode_return']) for row in rows], label=name)
      panel.plot(frames, [float(row['train_episode_return']) for row in rows], '.',
                 color=line.get_color(), markersize=3)
    if task in TARGETS:
      panel.axhline(TARGETS[task], color='grey', linestyle='--', linewidth=1)
    panel.set_title(task)
    panel.set_xlabel('frames or steps')
    panel.legend(fontsize=7)
  panels[0][0].set_ylabel('return')
  figure.savefig(path, dpi=110)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('runs', type=pathlib.Path, nargs='+')
  arguments = parser.parse_args()
  arguments.folder.mkdir(parents=True, exist_ok=True)
  runs = collections.defaultdict(list)
  print('| task | run | steps or frames | last evaluation | best | last training | target |')
  print('|---|---|---|---|---|---|---|')
  for run in arguments.runs:
    task, name, rows = collect(run, arguments.folder)
    runs[task].append((name, rows))
    evaluations = [float(row['eval_episode_return']) for row in rows]
    print(f'| {task} | {name} | {int(rows[-1]["frame"]):,} | {evaluations[-1]:.0f} '
          f'| {max(evaluations):.0f} | {float(rows[-1]["train_episode_return"]):.0f} '
          f'| {TARGETS.get(task, "")} |')
  print('\n| task | run | seeds | mean of last evaluations, 95% interval | target |')
  print('|---|---|---|---|---|')
  for line in over_seeds(runs):
    print(line)
  draw(arguments.folder / 'curves.png', runs)


def over_seeds(runs: Mapping[str, Iterable[tuple[str, list[dict[str, str]]]]]) -> Iterator[str]:
  """A line for each task and what was run on it: the mean over seeds of the last evaluations."""
  last = collections.defaultdict(list)
  for task, curves in runs.items():
    for name, rows in curves:
      last[task, name.rpartition('-seed')[0]].append(float(rows[-1]['eval_episode_return']))
  for (task, name), returns in last.items():
    mean, low, high = findings.interval(np.array(returns))
    span = f'{low:.0f} to {high:.0f}' if len(returns) > 1 else 'not known'
    yield f'| {task} | {name} | {len(returns)} | {mean:.0f}, {span} | {TARGETS.get(task, "")} |'


if __name__ == '__main__':
  main()
