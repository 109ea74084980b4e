"""Measures speeds on this machine: python -m benchmarks.bench. `make bench` sets up what it needs.

One measurement at a time, by turns; a row is a median and the least and most seen.
"""

import argparse
import functools
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agents import config as config_lib
from agents import heap
from benchmarks import compare, speeds
from benchmarks.peers import PEERS
from replay import factory

MATRICES = 'products of matrices'
ALE, GATHER = 'ALE, no preprocessing', 'gathering frames alone'
ACTED = (1, 8, 32, 128)  # environments that are acted in together
LEARNERS = ('dqn', 'double_dqn', 'c51', 'qr_dqn', 'rainbow')
OVER = {  # part -> what it is compared with
    'environment': ALE, **{f'actor: network, environments: {count}': ALE for count in ACTED},
    GATHER: 'replay, local'}


class Control(NamedTuple):
  """Of the loop on Control and its parts."""
  environment: str = 'environment, walker_walk'
  actor: str = 'actor: network, walker_walk'
  learner: str = 'learner, decqn'
  loop: str = 'whole loop, decqn on walker_walk'


CONTROL = Control()


class Row(NamedTuple):
  """A benchmark of one part."""
  name: str
  unit: str
  make: Callable[[], Iterator[int]]


ROWS = (
    Row(ALE, 'frames/s', speeds.ale),
    Row('environment', 'frames/s', speeds.environment),
    *(Row(f'actor: network, environments: {count}', 'frames/s',
          functools.partial(speeds.actor, 'dqn', 'atari', count)) for count in ACTED),
    Row(MATRICES, 'Mflop/s', speeds.matrices),
    *(Row(f'learner, {agent}', 'updates/s', functools.partial(speeds.learner, agent))
      for agent in LEARNERS),
    Row(GATHER, 'batches/s', speeds.gather),
    *(Row(f'replay, {kind}{name}', 'batches/s', functools.partial(speeds.replay, kind, prioritized))
      for kind in factory.available()
      for name, prioritized in (('', False), (', prioritized', True))),
    *(Row(f'adding, {kind}', 'steps/s', functools.partial(speeds.adding, kind))
      for kind in factory.available()),
    *([Row('weights, learner to actor', 'letters/s', speeds.publishing)]
      if 'reverb' in factory.available() else []),
    Row('probe, dqn, one target of 20 steps', 'probes/s', speeds.probe),
    Row(f'checkpoint, {speeds.NUM_STORED:,} transitions', 'checkpoints/s', speeds.checkpoint),
    Row(CONTROL.environment, 'steps/s', speeds.control_environment),
    Row(CONTROL.actor, 'steps/s', functools.partial(speeds.actor, 'decqn', 'control', 1)),
    Row(CONTROL.learner, 'updates/s', functools.partial(speeds.learner, 'decqn', 'control')),
    Row(CONTROL.loop, 'steps/s', functools.partial(speeds.control_loop, 'decqn')),
)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seconds', type=float, default=1.5, help='of one part in one round')
  parser.add_argument(
      '--rounds', type=int, default=5, help='of parts, then of whole loops; at least 2')
  parser.add_argument('--parts_only', action='store_true', help='no whole loops, no peers')
  parser.add_argument('--output', type=pathlib.Path, default='runs/bench.json')
  arguments = parser.parse_args()
  compare.check_rounds(parser, arguments.rounds)
  started = time.monotonic()
  heap.keep_freed()  # as a run does
  machine = compare.machine()
  print('{processor}, {cores} cores; batch {batch_size}'.format(**machine, **compare.SETTINGS))
  rates = speeds.by_turns(
      {row.name: row.make() for row in ROWS}, arguments.seconds, arguments.rounds)
  for row in ROWS:
    show(row.name, row.unit, rates[row.name])
  report = dict(
      machine=machine, ratios=ratios(rates), updates=updates(rates), control=control(rates),
      parts={row.name: dict(unit=row.unit, values=rates[row.name]) for row in ROWS})
  if not arguments.parts_only:
    report['comparison'] = comparison(arguments.rounds)
  arguments.output.parent.mkdir(parents=True, exist_ok=True)
  arguments.output.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
  print(f'written to {arguments.output}; took {time.monotonic() - started:.0f} s')


def ratios(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
  """Of parts over others, round by round."""
  found = {(part, other): compare.ratio(rates[part], rates[other]) for part, other in OVER.items()}
  for (part, other), ratio in found.items():
    print(f'{part} / {other}: {ratio.mean:.2f} ({ratio.interval})')
  return [dict(part=part, over=other, **ratio._asdict())
          for (part, other), ratio in found.items()]


def updates(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
  """Operations of an update, and its speed as a share of that of matrix products alone."""
  found = {}
  for agent in LEARNERS:
    flop = speeds.flop(agent)
    found[agent] = dict(flop=flop, share_of_bound=statistics.median(
        flop * updating / (1e6 * multiplying)
        for updating, multiplying in zip(rates[f'learner, {agent}'], rates[MATRICES], strict=True)))
    print(f'{agent}: {flop / 1e9:.2f} Gflop an update, {found[agent]["share_of_bound"]:.0%} of the '
          'bound that matrix products set')
  return found


def control(rates: dict[str, list[float]]) -> dict[str, Any]:
  """The loop's time over that of its parts alone, on Control: without acting, and with it."""
  period = config_lib.resolve('control', 'walker_walk', 'decqn', (), {}).steps_per_update
  found = {}
  for name, stepping, said in (
      ('loop_over_parts', CONTROL.environment, 'environment'),
      ('loop_over_parts_and_acting', CONTROL.actor, 'acting, environment')):
    ratio = compare.ratio(alone(rates, period, stepping), rates[CONTROL.loop])
    print(f'decqn on walker_walk: the loop takes {ratio.mean:.2f} times what {said} and updates '
          f'take ({ratio.interval})')
    found[name] = ratio._asdict()
  return dict(steps_per_update=period, **found)


def alone(rates: Mapping[str, Sequence[float]], period: int,
          stepping: str = CONTROL.environment) -> list[float]:
  """Steps/s on Control of `stepping` and updates, each round, if nothing else were done."""
  return [1 / (1 / stepped + 1 / (period * updated)) for stepped, updated in zip(
      rates[stepping], rates[CONTROL.learner], strict=True)]


class Loops(NamedTuple):
  """Whole loops that are run by turns, ours and peers'."""
  commands: dict[str, tuple[str, ...]]
  changes: dict[str, dict[str, Any]]  # of compare.SETTINGS
  pairs: list[tuple[str, str]]  # ours, a peer's that does as much work


def loops() -> Loops:
  """Ours with every replay, and once more for each peer whose network is another."""
  commands = {
      f'Pliant, {kind} replay': (sys.executable, '-m', 'benchmarks.whole_loop', kind)
      for kind in factory.available()}
  ours, changes, pairs = tuple(commands), {}, []
  for name, peer in PEERS.items():
    if not peer.plays:
      continue
    commands[name] = peer.command
    if peer.torso == 'nature':
      pairs += [(one, name) for one in ours]
    else:
      padded = f'Pliant, local replay, {peer.torso}'
      commands[padded] = commands['Pliant, local replay']
      changes[padded] = dict(overrides=dict(torso=peer.torso))
      pairs.append((padded, name))
  return Loops(commands, changes, pairs)


def comparison(rounds: int) -> dict[str, Any]:
  """Our whole loop beside those of peers, by turns."""
  print('\nDQN on Pong, the whole loop while it learns: batch {batch_size}, an update every '
        '{steps_per_update} agent steps'.format(**compare.SETTINGS))
  commands, changes, pairs = loops()
  outcomes = compare.by_turns(commands, rounds, changes)
  values = {name: [run['frames_per_second'] for run in runs] for name, runs in outcomes.items()}
  for name, speed in values.items():
    show(name, 'frames/s', speed)
  found = {(name, peer): compare.ratio(values[name], values[peer]) for name, peer in pairs}
  for (name, peer), ratio in found.items():
    print(f'{name} / {peer}: {ratio.mean:.2f} times as fast ({ratio.interval}, {rounds} rounds)')
  return dict(
      settings=compare.SETTINGS, frames_per_second=values,
      peers={peer: outcomes[peer][0]['versions'] for peer in PEERS if peer in outcomes},
      ratios=[dict(ours=name, over=peer, **ratio._asdict())
              for (name, peer), ratio in found.items()])


def show(name: str, unit: str, values: list[float]) -> None:
  median, least, most = (
      f'{value:,.{0 if value > 100 else 1}f}'
      for value in (statistics.median(values), min(values), max(values)))
  print(f'{name:32} {median:>10} {unit:10} ({least} to {most})', flush=True)


if __name__ == '__main__':
  main()
