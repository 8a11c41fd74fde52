# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The functions that every law has."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
from torch import Size, Tensor

from ..count_table import CountTable
from ..mean_inversion import Moments, invert_mean, moments_by_autograd
from ..mode_by_exchange import climb, rounded
from ..support import listed_counts, sum_over
from ..urn import Bounds, Urn
from .likelihood import DesignTerms, LogLikelihood


class State(Protocol):
    """The solved urn: what a law computes once, and then uses for everything.

    Each law has its own class of states; :meth:`Law.solve` returns one.
    """

    @property
    def urn(self) -> Urn:
        """The urn that was solved."""
        ...

    def expand(self, batch_shape: Size) -> Any:
        """The same state for a larger batch shape, without computing anything again.

        :param torch.Size batch_shape: the new batch shape; the old one must expand to it.
        """
        ...


class Law:
    """A law of the counts of groups: draws from an urn without replacement.

    A subclass implements the six functions that raise ``NotImplementedError`` here. If a law has
    parameters of its own, its instance holds them. All tensors of a state and all results are
    float64. They are differentiable in the log-weights, except for draws and modes. Shapes begin
    with the batch shape ``(...)`` of the state.

    >>> import torch
    >>> from pyro_hypergeo.ops import FISHER
    >>> state = FISHER.solve(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    >>> FISHER.mean(state)
    tensor([1.8000, 1.2000], dtype=torch.float64)
    """

    #: The name, for arguments ``law=``.
    name: str
    #: Whose law it is, such as "Fisher's"; the word "law" follows.
    title: str
    #: How elements are drawn, in a few words.
    story: str
    #: Whether elements are drawn by their weight alone. Then groups of equal weight may become
    #: one group, and one draw has a probability proportional to the weight.
    draws_elements = False

    def solve(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Any:
        """Compute once what all other functions need.

        :param Tensor log_weights: shape ``(..., G)``; ``-inf`` is a weight of 0.
        :param Tensor group_sizes: shape ``(..., G)``.
        :param Tensor total_count: shape ``(...)``.
        :return: a :class:`State`.
        """
        raise NotImplementedError

    def log_prob(self, state: Any, value: Tensor) -> Tensor:
        """Log-probability of counts; ``-inf`` outside of the support.

        :param state: a result of :meth:`solve`.
        :param Tensor value: counts, shape ``sample_shape + (..., G)``.
        :return: shape ``sample_shape + (...)``.
        """
        raise NotImplementedError

    def mean(self, state: Any) -> Tensor:
        """Mean counts, shape ``(..., G)``."""
        raise NotImplementedError

    def covariance(self, state: Any) -> Tensor:
        """Covariances of the counts, shape ``(..., G, G)``."""
        raise NotImplementedError

    def sample(self, state: Any, sample_shape: Size, bounds: Bounds) -> Tensor:
        """Exact draws, shape ``sample_shape + (..., G)``.

        :param state: a result of :meth:`solve`.
        :param torch.Size sample_shape: shape of the draws for each urn.
        :param Bounds bounds: the sizes of tables for these urns.
        """
        raise NotImplementedError

    def log_marginal(self, state: Any, group: int, max_size: int) -> Tensor:
        """Log-probabilities of the counts 0, ..., max_size of one group: ``(..., max_size + 1)``.

        :param state: a result of :meth:`solve`.
        :param int group: index of the group, not negative.
        :param int max_size: the largest count.
        """
        raise NotImplementedError

    def marginal_table(self, state: Any, group: int, max_size: int) -> CountTable:
        """:meth:`log_marginal`; a law may leave out what is below the smallest possible count."""
        first = torch.zeros_like(state.urn.total)
        return CountTable(first, self.log_marginal(state, group, max_size))

    def log_marginals(self, state: Any, bounds: Bounds) -> Tensor:
        """:meth:`log_marginal` of all groups: ``(..., G, bounds.size + 1)``."""
        groups = state.urn.sizes.shape[-1]
        rows = [self.log_marginal(state, i, bounds.size) for i in range(groups)]
        return bounds.guard(torch.stack(rows, -2), state.urn.log_weights)

    def variance(self, state: Any) -> Tensor:
        """Variances of the counts, shape ``(..., G)``."""
        return self.covariance(state).diagonal(dim1=-2, dim2=-1)

    def mode(self, state: Any) -> Tensor:
        """Counts that no exchange of one element makes more probable, shape ``(..., G)``."""
        with torch.no_grad():
            urn: Urn = state.urn
            counts = climb(rounded(self.mean(state), urn), urn, partial(self.log_prob, state))
            return torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)

    def entropy(self, state: Any, bounds: Bounds, max_enumeration: int) -> Tensor:
        """Entropy in nats, shape ``(...)``: a sum over the support.

        :param int max_enumeration: the largest number of count vectors.
        :raises NotImplementedError: if there are more count vectors, or if totals or sizes differ
            within the batch.
        """

        def summand(counts: Tensor) -> Tensor:
            log_probs = self.log_prob(state, counts)
            possible = log_probs > -torch.inf
            log_probs = torch.where(possible, log_probs, 0.0)
            return -(possible * log_probs.exp() * log_probs)

        theta = state.urn.log_weights
        return self._expected("entropy", state, bounds, max_enumeration, summand, theta)

    def kl(self, p: Any, q: Any, gap: Tensor, bounds: Bounds, max_enumeration: int) -> Tensor:
        """Kullback-Leibler divergence of two states with the same sizes and totals, ``(...)``.

        :param p: a result of :meth:`solve`.
        :param q: a result of :meth:`solve`.
        :param Tensor gap: the log-weights of p minus those of q, shape ``(..., G)``.
        :raises NotImplementedError: as :meth:`entropy`.
        """

        def summand(counts: Tensor) -> Tensor:
            of_p, of_q = self.log_prob(p, counts), self.log_prob(q, counts)
            possible = of_p > -torch.inf
            difference = torch.where(possible, of_p - of_q, 0.0)
            return torch.where(possible, of_p, 0.0).exp() * difference

        what = "Kullback-Leibler divergence"
        return self._expected(what, p, bounds, max_enumeration, summand, gap)

    def moments(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Moments:
        """The mean, and its slope in the log-weights: one derivative for each group."""

        def mean_of(theta: Tensor) -> tuple[Tensor, Tensor]:
            state = self.solve(theta, group_sizes, total_count)
            return self.mean(state), state.urn.interior

        return moments_by_autograd(mean_of, log_weights)

    def log_weights_from_mean(self, mean: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        """The log-weights under which the mean counts are the given ones, shape ``(..., G)``."""
        return invert_mean(mean, sizes, total, self.moments)

    def table_size(self, groups: int, largest: int, total: int) -> int:
        """About how many numbers the tables of one urn have; parts of a batch depend on it.

        :param int groups: number of groups.
        :param int largest: the largest size of a group.
        :param int total: the number of elements drawn.
        """
        return groups * max(groups, largest * total, 100)

    def log_likelihood(self, theta: Tensor, group_sizes: Tensor, counts: Tensor) -> LogLikelihood:
        """The log-likelihood of log-weights of all strata, ``(G,)``, or of each, ``(S, G)``.

        The derivatives are in a shift of all log-weights.
        """
        with torch.enable_grad():
            shift = theta.new_zeros(theta.shape[-1:]).requires_grad_()
            theta = (theta.detach() + shift).expand(group_sizes.shape)
            state = self.solve(theta, group_sizes, counts.sum(-1))
            value = self.log_prob(state, counts).sum()
            (gradient,) = torch.autograd.grad(value, shift, create_graph=True)
            rows = [torch.autograd.grad(g, shift, retain_graph=True)[0] for g in gradient]
        return LogLikelihood(value.detach(), gradient.detach(), -torch.stack(rows))

    def design_terms(
        self, theta: Tensor, group_sizes: Tensor, counts: Tensor, design: Tensor
    ) -> DesignTerms:
        """The log-likelihood of strata (S, G), and its derivatives in beta of X beta + offset.

        :param Tensor theta: log-weights, shape ``(S, G)``; the design times beta, plus an offset.
        :param Tensor group_sizes: shape ``(S, G)``; a size of 0 is a row that does not exist.
        :param Tensor counts: shape ``(S, G)``.
        :param Tensor design: shape ``(S, G, p)``.
        """
        with torch.enable_grad():
            shift = theta.new_zeros(design.shape[0], design.shape[-1]).requires_grad_()
            moved = theta.detach() + (design @ shift.unsqueeze(-1)).squeeze(-1)
            state = self.solve(moved, group_sizes, counts.sum(-1))
            values = self.log_prob(state, counts)
            (scores,) = torch.autograd.grad(values.sum(), shift, create_graph=True)
            rows = [torch.autograd.grad(s.sum(), shift, retain_graph=True)[0] for s in scores.mT]
        return DesignTerms(values.detach(), scores.detach(), -torch.stack(rows).sum(1))

    def score_carrier(self, state: Any, counts: Tensor) -> Tensor:
        """A tensor with the shape and the gradient of ``log_prob``; its value does not matter.

        The gradient is that in the log-weights.
        """
        return self.log_prob(state, counts)

    def same_family(self, other: Law) -> bool:
        """Whether :meth:`kl` may compare states of these two laws."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({own})"

    def _expected(
        self, what: str, state: Any, bounds: Bounds, limit: int, summand: Any, log_weights: Tensor
    ) -> Tensor:
        try:
            counts = listed_counts(*bounds.one_urn(), limit)
        except (ValueError, NotImplementedError) as error:
            raise NotImplementedError(
                f"The {what} of {self.title} law has no closed form and is summed over the "
                f"support, which cannot be listed: {error}"
            ) from None
        total = state.urn.total
        counts = counts.to(total).reshape(-1, *(1,) * total.dim(), counts.shape[-1])
        return bounds.guard(sum_over(counts, summand), log_weights)
