"""Learns a stream of tasks: python run_supervised.py --experiment=random_labels."""

import signal
import sys

if __name__ == '__main__':  # imports take seconds, and nothing is to be saved
  signal.signal(signal.SIGINT, signal.SIG_DFL)

from agents import script
from agents.supervised import cli, main
from envs import bandit, datasets, streams

STREAMS = cli.Streams(
    load=datasets.load, make=streams.make, play=bandit.make,
    defaults={name: {key: known.default for key, known in row.parameters.items()}
              for name, row in streams.STREAMS.items()},
    datasets=tuple(datasets.DATASETS))

if __name__ == '__main__':
  sys.exit(script.main(sys.argv, lambda argv: main.run(STREAMS, argv)))
