"""What probes cost of a run's time, at the default period: for results/probes.

    python -m benchmarks.probe_cost runs/walker_walk/decqn/seed1-… …

From the run's own files: a probe's seconds (the first, which compiles, apart) over the time of the
training and the evaluations of one period, at the speeds of the run.
"""

import json
import pathlib
import sys

import numpy as np

from agents import metrics, presets


def cost(run: pathlib.Path) -> dict[str, float]:
  """Seconds of a period and of a probe, and the probe's share of both together."""
  config = json.loads((run / 'config.json').read_text())
  results, probes = (metrics.read_rows(run / f'{name}.csv') for name in ('results', 'probes'))
  speeds = [float(row['train_frame_rate']) for row in results]
  # The first row has no training before it, the next one compiles.
  training = np.median([speed for speed in speeds[2:] if np.isfinite(speed)])
  evaluation = np.median([float(row['eval_frame_rate']) for row in results[1:]])
  period = presets.DOMAINS[config['domain']]['probe_every']
  evaluated = (presets.DOMAINS[config['domain']]['eval_length'] *
               period / presets.DOMAINS[config['domain']]['eval_every'])
  seconds = period / training + evaluated / evaluation
  first, *later = (float(row['probe_seconds']) for row in probes)
  probe = float(np.median(later))
  return dict(period=period, training_speed=training, evaluation_speed=evaluation,
              period_seconds=seconds, first_probe_seconds=first, probe_seconds=probe,
              share=probe / (seconds + probe))


def main(argv: list[str]) -> None:
  """See the top."""
  for run in map(pathlib.Path, argv[1:]):
    found = cost(run)
    print(run, *(f'{name}={value:,.4g}' for name, value in found.items()))


if __name__ == '__main__':
  main(sys.argv)
