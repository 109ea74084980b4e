"""Comparing programs that are timed by turns: settings both keep, ratios and their interval."""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from agents import run_folder
from probes import files

# Plain DQN on Pong with the Nature CNN, one environment, learning all through the window.
SETTINGS = {
    'seed': 1,
    'batch_size': 32,
    'steps_per_update': 4,  # agent steps
    'learning_starts': 1000,  # agent steps
    'warmup_steps': 100,  # agent steps, after learning started and before the window
    'replay_capacity': 10_000,  # transitions
    'target_update_period': 2_500,  # updates
    'epsilon': 0.01,
    'seconds': 6.0,  # the window
}
ROOT = pathlib.Path(__file__).parents[1]  # of this project
_TIMEOUT_SECONDS = 300.0  # of one run; it takes seconds on a machine with nothing else to do


class Ratio(NamedTuple):
  """A geometric mean of paired ratios and its 95% interval."""
  mean: float
  low: float
  high: float

  @property
  def interval(self) -> str:
    return f'95% interval {self.low:.2f} to {self.high:.2f}'

  def columns(self) -> dict[str, float]:
    """As a table has it, where speeds were compared."""
    times_as_fast, low, high = (round(value, 3) for value in self)
    return dict(times_as_fast=times_as_fast, low=low, high=high)


def read_arguments(
    text: str, rounds: int, **more: Mapping[str, Any]) -> argparse.Namespace:
  """The `folder` that results go to, which is made; `rounds`, as given where --rounds is not.

  `text` is the program's own, of which the first line is shown; `more` are arguments of its own,
  as argparse takes them.
  """
  parser = argparse.ArgumentParser(description=text.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  for name, settings in more.items():
    parser.add_argument(name, **settings)
  parser.add_argument('--rounds', type=int, default=rounds)
  arguments = parser.parse_args()
  check_rounds(parser, arguments.rounds)
  arguments.folder.mkdir(parents=True, exist_ok=True)
  return arguments


def check_rounds(parser: argparse.ArgumentParser, rounds: int) -> None:
  """Ends the program where there are too few of them for an interval."""
  if rounds < 2:
    parser.error(f'--rounds={rounds}: must be at least 2')


def machine() -> dict[str, Any]:
  """What the numbers depend on."""
  return dict(
      processor=_processor(), cores=os.cpu_count(), system=platform.platform(),
      xla_flags=os.environ.get('XLA_FLAGS', ''), versions=run_folder.versions())


def _processor() -> str:
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text(encoding='utf-8').splitlines() if info.exists() else []
  models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
  return models[0] if models else platform.machine()


def write_table(path: pathlib.Path, rows: Sequence[Mapping[str, Any]], **record: Any) -> None:
  """Writes a CSV file, prints its rows, and writes the `record` and the machine beside as JSON."""
  record = dict(machine=machine(), **record)  # first: a table that changes makes a checkout dirty
  files.write_rows(path, rows)
  path.with_suffix('.json').write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
  for row in rows:
    print(row)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
  """Of two programs run by turns, ours over theirs; at least two rounds, Student's t on logs."""
  logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
  mean = statistics.fmean(logs)
  half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
  return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def by_turns(
    commands: Mapping[Hashable, Sequence[str]], rounds: int,
    changes: Mapping[Hashable, Mapping[str, Any]] = {},
    folders: Mapping[Hashable, pathlib.Path] = {}) -> dict[Hashable, list[dict[str, Any]]]:
  """Runs each command once a round, alone, and collects the JSON on its last line.

  Each gets SETTINGS, with the `changes` of its own name where there are any, and runs in its own of
  the `folders`, else in this project's.
  """
  results = {name: [] for name in commands}
  for number in range(1, rounds + 1):
    for name, command in commands.items():
      print(f'round {number} of {rounds}: {name}', file=sys.stderr)
      settings = {**SETTINGS, **changes.get(name, {})}
      done = subprocess.run(
          [*command, json.dumps(settings)], cwd=folders.get(name, ROOT),
          capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
      if done.returncode:
        raise RuntimeError(f'{name}: exit status {done.returncode}\n{done.stderr}')
      results[name].append(json.loads(done.stdout.splitlines()[-1]))
  return results
