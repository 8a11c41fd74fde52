# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions by a chain: each group is a subset of the elements left, drawn by Fisher's law."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Size, Tensor

from ..fisher.density import log_prob
from ..fisher.moments import mean
from ..fisher.sampling import sample_given
from ..fisher.state import solve_fisher
from ..tracing import largest, may_branch
from ..urn import Bounds
from .labels import drawn_partition, fits_scores, is_partition, partition_to_labels
from .tilt import partition_tilt

# Stands for a score of 0 in sums of scores: its exponential is 0, and no derivative is NaN.
_NEVER = torch.finfo(torch.float64).min / 4


class _Stages(NamedTuple):
    """The choices between a group and all later groups, the smallest groups first."""

    order: Tensor  # (..., K): the groups
    log_odds: Tensor  # (..., K - 1, N), finite; 0 where there is no choice
    open: Tensor  # the same shape, bool: the element may be in this group, and in a later one
    forced: Tensor  # the same shape, bool: the element may be in this group, and in no later one


def _stages(log_scores: Tensor, sizes: Tensor) -> _Stages:
    u = log_scores.double()
    # With two groups, a shift of a column changes nothing.
    if int(u.shape[-1]) > 2:
        u = u + partition_tilt(u, sizes).unsqueeze(-2)
    order = sizes.argsort(dim=-1, stable=True)
    batch = torch.broadcast_shapes(u.shape[:-2], order.shape[:-1])
    u = u.expand(batch + u.shape[-2:])
    u = torch.take_along_dim(u, order.expand(batch + order.shape[-1:]).unsqueeze(-2), -1).mT
    here = u > -torch.inf
    u = torch.where(here, u, _NEVER)
    later = u.flip(-2).logcumsumexp(-2).flip(-2)[..., 1:, :]
    here, u, go_on = here[..., :-1, :], u[..., :-1, :], later > 0.5 * _NEVER
    choice = here & go_on
    return _Stages(order, torch.where(choice, u - later, 0.0), choice, here & ~go_on)


def fisher_partition_log_prob(partition: Tensor, log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Log-probability of a partition that is drawn group after group, each a subset of the rest.

    The elements have a score for each group.

    First, the tilt of the sizes is added to the scores: :math:`u_{ek} = s_{ek} + b_k` with
    :math:`\sum_e \mathrm{softmax}(u_e)_k = n_k`, see :func:`partition_tilt`. The groups come by
    their sizes, the smallest first; groups of equal sizes come as they are given. Group :math:`k`
    is a subset :math:`S_k` of :math:`n_k` of the elements :math:`R_k` that are left. Its
    probability is proportional to the product of the odds of its elements, to be in this group and
    in no later one:

    .. math::

        \log p(Y) = \sum_{k=1}^{K-1} \Bigl( \sum_{e \in S_k} \log o_{ek}
            - \log e_{n_k}\bigl(o_{ek}, e \in R_k\bigr) \Bigr),
        \qquad o_{ek} = \frac{e^{u_{ek}}}{\sum_{j > k} e^{u_{ej}}} ,

    with the elementary symmetric polynomial :math:`e_{n_k}`. Each factor is Fisher's law with one
    element in each group of the urn. All are one batched call of :func:`log_prob`. With two groups
    this is the conditional Bernoulli law. Differentiable in the log-scores, through the tilt too.
    Cost: O(N K), and the tilt.

    :param Tensor partition: one-hot rows, shape ``(..., N, K)``.
    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` if the element is never in
        this group.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :return: the broadcast batch shape, in the dtype of the log-scores; ``-inf`` for a matrix that
        is no partition of these sizes.

    **References:**

    [1] Chen, X.-H., Dempster, A. P. and Liu, J. S. (1994) "Weighted finite population sampling to
        maximize entropy", Biometrika 81(3).

    >>> import torch
    >>> from pyro_hypergeo.ops import fisher_partition_log_prob
    >>> fisher_partition_log_prob(
    ...     partition=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    ...     log_scores=torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log(),
    ...     sizes=torch.tensor([1, 1]),
    ... ).exp()
    tensor(0.7500)
    """
    possible = is_partition(partition, sizes) & fits_scores(partition, log_scores)
    # Whatever the matrix is, the stages see a partition of some sizes. So no gradient is NaN.
    labels = partition_to_labels(partition.detach()).unsqueeze(-2)
    at = _stages(log_scores, sizes)
    own = labels == at.order.unsqueeze(-1)
    left = own.flip(-2).cumsum(-2).flip(-2)[..., :-1, :]
    free = (at.open * left).double()
    chosen = free * own[..., :-1, :]
    result = log_prob(chosen, at.log_odds, free, chosen.sum(-1)).sum(-1)
    return torch.where(possible, result, -torch.inf).to(log_scores.dtype)


def fisher_partition_sample(
    log_scores: Tensor,
    sizes: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws of partitions, group after group, each a subset of the rest.

    The law is that of :func:`fisher_partition_log_prob`. Each group but the last is one call of
    :func:`sample`, with one element in each group of the urn. Not differentiable.

    Cost of a draw: the tilt, and K - 1 draws of a subset, each O(N sqrt(N)) by rejection or
    O(N log N) by a tree of sums.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` if the element is never in
        this group.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :param torch.Size sample_shape: shape of the draws for each entry of the batch.
    :return: shape ``sample_shape + (..., N, K)``, in the dtype of the log-scores; NaN where a group
        finds too few elements, or the sizes have another sum.

    >>> import torch
    >>> from pyro_hypergeo.ops import fisher_partition_sample
    >>> fisher_partition_sample(torch.zeros(5, 2), torch.tensor([2, 3])).sum(0)
    tensor([2., 3.])
    """
    with torch.no_grad():
        elements, groups = (int(length) for length in log_scores.shape[-2:])
        batch = torch.broadcast_shapes(log_scores.shape[:-2], sizes.shape[:-1])
        shape = Size(sample_shape) + batch
        at = _stages(log_scores.detach(), sizes)
        ordered, last = sizes.gather(-1, at.order), groups - 1
        labels = torch.full((*shape, elements), last, device=log_scores.device)
        for k in range(last):
            left = labels == last
            forced = at.forced[..., k, :] & left
            free = (at.open[..., k, :] & left).double()
            wanted = ordered[..., k] - forced.sum(-1)
            state = solve_fisher(at.log_odds[..., k, :], free, wanted)
            # A trace must also serve other sizes.
            most = largest(ordered[..., k]) if may_branch(ordered) else elements
            # NaN and a draw of another size are found out at the end.
            chosen = sample_given(state, Size(), Bounds(free, wanted, (1, most))) == 1
            labels = torch.where(chosen | forced, k, labels)
        labels = at.order.expand(*shape, groups).gather(-1, labels)
        return drawn_partition(labels, log_scores.detach(), sizes).to(log_scores.dtype)


def fisher_partition_mean(log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Probability of each element to be in each of two groups. Exact.

    It is the mean of Fisher's law, with one element in each group of the urn. Differentiable in the
    log-scores. Cost: O(N).

    :param Tensor log_scores: :math:`s`, shape ``(..., N, 2)``; ``-inf`` if the element is never in
        this group.
    :param Tensor sizes: :math:`n`, shape ``(..., 2)``, with the sum :math:`N`.
    :return: shape ``(..., N, 2)``, in the dtype of the log-scores.

    >>> import torch
    >>> from pyro_hypergeo.ops import fisher_partition_mean
    >>> fisher_partition_mean(torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log(), torch.tensor([1, 1]))
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    at = _stages(log_scores, sizes)
    forced = at.forced[..., 0, :].double()
    wanted = sizes.amin(-1) - forced.sum(-1)
    smaller = mean(at.log_odds[..., 0, :], at.open[..., 0, :].double(), wanted) + forced
    first = torch.where(at.order[..., :1] == 0, smaller, 1 - smaller)
    return torch.stack([first, 1 - first], -1).to(log_scores.dtype)
