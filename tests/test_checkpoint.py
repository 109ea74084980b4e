"""Checkpoints: names, round trips, refusals, and what a kill leaves."""

import json
import pathlib
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from agents import checkpoint


class State(NamedTuple):
  params: dict
  opt_state: tuple
  key: Any
  num_updates: Any


def make_state(seed=0):
  key = jax.random.key(seed)
  params = {'conv1': {'w': jax.random.normal(key, (2, 3)), 'b': jnp.zeros(3)}}
  return State(params, ((), State({}, (), jax.random.key(9), jnp.ones(()))), key, jnp.int32(7))


def save(root, frame, seed=0, replay=lambda folder: folder.mkdir()):
  tensors = checkpoint.to_tensors(make_state(seed))
  return checkpoint.save(root, frame, tensors, {'seed': seed}, replay, {'x': np.zeros(1)})


def test_tensors_are_named_by_tree_path():
  assert set(checkpoint.to_tensors(make_state())) == {
      'params/conv1/w', 'params/conv1/b', 'opt_state/1/key', 'opt_state/1/num_updates', 'key',
      'num_updates'}


def test_a_state_comes_back_equal_to_the_bit(tmp_path):
  state = make_state()
  tensors, content = checkpoint.load(save(tmp_path, 12))
  assert content == {'seed': 0}
  back = checkpoint.from_tensors(jax.eval_shape(lambda: state), tensors)
  assert jax.tree.structure(back) == jax.tree.structure(state)
  for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
    assert a.dtype == b.dtype and a.shape == b.shape
  jax.tree.map(np.testing.assert_array_equal, checkpoint.to_tensors(back),
               checkpoint.to_tensors(state))
  np.testing.assert_array_equal(
      jax.random.uniform(back.key), jax.random.uniform(state.key))


@pytest.mark.parametrize('change, message', [
    (lambda t: t.pop('params/conv1/w'), 'tensor params/conv1/w: missing'),
    (lambda t: t.update({'num_updates': np.zeros(2, np.int32)}),
     'tensor num_updates: is int32(2,), must be int32()'),
    (lambda t: t.update({'params/conv1/b': np.zeros(3, np.float64)}),
     'tensor params/conv1/b: is float64(3,), must be float32(3,)'),
    (lambda t: t.update({'params/conv9/b': np.zeros(3, np.float32)}),
     'tensor params/conv9/b: is of no parameter of this network')])
def test_tensors_that_do_not_fit_are_refused_by_name(change, message):
  tensors = checkpoint.to_tensors(make_state())
  change(tensors)
  with pytest.raises(checkpoint.CheckpointError, match=re.escape(message)):
    checkpoint.from_tensors(make_state(), tensors)


def test_newest_is_the_highest_frame_not_the_last_by_name(tmp_path):
  assert checkpoint.newest(tmp_path / 'none') is None
  for frame in (0, 9, 100):
    save(tmp_path, frame)
  assert checkpoint.newest(tmp_path).name == '100'


def test_a_failed_save_leaves_what_was_there(tmp_path):
  save(tmp_path, 5, seed=1)

  def full_disk(folder):
    raise OSError('No space left on device')

  for frame in (5, 6):
    with pytest.raises(OSError, match='No space'):
      save(tmp_path, frame, seed=2, replay=full_disk)
  newest = checkpoint.newest(tmp_path)
  assert (newest.name, checkpoint.load(newest)[1]) == ('5', {'seed': 1})


def test_saving_a_frame_again_replaces_it(tmp_path):
  save(tmp_path, 5, seed=1)
  save(tmp_path, 5, seed=2)
  assert checkpoint.load(tmp_path / '5')[1] == {'seed': 2}
  assert [path.name for path in tmp_path.iterdir()] == ['5']


def test_a_kill_between_the_two_renames_is_mended(tmp_path):
  save(tmp_path, 5, seed=1).rename(tmp_path / '.5.replaced')
  assert checkpoint.load(checkpoint.newest(tmp_path))[1] == {'seed': 1}


@pytest.mark.parametrize('name', [checkpoint.TENSORS, checkpoint.STATE])
def test_a_damaged_file_is_named(tmp_path, name):
  folder = save(tmp_path, 5)
  (folder / name).write_bytes((folder / name).read_bytes()[:10])
  with pytest.raises(checkpoint.CheckpointError, match=re.escape(f'{folder}: cannot be read')):
    checkpoint.load(folder)


def write_replay(folder):
  folder.mkdir()
  (folder / 'frames.npy').write_bytes(bytes(range(100)))


def cut(path):
  path.write_bytes(path.read_bytes()[:-1])


def flip(path):
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)


def empty(path):
  path.write_text('{}')


@pytest.mark.parametrize('damage', [cut, flip, empty, pathlib.Path.unlink])
@pytest.mark.parametrize('name', [
    checkpoint.TENSORS, checkpoint.STATE, checkpoint.INPUTS, 'replay/frames.npy', 'sums.json'])
def test_a_damaged_newest_is_set_aside_for_the_one_before(tmp_path, name, damage):
  for frame in (5, 9):
    save(tmp_path, frame, replay=write_replay)
  damage(tmp_path / '9' / name)
  found = checkpoint.set_aside_damaged(tmp_path)
  assert len(found) == 1 and str(tmp_path / '9') in str(found[0])
  assert checkpoint.newest(tmp_path).name == '5'
  assert (tmp_path / '9.damaged').is_dir()


def test_what_is_whole_stays(tmp_path):
  for frame in (5, 9):
    save(tmp_path, frame, replay=write_replay)
  assert not checkpoint.set_aside_damaged(tmp_path)
  assert checkpoint.newest(tmp_path).name == '9'
  assert not checkpoint.set_aside_damaged(tmp_path / 'none')


def test_names_of_damaged_ones_do_not_collide(tmp_path):
  save(tmp_path, 5)
  for _ in range(3):
    cut(save(tmp_path, 9) / checkpoint.STATE)
    assert len(checkpoint.set_aside_damaged(tmp_path)) == 1
  assert sorted(path.name for path in tmp_path.iterdir()) == [
      '5', '9.damaged', '9.damaged1', '9.damaged2']


@pytest.mark.parametrize('kept, message', [
    ([], 'must have a checkpoint to go on from; damaged: .*state.json: is not what was written'),
    ([5], r'whole one has no replay \(.*5/replay/frames.npy: is missing\), damaged: .*9/state')])
def test_where_none_is_left_nothing_starts_over(tmp_path, kept, message):
  for frame in (*kept, 9):
    save(tmp_path, frame, replay=write_replay)
  checkpoint.prune(tmp_path, 1, probed=kept)
  cut(tmp_path / '9' / checkpoint.STATE)
  with pytest.raises(checkpoint.CheckpointError, match=message):
    checkpoint.set_aside_damaged(tmp_path)
  assert checkpoint.frames(tmp_path) == kept


def test_prune_keeps_the_newest_whole_and_probed_ones_without_replay(tmp_path):
  for frame in (0, 10, 20, 30, 40):
    save(tmp_path, frame)
  (tmp_path / '.50.writing').mkdir()
  checkpoint.prune(tmp_path, 2, probed=[0, 20, 40])
  kept = {path.name: (path / checkpoint.REPLAY).exists() for path in tmp_path.iterdir()}
  assert kept == {'0': False, '20': False, '30': True, '40': True}


def test_files_are_what_they_say(tmp_path):
  folder = save(tmp_path, 1)
  assert sorted(path.name for path in folder.iterdir()) == [
      'learner.safetensors', 'probe.safetensors', 'replay', 'state.json', 'sums.json']
  assert safetensors.load_file(folder / checkpoint.TENSORS)['num_updates'] == 7
  assert json.loads((folder / checkpoint.STATE).read_text()) == {'seed': 0}
  assert folder.stat().st_mode & 0o077 == 0
