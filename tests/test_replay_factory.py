"""Back ends by name, and what is said where there is none."""

import importlib.util

import pytest

from replay import factory, local, types

SIGNATURE = types.Signature((84, 84), 'uint8', 4, 1, 3, 1)
SETTINGS = types.Settings(1000)
HAS_REVERB = importlib.util.find_spec('reverb') is not None


def test_local_needs_nothing():
  factory.check('local', port=0)
  replay = factory.make('local', SIGNATURE, SETTINGS, 'run')
  assert isinstance(replay, local.LocalReplay)
  exact = local.estimate_bytes(SIGNATURE, SETTINGS)
  assert factory.estimate_bytes('local', SIGNATURE, SETTINGS) == (exact, exact)


@pytest.mark.parametrize('ask', [
    lambda kind: factory.check(kind, 0),
    lambda kind: factory.make(kind, SIGNATURE, SETTINGS, 'run'),
    lambda kind: factory.estimate_bytes(kind, SIGNATURE, SETTINGS)])
def test_an_unknown_kind_is_refused(ask):
  message = 'replay=disk: unknown, must be one of local, device, reverb'
  with pytest.raises(ValueError, match=message):
    ask('disk')


@pytest.mark.parametrize('kind', factory.KINDS)
@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan')])
def test_what_is_no_probability_is_refused(kind, value):
  settings = SETTINGS._replace(uniform_probability=value)
  with pytest.raises(ValueError, match=rf'uniform_probability: got {value}, must be in \[0, 1\]'):
    factory.make(kind, SIGNATURE, settings, 'run')


@pytest.mark.parametrize('kind', factory.KINDS)
@pytest.mark.parametrize('value', [-1.0, 1e7, float('inf'), float('nan')])
def test_what_is_no_priority_is_refused(kind, value):
  settings = SETTINGS._replace(new_priority=value)
  with pytest.raises(ValueError, match=rf'new_priority: got {value}, must be 0 or in \[1e-06, 1e'):
    factory.make(kind, SIGNATURE, settings, 'run')


@pytest.mark.skipif(HAS_REVERB, reason='Reverb is there')
def test_without_reverb_what_to_install_is_said():
  assert factory.default_kind() == 'local' and factory.available() == ('local', 'device')
  with pytest.raises(ValueError, match='replay=reverb: needs dm-reverb, .* or use --replay=local'):
    factory.check('reverb', 0)


@pytest.mark.reverb
def test_reverbs_estimate_lies_between_frames_that_compress_and_noise():
  assert factory.default_kind() == 'reverb'
  low, high = factory.estimate_bytes('reverb', SIGNATURE, types.Settings(1_000_000))
  # Measured for a million: 1.5 GB of Pong, 8.3 GB of noise, beside 0.5 GB for the process.
  assert low == pytest.approx(2.0e9, rel=0.05) and high == pytest.approx(8.8e9, rel=0.05)
