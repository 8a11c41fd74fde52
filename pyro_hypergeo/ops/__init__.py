# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from .affine_gradient import affine_gradient
from .binomial import log_binomial_coefficient, log_binomial_pmf
from .elementary_symmetric import log_elementary_symmetric, log_elementary_symmetrics
from .encodings import counts_to_mask, counts_to_one_hot
from .from_mean import log_weights_from_mean, wallenius_log_weights_from_mean
from .gumbel_gradient import gumbel_gradient
from .implicit_gradient import implicit_gradient
from .latent_counts import log_evidence, posterior_log_marginals, posterior_sample
from .log_prob import log_prob
from .marginals import log_marginal, log_marginals
from .mean_gradient import mean_gradient
from .mode import mode
from .moments import covariance, log_partition, mean, variance
from .relaxed import relaxed_sample
from .sampling import sample
from .suffix import log_suffix_partitions
from .support import enumerate_counts, support_exceeds, support_size
from .wallenius import wallenius_log_prob
from .wallenius_gradient import wallenius_affine_gradient, wallenius_mean_gradient
from .wallenius_mode import wallenius_mode
from .wallenius_moments import wallenius_covariance, wallenius_mean
from .wallenius_sampling import wallenius_sample
from .windows import entropy

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
