"""Numbers as a reader wants them."""

import math

NOTHING = '–'


def number(value: float, decimals: int = 2) -> str:
  """1234.5 -> '1,234', 12.34 -> '12.3', 0.123 -> '0.12'; fewer decimals the larger it is."""
  if not math.isfinite(value):
    return NOTHING if math.isnan(value) else _signed('∞', value)
  if abs(value) >= 1e7:
    return _signed(f'{abs(value):.2e}', value)
  size = math.floor(math.log10(abs(value))) if value else 0
  text = f'{abs(value):,.{max(0, decimals - max(size, 0))}f}'
  return _signed(text, value if text.strip('0.') else 0.0)


def interval(low: float, high: float) -> str:
  """'[−0.02, 0.04]'."""
  if math.isnan(low) or math.isnan(high):
    return '[no interval]'
  return f'[{number(low)}, {number(high)}]'


def count(value: float) -> str:
  """1_250_000 -> '1.25M', 40_000 -> '40k'."""
  for size, suffix in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
    if abs(value) >= size:
      return f'{_signed(f"{abs(value) / size:.4g}", value)}{suffix}'
  return _signed(f'{abs(value):.4g}', value) if math.isfinite(value) else NOTHING


def percent(fraction: float) -> str:
  """0.003 -> '0.3%', 0.413 -> '41%'."""
  if math.isnan(fraction):
    return NOTHING
  if 0 < fraction < 0.001:
    return '<0.1%'
  return f'{100 * fraction:.{1 if 0 < fraction < 0.1 else 0}f}%'


def times(ratio: float) -> str:
  """1.234 -> '1.23×'."""
  return f'{number(ratio)}×' if math.isfinite(ratio) else NOTHING


def _signed(text: str, value: float) -> str:
  return f'−{text}' if value < 0 else text
