"""Scores in units of a human's."""

import math

import pytest

from envs import scores


@pytest.mark.parametrize('game, score, normalized', [
    ('pong', -20.7, 0.0), ('pong', 14.6, 1.0), ('pong', 21.0, 41.7 / 35.3),
    ('breakout', 16.1, 0.5), ('freeway', 0.0, 0.0), ('double_dunk', -20.8, -1.0),
    ('video_pinball', 17667.9, 1.0), ('skiing', -17098.1, 0.0)])
def test_normalized_return(game, score, normalized):
  assert scores.normalized_return(game, score) == pytest.approx(normalized, abs=1e-12)


@pytest.mark.parametrize('game', ['adventure', 'Pong', ''])
def test_no_score_to_compare_with(game):
  assert math.isnan(scores.normalized_return(game, 100.0))


def test_the_table():
  table = scores.RANDOM_AND_HUMAN
  assert len(table) == 57
  assert list(table) == sorted(table)
  assert all(human > random for random, human in table.values())
  # Checksums of the two columns as published.
  assert sum(random for random, _ in table.values()) == pytest.approx(50864.9)
  assert sum(human for _, human in table.values()) == pytest.approx(606494.2)
