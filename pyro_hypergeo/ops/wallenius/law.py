# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' law as an object."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..count_table import CountTable
from ..law import DesignTerms, Law, LogLikelihood
from ..mean_inversion import invert_mean
from ..urn import Bounds, make_urn
from .density import wallenius_log_prob_given
from .design import wallenius_design_terms
from .marginals import wallenius_log_marginal_given, wallenius_marginal_table
from .sampling import wallenius_sample_given
from .state import WalleniusState

# Each step costs G derivatives. The first guess is nearly right, except near empty and full groups.
_INVERSION_STEPS = 24


class WalleniusLaw(Law):
    """Wallenius' noncentral hypergeometric law: integrals over the time of ring n + 1."""

    name = "wallenius"
    draws_elements = True
    title = "Wallenius'"
    story = "one element taken after the other"

    def solve(
        self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
    ) -> WalleniusState:
        """Prepare the urn. The moments are computed when they are first needed."""
        return WalleniusState(make_urn(log_weights, group_sizes, total_count))

    def log_prob(self, state: WalleniusState, value: Tensor) -> Tensor:
        """One integral over time for each count vector."""
        return wallenius_log_prob_given(state.urn, value)

    def mean(self, state: WalleniusState) -> Tensor:
        """The mean of a mixture of Fisher's laws over time."""
        return state.mean

    def covariance(self, state: WalleniusState) -> Tensor:
        """The covariance of a mixture of Fisher's laws over time."""
        return state.covariance

    def sample(self, state: WalleniusState, sample_shape: Size, bounds: Bounds) -> Tensor:
        """Draws by exponential clocks."""
        return wallenius_sample_given(state.urn, sample_shape, bounds)

    def table_size(self, groups: int, largest: int, total: int) -> int:
        """Tables over groups and nodes, and the covariance; they do not depend on the sizes."""
        return groups * max(groups, 100)

    def log_marginal(self, state: WalleniusState, group: int, max_size: int) -> Tensor:
        """One integral over time for each count; with two groups, neighbours share the nodes."""
        return wallenius_log_marginal_given(state.urn, group, max_size)

    def marginal_table(self, state: WalleniusState, group: int, max_size: int) -> CountTable:
        """The same, for possible counts only."""
        return wallenius_marginal_table(state.urn, group, max_size)

    def entropy(self, state: WalleniusState, bounds: Bounds, max_enumeration: int) -> Tensor:
        """From the marginal if there are two groups; otherwise a sum over the support."""
        if state.urn.sizes.shape[-1] != 2:
            return super().entropy(state, bounds, max_enumeration)
        # One count decides the other. So the marginal is the whole law.
        logs = self.marginal_table(state, 0, bounds.size).logs
        possible = logs > -torch.inf
        logs = torch.where(possible, logs, 0.0)
        result = -(possible * logs.exp() * logs).sum(-1)
        return bounds.guard(result, state.urn.log_weights)

    def log_weights_from_mean(self, mean: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        """Newton's method, from weights that are right for large urns."""
        return invert_mean(
            mean, sizes, total, self.moments, first_guess=_log_rate, steps=_INVERSION_STEPS
        )

    def log_likelihood(self, theta: Tensor, group_sizes: Tensor, counts: Tensor) -> LogLikelihood:
        r"""The log-likelihood, which is concave in the log-weights.

        Substitute :math:`s = \log u + \log D` in the integral. Its integrand is then

        .. math::

            e^{s - e^s} \prod_i \bigl(1 - \exp(-e^{s + \theta_i - \log D})\bigr)^{x_i} .

        :math:`\theta_i - \log D` is concave in :math:`\theta`, and :math:`\log(1 - \exp(-e^y))`
        is concave and increasing in :math:`y`. So the integrand is log-concave in :math:`s` and
        :math:`\theta` together. Then its integral over :math:`s` is log-concave in
        :math:`\theta`, by Prekopa's theorem.
        """
        # In closed form: each group is a covariate of its own.
        strata, groups = group_sizes.shape
        design = torch.eye(groups, dtype=theta.dtype, device=theta.device)
        terms = self.design_terms(
            theta.expand(group_sizes.shape), group_sizes, counts, design.expand(strata, -1, -1)
        )
        return LogLikelihood(terms.values.sum(), terms.scores.sum(0), terms.information)

    def design_terms(
        self, theta: Tensor, group_sizes: Tensor, counts: Tensor, design: Tensor
    ) -> DesignTerms:
        """In closed form; only rows from which something was drawn need tables over the nodes."""
        return wallenius_design_terms(theta, group_sizes, counts, design)


def _log_rate(share: Tensor) -> Tensor:
    # The log-weight with which a clock has rung by time 1 with probability `share`.
    return torch.log(-torch.log1p(-share))


WALLENIUS = WalleniusLaw()
