"""What probes cost of a run's time, at the default period: for results/probes.

    python -m benchmarks.probe_cost RUN [PROBED]

A probe's seconds (the first, which compiles, apart) over the time of the training and the
evaluations of one period, at the speeds of the run; the probes are the run's own, or those of a
folder that run_probe.py made of it.
"""

import json
import pathlib
import sys

import numpy as np

from agents import metrics, presets


def cost(run: pathlib.Path, probed: pathlib.Path) -> dict[str, float]:
  """Seconds of a period and of a probe, and the probe's share of both together."""
  config = json.loads((run / 'config.json').read_text())
  results, probes = (metrics.read_rows(path) for path in (
      run / 'results.csv', probed / 'probes.csv'))
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
  run = pathlib.Path(argv[1])
  found = cost(run, pathlib.Path(argv[-1]))
  print(*(f'{name}={value:,.4g}' for name, value in found.items()))


if __name__ == '__main__':
  main(sys.argv)
