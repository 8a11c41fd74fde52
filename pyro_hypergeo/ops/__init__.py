# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The mathematics of the package as functions of tensors.

**Shapes.** ``log_weights`` and ``group_sizes`` have the shape ``(..., G)``, with one entry a group
in the last dimension. ``total_count`` has the shape ``(...)``. They broadcast. Counts have the
shape ``(..., G)``; draws put the sample shape in front.

**Dtypes.** All is computed in float64. A result has the dtype of the log-weights.

**No validation.** Arguments must be tensors, and they are not checked: sizes and totals are
integers that are not negative, in any dtype; a log-weight is below infinity, and ``-inf`` is a
weight of 0. The classes of :mod:`pyro_hypergeo.distributions` check. Nothing drawn, everything
drawn, empty groups and weights of 0 are legal and exact. A draw that is impossible has the
log-probability ``-inf``.

**Gradients.** Results are differentiable in the log-weights, draws excepted; nothing is
differentiable in sizes or totals.

**Devices.** Tensors stay on their device. A function asks the device for a number only where it
needs the size of a table; its docstring then has a size in its cost.

**Rooms.** Four folders stand on a few ground files. An arrow means "imports"; no import runs back,
and ``fisher`` and ``wallenius`` do not know each other::

    gradients -> fisher | wallenius -> law -> saddlepoint -> ground files

==================  ================================================================================
``saddlepoint``     the identity on which all rests: the law of a sum of independent binomials
``fisher``          Fisher's law: state, density, moments, marginals, modes, draws, latent counts
``wallenius``       Wallenius' law: the integral over time, and the same list
``gradients``       how draws take a gradient over; ``registry`` lists the estimators
``law``             what a law has to tell, and what follows from that for every law
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
from .fisher.terms import log_suffix_partitions
from .gradients.affine import affine_gradient, wallenius_affine_gradient
from .gradients.encodings import counts_to_mask, counts_to_one_hot
from .gradients.gumbel import gumbel_gradient
from .gradients.implicit import implicit_gradient
from .gradients.mean import mean_gradient, wallenius_mean_gradient
from .gradients.registry import estimators
from .gradients.soft_counts import relaxed_sample
from .law import ExponentialFamily, Law, LogLikelihood, State
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
    "Urn",
    "WALLENIUS",
    "affine_gradient",
    "counts_to_mask",
    "counts_to_one_hot",
    "covariance",
    "entropy",
    "enumerate_counts",
    "estimators",
    "gumbel_gradient",
    "implicit_gradient",
    "log_binomial_coefficient",
    "log_binomial_pmf",
    "log_elementary_symmetric",
    "log_elementary_symmetrics",
    "log_evidence",
    "log_marginal",
    "log_marginals",
    "log_partition",
    "log_prob",
    "log_suffix_partitions",
    "log_weights_from_mean",
    "make_urn",
    "mean",
    "mean_gradient",
    "mode",
    "posterior_log_marginals",
    "posterior_sample",
    "relaxed_sample",
    "sample",
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
    "wallenius_mode",
    "wallenius_sample",
    "wallenius_variance",
    "zero_sum_coordinates",
    "zero_sum_normal_log_prob",
    "zero_sum_vector",
]
