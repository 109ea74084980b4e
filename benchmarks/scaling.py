"""How frames and updates a second grow with the number of actors, and what goes over the wire.

    python -m benchmarks.scaling results/scaling

Double DQN with dqn_zoo's settings on Pong, with and without learning, on this machine. Writes
scaling.csv and README.md, with the model for more actors than a machine of two cores can run.
"""

import pathlib
import re
import sys
import tempfile
import time

from benchmarks import watched
from probes import files

_ACTORS = (1, 2, 4, 8)
_SECONDS = 60.0
_LEARN_FROM = 2_000
_CAPACITY = 300_000
_COMMAND = (
    'run_atari.py', '--game=Pong', '--agent=double_dqn', '--replay=reverb',
    '--num_frames=200000000', '--eval_every_frames=0', '--probe_every_frames=0',
    '--checkpoint_every_frames=0', '--track=', f'--set=replay_capacity={_CAPACITY}')
_FRAMES, _STEPS_PER_UPDATE, _BATCH_SIZE = 4, 4, 32


def measure(num_actors: int, learns: bool) -> dict[str, float]:
  """One row: a minute of a run."""
  least = _LEARN_FROM if learns else _CAPACITY
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch, 'run')
    command = (*_COMMAND, f'--num_actors={num_actors}', f'--set=min_replay_size={least}')
    with watched.started(folder, command) as run:
      run.wait_for_transitions(num_actors, _LEARN_FROM + 200)
      first = run.count()
      time.sleep(_SECONDS)
      last, weights_bytes = run.count(), run.weights_bytes()
    said = re.findall(r'throttled (\d+)% of the time, the learner starved (\d+)%; weights were at '
                      r'most (\d+)', run.log())
  seconds = last.time - first.time
  inserted, sampled = last.inserted - first.inserted, last.sampled - first.sampled
  sent = (last.sent_weights - first.sent_weights) / seconds
  cpu = {name: (last.cpu_seconds[name] - first.cpu_seconds[name]) / seconds
         for name in last.cpu_seconds if name in first.cpu_seconds}
  actors = [share for name, share in cpu.items() if name.startswith('actor')]
  return dict(
      actors=num_actors, learning=int(learns),
      frames_per_second=round(_FRAMES * inserted / seconds, 1),
      updates_per_second=round(sampled / _BATCH_SIZE / seconds, 2),
      loopback_megabytes_per_second=round(
          (last.loopback_bytes - first.loopback_bytes) / 1e6 / seconds, 3),
      weights_per_second=round(sent, 3), weights_megabytes=round(weights_bytes / 1e6, 3),
      cpu_actors=round(sum(actors), 2), cpu_learner=round(cpu['learner'], 2),
      cpu_server=round(cpu['server'], 2), cpu_evaluator=round(cpu['evaluator'], 2),
      cpu_driver=round(cpu['driver'], 2),
      megabytes_each_actor=round(max(
          size for name, size in last.rss_bytes.items() if name.startswith('actor')) / 1e6),
      throttled_percent=said[-1][0] if said else '', starved_percent=said[-1][1] if said else '',
      oldest_weights_updates=said[-1][2] if said else '')


_MODEL = """## A model of more actors

Constants, from the rows of one actor above:

- an actor that has a core plays r = {frames:,.0f} frames/s, {inserted:,.0f} transitions/s, and
  takes {gigabytes:.1f} GB;
- a transition takes b = {into:.2f} kB on its way in, and o = {out:.1f} kB each time it is drawn,
  with all frames of its window;
- weights are W = {size:.1f} MB, sent {often:.2f} times a second (once at most, and for a twentieth
  of the time);
- the learner made at most {best:.1f} updates/s, on two cores that it shared with the others.

N actors with a core each play N r frames/s. At one update for {period} steps these want
N r / {ratio} updates/s, of {batch} transitions each. In comes N r b / 4 a second, drawn is
N r / {ratio} times {batch} o, and weights are N W times as often as they are sent.

The learner saturates first: here at {most:.1f} actors, so that beyond them actors wait. A faster
learner, a larger `steps_per_update` or larger batches move that point. Weights are next, since each
actor fetches all of them.

| actors | frames/s | updates/s wanted | times this learner | MB/s in | MB/s drawn | MB/s of weights | GB of actors |
|---:|---:|---:|---:|---:|---:|---:|---:|"""  # noqa: E501 (a table's row)


def model(rows: list[dict[str, float]]) -> list[str]:
  """What 64 and 1,024 actors need, from constants that the rows give."""
  play = next(row for row in rows if row['actors'] == 1 and not row['learning'])
  learn = next(row for row in rows if row['actors'] == 1 and row['learning'])
  best = max(row['updates_per_second'] for row in rows)
  frames = play['frames_per_second']
  inserted = frames / _FRAMES
  into = play['loopback_megabytes_per_second'] / inserted
  # Of a row that learns: what came in, and the weights that went to the server, actor, evaluator.
  weights = 2 * learn['weights_per_second'] * learn['weights_megabytes']
  sampled = learn['updates_per_second'] * _BATCH_SIZE
  out = (learn['loopback_megabytes_per_second'] - weights
         - into * learn['frames_per_second'] / _FRAMES) / sampled
  lines = [_MODEL.format(
      frames=frames, inserted=inserted, gigabytes=play['megabytes_each_actor'] / 1e3,
      into=1e3 * into, out=1e3 * out, size=learn['weights_megabytes'],
      often=learn['weights_per_second'], best=best, period=_STEPS_PER_UPDATE,
      ratio=_FRAMES * _STEPS_PER_UPDATE, batch=_BATCH_SIZE,
      most=best * _STEPS_PER_UPDATE / inserted)]
  for count in (8, 64, 1024):
    updates = count * inserted / _STEPS_PER_UPDATE
    lines.append(
        f'| {count:,} | {count * frames:,.0f} | {updates:,.0f} | {updates / best:,.1f} | '
        f'{count * inserted * into:,.1f} | {updates * _BATCH_SIZE * out:,.0f} | '
        f'{count * learn["weights_per_second"] * learn["weights_megabytes"]:,.0f} | '
        f'{count * play["megabytes_each_actor"] / 1e3:,.0f} |')
  return lines


def write_index(out: pathlib.Path, rows: list[dict[str, float]]) -> None:
  """README.md."""
  names = [name for name in rows[0] if not name.startswith('megabytes')]
  table = ['| ' + ' | '.join(name.replace('_', ' ') for name in names) + ' |',
           '|' + '---:|' * len(names),
           *('| ' + ' | '.join(str(row[name]) for name in names) + ' |' for row in rows)]
  (out / 'README.md').write_text('\n'.join([
      '# One to eight actors on one machine', '',
      'Made by `python -m benchmarks.scaling results/scaling` on two cores, a minute each, one '
      'after the other; it ran `' + ' '.join(_COMMAND) + '`. Without learning the replay never '
      'comes to its least size. Shares of a CPU are of one core; loopback is all that went through '
      'the machine\'s own network, mostly Reverb.', '', *table, '', *model(rows)]) + '\n')


def main(argv: list[str]) -> int:
  """See the top."""
  out = pathlib.Path(argv[1])
  out.mkdir(parents=True, exist_ok=True)
  rows = []
  for learns in (False, True):
    for num_actors in _ACTORS:
      rows.append(measure(num_actors, learns))
      print(rows[-1], flush=True)
      files.write_rows(out / 'scaling.csv', rows)
  write_index(out, rows)
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
