# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from .binomial import log_binomial_coefficient, log_binomial_pmf
from .fisher.bulk_marginals import entropy
from .fisher.density import log_prob
from .fisher.elementary_symmetric import log_elementary_symmetric, log_elementary_symmetrics
from .fisher.evidence import log_evidence, posterior_log_marginals, posterior_sample
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
from .gradients.soft_counts import relaxed_sample
from .mean_inversion import log_weights_from_mean, wallenius_log_weights_from_mean
from .support import enumerate_counts, support_exceeds, support_size
from .wallenius.density import wallenius_log_prob
from .wallenius.modes import wallenius_mode
from .wallenius.moments import wallenius_covariance, wallenius_mean
from .wallenius.sampling import wallenius_sample

__all__ = [
    "affine_gradient",
    "counts_to_mask",
    "counts_to_one_hot",
    "covariance",
    "entropy",
    "enumerate_counts",
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
    "wallenius_log_prob",
    "wallenius_log_weights_from_mean",
    "wallenius_mean",
    "wallenius_mean_gradient",
    "wallenius_mode",
    "wallenius_sample",
]
