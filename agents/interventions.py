"""The table of interventions: each is a name for settings and, where those do not do, a mechanism.

Nothing else asks for an intervention by name: what a setting does stands where it acts (the
network's style, the loss, the optimizer's chain), and what a mechanism does in the module that the
row names. `parameters` can be set as in
`--interventions=redo(period=1000)` or by `--set=redo.period=1000`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agents import penalties, projections, resets
from agents.mechanism import Mechanism

Rule = tuple[Callable[[Any], bool], str]
_POSITIVE: Rule = (lambda x: x > 0, 'above 0')
_COUNT: Rule = (lambda x: x >= 1, 'at least 1')
_FRACTION: Rule = (lambda x: 0 <= x <= 1, 'from 0 to 1')


def _one_of(*names: str) -> Rule:
  return names.__contains__, f'one of {", ".join(names)}'


class Parameter(NamedTuple):
  """A number or name that a user may set; its default has its type."""
  default: Any
  rule: Rule = (lambda x: True, '')  # of a Config field: that field's own
  field: str = ''  # the Config field that it sets; none: the mechanism takes it


class Intervention(NamedTuple):
  """A row of the table."""
  kind: str
  summary: str
  paper: str
  touches: str  # of network, loss, optimizer, state, target, moments
  settings: Mapping[str, Any] = {}  # Config fields that it sets, whatever its parameters
  parameters: Mapping[str, Parameter] = {}
  # Network and the parameters without a field, by name -> what the learner calls.
  mechanism: Callable[..., Mechanism] | None = None


def _norm(norm: str, summary: str, paper: str) -> Intervention:
  return Intervention(
      'normalization', f'before every nonlinearity, {summary}', paper, 'network', {'norm': norm},
      {'affine': Parameter(True, field='norm_affine')})


def _activation(activation: str, summary: str, paper: str) -> Intervention:
  return Intervention(
      'activation', f'every nonlinearity becomes {summary}', paper, 'network',
      {'activation': activation})


def _optimizer(
    summary: str, paper: str, optimizer: str, **parameters: Parameter) -> Intervention:
  return Intervention(
      'optimizer', summary, paper, 'optimizer', {'optimizer': optimizer}, parameters)


def _penalty(
    kind: str, summary: str, paper: str, mechanism: Callable[..., Mechanism], strength: float,
    touches: str = 'loss', **parameters: Parameter) -> Intervention:
  parameters = {'strength': Parameter(strength, _POSITIVE), **parameters}
  return Intervention(
      kind, f'{summary}, added to the loss', paper, touches, {}, parameters, mechanism)


def _projection(
    summary: str, paper: str, mechanism: Callable[..., Mechanism],
    settings: Mapping[str, Any] = {}, **parameters: Parameter) -> Intervention:
  touches = 'network, state' if settings else 'state'
  return Intervention(
      'norm control', f'after updates, {summary}', paper, touches, settings, parameters, mechanism)


_SCOPE = Parameter('all', _one_of('all', 'kernels'))


def _reset(
    summary: str, paper: str, touches: str, parameters: Mapping[str, Parameter],
    mechanism: Callable[..., Mechanism],
    settings: Mapping[str, Any] = {}) -> Intervention:
  """What draws weights anew, and therefore has Adam count each weight's updates apart."""
  return Intervention(
      'resets', summary, paper, touches, {'count_each': True, **settings}, parameters, mechanism)


def _period(updates: int) -> Parameter:
  return Parameter(updates, _COUNT)

TABLE: Mapping[str, Intervention] = {
    'ln': _norm(
        'layer', 'layer normalization: over the units of a sample',
        'Ba et al. 2016; Lyle et al. 2024'),
    'rms': _norm(
        'rms', 'layer normalization without a mean or an offset', 'Zhang & Sennrich 2019'),
    'bn': _norm(
        'batch', 'batch normalization: each unit over samples, with running statistics where '
        'nothing is trained (acting, targets)', 'Ioffe & Szegedy 2015'),
    'hybrid': _norm(
        'hybrid', "batch normalization's mean, layer normalization's deviation",
        'Lyle et al. 2024, appendix F'),
    'sn': Intervention(
        'normalization', 'all kernels but those of the outputs are divided by their largest '
        'singular value', 'Miyato et al. 2018; Gogianu et al. 2021', 'network',
        {'spectral_norm': True}),
    'so': Intervention(
        'output', 'scale-invariant output: expected returns become distributions over atoms, '
        'learnt by cross-entropy; replaces what distribution an agent has',
        'Lyle et al. 2024; Farebrother et al. 2024', 'network, loss', {'shared_bias': False}, {
            'target': Parameter('hl_gauss', _one_of('two_hot', 'hl_gauss'), 'distribution'),
            'atoms': Parameter(101, field='num_atoms'),
            'sigma': Parameter(0.75, field='hl_gauss_sigma'),
            'symlog': Parameter(False, field='symlog')}),
    'ls': Intervention(
        'output', 'label smoothing: a part of each target distribution is uniform; beside `so`, or '
        'an agent with atoms, as `c51`',
        'Lyle et al. 2024; Szegedy et al. 2016; the part is ours', 'loss',
        parameters={'part': Parameter(0.05, _POSITIVE, 'label_smoothing')}),

    'wd': Intervention(
        'norm control',
        'decoupled weight decay on kernels; a step shrinks them by learning_rate * strength',
        'Loshchilov & Hutter 2019; the strength is that of Lee et al. 2024 (SimBa)', 'optimizer',
        parameters={'strength': Parameter(1e-2, _POSITIVE, 'weight_decay')}),
    'l2': _penalty(
        'norm control', '`strength` times the squared norm of the parameters',
        'Lyle et al. 2024', penalties.l2, 1e-5, scope=_SCOPE),
    'l2init': _penalty(
        'norm control', '`strength` times the squared distance from the initial parameters',
        'Kumar et al. 2023', penalties.l2_init, 1e-2),
    'wasserstein': _penalty(
        'norm control', 'as `l2init`, between the sorted entries of each tensor',
        'Lewandowski et al. 2023', penalties.wasserstein, 1e-2),
    'parseval': _penalty(
        'norm control', "`strength` times the squared distance of hidden kernels' Gram matrices "
        'from `scale` times the identity', 'Chung et al. 2024', penalties.parseval, 1e-3,
        scale=Parameter(1.0, _POSITIVE)),
    'fnorm': _penalty(
        'norm control', '`strength` times the mean squared norm of the penultimate features',
        'Lyle et al. 2024; the strength is ours', penalties.feature_norm, 1e-4),
    'wclip': _projection(
        'weights and biases stay within `kappa` / sqrt(fan-in)', 'Elsayed et al. 2024',
        projections.clip_weights, kappa=Parameter(1.0, _POSITIVE)),
    'nap': _projection(
        'normalize and project: layer normalization without biases before it; hidden kernels, and '
        'scales with offsets, go back to their initial norm', 'Lyle et al. 2024b',
        projections.normalize_and_project, {'norm': 'layer', 'hidden_bias': False},
        period=_period(1)),
    'wscale': _projection(
        'every kernel goes back to its initial norm', 'Lyle et al. 2024',
        projections.rescale_weights, period=_period(1)),

    'redo': _reset(
        'every `period` updates, units whose mean |activation| is at most `tau` of their layer\'s '
        'are drawn anew', 'Sokar et al. 2023', 'state, moments',
        {'period': _period(1000), 'tau': Parameter(0.025, _FRACTION)}, resets.redo),
    'cbp': _reset(
        'continual backprop: at each update a share `rate` of a layer\'s units older than '
        '`maturity` updates, the least useful, is drawn anew', 'Dohare et al. 2024',
        'state, moments', {
            'rate': Parameter(1e-4, _FRACTION), 'maturity': _period(10_000),
            'decay': Parameter(0.99, (lambda x: 0 <= x < 1, 'at least 0 and below 1'))},
        resets.cbp),
    'sp': Intervention(
        'resets', 'shrink and perturb: every `period` updates, `shrink` times the weights plus '
        '`perturb` times fresh ones', 'Ash & Adams 2020', 'state', parameters={
            'shrink': Parameter(0.999999, _FRACTION), 'perturb': Parameter(1e-6, _FRACTION),
            'period': _period(1)}, mechanism=resets.sp),
    'reset': _reset(
        'every `period` updates, the head, its outputs alone or all is drawn anew, in the target '
        'network too', 'Nikishin et al. 2022', 'state, target, moments', {
            'scope': Parameter('head', _one_of('outputs', 'head', 'all')),
            'period': _period(20_000)}, resets.reset),
    'inject': _reset(
        'plasticity injection: after `at` updates the head is frozen and a new one trained beside '
        'it, which changes no output then', 'Nikishin et al. 2023',
        'network, state, target, moments', {'at': _period(3_125_000)}, resets.inject,
        {'injection': True}),

    'infer': _penalty(
        'features', '`strength` times the squared distance of `heads` linear outputs of the '
        'features from `beta` times what they were at first', 'Lyle et al. 2022', penalties.infer,
        0.1, touches='network, loss', beta=Parameter(100.0, _POSITIVE),
        heads=Parameter(10, _COUNT, 'auxiliary_outputs')),
    'gradpen': _penalty(
        'landscape', "`strength` times the squared norm of the loss's gradient",
        'Barrett & Dherin 2021; the strength is ours', penalties.gradient_norm, 1e-3),

    'adamfix': _optimizer(
        'Adam whose second moment decays as fast as the first, with a larger epsilon',
        'Lyle et al. 2023', 'adam', b2=Parameter(0.9, field='adam_b2'),
        epsilon=Parameter(1e-3, field='optimizer_epsilon')),
    'trac': Intervention(
        'optimizer', "the way from the initial weights is scaled by a tuner without settings",
        'Muppidi et al. 2024', 'optimizer', {'parameter_free': True}),
    'muon': _optimizer(
        'Muon: momentum of linear kernels made orthogonal, outputs included; Adam for the rest',
        'Jordan et al. 2024', 'muon'),

    'crelu': _activation(
        'crelu', 'ReLU of x and of -x, twice as many outputs',
        'Shang et al. 2016; Abbas et al. 2023'),
    'leaky': _activation('leaky', 'ReLU with slope 0.01 below 0', 'Maas et al. 2013'),
    'gelu': _activation(
        'gelu', 'x times the normal distribution function of x', 'Hendrycks & Gimpel 2016'),
    'tanh': _activation('tanh', 'the hyperbolic tangent', 'Lyle et al. 2024'),
    'fourier': _activation(
        'fourier', 'sine and cosine of x, twice as many outputs',
        'Lewandowski et al. 2024'),
}

# What else the literature calls some of them, for who types that: see `errors.unknown`.
OTHER_NAMES = {
    'layernorm': 'ln', 'layernormalization': 'ln', 'rmsnorm': 'rms', 'batchnorm': 'bn',
    'batchnormalization': 'bn', 'spectralnorm': 'sn', 'spectralnormalization': 'sn',
    'hlgauss': 'so', 'labelsmoothing': 'ls',
    'weightdecay': 'wd', 'adamw': 'wd', 'l2regularization': 'l2', 'l2norm': 'l2',
    'regenerative': 'l2init', 'regenerativeregularization': 'l2init', 'featurenorm': 'fnorm',
    'weightclipping': 'wclip', 'normalizeandproject': 'nap', 'dormant': 'redo',
    'recycling': 'redo', 'continualbackprop': 'cbp', 'continualbackpropagation': 'cbp',
    'shrinkandperturb': 'sp', 'shrinkperturb': 'sp', 'resets': 'reset',
    'plasticityinjection': 'inject', 'injection': 'inject', 'gradientpenalty': 'gradpen',
    'concatenatedrelu': 'crelu', 'leakyrelu': 'leaky', 'lrelu': 'leaky'}

# Who cannot go with whom, and why: names, names, reason. Two rows that set one field to different
# values exclude each other without a word here.
CONFLICTS: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (('inject',), ('redo', 'cbp', 'sp', 'reset', 'nap', 'wscale', 'wclip'),
     'the frozen heads would be changed'),
    (('inject',), ('infer',), 'its outputs are held at what they were with the old head'),
    (('trac',), ('redo', 'cbp', 'sp', 'reset', 'inject', 'wclip', 'nap', 'wscale'),
     'the tuned way from the initial weights would undo what changes them otherwise'),
    (('nap', 'wscale', 'wclip'), ('nap', 'wscale', 'wclip'),
     'each puts the same weights into another set'),
)
