# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimators of gradients by name, and the laws that have them."""

from __future__ import annotations

from typing import NamedTuple

from ..fisher.law import FisherLaw
from ..law import ExponentialFamily, Law
from .affine import affine_movement
from .fisher_affine import fisher_affine_movement
from .gumbel_tables import gumbel_movement
from .gumbel_windows import fisher_gumbel_movement
from .implicit import implicit_movement
from .mean import mean_movement
from .straight_through import Movement


class Estimator(NamedTuple):
    """One way to move counts with the log-weights."""

    name: str
    laws: type[Law]  # the laws that have it
    movement: Movement


# If a law fits two estimators of the same name, it has the later one.
ESTIMATORS = [
    Estimator("affine", Law, affine_movement),
    Estimator("affine", FisherLaw, fisher_affine_movement),
    Estimator("mean", Law, mean_movement),
    Estimator("implicit", FisherLaw, implicit_movement),
    Estimator("gumbel", ExponentialFamily, gumbel_movement),
    Estimator("gumbel", FisherLaw, fisher_gumbel_movement),
]


def estimators(law: Law) -> dict[str, Movement]:
    """The estimators of gradients that a law has, by name.

    Cost: O(1).

    :param Law law: the law, such as ``ops.FISHER``.
    :return: a ``dict`` from names to movements: functions of draws, law, state, bounds and
        temperature. A movement returns a float64 tensor whose gradient the draws take over.

    >>> from pyro_hypergeo import ops
    >>> list(ops.estimators(law=ops.FISHER))
    ['affine', 'mean', 'implicit', 'gumbel']
    >>> list(ops.estimators(law=ops.WALLENIUS))
    ['affine', 'mean']
    """
    return {e.name: e.movement for e in ESTIMATORS if isinstance(law, e.laws)}
