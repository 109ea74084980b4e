"""One typed configuration, and how domain, preset, interventions and flags make it."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from agents import choice, errors, presets, rules
from probes import random_target


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that decides what a run computes.

  Lengths and periods of the run are in `unit`; those of learning say their own.
  """
  # What runs.
  domain: str  # atari, control, supervised
  task: str  # a game, a task or a stream of tasks, in the domain's own names
  agent: str = 'double_dqn'  # a row of presets.PRESETS
  interventions: tuple[str, ...] = ()  # rows of interventions.TABLE, sorted
  intervention_parameters: tuple[tuple[str, Any], ...] = ()  # ('redo.period', 1000), …, sorted
  protocol: str = ''  # Atari: a row of envs/protocols.py
  observations: str = 'state'  # Control: state, pixels
  dataset: str = ''  # Supervised: what envs/datasets.py calls the data
  stream_parameters: tuple[tuple[str, Any], ...] = ()  # Supervised: of `task`, a stream; sorted
  seed: int = 1
  num_envs: int = 1  # environments stepped together, in each actor
  num_actors: int = 0  # processes that act, beside the learner's; 0: one process does all
  actor_epsilon: str = 'same'  # how actors explore: a row of agents/distributed/epsilon.py
  replay: str = 'local'  # one of replay/factory.py's KINDS

  # How long, in `unit`; a period of 0 turns the thing off.
  unit: str = 'steps'  # frames (Atari), steps (Control)
  run_length: int = 1_000_000
  eval_every: int = 25_000
  eval_length: int = 10_000  # of one evaluation; 0: only eval_episodes bounds it; or examples
  eval_episodes: int = 0  # an evaluation ends after so many too; 0: only eval_length bounds it
  eval_envs: int = 1  # environments that an evaluation steps together
  probe_every: int = 50_000
  checkpoint_every: int = 50_000
  steps_per_task: int = 1_000  # Supervised
  trace_steps: int = 0  # Supervised: first updates on each task that are measured one by one
  trace_every: int = 10  # or every so many of them

  # Network.
  torso: str = 'mlp'  # a row of networks/torsos.py
  width: int = 1  # multiplies the torso's channels and units
  hidden_layers: int = 0  # ReLU layers between torso and outputs
  hidden_size: int = 512  # units of each
  norm: str = 'none'  # a row of networks/norms.py, before nonlinearities
  norm_affine: bool = True  # with a trained scale and offset
  spectral_norm: bool = False  # hidden kernels divided by their largest singular value
  activation: str = ''  # a row of ACTIVATIONS in networks/layers.py in place of the torso's own
  compute_dtype: str = 'float32'  # of hidden layers' products: float32, bfloat16
  hidden_bias: bool = True  # of layers that a normalization follows, behind a sum, too
  auxiliary_outputs: int = 0  # linear outputs of the torso beside the Q-values
  injection: bool = False  # the head has two copies, whose difference may be added to it
  initializer: str = 'uniform_fan_in'  # a row of INITIALIZERS in networks/layers.py
  initial_scale: float = 1.0  # of initial kernels, times what the initializer draws
  shared_bias: bool = False  # one bias for all outputs
  bins: int = 2  # choices in each dimension of a continuous action
  num_critics: int = 1  # act on their maximum, learn from their mean
  dueling: bool = False  # outputs are a value and advantages
  dueling_gradient: float = 1.0  # factor of what both pass back to what they share, in probes too
  shared_hidden: bool = False  # both read the same hidden layers, as in Dopamine's full Rainbow
  noisy: bool = False  # weights of hidden layers and outputs are drawn anew at each use
  noisy_sigma: float = 0.1  # what their noise is scaled by at the start, times sqrt(fan-in)

  # What is learnt.
  objective: str = 'q_learning'  # a row of agents/objectives.py
  double: bool = False  # the online network selects the bootstrapped action
  distribution: str = 'none'  # a row of networks/distributions.py
  num_atoms: int = 51  # atoms, or quantiles
  v_min: float = -10.0  # returns that atoms, where there are any, must hold: see atom_margin
  v_max: float = 10.0
  symlog: bool = False  # atoms evenly spaced in sign(x) log(1 + |x|)
  hl_gauss_sigma: float = 0.75  # of the Gaussian that a return becomes, in distances of atoms
  label_smoothing: float = 0.0  # part of a target distribution that is uniform
  error_loss: str = 'huber'  # a row of losses.ERROR_LOSSES, without a distribution
  discount: float = 0.99  # per agent step
  n_step: int = 1  # agent steps
  reward_clip: float = 0.0  # bound on each |reward| before summing; 0: none

  # Learning.
  random_shift: int = 0  # pixels that a batch's frames are shifted by at most
  batch_size: int = 32  # transitions
  steps_per_update: int = 4  # agent steps
  updates_per_dispatch: int = 1  # updates that one program makes, whose batches are drawn together
  target_update_period: int = 2_500  # updates
  optimizer: str = 'adam'  # a row of agents/optimizers.py
  learning_rate: float = 1e-4
  adam_b1: float = 0.9  # decay of Adam's first moment, for each update
  adam_b2: float = 0.999  # of its second
  count_each: bool = False  # Adam corrects its moments' bias by each weight's own age
  parameter_free: bool = False  # the way from the initial weights is scaled by agents/trac.py
  optimizer_epsilon: float = 1e-8
  max_gradient_norm: float = 0.0  # over all parameters; 0: none
  weight_decay: float = 0.0  # decoupled, kernels only; a step shrinks by learning_rate * this

  # Replay.
  replay_capacity: int = 1_000_000  # transitions
  min_replay_size: int = 1_000  # transitions before the first update
  prioritized: bool = False
  priority_exponent: float = 0.6
  uniform_probability: float = 0.0  # chance that a prioritized draw is a uniform one
  new_priority: float = 0.0  # of a transition that was not drawn yet; 0: the largest so far
  importance_exponent_begin: float = 0.4  # linear, from min_replay_size to the end of the run
  importance_exponent_end: float = 0.4

  # Exploration: linear in agent steps, once min_replay_size steps are taken; none where noisy.
  exploration_epsilon_begin: float = 1.0
  exploration_epsilon_end: float = 0.1
  exploration_decay_steps: int = 0  # agent steps; 0: 2% of the run, as in dqn_zoo
  eval_epsilon: float = 0.0
  eval_noise: bool = True  # evaluations keep the network's noise, where noisy

  # Probe: see probes/random_target.py, which says why these are so small.
  probe_observations: int = 1024  # drawn from replay, for the counts of units
  probe_pool_size: int = random_target.SMALL.pool_size  # of these, to be memorized
  probe_kind: str = 'sine'  # what is fitted: a row of random_target.KINDS, or own_loss
  probe_targets: int = random_target.SMALL.num_targets
  probe_steps: int = random_target.SMALL.num_steps  # optimiser steps on each target
  probe_batch_size: int = random_target.SMALL.batch_size
  probe_inputs: int = 64  # examples that kernels, gradients and curvature are of
  probe_lanczos_steps: int = 20  # products with the Hessian
  probe_trace: bool = False  # the kernel of each output on its own, too: as many times the work
  probe_optimizer: str = 'small'  # small: random_target.SMALL_OPTIMIZER; agent: the agent's own

  def __post_init__(self):
    rules.check(self)

  @property
  def atom_margin(self) -> float:
    """How far atoms go on beyond v_min and v_max, in distances of two atoms.

    A Gaussian that the last atom cut off would have another mean than the return it stands for.
    """
    return 3 * self.hl_gauss_sigma if self.distribution == 'hl_gauss' else 0.0

  @property
  def units_per_step(self) -> int:
    """What one agent step counts in `unit`."""
    return 4 if self.unit == 'frames' else 1

  @property
  def steps_per_dispatch(self) -> int:
    """Agent steps from one dispatch of updates to the next."""
    return self.steps_per_update * self.updates_per_dispatch

  @property
  def num_updates(self) -> int:
    """Updates that a whole run makes, up to those of one step of all environments."""
    period = self.steps_per_dispatch
    num_dispatches = self.run_length // self.units_per_step // period
    if self.objective == 'q_learning':  # The first comes when the replay has its least size.
      num_dispatches -= (self.min_replay_size - 1) // period
    return max(0, num_dispatches) * self.updates_per_dispatch


# Fields that other fields were resolved from: they have a flag of their own.
IDENTITY = (
    'domain', 'task', 'agent', 'interventions', 'intervention_parameters', 'protocol',
    'observations', 'unit', 'dataset', 'stream_parameters', 'objective', 'seed', 'num_envs',
    'num_actors', 'replay')


# What other suites call some fields: see `errors.unknown`.
OTHER_NAMES = {
    'lr': 'learning_rate', 'stepsize': 'learning_rate', 'gamma': 'discount',
    'buffersize': 'replay_capacity', 'replaysize': 'replay_capacity',
    'memorysize': 'replay_capacity', 'learningstarts': 'min_replay_size',
    'minreplayhistory': 'min_replay_size', 'trainfreq': 'steps_per_update',
    'trainfrequency': 'steps_per_update', 'updateperiod': 'steps_per_update',
    'nsteps': 'n_step', 'updatehorizon': 'n_step', 'adameps': 'optimizer_epsilon',
    'maxgradnorm': 'max_gradient_norm', 'epsilontrain': 'exploration_epsilon_end',
    'epsiloneval': 'eval_epsilon', 'numbins': 'bins'}


def as_flags(takes: Callable[[str], bool]) -> dict[str, str]:
  """What --set `takes`, for who typed it as a flag: name, or another one -> what to write."""
  own = {field.name.replace('_', ''): field.name for field in dataclasses.fields(Config)}
  return {plain: f'--set={name}=VALUE' for plain, name in (OTHER_NAMES | own).items()
          if name not in IDENTITY and takes(name)}


def preset(agent: str, domain: str, flag: str = 'agent') -> dict[str, Any]:
  """The settings of a preset, which `flag` names, on a domain.

  Raises:
    UsageError: there is no such preset, or it is not for the domain.
  """
  if agent not in presets.PRESETS:
    known = {name for name, row in presets.PRESETS.items() if domain in row.domains}
    others = {other: name for other, name in presets.OTHER_NAMES.items() if name in known}
    raise errors.unknown(flag, agent, known, others)
  row = presets.PRESETS[agent]
  if domain not in row.domains:
    others = (name for name, other in presets.PRESETS.items() if domain in other.domains)
    raise errors.UsageError(f'{flag}={agent}: is not for {domain}; use one of {", ".join(others)}')
  return {**row.settings, **row.domains[domain]}


def resolve(
    domain: str, task: str, agent: str, interventions: Iterable[str],
    overrides: Mapping[str, Any], **flags) -> Config:
  """Domain, preset, pixels, interventions, flags, overrides, each stronger than the one before.

  An intervention may carry parameters, as in 'redo(period=1000)'; overrides whose name has a dot
  are such parameters too, as text.
  """
  dotted = {name: text for name, text in overrides.items() if '.' in name}
  chosen = choice.choose(choice.parse(','.join(interventions)), dotted)
  settings = dict(presets.DOMAINS[domain]) | preset(agent, domain)
  if flags.get('observations') == 'pixels':
    settings |= presets.PIXELS
  settings |= chosen.settings | flags
  others = {name: value for name, value in overrides.items() if name not in dotted}
  choice.check_overrides(chosen.names, others)
  settings |= others
  return Config(
      domain=domain, task=task, agent=agent, interventions=chosen.names,
      intervention_parameters=chosen.parameters, **settings)


def described() -> Iterator[str]:
  """The settings that --set knows, a line each: type, default, and what this file says of them."""
  yield ('Presets, domains and interventions set some of these, and not all are of every domain; '
         'config.json of a run has what it went by.')
  fields = {field.name: field for field in dataclasses.fields(Config)}
  for line in inspect.getsource(Config).splitlines():
    if line.startswith('  def '):
      return
    match = re.match(r'  (?:(\w+): |# )', line)
    if match and not match[1]:
      yield f'\n{line[2:]}'
    elif match and match[1] not in IDENTITY:
      field = fields[match[1]]
      _, comes, comment = line.partition('  # ')
      yield f'{field.name}: {field.type.__name__} = {field.default!r}{comes}{comment}'


def parse_overrides(assignments: Iterable[str], flag: str = 'set') -> dict[str, Any]:
  """Turns `name=value` words, which `flag` holds, into typed settings of Config."""
  fields = {f.name: f.type for f in dataclasses.fields(Config)}
  overrides = {}
  for word in assignments:
    name, equals, text = word.partition('=')
    if not equals:
      raise errors.UsageError(f'{flag}={word}: must be name=value')
    if name in IDENTITY:
      raise errors.UsageError(f'{flag}={word}: {name} has a flag of its own or follows from one')
    if name in overrides:
      raise errors.UsageError(f'{flag}={word}: {name} is set twice')
    if '.' in name:  # Of an intervention, which knows its type.
      overrides[name] = text
      continue
    if name not in fields:
      raise errors.unknown(flag, name, fields.keys() - {*IDENTITY}, OTHER_NAMES)
    overrides[name] = errors.typed(f'{flag}={name}', text, fields[name])
  return overrides
