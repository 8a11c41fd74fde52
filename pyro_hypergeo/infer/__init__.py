# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Inference with the distributions: maximum likelihood, a guide, latent counts, gradients."""

from .auto_hypergeometric import AutoHypergeometric
from .compare import LawComparison, compare_laws
from .expectation import expectation
from .fit import fit_weights
from .goodness_of_fit import GoodnessOfFit, LikelihoodRatio
from .markov_counts import markov_counts
from .maximum import NoFiniteEstimateError
from .sizes import sizes_from_mean
from .weights_fit import WeightsFit

__all__ = [
    "AutoHypergeometric",
    "GoodnessOfFit",
    "LawComparison",
    "LikelihoodRatio",
    "NoFiniteEstimateError",
    "WeightsFit",
    "compare_laws",
    "expectation",
    "fit_weights",
    "markov_counts",
    "sizes_from_mean",
]
