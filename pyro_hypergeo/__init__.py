# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Noncentral hypergeometric distributions for Pyro: exact, fast, differentiable.

An urn holds groups of elements, and some elements are drawn without replacement. Elements of some
groups are drawn more readily than others: each group has a weight. The number of drawn elements of
each group is its count. This package has the two usual distributions of the counts: Fisher's and
Wallenius'. "Law" is short for "probability distribution" in the whole package.

>>> import torch
>>> from pyro_hypergeo import FisherHypergeometric
>>> urn = FisherHypergeometric(total_count=4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0])
>>> urn.log_prob(torch.tensor([2.0, 1.0, 1.0])).exp()
tensor(0.2221)

=====================================  =============================================================
:mod:`pyro_hypergeo.ops`               the mathematics, as functions of tensors
:mod:`pyro_hypergeo.distributions`     Pyro distributions over these functions
:mod:`pyro_hypergeo.infer`             maximum likelihood, a guide, latent counts, gradients
:mod:`pyro_hypergeo.tables`            tables of counts from files and DataFrames
:mod:`pyro_hypergeo.datasets`          the table that the package ships
:mod:`pyro_hypergeo.cli`               the command ``pyro-hypergeo``
=====================================  =============================================================
"""

from . import datasets
from .distributions import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    FisherPartition,
    FisherPartitionStraightThrough,
    Hypergeometric,
    MultivariateHypergeometric,
    PlackettLuce,
    PoissonMultinomial,
    RelaxedFisherHypergeometric,
    WalleniusHypergeometric,
    WalleniusHypergeometricStraightThrough,
    WalleniusPartition,
    ZeroSumNormal,
)
from .infer import (
    AutoHypergeometric,
    ChiSquareTest,
    ExactOddsRatio,
    ExactTest,
    GoodnessOfFit,
    LawComparison,
    LikelihoodRatio,
    NoFiniteEstimateError,
    RegressionFit,
    ScoreTests,
    StratifiedTable,
    WeightsFit,
    compare_laws,
    enumerated_posterior,
    exact_common_odds_ratio,
    exact_test_of_equal_weights,
    exact_test_of_independence,
    expectation,
    fit_regression,
    fit_weights,
    markov_counts,
    partition_expectation,
    sizes_from_mean,
)
from .ops import (
    counts_to_mask,
    counts_to_one_hot,
    labels_to_partition,
    partition_to_labels,
)
from .tables import (
    Table,
    TableError,
    read_table,
)

__version__ = "0.1.0"

__all__ = [
    "ChiSquareTest",
    "RegressionFit",
    "ScoreTests",
    "StratifiedTable",
    "fit_regression",
    "AutoHypergeometric",
    "ExactOddsRatio",
    "ExactTest",
    "FisherHypergeometric",
    "FisherHypergeometricStraightThrough",
    "FisherPartition",
    "FisherPartitionStraightThrough",
    "GoodnessOfFit",
    "Hypergeometric",
    "LawComparison",
    "LikelihoodRatio",
    "MultivariateHypergeometric",
    "NoFiniteEstimateError",
    "PlackettLuce",
    "PoissonMultinomial",
    "RelaxedFisherHypergeometric",
    "Table",
    "TableError",
    "WalleniusHypergeometric",
    "WalleniusHypergeometricStraightThrough",
    "WalleniusPartition",
    "WeightsFit",
    "ZeroSumNormal",
    "__version__",
    "compare_laws",
    "counts_to_mask",
    "counts_to_one_hot",
    "datasets",
    "enumerated_posterior",
    "exact_common_odds_ratio",
    "exact_test_of_equal_weights",
    "exact_test_of_independence",
    "expectation",
    "fit_weights",
    "labels_to_partition",
    "markov_counts",
    "partition_expectation",
    "partition_to_labels",
    "read_table",
    "sizes_from_mean",
]
