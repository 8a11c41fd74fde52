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

from . import datasets as datasets
from .distributions import FisherHypergeometric as FisherHypergeometric
from .distributions import (
    FisherHypergeometricStraightThrough as FisherHypergeometricStraightThrough,
)
from .distributions import Hypergeometric as Hypergeometric
from .distributions import MultivariateHypergeometric as MultivariateHypergeometric
from .distributions import RelaxedFisherHypergeometric as RelaxedFisherHypergeometric
from .distributions import WalleniusHypergeometric as WalleniusHypergeometric
from .distributions import (
    WalleniusHypergeometricStraightThrough as WalleniusHypergeometricStraightThrough,
)
from .distributions import ZeroSumNormal as ZeroSumNormal
from .infer import AutoHypergeometric as AutoHypergeometric
from .infer import ExactOddsRatio as ExactOddsRatio
from .infer import ExactTest as ExactTest
from .infer import GoodnessOfFit as GoodnessOfFit
from .infer import LawComparison as LawComparison
from .infer import LikelihoodRatio as LikelihoodRatio
from .infer import NoFiniteEstimateError as NoFiniteEstimateError
from .infer import WeightsFit as WeightsFit
from .infer import compare_laws as compare_laws
from .infer import exact_common_odds_ratio as exact_common_odds_ratio
from .infer import exact_test_of_equal_weights as exact_test_of_equal_weights
from .infer import exact_test_of_independence as exact_test_of_independence
from .infer import expectation as expectation
from .infer import fit_weights as fit_weights
from .infer import markov_counts as markov_counts
from .infer import sizes_from_mean as sizes_from_mean
from .ops import counts_to_mask as counts_to_mask
from .ops import counts_to_one_hot as counts_to_one_hot
from .tables import Table as Table
from .tables import TableError as TableError
from .tables import read_table as read_table

__version__ = "0.1.0"
