"""The table of supervised experiments: a question, a stream of tasks, ways to learn it, a test.

A row without arms is a stream on its own, learned in the way that the command line asks for. The
others are the controlled experiments of Lyle et al. 2024 (arXiv 2402.18762) and compare ways.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agents import choice, interventions
from agents.supervised import findings


class Arm(NamedTuple):
  """A way to learn."""
  interventions: str = ''  # as of --interventions
  settings: Mapping[str, Any] = {}  # Config fields
  stream: Mapping[str, Any] = {}  # parameters of the stream
  changes: int = 1  # as many changes of task as others, times this, in about as many steps
  of: str = ''  # another stream than the experiment's


class Size(NamedTuple):
  """How much is computed."""
  num_tasks: int
  steps_per_task: int
  subset: int  # examples; 0: all
  num_seeds: int
  network: str  # a preset


def _small(num_tasks: int, steps_per_task: int = 1_000, subset: int = 1_280) -> Size:
  """Minutes on two cores, for all ways."""
  return Size(num_tasks, steps_per_task, subset, 5, 'small_mlp')


def _full(num_tasks: int, steps_per_task: int = 10_000) -> Size:
  """As large as Lyle et al. 2024 tell or suggest."""
  return Size(num_tasks, steps_per_task, 0, 5, 'mlp')


class Claim(NamedTuple):
  """What a metric is expected to show, and the test of it."""
  text: str
  expected: Callable[..., findings.Finding] | None
  metric: str = 'mean_accuracy'  # a column of `file`
  file: str = 'results'  # or trace, probes
  of_task: str = 'last'  # what of a task's rows counts: the last, or the rise from first to most


class Experiment(NamedTuple):
  """A row of the table."""
  question: str
  stream: str  # a row of envs/streams.py
  parameters: Mapping[str, Any] = {}  # of the stream
  metric: str = 'mean_accuracy'  # of the figure where nothing is claimed
  claims: tuple[Claim, ...] = ()  # a figure each
  dataset: str = 'mnist'  # a row of envs/datasets.py
  settings: Mapping[str, Any] = {}  # Config fields
  probes: int = 0  # so many, evenly, after one at the start, where no flag says otherwise
  arms: Mapping[str, Arm] = {}
  small: Size = _small(12)
  full: Size = _full(100)


_BOTH_ARE_BEST = Claim('LayerNorm with L2 is best or tied, and better than nothing',
                       findings.best_or_tied('ln+l2', above='none'))
_WAYS = {
    'none': Arm(), 'ln': Arm('ln'), 'l2': Arm('l2'), 'ln+l2': Arm('ln,l2'),
}

# Each alone, but those of returns, which classes have none of, of one moment late in a run, and one
# that sorts every parameter at each update: on a CPU it takes longer than all others together.
_MITIGATIONS = _WAYS | {
    name: Arm(name) for name, row in interventions.TABLE.items()
    if 'at' not in row.parameters and name != 'wasserstein'
    and all(parameter.field != 'distribution' for parameter in row.parameters.values())}


_BOTH = ('ln', 'l2')
_ADDITIONS = {'ln+l2': Arm('ln,l2')} | {
    f'+{name}': Arm(f'ln,l2,{name}') for name in _MITIGATIONS
    if name in interventions.TABLE and name not in _BOTH
    and not choice.excluded(name).keys() & set(_BOTH)}


_OUTPUTS = {
    'regression': '', 'two-hot': 'so(target=two_hot)', 'smoothed': 'so(target=two_hot),ls'}


def _of_returns(discount: float) -> dict[str, float]:
  """Atoms over all that rewards in [0, 1] can sum to, and 2 beyond it.

  A probe's targets lie within 1 of the mean prediction, and must not be out of reach.
  """
  return dict(discount=discount, v_min=-2.0, v_max=1 / (1 - discount) + 2)


_BANDIT = {
    f'{output} {discount:g}': Arm(how, _of_returns(discount))
    for output, how in _OUTPUTS.items() for discount in (0.0, 0.99)
} | {  # LayerNorm only where values are large
    f'{output} 0.99 ln': Arm(f'ln,{_OUTPUTS[output]}', _of_returns(0.99))
    for output in ('regression', 'two-hot')}


EXPERIMENTS: Mapping[str, Experiment] = {
    'random_labels': Experiment(
        'Can random labels be memorized as fast the twentieth time as the first?', 'random_labels'),
    'class_permutation': Experiment(
        'The same, where only the names of the classes change', 'class_permutation'),
    'pixel_permutation': Experiment(
        'The same, where only the order of the pixels changes', 'pixel_permutation'),
    'growing_data': Experiment(
        'Does what is learned of a part of the data stand in the way of the rest?',
        'growing_data'),
    'growing_targets': Experiment(
        'Does a network follow regression targets that grow?', 'growing_targets',
        metric='mean_squared_error', full=_full(50)),
    'composite': Experiment(
        'Does a network survive pixels and labels changing together?', 'composite'),
    'ways': Experiment(
        'Do LayerNorm, L2 or both keep a network able to memorize random labels? '
        '(figures 4 and 5 left)', 'random_labels', arms=_WAYS, claims=(_BOTH_ARE_BEST,)),
    'interventions': Experiment(
        'Does any intervention, alone, keep plasticity as LayerNorm and L2 together do? (figure 4)',
        'random_labels', arms=_MITIGATIONS, claims=(_BOTH_ARE_BEST,), small=_small(8, 600, 640)),
    'interventions_with_ln_l2': Experiment(
        'Does any intervention add to LayerNorm and L2 together? (figure 4)',
        'random_labels', arms=_ADDITIONS,
        claims=(Claim('no addition is better than LayerNorm and L2 alone',
                      findings.best_or_tied('ln+l2')),), small=_small(8, 300, 320)),
    'target_offset': Experiment(
        'Does a large mean of the regression targets cost what is learned after it? '
        '(figures 1 left, 13 to 15)', 'target_offset',
        arms={'0': Arm(stream=dict(offset=0.0)), '1': Arm(stream=dict(offset=1.0)),
              '10': Arm(stream=dict(offset=10.0)), '100': Arm(stream=dict(offset=100.0)),
              '100 then 0': Arm(stream=dict(offset=100.0, later_offset=0.0)),
              '100 ln': Arm('ln', stream=dict(offset=100.0))},
        probes=1,
        claims=(
            Claim('the larger the mean, the larger the error that is left of the second targets '
                  '(in powers of ten)',
                  findings.ordered(('0', '1', '10', '100')), 'squared_error'),
            Claim('a mean of 100 raises the top singular value of the features, LayerNorm keeps '
                  'it down (in powers of ten)',
                  findings.each_ordered((('0', '100'), ('100 ln', '100'))), 'feature_top',
                  'probes')),
        small=_small(2, 2_000), full=_full(2, 20_000)),
    'parameter_scale': Experiment(
        'Are larger parameters sharper, and do they learn more slowly? (figure 3 left)',
        'random_labels',
        arms={f'{scale:g}': Arm(settings=dict(initial_scale=scale))
              for scale in (1.0, 2.0, 4.0, 8.0)},
        probes=1,
        claims=(
            Claim('the larger the initial kernels, the more slowly random labels are learned',
                  findings.ordered(('1', '2', '4', '8'))),
            Claim('the larger the initial kernels, the sharper the loss is there '
                  '(in powers of ten)',
                  findings.at_first(findings.ordered(('1', '2', '4', '8'))), 'sharpness',
                  'probes')),
        small=_small(1), full=_full(1)),
    'task_change': Experiment(
        'What happens in the first updates after a change, and what does LayerNorm undo of it? '
        '(figure 2)', 'random_labels', settings=dict(trace_steps=400, trace_every=20),
        arms={'none': Arm(), 'ln': Arm('ln'), 'gelu': Arm('gelu'), 'gelu+ln': Arm('gelu,ln'),
              'leaky': Arm('leaky'), 'leaky+ln': Arm('leaky,ln')},
        claims=(
            Claim('380 updates after a change, where the trace ends, fewer units are dead with '
                  'LayerNorm than without',
                  findings.ordered(('ln', 'none')), 'dead/total', 'trace'),
            Claim('a change makes one unit in twenty linear or more, of GELU and of LeakyReLU, '
                  'with LayerNorm and without', findings.beyond_margin(
                      ('gelu', 'gelu+ln', 'leaky', 'leaky+ln')), 'linear/total', 'trace', 'rise'),
            Claim('where the trace ends, fewer are linear with LayerNorm than without',
                  findings.each_ordered((('gelu+ln', 'gelu'), ('leaky+ln', 'leaky'))),
                  'linear/total', 'trace')),
        small=_small(6)),
    'entk_gallery': Experiment(
        'How alike are the gradients of different inputs at the start, after regression on targets '
        'with a large mean, and after labels were memorized again and again? (figure 3 right)',
        'random_labels', metric='mean_loss', probes=1,
        arms={'offset 100': Arm(of='target_offset'), 'relu': Arm(), 'leaky': Arm('leaky'),
              'ln+l2': Arm('ln,l2')},
        claims=tuple(
            Claim(f'{what} in the end than at the start, after regression with a large mean and '
                  'after memorizing with ReLU',
                  findings.grows(('offset 100', 'relu')), f'ntk/{metric}', 'probes')
            for what, metric in (('they are more alike', 'mean_abs_cosine'),
                                 ('their norms differ more', 'norm_variation'))),
        small=_small(6)),
    'shift_severity': Experiment(
        'Do sudden changes cost more plasticity than gradual ones of the same total? '
        '(figure 1 right)', 'random_labels', probes=1,
        # With fewer steps a copy that learns badly is still unlearning the outputs that it came
        # with, and the seeds differ by how large these are.
        settings=dict(probe_steps=1_000),
        arms={f'{fraction:g}': Arm(stream=dict(fraction=fraction), changes=round(1 / fraction))
              for fraction in (0.01, 0.1, 1.0)},
        claims=(Claim('the more labels change at once, the more plasticity is lost in the end',
                      findings.ordered(('0.01', '0.1', '1')), 'plasticity_lost', 'probes'),),
        small=_small(10)),
    'norm_axes': Experiment(
        'Over which axis must a normalization subtract the mean, over which divide? (figure 25)',
        'random_labels', settings=dict(learning_rate=1e-3),
        arms={name: Arm(f'{name},l2') for name in ('ln', 'bn', 'hybrid')},
        claims=(Claim('no axis is better than the hybrid', findings.best_or_tied('hybrid')),),
        small=_small(8)),
    'natural_shift': Experiment(
        'Does the advantage of LayerNorm and L2 grow as the location of the pictures changes? '
        '(iWildCam)', 'natural_shift', dataset='locations', arms=_WAYS,
        claims=(Claim('the lead of LayerNorm with L2 grows over the places',
                      findings.growing_gap('ln+l2', 'none')),),
        small=_small(20, 300, 0), full=_full(20, 2_000)),
    'bandit': Experiment(
        'Does Q-learning towards large values cost plasticity, and do outputs that are scale-'
        'invariant keep it? (figure 5 right)', 'bandit', metric='eval_episode_return',
        probes=2, arms=_BANDIT,
        # The policy is uniform at random, so that what is learned decides nothing that is seen.
        # The period is of the order of theirs (1 to 1,000; Lyle et al. 2023).
        settings=dict(
            _of_returns(0.99), exploration_epsilon_begin=1.0, exploration_epsilon_end=1.0,
            batch_size=32, target_update_period=100, min_replay_size=200, replay_capacity=10_000,
            num_envs=10, eval_length=100, probe_observations=256),
        claims=(Claim(
            'by regression more plasticity is lost with a discount of 0.99 than of 0, and more '
            'than by two-hot classification with that discount',
            findings.each_ordered((('regression 0', 'regression 0.99'),
                                   ('two-hot 0.99', 'regression 0.99'))),
            'plasticity_lost', 'probes'),
            Claim('with a discount of 0 two-hot classification loses plasticity, and smoothing '
                  'keeps it', findings.ordered(('smoothed 0', 'two-hot 0')), 'plasticity_lost',
                  'probes')),
        small=_small(4, 1_250, 0), full=_full(100, 1_000)),
}
