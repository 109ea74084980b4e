"""The table of interventions: each is a name for settings of ordinary Config fields.

Nothing else asks for an intervention by name: what a setting does stands where it acts (the
network's style, the optimiser's chain).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from agents import errors


class Intervention(NamedTuple):
  """A row of the table."""
  summary: str
  paper: str
  settings: Mapping[str, Any]  # Config fields


TABLE: Mapping[str, Intervention] = {
    'ln': Intervention(
        'layer normalization before every nonlinearity',
        'Ba et al. 2016; Lyle et al. 2024',
        {'norm': 'layer'}),
    'wd': Intervention(
        'decoupled weight decay on kernels; a step shrinks them by learning_rate * weight_decay',
        'Loshchilov & Hutter 2019; the strength is that of Lee et al. 2024 (SimBa)',
        {'weight_decay': 1e-2}),
}


def settings(names: Iterable[str]) -> dict[str, Any]:
  """The settings of some interventions together, whatever their order.

  Raises:
    UsageError: a name is unknown or given twice, or two set one field to different values.
  """
  merged, setter, seen = {}, {}, set()
  for name in names:
    if name not in TABLE:
      raise errors.unknown('interventions', name, TABLE)
    if name in seen:
      raise errors.UsageError(f'interventions={name}: given twice; name each once')
    seen.add(name)
    for field, value in TABLE[name].settings.items():
      if merged.get(field, value) != value:
        raise errors.UsageError(
            f'interventions={name}: sets {field}={value}, but {setter[field]} sets '
            f'{field}={merged[field]}; leave one out')
      merged[field], setter[field] = value, name
  return merged
