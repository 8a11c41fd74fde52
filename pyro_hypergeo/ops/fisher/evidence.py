# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Evidence and posterior of Fisher's counts, if each group's count is observed with noise."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.nn.functional import pad

from ..inverse_cdf import index_by_cdf
from ..log_convolution import log_convolve, log_suffixes, log_sum_exp
from ..urn import Bounds
from .state import FisherState, solve_fisher
from .terms import log_tilted_terms


def log_evidence(
    log_likelihoods: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Log-evidence of observations of the counts, one for each group.

    Given the counts, the observations are independent of each other:

    .. math::

        \log \sum_x p(x) \prod_i L_i(x_i)

    The gradient in ``log_likelihoods`` is the posterior marginal of each group. The gradient in the
    log-weights is the posterior mean minus the prior mean. Differentiable twice.
    Cost: O(G n min(n, max m)).

    :param Tensor log_likelihoods: :math:`\log L_i(k)`, shape ``(..., G, M + 1)`` for the counts
        0, ..., M; one row may serve all groups, ``(..., 1, M + 1)``. M must reach the largest
        possible count. ``-inf`` rules a count out. Entries above a group's size are ignored.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the log-weights; ``-inf`` if all counts are ruled
        out.
    :raises ValueError: if the number of rows of ``log_likelihoods`` is neither 1 nor G, or if a
        possible count is missing.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_evidence
    >>> likelihoods = torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 1.0]])  # the second was drawn
    >>> log_evidence(
    ...     log_likelihoods=likelihoods.log(),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... ).exp()
    tensor(0.1667)
    """
    problem = _Problem(log_likelihoods, log_weights, group_sizes, total_count)
    return problem.log_evidence.to(log_weights.dtype)


def posterior_log_marginals(
    log_likelihoods: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Posterior log-marginals of the counts of all groups.

    .. math::

        \log p(x_i = k \mid L) = \log \sum_{x : x_i = k} p(x) \prod_j L_j(x_j) - \log
        \sum_x p(x) \prod_j L_j(x_j)

    Each probability has a small relative error, far into the tails. Differentiable.
    Cost: O(G n min(n, max m)), as for :func:`log_evidence`.

    :param Tensor log_likelihoods: :math:`\log L_i(k)`, shape ``(..., G, M + 1)`` for the counts
        0, ..., M; one row may serve all groups, ``(..., 1, M + 1)``. M must reach the largest
        possible count. ``-inf`` rules a count out. Entries above a group's size are ignored.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G, M + 1)``, in the dtype of the log-weights; ``-inf`` where a count is
        impossible, and everywhere if all counts are ruled out.
    :raises ValueError: as :func:`log_evidence`.

    >>> import torch
    >>> from pyro_hypergeo.ops import posterior_log_marginals
    >>> likelihoods = torch.tensor([[1.0, 1.0, 1.0], [0.5, 1.0, 1.0]])
    >>> posterior_log_marginals(
    ...     log_likelihoods=likelihoods.log(),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... ).exp()
    tensor([[0.5000, 0.5000, 0.0000],
            [0.5000, 0.5000, 0.0000]])
    """
    problem = _Problem(log_likelihoods, log_weights, group_sizes, total_count)
    marginals = problem.log_marginals()
    unseen = log_likelihoods.shape[-1] - marginals.shape[-1]
    return pad(marginals, (0, unseen), value=-torch.inf).to(log_weights.dtype)


def posterior_sample(
    log_likelihoods: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws from the posterior of the counts, :math:`p(x) \prod_i L_i(x_i)` up to a factor.

    The groups are drawn one after another by inverse cdf, given the number of elements that is
    left. Cost: O(G n min(n, max m)) once, and O(G min(n, max m)) for each draw. Not
    differentiable.

    :param Tensor log_likelihoods: :math:`\log L_i(k)`, shape ``(..., G, M + 1)`` for the counts
        0, ..., M; one row may serve all groups, ``(..., 1, M + 1)``. M must reach the largest
        possible count. ``-inf`` rules a count out. Entries above a group's size are ignored.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param torch.Size sample_shape: shape of the draws for each urn.
    :return: shape ``sample_shape + (..., G)``, in the dtype of the log-weights.
    :raises ValueError: as :func:`log_evidence`, and if ``log_likelihoods`` rules out all counts.

    >>> import torch
    >>> from pyro_hypergeo.ops import posterior_sample
    >>> likelihoods = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])  # the second was drawn
    >>> posterior_sample(
    ...     log_likelihoods=likelihoods.log(),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(2.0),
    ... )
    tensor([1., 1.])
    """
    with torch.no_grad():
        problem = _Problem(log_likelihoods, log_weights, group_sizes, total_count)
        ruled_out = problem.log_evidence == -torch.inf
        if ruled_out.any():
            first = tuple(ruled_out.nonzero()[0].tolist())
            where = f" at batch index {first}" if first else ""
            raise ValueError(
                f"Expected `log_likelihoods` of shape {tuple(log_likelihoods.shape)} to leave a "
                f"possible count vector, but all are ruled out{where}."
            )
        return problem.sample(Size(sample_shape)).to(log_weights.dtype)


class _Problem:
    """The posterior as a chain over the groups; its state is the number of elements left."""

    def __init__(
        self,
        log_likelihoods: Tensor,
        log_weights: Tensor,
        group_sizes: Tensor,
        total_count: Tensor,
    ) -> None:
        state = solve_fisher(log_weights, group_sizes, total_count)
        self.log_weights = log_weights
        self.bounds = Bounds(group_sizes, total_count)
        largest_total = self.bounds.total
        largest_count = min(self.bounds.size, largest_total)
        _check(log_likelihoods, state, largest_count)
        prior = log_tilted_terms(state, largest_count)
        likelihoods = log_likelihoods[..., : largest_count + 1].double()
        # A sum alone would not do: entries above the size of a group must be ignored.
        self.log_terms = torch.where(prior == -torch.inf, prior, prior + likelihoods)
        self.log_suffixes = log_suffixes(self.log_terms, largest_total)
        batch = self.log_terms.shape[:-2]
        self.total = total_count.detach().double().expand(batch)
        log_sum = _at(self.log_suffixes[..., 0, :], self.total.unsqueeze(-1)).squeeze(-1)
        self.log_sum = log_sum
        self.log_evidence = self.bounds.guard(log_sum - state.log_center, log_weights)

    def log_marginals(self) -> Tensor:
        """Posterior log-marginals of all groups, (..., G, largest possible count + 1)."""
        length, width = self.log_suffixes.shape[-1], self.log_terms.shape[-1]
        possible = (self.log_sum > -torch.inf)[..., None, None]
        log_sum = torch.where(possible[..., 0, 0], self.log_sum, 0.0).unsqueeze(-1)
        remainder = torch.arange(length, dtype=self.total.dtype, device=self.total.device)
        # The sum of the groups before, if this much remains for the others.
        drawn = self.total.unsqueeze(-1) - remainder
        before = torch.where(remainder == 0, 0.0, -torch.inf).expand(drawn.shape)
        rows = []
        for i, terms in enumerate(self.log_terms.unbind(-2)):
            remaining = pad(_at(before, drawn), (0, width - 1), value=-torch.inf)
            after = self.log_suffixes[..., i + 1, :].unsqueeze(-2)
            # Entry [k, r]: r elements remain after this group, r + k before it.
            others = log_sum_exp(remaining.unfold(-1, length, 1) + after)
            rows.append(terms + others - log_sum)
            before = log_convolve(terms, before, length)
        result = torch.where(possible, torch.stack(rows, -2), -torch.inf)
        return self.bounds.guard(result, self.log_weights)

    def sample(self, sample_shape: Size) -> Tensor:
        """Draws, ``sample_shape + (..., G)``, in float64."""
        remaining = self.total.expand(sample_shape + self.total.shape)
        k = torch.arange(self.log_terms.shape[-1], dtype=remaining.dtype, device=remaining.device)
        counts = []
        for i, terms in enumerate(self.log_terms.unbind(-2)):
            after = self.log_suffixes[..., i + 1, :]
            log_probs = terms + _at(after, remaining.unsqueeze(-1) - k)
            cdf = (log_probs - log_probs.amax(-1, keepdim=True)).exp().cumsum(-1)
            count = index_by_cdf(cdf).to(remaining.dtype)
            counts.append(count)
            remaining = remaining - count
        return self.bounds.guard(torch.stack(counts, -1))


def _check(log_likelihoods: Tensor, state: FisherState, largest_count: int) -> None:
    groups = state.urn.sizes.shape[-1]
    if log_likelihoods.dim() < 2 or log_likelihoods.shape[-2] not in (1, groups):
        raise ValueError(
            f"Expected `log_likelihoods` of shape (..., {groups}, M + 1) for {groups} groups, but "
            f"got {tuple(log_likelihoods.shape)}."
        )
    if log_likelihoods.shape[-1] <= largest_count:
        raise ValueError(
            f"Expected `log_likelihoods` of shape (..., {groups}, M + 1) with M of {largest_count} "
            f"at least, the largest possible count, but got {tuple(log_likelihoods.shape)}."
        )


def _at(table: Tensor, index: Tensor) -> Tensor:
    """Entries of the table (..., T) at indices of its last dimension; ``-inf`` out of range."""
    shape = torch.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    last = table.shape[-1] - 1
    clamped = index.long().clamp(0, last).expand(*shape, -1)
    inside = (index >= 0) & (index <= last)
    return torch.where(inside, table.expand(*shape, -1).gather(-1, clamped), -torch.inf)
