# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Inference with the distributions: maximum likelihood, a guide, latent counts, gradients."""

from .auto_hypergeometric import AutoHypergeometric
from .compare import LawComparison, compare_laws
from .enumerated_posterior import CountsPosterior, enumerated_posterior
from .exact_equal_weights import ExactTest, exact_test_of_equal_weights
from .exact_independence import exact_test_of_independence
from .exact_odds_ratio import ExactOddsRatio, exact_common_odds_ratio
from .expectation import expectation
from .fit import fit_weights
from .goodness_of_fit import GoodnessOfFit, LikelihoodRatio
from .markov_counts import markov_counts
from .maximum import NoFiniteEstimateError
from .partition_expectation import partition_expectation
from .regression import (
    ChiSquareTest,
    RegressionFit,
    ScoreTests,
    StratifiedTable,
    fit_regression,
)
from .sizes import sizes_from_mean
from .weights_fit import WeightsFit

__all__ = [
    "fit_regression",
    "StratifiedTable",
    "ScoreTests",
    "RegressionFit",
    "ChiSquareTest",
    "AutoHypergeometric",
    "CountsPosterior",
    "ExactOddsRatio",
    "ExactTest",
    "GoodnessOfFit",
    "LawComparison",
    "LikelihoodRatio",
    "NoFiniteEstimateError",
    "WeightsFit",
    "compare_laws",
    "enumerated_posterior",
    "exact_common_odds_ratio",
    "exact_test_of_equal_weights",
    "exact_test_of_independence",
    "expectation",
    "fit_weights",
    "markov_counts",
    "partition_expectation",
    "sizes_from_mean",
]
