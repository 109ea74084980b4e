"""Which modules make a network's hidden layers, and which read them."""

from networks import injection, types
from networks.layers import Features
from networks.trace import Call


def describe(
    network: types.QNetwork, shapes: types.Params, features: Features, calls: list[Call],
    in_head: list[str]) -> types.QNetwork:
  """The network with what is known of its modules.

  Args:
    network: the two functions.
    shapes: of its parameters.
    features: all hidden layers, by name; of their activations nothing is read.
    calls: of one forward pass.
    in_head: modules of the heads, without their normalizations.
  """
  head_modules = tuple(
      module for name in in_head for module in (name, _norm(name)) if module in shapes)
  return network._replace(
      activations={name: hidden.nonlinearity for name, hidden in features.items()},
      units=_units(shapes, features, calls),
      output_modules=tuple(call.module for call in calls if call.is_output),
      head_modules=head_modules, injection=injection.parts(head_modules))


def _units(
    shapes: types.Params, features: Features, calls: list[Call]) -> dict[str, types.Units]:
  """Of layers that one module makes and others read directly."""
  units = {}
  for layer, hidden in features.items():
    made_by = hidden.producer
    consumers = tuple(call.module for call in calls if made_by and call.source == made_by)
    if consumers:
      norm = _norm(made_by) if _norm(made_by) in shapes else ''
      units[layer] = types.Units(shapes[made_by]['w'].shape[-1], made_by, norm, consumers)
  return units


def _norm(module: str) -> str:
  """The normalization that follows a module, where there is one with parameters."""
  return f'{module}_norm'
