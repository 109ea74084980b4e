"""What every number of a probe means: the columns of probes.csv, the arrays of probes/*.npz."""

from typing import NamedTuple

VERSION = 5  # Goes up whenever a name below changes its meaning or its row is new.

_LYLE_2022 = 'Lyle et al. 2022, arXiv 2204.09560'
_LYLE_2023 = 'Lyle et al. 2023, arXiv 2303.01486'
_LYLE_2024 = 'Lyle et al. 2024, arXiv 2402.18762'
_KLEIN = 'Klein et al. 2024, arXiv 2411.04832'
_KUMAR = 'Kumar et al. 2021, arXiv 2010.14498'
_ROY = 'Roy and Vetterli 2007'
_SOKAR = 'Sokar et al. 2023, arXiv 2302.12902'


class Metric(NamedTuple):
  """A column of the row; `fresh_<name>` is the same for a freshly initialised network."""
  name: str
  meaning: str
  unit: str
  source: str


def _kernel(name: str, meaning: str, unit: str, source: str = _LYLE_2024) -> Metric:
  return Metric(f'ntk/{name}, ntk_trace/{name}, loss_ntk/{name}', meaning, unit, source)


PROBE = (
    Metric('record_version', 'version of this table', '', ''),
    Metric('num_observations', 'observations that units were counted over', 'observations', ''),
    Metric('num_inputs', 'examples that kernels, gradients and curvature are of', 'transitions',
           ''),
    Metric('num_targets, num_steps, batch_size, pool_size',
           'size of the random-target probe: target functions, optimizer steps on each, '
           'observations in a step, observations to fit', 'counts', _LYLE_2023),
    Metric('baseline',
           'loss of the best constant, averaged over targets; for the usual targets their '
           'variance, about 0.5. Losses are to be read against it', 'loss', ''),
    Metric('plasticity',
           'baseline less the loss left after training a copy of the network on the targets, '
           'averaged over them: 0 for a network that learns nothing, the baseline for one that '
           'learns everything, below 0 for one that a constant would beat. Few steps are also '
           'spent on unlearning old outputs far from the targets',
           'squared error', _LYLE_2023),
    Metric('plasticity_fresh',
           'the same for a freshly initialised network on the same observations, targets and '
           'minibatches', 'squared error', _LYLE_2023),
    Metric('plasticity_lost',
           'plasticity_fresh less plasticity, paired by target: positive where the network learns '
           'less than a fresh one', 'squared error', _LYLE_2023),
    Metric('plasticity_lost_low, plasticity_lost_high',
           '95% bootstrap interval of plasticity_lost over the targets', 'squared error', 'ours'),
    Metric('lost_since_first',
           'plasticity_lost less what it was at the run’s first probe, paired by target: what the '
           'run itself has cost, since what other observations change they change in the fresh '
           'network too', 'squared error', 'ours'),
    Metric('lost_since_first_low, lost_since_first_high',
           '95% bootstrap interval of it over the targets', 'squared error', 'ours'),
    Metric('invalid_targets',
           'targets that were left out because the network did not end with a finite loss',
           'targets', 'ours'),
    Metric('probe_seconds', 'wall-clock time of the probe', 's', ''),
)

UNITS = (
    Metric('dead/<layer>',
           'fraction of units that are saturated on every observation, so that no gradient passes; '
           'a convolution channel is one unit. Slope within 0.001 of 0: for ReLU, preactivation at '
           'most 0', 'fraction', f'{_LYLE_2024}, mechanism M1a; the tolerance is ours'),
    Metric('linear/<layer>',
           'fraction of units that are affine on every observation and not dead. ReLU, LeakyReLU: '
           'one slope on all; smooth ones: an affine function of the preactivation leaves at most '
           '0.001 of the variance', 'fraction',
           f'{_LYLE_2024}, mechanism M1b; the tolerance is ours'),
    Metric('dormant/<layer>',
           'fraction of units whose mean |activation| is at most 0.025 of the layer’s mean of it',
           'fraction', f'{_SOKAR}, definition 3.1'),
    Metric('gradient_dormant/<module>',
           'the same with the L2 norm of the loss gradient of each unit’s incoming weights',
           'fraction', _KLEIN),
    Metric('preactivation_mean/<layer>', 'mean of the preactivations, over units too',
           'preactivation', f'{_LYLE_2024}, mechanism M1c'),
    Metric('preactivation_std/<layer>', 'root of the units’ mean variance', 'preactivation',
           f'{_LYLE_2024}, mechanism M1c'),
    Metric('shift/<layer>',
           'mean over units of how far their mean preactivation moved since the first probe. Of '
           'the fresh network, which stays the same: what the observations’ change alone does',
           'standard deviations at the first probe', f'{_LYLE_2024}, mechanism M1c; the scalar is '
           'ours'),
    Metric('shift_direction/<layer>',
           'the same with its sign: as large as the shift where all units move the same way',
           'standard deviations at the first probe', 'ours'),
    Metric('shift_scale/<layer>',
           'log of the standard deviation of the preactivations over that of the first probe',
           'natural log', 'ours'),
    Metric('aligned',
           'fraction of units in the first layer that one step on the loss would push the same way '
           'on every input', 'fraction', f'{_LYLE_2024}, mechanism M1d'),
    Metric('feature_rank',
           'singular values of the last features, over the root of the number of observations, '
           'that are above 0.01', 'count', _LYLE_2022),
    Metric('feature_srank',
           'largest singular values of the features that make up 99% of the sum of all', 'count',
           _KUMAR),
    Metric('feature_effective_rank', 'exp of the entropy of the features’ singular values',
           'count', _ROY),
    Metric('feature_top', 'largest singular value of the features', 'activation',
           f'{_LYLE_2024}, mechanism M2'),
    Metric('feature_condition', 'largest over smallest singular value of the features', 'ratio',
           'ours'),
)

PARAMETERS = (
    Metric('norm/<module>', 'L2 norm of the trained parameters of a module', 'L2 norm',
           f'{_LYLE_2024}, mechanism M3'),
    Metric('distance/<module>',
           'L2 distance of them from the run’s initial ones. Of the fresh network: how far two '
           'initialisations are apart', 'L2 norm', f'{_LYLE_2024}, mechanism M3'),
    Metric('step/<module>',
           'norm of what one more update changes over the norm of the parameters. Of the fresh '
           'network: the first step of a fresh optimizer', 'ratio', _LYLE_2024),
    Metric('gradient/<module>', 'L2 norm of the gradient of the loss, its mean over the inputs',
           'L2 norm', _KLEIN),
    Metric('sharpness',
           'largest eigenvalue of the loss’s Hessian on the inputs, by Lanczos: never too large',
           'loss per squared parameter', f'{_LYLE_2024}, mechanism M3'),
    Metric('sharpness_error', 'an eigenvalue is this near to it, or nearer',
           'loss per squared parameter', 'ours'),
    Metric('lowest_curvature', 'smallest eigenvalue of that Hessian, never too small',
           'loss per squared parameter', 'ours'),
    Metric('output_scale', 'mean |utility|', 'return', f'{_LYLE_2024}, mechanism M2'),
    Metric('output_std', 'standard deviation of the utilities', 'return', 'ours'),
)

KERNELS = (
    _kernel('mean_abs_cosine',
            'mean |cosine| between the gradients of two inputs. ntk: of the sum of all outputs; '
            'ntk_trace: of each output on its own (where asked for); loss_ntk: of the loss '
            '(Lyle et al. 2023). Lost plasticity shows as large ones', 'cosine'),
    _kernel('mean_norm', 'mean norm of an input’s gradient', 'L2 norm'),
    _kernel('norm_variation', 'standard deviation of these norms over their mean: lost plasticity '
            'shows as unequal ones', 'ratio'),
    _kernel('negative_share', 'pairs of inputs whose gradients oppose each other', 'fraction',
            _LYLE_2023),
    _kernel('effective_rank', 'exp of the entropy of the kernel’s singular values', 'count', _ROY),
    _kernel('srank', 'largest singular values that make up 99% of the sum of all', 'count',
            _KUMAR),
    _kernel('top_share', 'part of the kernel’s trace in its largest eigenvalue', 'fraction',
            'inferred from Lyle et al. 2024'),
    _kernel('condition', 'largest over smallest singular value', 'ratio',
            'inferred from Lyle et al. 2024'),
    _kernel('off_effective_rank', 'the effective rank of the kernel without its diagonal', 'count',
            'inferred from Lyle et al. 2024'),
    _kernel('off_srank', 'the srank of the kernel without its diagonal', 'count',
            'inferred from Lyle et al. 2024'),
    _kernel('off_top_share', 'part of that kernel’s Frobenius norm in its largest eigenvalue',
            'fraction', 'inferred from Lyle et al. 2024'),
)

SCHEMA = (*PROBE, *UNITS, *PARAMETERS, *KERNELS, Metric(
    '<group>/total', 'over all layers or modules: dead, linear, dormant, gradient_dormant, norm, '
    'distance, step, gradient', '', ''))

# In probes/<frame>.npz each `agent_<name>` has a `fresh_<name>` beside it.
ARRAYS = (
    Metric('curves', '[targets, steps] minibatch loss on the random targets', 'squared error', ''),
    Metric('final_losses, target_variances', '[targets] after the last step; loss of the best '
           'constant', 'squared error', ''),
    Metric('preactivation_mean/<layer>, preactivation_variance/<layer>', '[units]', '', ''),
    Metric('histogram/<layer>', '[83] counts of preactivations; the 82 inner edges of the bins are '
           'probes.histograms.EDGES', 'count', ''),
    Metric('singular_values', '[min(observations, features)] of the last features, largest first',
           'activation', ''),
    Metric('hessian, hessian_errors', '[iterations] estimates of eigenvalues, largest first; an '
           'eigenvalue is this near', 'loss per squared parameter', ''),
    Metric('gradient_spectrum', '[inputs] singular values of the loss gradients of all inputs',
           'L2 norm', ''),
    Metric('ntk, ntk_trace, loss_ntk', '[inputs, inputs] kernels', 'squared L2 norm', ''),
)
