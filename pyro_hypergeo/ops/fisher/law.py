# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's law and the central law as objects."""

from __future__ import annotations

from torch import Size, Tensor

from ..count_table import CountTable
from ..law import DesignTerms, ExponentialFamily, Law
from ..urn import Bounds
from .bulk_marginals import entropy_given
from .density import log_prob_given
from .design import fisher_design_terms
from .marginals import log_marginal_given, log_marginals_given, marginal_table_given
from .modes import mode_given
from .moments import covariance_given, summed_covariance_given, variance_given
from .sampling import sample_given
from .state import FisherState, solve_central, solve_fisher
from .terms import log_tilted_terms


class FisherLaw(ExponentialFamily):
    """Fisher's noncentral hypergeometric law; nearly everything has a closed form."""

    name = "fisher"
    draws_elements = True
    title = "Fisher's"
    story = "each element taken or left, the total known afterwards"

    def solve(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> FisherState:
        """Find the saddle point, with one pass over its nodes."""
        return solve_fisher(log_weights, group_sizes, total_count)

    def log_prob(self, state: FisherState, value: Tensor) -> Tensor:
        """The tilted binomials, divided by the probability of their sum."""
        return log_prob_given(state, value)

    def log_partition(self, state: FisherState) -> Tensor:
        """A field of the state."""
        return state.log_partition

    def log_terms(self, state: FisherState, max_size: int) -> Tensor:
        """The log-probabilities of the tilted binomials."""
        return log_tilted_terms(state, max_size)

    def mean(self, state: FisherState) -> Tensor:
        """A field of the state."""
        return state.mean

    def variance(self, state: FisherState) -> Tensor:
        """The variances without the other covariances: O(G)."""
        return variance_given(state)

    def covariance(self, state: FisherState) -> Tensor:
        """One more pass over the nodes: O(G^2)."""
        return covariance_given(state)

    def summed_covariance(self, state: FisherState) -> Tensor:
        """One product of matrices for the whole batch."""
        return summed_covariance_given(state)

    def design_terms(
        self, theta: Tensor, group_sizes: Tensor, counts: Tensor, design: Tensor
    ) -> DesignTerms:
        """In closed form, in parts of rows."""
        return fisher_design_terms(theta, group_sizes, counts, design)

    def sample(self, state: FisherState, sample_shape: Size, bounds: Bounds) -> Tensor:
        """Rejection, or a tree of sums of groups."""
        return sample_given(state, sample_shape, bounds)

    def table_size(self, groups: int, largest: int, total: int) -> int:
        """Tables over groups and nodes, and the covariance; they do not depend on the sizes."""
        return groups * max(groups, 100)

    def log_marginal(self, state: FisherState, group: int, max_size: int) -> Tensor:
        """One saddle point of the other groups for each count."""
        return log_marginal_given(state, group, max_size)

    def marginal_table(self, state: FisherState, group: int, max_size: int) -> CountTable:
        """The same, for possible counts only."""
        return marginal_table_given(state, group, max_size)

    def log_marginals(self, state: FisherState, bounds: Bounds) -> Tensor:
        """All marginals together; they share the sums over groups."""
        table = log_marginals_given(state, bounds.size)
        return bounds.guard(table, state.urn.log_weights)

    def mode(self, state: FisherState) -> Tensor:
        """A mode by bisection."""
        return mode_given(state.urn)

    def entropy(self, state: FisherState, bounds: Bounds, max_enumeration: int) -> Tensor:
        """The entropy from the marginals, without a sum over the support."""
        return entropy_given(state, bounds)

    def same_family(self, other: Law) -> bool:
        """Whether the other law is Fisher's or central: the central law has equal weights."""
        return isinstance(other, FisherLaw)


class CentralLaw(FisherLaw):
    """The law of equal weights; the normaliser and the mean have closed forms too."""

    name = "central"
    title = "the central"
    story = "every element with the same probability"

    def solve(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> FisherState:
        """The state in closed form. All weights are 1; ``log_weights`` is ignored."""
        return solve_central(group_sizes, total_count)


FISHER, CENTRAL = FisherLaw(), CentralLaw()
