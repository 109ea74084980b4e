"""Learns a stream of tasks: python run_supervised.py --experiment=random_labels."""

import sys

from agents import script, supervised_cli, supervised_run
from envs import bandit, datasets, streams

STREAMS = supervised_cli.Streams(
    load=datasets.load, make=streams.make, play=bandit.make,
    defaults={name: {key: known.default for key, known in row.parameters.items()}
              for name, row in streams.STREAMS.items()},
    datasets=tuple(datasets.DATASETS))

if __name__ == '__main__':
  sys.exit(script.main(sys.argv, lambda argv: supervised_run.run(STREAMS, argv)))
