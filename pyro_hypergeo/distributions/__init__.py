# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from . import kl
from .central import MultivariateHypergeometric
from .constraints import hypergeometric_counts, hypergeometric_soft_counts, zero_sum
from .fisher import FisherHypergeometric
from .group_count import GroupCount
from .relaxed import RelaxedFisherHypergeometric
from .straight_through import FisherHypergeometricStraightThrough
from .transforms import ZeroSumTransform
from .wallenius import WalleniusHypergeometric
from .wallenius_straight_through import WalleniusHypergeometricStraightThrough
from .zero_sum_normal import ZeroSumNormal

__all__ = [
    "FisherHypergeometric",
    "FisherHypergeometricStraightThrough",
    "GroupCount",
    "MultivariateHypergeometric",
    "RelaxedFisherHypergeometric",
    "WalleniusHypergeometric",
    "WalleniusHypergeometricStraightThrough",
    "ZeroSumNormal",
    "ZeroSumTransform",
    "hypergeometric_counts",
    "hypergeometric_soft_counts",
    "kl",
    "zero_sum",
]
