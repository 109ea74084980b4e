"""Our DQN on Pong: prints the frames/s of its whole loop while it learns, and its memory, as JSON.

    python -m benchmarks.whole_loop local|device|reverb SETTINGS

SETTINGS are compare.SETTINGS as JSON. They may hold `interventions`; `overrides`, more settings of
agents/config.py; and `stored`, how many transitions the replay holds before the run begins.
"""

import json
import pathlib
import sys
import tempfile
import threading
import time

import psutil

from agents import heap
from agents import trainer as trainer_lib
from benchmarks import speeds

_COMMON = ('seed', 'batch_size', 'steps_per_update', 'replay_capacity', 'target_update_period')


def main() -> None:
  heap.keep_freed()  # as a run does
  replay, settings = sys.argv[1], json.loads(sys.argv[2])
  overrides = {name: settings[name] for name in _COMMON} | dict(
      min_replay_size=settings['learning_starts'],
      exploration_epsilon_begin=settings['epsilon'], exploration_epsilon_end=settings['epsilon'])
  overrides |= settings.get('overrides', {})
  built = speeds.build('dqn', replay, overrides, settings.get('interventions', ()))
  stop = threading.Event()
  with built as run, tempfile.TemporaryDirectory() as folder:
    if stored := settings.get('stored'):
      speeds.fill(run, stored)
    trainer = trainer_lib.Trainer(run, pathlib.Path(folder), stop)
    first = 4 * (settings['learning_starts'] + settings['warmup_steps'])
    rates = []
    watch = threading.Thread(
        target=lambda: rates.append(_rate(trainer, first, settings['seconds'], stop)), daemon=True)
    watch.start()
    trainer.run()
    trainer.close()
    watch.join()
    size = psutil.Process().memory_info().rss
  print(json.dumps({'frames_per_second': rates[0], 'bytes': size}))


def _rate(
    trainer: trainer_lib.Trainer, first: int, seconds: float, stop: threading.Event) -> float:
  """Frames a second over a time window that begins at frame `first`; then stops the run."""
  while trainer.frame < first:
    time.sleep(0.01)
  frame, start = trainer.frame, time.perf_counter()
  time.sleep(seconds)
  rate = (trainer.frame - frame) / (time.perf_counter() - start)
  stop.set()
  return rate


if __name__ == '__main__':
  main()
