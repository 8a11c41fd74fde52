# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The mathematics of the package as functions of tensors.

An urn holds :math:`N` elements in :math:`G` groups. We draw :math:`n` of them without replacement.
A *law* is short for a probability distribution of the counts: how many elements of each group are
drawn. There are three: Fisher's, Wallenius', and the central one (equal weights).

**Shapes.** ``log_weights`` and ``group_sizes`` have the shape ``(..., G)``: the last dimension has
one entry for each group. ``total_count`` has the shape ``(...)``. They broadcast. Counts have the
shape ``(..., G)``. Draws have the sample shape in front.

**Dtypes.** A function of an urn computes in float64. Its result has the dtype of the log-weights.
Two kinds have no log-weights to follow: log-weights from means have the dtype of the means, and the
estimators keep the dtype of the counts.

**No validation.** These arguments must be tensors, and they are not checked. Sizes and totals are
integers, not negative, in any dtype. A log-weight is below infinity; ``-inf`` is a weight of 0. The
classes of :mod:`pyro_hypergeo.distributions` do check. The edges are legal and exact: nothing
drawn, everything drawn, empty groups, weights of 0. An impossible count vector has the
log-probability ``-inf``.

**Gradients.** Results are differentiable in the log-weights, except for exact draws and modes.
Nothing is differentiable in sizes or totals, but for :func:`partition_tilt` and :func:`mean_field`.

**Devices.** Tensors stay on their device. A function reads a number from the device for three
reasons only. It needs the size of a table; then its cost names a size. A loop ends on data:
``sample``, ``wallenius_sample``, ``wallenius_mode``, the sums over labellings. Or it checks:
``posterior_sample``, ``assignment_sample``, ``wallenius_entropy``.

**Rooms.** Five folders stand on a few ground files. An arrow means "may import". No import runs
back, and ``fisher`` and ``wallenius`` do not import each other::

    gradients | partitions -> fisher | wallenius -> law -> saddlepoint -> ground files

==================  ================================================================================
``saddlepoint``     the identity behind everything: the law of a sum of independent binomials
``fisher``          Fisher's law: state, density, moments, marginals, modes, draws, latent counts
``wallenius``       Wallenius' law: the integral over time, and the same list
``gradients``       how draws get a gradient; ``registry`` lists the estimators
``partitions``      who is in which group: sums over labellings, draws of partitions
``law``             what a law must provide, and what follows from that for every law
==================  ================================================================================
"""

from . import former_paths
from .binomial import log_binomial_coefficient, log_binomial_pmf
from .fisher.bulk_marginals import entropy
from .fisher.density import log_prob
from .fisher.elementary_symmetric import log_elementary_symmetric, log_elementary_symmetrics
from .fisher.evidence import log_evidence, posterior_log_marginals, posterior_sample
from .fisher.inversion import log_weights_from_mean
from .fisher.law import CENTRAL, FISHER
from .fisher.marginals import log_marginal, log_marginals
from .fisher.modes import mode
from .fisher.moments import covariance, log_partition, mean, variance
from .fisher.sampling import sample
from .fisher.subsets import SubsetPosterior, log_subset_evidence, subset_posterior
from .fisher.terms import log_suffix_partitions
from .gradients.affine import affine_gradient, wallenius_affine_gradient
from .gradients.encodings import counts_to_mask, counts_to_one_hot
from .gradients.gumbel import gumbel_gradient
from .gradients.implicit import implicit_gradient
from .gradients.mean import mean_gradient, wallenius_mean_gradient
from .gradients.registry import estimators
from .gradients.soft_counts import relaxed_sample
from .law import ExponentialFamily, Law, LogLikelihood, State
from .partitions.assignment_sample import assignment_sample
from .partitions.assignments import assignment_marginals, log_assignments
from .partitions.chain import (
    fisher_partition_log_prob,
    fisher_partition_mean,
    fisher_partition_sample,
)
from .partitions.label_evidence import log_label_evidence
from .partitions.labels import labels_to_partition, partition_to_labels
from .partitions.mean_field import mean_field
from .partitions.plackett_luce import plackett_luce_log_prob, plackett_luce_sample
from .partitions.race import wallenius_partition_log_prob, wallenius_partition_sample
from .partitions.race_mean import wallenius_mean_field, wallenius_partition_mean
from .partitions.tilt import partition_tilt
from .support import enumerate_counts, support_exceeds, support_size
from .urn import Bounds, Urn, make_urn
from .wallenius.density import wallenius_log_prob
from .wallenius.entropy import wallenius_entropy
from .wallenius.inversion import wallenius_log_weights_from_mean
from .wallenius.law import WALLENIUS
from .wallenius.marginals import wallenius_log_marginal, wallenius_log_marginals
from .wallenius.modes import wallenius_mode
from .wallenius.moments import wallenius_covariance, wallenius_mean, wallenius_variance
from .wallenius.sampling import wallenius_sample
from .zero_sum import zero_sum_coordinates, zero_sum_normal_log_prob, zero_sum_vector

former_paths.keep(__name__)

__all__ = [
    "Bounds",
    "CENTRAL",
    "ExponentialFamily",
    "FISHER",
    "Law",
    "LogLikelihood",
    "State",
    "SubsetPosterior",
    "Urn",
    "WALLENIUS",
    "affine_gradient",
    "assignment_marginals",
    "assignment_sample",
    "counts_to_mask",
    "counts_to_one_hot",
    "covariance",
    "entropy",
    "enumerate_counts",
    "estimators",
    "fisher_partition_log_prob",
    "fisher_partition_mean",
    "fisher_partition_sample",
    "gumbel_gradient",
    "implicit_gradient",
    "labels_to_partition",
    "log_assignments",
    "log_binomial_coefficient",
    "log_binomial_pmf",
    "log_elementary_symmetric",
    "log_elementary_symmetrics",
    "log_evidence",
    "log_label_evidence",
    "log_marginal",
    "log_marginals",
    "log_partition",
    "log_prob",
    "log_subset_evidence",
    "log_suffix_partitions",
    "log_weights_from_mean",
    "make_urn",
    "mean",
    "mean_field",
    "mean_gradient",
    "mode",
    "partition_to_labels",
    "plackett_luce_log_prob",
    "plackett_luce_sample",
    "partition_tilt",
    "posterior_log_marginals",
    "posterior_sample",
    "relaxed_sample",
    "sample",
    "subset_posterior",
    "support_exceeds",
    "support_size",
    "variance",
    "wallenius_affine_gradient",
    "wallenius_covariance",
    "wallenius_entropy",
    "wallenius_log_marginal",
    "wallenius_log_marginals",
    "wallenius_log_prob",
    "wallenius_log_weights_from_mean",
    "wallenius_mean",
    "wallenius_mean_gradient",
    "wallenius_mean_field",
    "wallenius_mode",
    "wallenius_partition_log_prob",
    "wallenius_partition_mean",
    "wallenius_partition_sample",
    "wallenius_sample",
    "wallenius_variance",
    "zero_sum_coordinates",
    "zero_sum_normal_log_prob",
    "zero_sum_vector",
]
