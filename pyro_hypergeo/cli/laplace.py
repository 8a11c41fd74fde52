# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``laplace``: the normal distribution at the posterior mode, by Newton's method."""

from __future__ import annotations

import math

from ..distributions import ZeroSumNormal
from ..ops.zero_sum import zero_sum_vector
from .model import laplace, one_thread, urns_of
from .svi import NormalPosterior
from .table import Table


class LaplacePosterior(NormalPosterior):
    """The normal distribution with the mode and the curvature of the posterior."""

    @property
    def engine(self) -> str:
        """Name of the engine, as in ``--engine``."""
        return "laplace"

    def how(self) -> str:
        """One line that says how the inference went."""
        return (
            "Laplace approximation: the normal distribution at the mode of the posterior; "
            f"log-evidence {self.elbo:.3f}, nearly"
        )


def laplace_posterior(table: Table, prior_scale: float, law: str = "fisher") -> LaplacePosterior:
    """Find the mode of the posterior, and its curvature there.

    Nothing is random. The cost is that of a few steps of Newton's method, also for tables on which
    the other engines take minutes.
    """
    with one_thread():
        mode, root = laplace(table, prior_scale, law)
        location, factor = zero_sum_vector(mode), zero_sum_vector(root.mT).mT
        prior = ZeroSumNormal(table.sizes.new_full((), prior_scale), len(table.groups))
        joint = (
            prior.log_prob(location) + urns_of(table, location, law).log_prob(table.counts).sum()
        )
        volume = 0.5 * len(mode) * math.log(2 * math.pi) + root.diagonal().log().sum()
    return LaplacePosterior(location, factor, float(joint + volume), steps=0, settled=True)
