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

from benchmarks import soak, watched

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
      run.wait_for_updates(num_actors, _LEARN_FROM + 200)
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


def main(argv: list[str]) -> int:
  """See the top."""
  out = pathlib.Path(argv[1])
  out.mkdir(parents=True, exist_ok=True)
  rows = []
  for learns in (False, True):
    for num_actors in _ACTORS:
      rows.append(measure(num_actors, learns))
      print(rows[-1], flush=True)
      soak.write_csv(out / 'scaling.csv', rows)
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
