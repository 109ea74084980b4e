"""Probes in training: what they leave, and that training does not notice them."""

import threading

import jax
import numpy as np

from agents import metrics, trainer
from tests import catch_runs


def train(folder, probe_every):
  """The last parameters of a run on Catch, prioritized so that a draw too many would show."""
  config = catch_runs.make_config(
      run_length=300, eval_every=0, probe_every=probe_every, checkpoint_every=0, prioritized=True,
      probe_observations=40, probe_inputs=8, probe_targets=2, probe_steps=3, probe_lanczos_steps=3)
  folder.mkdir()
  run = trainer.Trainer(catch_runs.build(config), folder, threading.Event())
  run.run()
  run.close()
  return run.state.learner.params


def test_probes_change_nothing_that_training_computes(tmp_path):
  probed, plain = train(tmp_path / 'probed', 100), train(tmp_path / 'plain', 0)
  jax.tree.map(np.testing.assert_array_equal, probed, plain)
  assert not (tmp_path / 'plain' / 'probes.csv').exists()
  rows = metrics.read_rows(tmp_path / 'probed' / 'probes.csv')
  assert [row['frame'] for row in rows] == ['0', '100', '200', '300']
  first, last = rows[0], rows[-1]
  assert float(first['distance/total']) == 0  # The initial parameters, made again from the seed.
  assert float(last['distance/total']) > 0.1
  assert float(first['shift/dense1']) == 0
  assert float(last['shift/dense1']) > 0
  assert {path.name for path in (tmp_path / 'probed' / 'probes').iterdir()} == {
      f'{row["frame"]}.npz' for row in rows}
