# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Noncentral hypergeometric distributions for Pyro: exact, fast, differentiable."""

from . import datasets as datasets
from .distributions import FisherHypergeometric as FisherHypergeometric
from .distributions import (
    FisherHypergeometricStraightThrough as FisherHypergeometricStraightThrough,
)
from .distributions import MultivariateHypergeometric as MultivariateHypergeometric
from .distributions import RelaxedFisherHypergeometric as RelaxedFisherHypergeometric
from .distributions import WalleniusHypergeometric as WalleniusHypergeometric
from .distributions import (
    WalleniusHypergeometricStraightThrough as WalleniusHypergeometricStraightThrough,
)
from .distributions import ZeroSumNormal as ZeroSumNormal
from .infer import AutoHypergeometric as AutoHypergeometric
from .infer import LawComparison as LawComparison
from .infer import NoFiniteEstimateError as NoFiniteEstimateError
from .infer import WeightsFit as WeightsFit
from .infer import compare_laws as compare_laws
from .infer import expectation as expectation
from .infer import fit_weights as fit_weights
from .infer import markov_counts as markov_counts
from .infer import sizes_from_mean as sizes_from_mean
from .ops import counts_to_mask as counts_to_mask
from .ops import counts_to_one_hot as counts_to_one_hot

__version__ = "0.1.0"
