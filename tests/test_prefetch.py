"""Batches drawn ahead are the batches of a replay that is asked when they are needed."""

import threading

import numpy as np
import pytest

from agents import prefetch
from replay import local, types
from tests import replay_twin

SIGNATURE = types.Signature((3, 2), 'uint8', 4, 1, 3, 2)


def filled():
  ours = replay_twin.World(local.LocalReplay(SIGNATURE, types.Settings(50)), SIGNATURE,
                           replay_twin.synthetic(0, SIGNATURE, 12))
  ours.run(60)
  return ours.replay


def test_the_same_batches_come_in_the_same_order_from_another_thread():
  replay, ahead = filled(), filled()
  threads = set()
  draw = ahead.sample
  ahead.sample = lambda size: threads.add(threading.get_ident()) or draw(size)
  drawn = prefetch.Prefetched(ahead)
  assert drawn.size() == replay.size()
  for _ in range(5):
    expected, found = replay.sample(7), drawn.sample(7)
    for a, b in zip((*expected[:2], *expected.transition), (*found[:2], *found.transition),
                    strict=True):
      np.testing.assert_array_equal(a, b)
  assert threads and threading.get_ident() not in threads


def test_what_a_draw_raises_comes_where_its_batch_is_needed():
  drawn = prefetch.Prefetched(local.LocalReplay(SIGNATURE, types.Settings(50)))
  with pytest.raises(types.ReplayError, match='holds no transition yet'):
    drawn.sample(3)
