# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Pyro distributions: thin classes over the mathematics in :mod:`pyro_hypergeo.ops`.

"Law" is short for "probability distribution" in the whole package. Each class here names its law,
an object of :class:`pyro_hypergeo.ops.Law` that computes. The class checks arguments, and gives
Pyro what it asks of a distribution.
"""

from . import kl
from .central import MultivariateHypergeometric
from .constraints import (
    hypergeometric_counts,
    hypergeometric_soft_counts,
    partition_of,
    permutation,
    zero_sum,
)
from .fisher import FisherHypergeometric
from .group_count import GroupCount
from .hypergeometric import Hypergeometric
from .laws import LAWS, law_of
from .partitions.fisher_partition import FisherPartition
from .partitions.fisher_straight_through import FisherPartitionStraightThrough
from .partitions.partition import Partition
from .partitions.plackett_luce import PlackettLuce
from .partitions.poisson_multinomial import PoissonMultinomial
from .partitions.wallenius_partition import WalleniusPartition
from .relaxed import RelaxedFisherHypergeometric
from .straight_through import FisherHypergeometricStraightThrough
from .straight_through_mixin import StraightThrough
from .transforms import ZeroSumTransform
from .urn_law import UrnLaw
from .wallenius import WalleniusHypergeometric
from .wallenius_straight_through import WalleniusHypergeometricStraightThrough
from .zero_sum_normal import ZeroSumNormal

__all__ = [
    "FisherHypergeometric",
    "FisherHypergeometricStraightThrough",
    "FisherPartition",
    "FisherPartitionStraightThrough",
    "GroupCount",
    "Hypergeometric",
    "LAWS",
    "MultivariateHypergeometric",
    "Partition",
    "PlackettLuce",
    "PoissonMultinomial",
    "RelaxedFisherHypergeometric",
    "StraightThrough",
    "UrnLaw",
    "WalleniusHypergeometric",
    "WalleniusHypergeometricStraightThrough",
    "WalleniusPartition",
    "ZeroSumNormal",
    "ZeroSumTransform",
    "hypergeometric_counts",
    "hypergeometric_soft_counts",
    "kl",
    "law_of",
    "partition_of",
    "permutation",
    "zero_sum",
]
