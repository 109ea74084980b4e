"""The arithmetic and the order of the benchmarks; what they measure is for `make bench` to say."""

import ast
import functools
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import psutil
import pytest

from agents import config as config_lib
from benchmarks import (
  bench,
  compare,
  curves,
  dispatches,
  growth,
  history,
  peer_clock,
  speeds,
  startup,
  updates,
  versions,
)
from benchmarks.peers import PEERS

_ECHO = '''
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
path.write_text(path.read_text() + sys.argv[2] if path.exists() else sys.argv[2])
print('chatter')
found = {name: json.loads(sys.argv[3])[name] for name in ('seed', 'epsilon')}
print(json.dumps(found | {'order': path.read_text()}))
'''


def test_ratio_by_hand():
  # Ratios 2 and 4: logs to base 2 are 1 and 2, mean 1.5, standard error 0.5; t(0.975, 1) = 12.706.
  ratio = compare.ratio([2, 8], [1, 2])
  bounds = 1.5 - 0.5 * 12.7062, 1.5, 1.5 + 0.5 * 12.7062
  found = [math.log2(x) for x in (ratio.low, ratio.mean, ratio.high)]
  assert found == pytest.approx(bounds, abs=1e-4)


def test_ratio_needs_as_many_of_each():
  with pytest.raises(ValueError):
    compare.ratio([1, 2, 3], [1, 2])


def test_commands_run_by_turns_with_the_same_settings_but_for_their_own(tmp_path):
  commands = {name: (sys.executable, '-c', _ECHO, str(tmp_path / 'order'), name) for name in 'AB'}
  results = compare.by_turns(commands, rounds=2, changes={'B': {'epsilon': 0.5}})
  assert [run['order'] for run in results['A']] == ['A', 'ABA']
  assert [run['order'] for run in results['B']] == ['AB', 'ABAB']
  assert all(run['seed'] == compare.SETTINGS['seed'] for runs in results.values() for run in runs)
  assert [run['epsilon'] for run in results['A'] + results['B']] == [
      *2 * [compare.SETTINGS['epsilon']], 0.5, 0.5]


def test_a_failing_command_shows_its_error():
  code = 'import sys; sys.stderr.write("the" + " cause"); sys.exit(3)'
  with pytest.raises(RuntimeError, match='broken: exit status 3\nthe cause'):
    compare.by_turns({'broken': (sys.executable, '-c', code)}, rounds=1)


def test_growth_in_milliseconds_by_hand():
  # 4 frames each agent step: 10 ms at 1 and 14 ms at 3 are 8 ms, and 2 for each one more.
  rows = [dict(value=1, frames_per_second=400), dict(value=3, frames_per_second=4e3 / 14)]
  assert growth.milliseconds(rows) == pytest.approx((8, 2))


def test_history_has_the_ratios_that_each_record_can_give():
  def part(*values):
    return dict(unit='frames/s', values=values)

  old = dict(parts={bench.ALE: part(100, 50), 'environment': part(50, 25),
                    'actor: environment and network': part(20, 10)})
  new = old | dict(
      comparison=dict(frames_per_second={
          'Pliant, local replay': [4, 8], 'Pliant, reverb replay': [2, 4]}),
      updates=dict(dqn=dict(flop=3e6)), control=dict(steps_per_update=8),
      # 100 steps/s and 10 updates/s, one for each 8 steps: 44.4 steps/s; the loop has half of it.
      parts=old['parts'] | {bench.MATRICES: part(60, 60), 'learner, dqn': part(10, 10)}
      | {bench.CONTROL.environment: part(100, 100), bench.CONTROL.learner: part(10, 10),
         bench.CONTROL.loop: part(200 / 9, 200 / 9)})
  found = history.find({'old': old, 'new': new})
  means = {(label, name): ratio.mean for label, ratios in found.items()
           for name, ratio in ratios.items()}
  both = {'environment alone': 0.5, 'acting, environments: 1': 0.2}
  assert means == pytest.approx({(label, name): mean for label, mean in both.items()
                                 for name in ('old', 'new')} | {
      ('update, dqn', 'new'): 0.5, ('Control, loop over its parts (at most 1.3)', 'new'): 2.0,
      ('whole loop, Reverb over local replay (at most 1.15)', 'new'): 2.0})
  lines = list(history.table({
      'old': dict(machine=dict(processor='AMD EPYC', versions=dict(jax='0.4.34'))),
      'new': dict(machine=dict(processor='Intel(R) Xeon(R) Processor', versions=dict(jax='0.6.2')))
  }, found))
  assert lines[0] == '| | old | new |'
  assert lines[2] == '| machine | AMD EPYC, JAX 0.4.34 | Intel Xeon, JAX 0.6.2 |'
  assert '| update, dqn |  | 0.50 (0.50 to 0.50) |' in lines


def test_every_record_that_is_kept_gives_ratios():
  records = {path: json.loads(path.read_text())
             for path in (compare.ROOT / 'results/bench').glob('*.json')}
  found = history.find(records)
  assert all(found.values())
  assert {path for ratios in found.values() for path in ratios} == records.keys()


@pytest.mark.parametrize('name', growth.SWEEPS)
def test_what_grows_are_settings_of_a_run(name):
  for changed in growth.SWEEPS[name].points.values():
    assert not changed.keys() - compare.SETTINGS.keys() - {'overrides', 'interventions', 'stored'}
    config_lib.resolve(
        'atari', 'pong', 'dqn', changed.get('interventions', ()), changed.get('overrides', {}))


def test_benchmarks_run_by_turns_and_are_closed():
  begun, closed = [], []

  def work(name):
    try:
      while True:
        begun.append(name)
        time.sleep(1e-3)  # what is measured
        yield 7
    finally:
      closed.append(name)

  rates = speeds.by_turns({name: work(name) for name in 'AB'}, seconds=0.01, rounds=3)
  # Both are warm before the first round, and each has as many turns.
  turns = ''.join(name for name, _ in itertools.groupby(begun))
  assert turns == 'AB' * 4 and closed == ['B', 'A']
  assert {name: len(found) for name, found in rates.items()} == {'A': 3, 'B': 3}
  assert all(0 < rate < 7 / 1e-3 for found in rates.values() for rate in found)


@pytest.mark.parametrize('name', PEERS)
def test_a_peers_program_has_the_agents_that_are_asked_of_it(name):
  program = pathlib.Path(compare.__file__).parent.parent / PEERS[name].program
  found = {node.targets[0].id: node.value for node in ast.parse(program.read_text()).body
           if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
  agents = [key.value for key in found['_AGENTS'].keys]
  assert tuple(agents) == PEERS[name].agents
  assert set(agents) <= set(updates.AGENTS)
  for agent in agents:
    changes = dict(torso=PEERS[name].torso) | PEERS[name].changes.get(agent, {})
    config_lib.resolve('atari', 'pong', agent, (), changes)


def test_a_peers_updates_are_counted_by_the_clock():
  done, waited = [], []
  rate = peer_clock.updates_per_second(
      lambda: (done.append(1), time.sleep(1e-3)), 0.02, lambda: waited.append(len(done)))
  # It waits after every five, and the first ten, which may compile, do not count.
  assert waited == list(range(5, len(done) + 1, 5))
  assert 0 < rate < 1e3 and rate * 0.02 <= len(done) - 10


def test_updates_are_set_beside_those_of_peers_with_as_much_work():
  commands, changes = updates.plan()
  assert changes['dqn', 'nature_same']['overrides'] == dict(
      torso='nature_same', batch_size=32, target_update_period=2_500)
  rainbow = changes['rainbow', 'nature_same']['overrides']
  assert rainbow == changes['dqn', 'nature_same']['overrides'] | dict(shared_hidden=True)
  assert 'shared_hidden' not in changes['rainbow', 'nature']['overrides']
  assert commands.keys() == changes.keys()
  assert all(change['agent'] == agent for (agent, _), change in changes.items())
  speed = {'nature': 6.0, 'nature_same': 3.0}
  rows = updates.table({
      key: 2 * [dict(updates_per_second=speed.get(key[1], 2.0), versions={'it': '1'})]
      for key in commands})
  found = {(row['agent'], row['peer']): row['times_as_fast'] for row in rows}
  assert found['dqn', 'Stable-Baselines3'] == found['rainbow', 'Tianshou'] == 3.0
  assert found['dqn', 'Dopamine'] == found['rainbow', 'Dopamine'] == 1.5
  assert ('c51', 'Stable-Baselines3') not in found and len(found) == 10
  assert rows[0]['our_updates_per_second'] == 6.0 and rows[0]['versions'] == 'it=1'


def test_whole_loops_are_set_beside_those_of_peers_with_as_much_work():
  loops, padded = bench.loops(), 'Pliant, local replay, nature_same'
  assert loops.changes == {padded: dict(overrides=dict(torso='nature_same'))}
  assert ('Pliant, local replay', 'Stable-Baselines3') in loops.pairs
  assert [ours for ours, peer in loops.pairs if peer == 'Dopamine'] == [padded]
  assert {name for pair in loops.pairs for name in pair} == loops.commands.keys()


def test_versions_are_checkouts_with_updates_of_their_own(tmp_path):
  pairs = []
  for speed in (2, 3):
    folder = tmp_path / str(speed)
    (folder / 'benchmarks').mkdir(parents=True)
    (folder / 'benchmarks/update_alone.py').write_text(
        f'import json\nprint(json.dumps(dict(updates_per_second={speed})))')
    for command in ('init', 'add .', '-c user.name=a -c user.email=b commit -m c'):
      subprocess.run(['git', *command.split()], cwd=folder, check=True, capture_output=True)
    pairs.append(f'{sys.executable}@{folder}')
  rows = versions.measure(pairs, rounds=2)
  assert [row['agent'] for row in rows] == list(versions.AGENTS)
  assert {(row['times_as_fast'], row['low'], row['high']) for row in rows} == {(1.5, 1.5, 1.5)}
  with pytest.raises(SystemExit, match='must be two or more that differ; they are JAX '):
    versions.measure([pairs[0], pairs[0]], rounds=2)
  assert all(row['version'].startswith('JAX ') and row['over'] != row['version'] for row in rows)


def test_dispatches_in_milliseconds_by_hand():
  # 4 ms for each update and 2 for a dispatch: 6, 5 and 4.5 ms an update.
  rows = (dict(updates_per_dispatch=count, milliseconds=4 + 2 / count) for count in (1, 2, 4))
  assert dispatches.split(rows) == pytest.approx((4, 2))


@pytest.mark.parametrize('count', [1, 3])
def test_updates_are_counted_where_a_program_makes_several(count):
  overrides = dict(updates_per_dispatch=count, batch_size=4)
  benchmark = speeds.learner('dqn', 'control', overrides)
  assert [next(benchmark) for _ in range(2)] == 2 * [5 * count]
  benchmark.close()


@pytest.mark.parametrize('make', [
    speeds.checkpoint, pytest.param(speeds.publishing, marks=pytest.mark.reverb)])
def test_what_a_benchmark_starts_and_writes_is_gone_after_it(make, tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  before = psutil.Process().children()
  benchmark = make()
  assert [next(benchmark), next(benchmark)] == [1, 1] and list(tmp_path.iterdir())
  benchmark.close()
  assert not list(tmp_path.iterdir()) and psutil.Process().children() == before


@pytest.mark.parametrize('make', [
    functools.partial(speeds.replay, 'local', prioritized=False),
    functools.partial(speeds.replay, 'local', prioritized=True),
    functools.partial(speeds.adding, 'local')], ids=['uniform', 'prioritized', 'adding'])
def test_a_replay_can_be_drawn_from_and_added_to_for_ever(make, monkeypatch):
  monkeypatch.setattr(speeds, 'NUM_STORED', 40)
  benchmark = make()
  assert [next(benchmark) for _ in range(100)] == 100 * [1]
  benchmark.close()


def test_a_machine_says_what_the_numbers_depend_on():
  found = compare.machine()
  assert found['cores'] and found['processor'] and found['xla_flags'] == os.environ['XLA_FLAGS']
  assert {'pliant', 'jax', 'jaxlib', 'numpy'} <= found['versions'].keys()


def test_a_table_has_the_machine_and_a_record_beside_it(tmp_path, capsys):
  compare.write_table(tmp_path / 'found.csv', [dict(agent='dqn', low=1.5)], runs=[[1, 2]])
  assert (tmp_path / 'found.csv').read_text().split() == ['agent,low', 'dqn,1.5']
  record = json.loads((tmp_path / 'found.json').read_text())
  assert record == dict(machine=compare.machine(), runs=[[1, 2]])
  assert 'dqn' in capsys.readouterr().out


def test_control_is_compared_with_its_parts_by_hand():
  # 100 steps/s and 10 updates/s, one for each 8 steps: 10 + 12.5 ms; 27 are 1.2 times that. With
  # acting 80 steps/s: 12.5 + 12.5 ms, of which 27 are 1.08 times.
  names = bench.CONTROL
  found = bench.control({names.environment: [100, 100], names.actor: [80, 80],
                         names.learner: [10, 10], names.loop: [1e3 / 27, 1e3 / 27]})
  assert found['loop_over_parts']['mean'] == pytest.approx(1.2)
  assert found['loop_over_parts_and_acting']['mean'] == pytest.approx(1.08)


@pytest.mark.parametrize('agent, domain, num_envs, each', [
    ('dqn', 'atari', 2, 8), ('decqn', 'control', 1, 1)])
def test_acting_is_counted_in_frames_on_atari_and_in_steps_on_control(
    agent, domain, num_envs, each):
  benchmark = speeds.actor(agent, domain, num_envs)
  assert [next(benchmark) for _ in range(3)] == [0, each, each]  # first the reset
  benchmark.close()


def test_starts_are_timed_to_their_end():
  row, = startup.measure({'help': startup.commands()['help']}, rounds=2)
  assert row['name'] == 'help' and 0 < row['least'] <= row['median'] <= row['most'] < 60
  assert row['rounds'] == 2
  with pytest.raises(subprocess.CalledProcessError):
    startup.measure({'bad': ('run_atari.py', '--nonsense')}, rounds=1)


def test_last_evaluations_over_seeds_by_hand():
  def run(seed, *returns):
    return f'dqn-seed{seed}', [dict(eval_episode_return=str(value)) for value in returns]

  # Mean 4, standard deviation 2; t(0.975, 2) = 4.303: 4.303 * 2 / sqrt(3) = 4.97.
  lines = list(curves.over_seeds({
      'walker_walk': [run(1, 9, 2), run(2, 4), run(3, 6),
                      ('dqn-double=true-seed1', run(1, 7)[1])]}))
  assert lines == ['| walker_walk | dqn | 3 | 4, -1 to 9 | 850 |',
                   '| walker_walk | dqn-double=true | 1 | 7, not known | 850 |']
