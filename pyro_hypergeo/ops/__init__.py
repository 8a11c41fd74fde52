# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from .binomial import log_binomial_coefficient, log_binomial_pmf
from .from_mean import log_weights_from_mean
from .log_prob import log_prob
from .marginals import log_marginal, log_marginals
from .mode import mode
from .moments import covariance, log_partition, mean, variance
from .sampling import sample
from .support import enumerate_counts, support_exceeds, support_size
from .windows import entropy

__all__ = [
    "covariance",
    "entropy",
    "enumerate_counts",
    "log_binomial_coefficient",
    "log_binomial_pmf",
    "log_marginal",
    "log_marginals",
    "log_partition",
    "log_prob",
    "log_weights_from_mean",
    "mean",
    "mode",
    "sample",
    "support_exceeds",
    "support_size",
    "variance",
]
