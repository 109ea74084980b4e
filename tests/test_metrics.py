"""Episode returns, means of metrics and CSV files, by hand."""

import math
import resource

import dm_env
import jax.numpy as jnp
import numpy as np
import pytest

from agents import errors, metrics

FIRST, MID, LAST = dm_env.StepType


def timestep(step_types, rewards):
  return dm_env.TimeStep(np.array(step_types), np.array(rewards, np.float32), None, None)


def test_returns_of_two_environments_by_hand():
  tracker = metrics.EpisodeTracker(2)
  assert math.isnan(tracker.take()[0])
  tracker.add(timestep([FIRST, FIRST], [0, 0]))
  tracker.add(timestep([MID, LAST], [1, 5]))
  assert tracker.last_return == 5
  tracker.add(timestep([MID, FIRST], [2, 0]))
  tracker.add(timestep([LAST, MID], [4, 9]))
  assert tracker.num_steps == 5
  assert tracker.take() == (6.0, 2)  # (1 + 2 + 4 + 5) / 2
  assert tracker.num_steps == 0
  tracker.add(timestep([FIRST, LAST], [0, 1]))
  assert tracker.take() == (10.0, 1)  # an episode may span a `take`


def test_without_a_finished_episode_the_running_one_counts():
  tracker = metrics.EpisodeTracker(1)
  tracker.add(timestep([FIRST], [0]))
  tracker.add(timestep([MID], [3]))
  assert tracker.take() == (3.0, 0)


def test_tracker_goes_on_from_its_state():
  one, other = metrics.EpisodeTracker(1), metrics.EpisodeTracker(1)
  for step in ([FIRST], [0]), ([MID], [3]):
    one.add(timestep(*step))
  other.restore(one.state())
  for tracker in (one, other):
    tracker.add(timestep([LAST], [4]))
  assert one.state() == other.state()
  assert one.take() == other.take() == (7.0, 1)


@pytest.mark.parametrize('count', [1, 255, 256, 600])
def test_means_of_device_scalars(count):
  means = metrics.Means()
  for i in range(count):
    means.add({'loss': jnp.float32(i), 'value': np.array([i, i + 2.0])})
  taken = means.take(['loss', 'value', 'absent'])
  assert taken['loss'] == (count - 1) / 2
  assert taken['value'] == (count - 1) / 2 + 1
  assert math.isnan(taken['absent'])
  assert math.isnan(means.take(['loss'])['loss'])


def test_a_mean_of_what_is_measured_sometimes_is_of_those_times():
  means = metrics.Means()
  for i in range(5):
    means.add({'norm': metrics.Sometimes(jnp.float32(i * i), jnp.array(i % 2 == 1))})
  assert means.take(['norm'])['norm'] == (1 + 9) / 2
  means.add({'norm': metrics.Sometimes(jnp.float32(math.nan), jnp.array(True))})
  assert math.isnan(means.take(['norm'])['norm'])


def test_a_mean_of_several_updates_at_once_is_of_them_all():
  means = metrics.Means()
  means.add({'loss': jnp.arange(3.0), 'norm': metrics.Sometimes(
      jnp.array([5.0, 0.0, 0.0]), jnp.array([True, False, False]))})
  means.add({'loss': jnp.arange(3.0, 6.0), 'norm': metrics.Sometimes(
      jnp.zeros(3), jnp.zeros(3, bool))})
  means.add({'loss': jnp.arange(6.0, 9.0), 'norm': metrics.Sometimes(
      jnp.array([1.0, 0.0, 3.0]), jnp.array([True, False, True]))})
  assert means.take(['loss', 'norm']) == {'loss': 4.0, 'norm': 3.0}
  means.add({'norm': metrics.Sometimes(jnp.zeros(3), jnp.zeros(3, bool))})
  assert math.isnan(means.take(['norm'])['norm'])


def test_means_go_on_from_their_state():
  one, other = metrics.Means(), metrics.Means()
  one.add({'loss': jnp.float32(1 / 3)})
  other.restore(one.state())
  for means in (one, other):
    means.add({'loss': jnp.float32(1 / 7)})
  assert one.take(['loss']) == other.take(['loss'])


def rows(path):
  return path.read_text().splitlines()


def test_csv_appends_rows_under_the_first_ones_columns(tmp_path):
  file = metrics.CsvFile(tmp_path / 'a.csv')
  file.append({'frame': 0, 'loss': math.nan})
  file.append({'frame': 10, 'loss': 0.1})
  assert rows(tmp_path / 'a.csv') == ['frame,loss', '0,nan', '10,0.1']
  assert (file.num_rows, file.last_frame) == (2, 10)
  with pytest.raises(ValueError, match=r"row=\['frame'\]: must have the columns"):
    file.append({'frame': 20})


@pytest.mark.parametrize('there', [[], [10]])
def test_of_a_row_that_does_not_fit_on_the_disk_nothing_stays(tmp_path, there):
  path = tmp_path / 'a.csv'
  file = metrics.CsvFile(path)
  for frame in there:
    file.append({'frame': frame, 'loss': 1})
  limits, size = resource.getrlimit(resource.RLIMIT_FSIZE), path.stat().st_size if there else 0
  resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2, limits[1]))
  try:
    with pytest.raises(OSError, match='No space left for a row'):
      file.append({'frame': 20, 'loss': 2})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  file.append({'frame': 30, 'loss': 3})
  assert rows(path) == ['frame,loss', *(f'{frame},1' for frame in there), '30,3']
  assert file.frames == [*there, 30]


@pytest.mark.parametrize('keep, kept', [(0, []), (1, ['0']), (2, ['0', '10']), (None, ['0', '10'])])
def test_csv_keeps_the_first_rows_and_drops_half_a_line(tmp_path, keep, kept):
  path = tmp_path / 'a.csv'
  path.write_text('frame,loss\n0,1.5\n10,2.5\n20,3')
  file = metrics.CsvFile(path, keep)
  assert [str(frame) for frame in file.frames] == kept
  file.append({'frame': 15, 'loss': 9})
  assert [line.split(',')[0] for line in rows(path)] == ['frame', *kept, '15']
  assert [entry.name for entry in tmp_path.iterdir()] == ['a.csv']


@pytest.mark.parametrize('content, message', [
    (b'frame,loss\n0,1.5\n10', 'must have the 2 rows of the checkpoint; it has 1'),
    (b'', 'must have the 2 rows of the checkpoint; it has 0'),
    (b'\x87\xff\n', 'must be rows that a run wrote: invalid start byte$'),
    (b'iteration,loss\n0,1\n1,2\n', "must be rows that a run wrote: KeyError\\('frame'\\)"),
    (b'frame,loss\nnan,1\n1,2\n', 'must be rows that a run wrote: ValueError')])
def test_csv_that_is_not_what_was_written_is_refused(tmp_path, content, message):
  path = tmp_path / 'a.csv'
  path.write_bytes(content)
  with pytest.raises(errors.RunError, match=f'a.csv: {message}'):
    metrics.CsvFile(path, 2)
  assert path.read_bytes() == content


def test_csv_without_a_row_has_no_last_frame(tmp_path):
  file = metrics.CsvFile(tmp_path / 'a.csv')
  assert (file.num_rows, file.last_frame) == (0, -1)
