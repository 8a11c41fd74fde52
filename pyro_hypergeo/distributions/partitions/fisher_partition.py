# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions whose groups are subsets by Fisher's law: scores for each element and each group."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ...ops.partitions.chain import (
    fisher_partition_log_prob,
    fisher_partition_mean,
    fisher_partition_sample,
)
from ...ops.partitions.mean_field import mean_field
from ...ops.partitions.tilt import partition_tilt
from .parameters import check_never_stuck
from .partition import Partition


class FisherPartition(Partition):
    r"""
    Partitions by a score of each element for each group: weights say how many, scores say who.

    :math:`N` elements are in :math:`K` groups of sizes :math:`n_k`, and :math:`s_{ek}` is the
    log-score of element :math:`e` for group :math:`k`. First the scores are tilted: the shifts
    :math:`b` are those with which independent labels would have the sizes on average,

    .. math::

        \sum_e \mathrm{softmax}(u_e)_k = n_k, \qquad u_{ek} = s_{ek} + b_k .

    Then the smallest group is a subset :math:`S_1` of all elements :math:`R_1`, the next one a
    subset of those that are left, and so on. In this formula the groups are numbered by their
    sizes; groups of equal sizes come as they are given. The probability of a subset is proportional
    to the product of the odds of its elements, to be in this group and in no later one:

    .. math::

        p(Y \mid n) = \prod_{k=1}^{K-1} \frac{\prod_{e \in S_k} o_{ek}}
            {e_{n_k}(o_{ek}, e \in R_k)},
        \qquad o_{ek} = \frac{e^{u_{ek}}}{\sum_{j > k} e^{u_{ej}}} ,

    with the elementary symmetric polynomial :math:`e_n`. Each factor is Fisher's law, with one
    element in each group of the urn.

    Adding a number to a row or to a column of the scores changes nothing. So the sizes are those of
    their own distribution, whatever the scores. With two groups this is the conditional Bernoulli
    law. With scores of 0, all partitions of the sizes are equally probable. In general it is near
    to the law without an order of groups,

    .. math::

        p(Y \mid n) \propto \exp \sum_{ek} Y_{ek} s_{ek} ,

    whose normaliser is a permanent. We measured the divergence from that law to this one for 6 to
    10 elements in three or four groups of about equal sizes. On average it was 0.003 to 0.012 nats
    with scores of standard deviation 1, and 0.01 to 0.09 nats with 3, with a largest value of 0.27.
    Groups of different sizes have less. Costs are for one batch entry:

    =================================  ============================================================
    :meth:`log_prob`                   :math:`O(N K)`, and the tilt: :math:`O(N K^2)` for each of
                                       about six steps
    :meth:`sample`, exact              the tilt, and :math:`K - 1` subsets, each at most
                                       :math:`O(N \sqrt N)`
    :attr:`mean`, exact, two groups    :math:`O(N)`
    :attr:`mean_field`                 the tilt
    :attr:`most_probable`              :math:`O(N^3)`
    =================================  ============================================================

    **References:**

    [1] Fisher, R. A. (1935) "The logic of inductive inference", Journal of the Royal Statistical
        Society 98(1).

    [2] Chen, X.-H., Dempster, A. P. and Liu, J. S. (1994) "Weighted finite population sampling to
        maximize entropy", Biometrika 81(3).

    [3] Sinkhorn, R. and Knopp, P. (1967) "Concerning nonnegative matrices and doubly stochastic
        matrices", Pacific Journal of Mathematics 21.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric, FisherPartition
        >>> log_scores = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
        >>> teams = FisherPartition([2, 1], log_scores)
        >>> teams.mean
        tensor([[0.9580, 0.0420],
                [0.8858, 0.1142],
                [0.1562, 0.8438]])
        >>> sizes = FisherHypergeometric(3, group_sizes=[3, 3], weights=[2.0, 1.0])
        >>> law = FisherPartition(sizes, log_scores)
        >>> partition = law.sample()
        >>> law.labels(partition).shape, partition.sum()
        (torch.Size([3]), tensor(3.))

    :param sizes: number of elements in each group, of shape ``batch_shape + (K,)``; or a
        distribution of such counts with the total :math:`N`.
    :type sizes: list of int, torch.Tensor or torch.distributions.Distribution
    :param log_scores: log-scores, of shape ``batch_shape + (N, K)``. A score that all groups share
        would change nothing, so it is refused. ``-inf``: the element is never in this group. Then
        every group must be certain to find enough elements.
    :type log_scores: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    def check_scores(self, sizes: Tensor, log_scores: Tensor) -> None:
        """A smaller group comes first, and takes first the elements that fit no larger one."""
        order = sizes.argsort(dim=-1, stable=True)
        ordered = torch.take_along_dim(log_scores, order.unsqueeze(-2), -1)
        check_never_stuck(sizes, ordered, order=order, forced_first=True)

    def draw_given(self, sizes: Tensor, sample_shape: Size) -> Tensor:
        """K - 1 draws of subsets."""
        return fisher_partition_sample(self.log_scores, sizes, sample_shape)

    def log_prob_given(self, partition: Tensor, sizes: Tensor) -> Tensor:
        """One log-partition function for each group but the last."""
        return fisher_partition_log_prob(partition, self.log_scores, sizes)

    def mean_given(self, sizes: Tensor) -> Tensor | None:
        """The mean of the conditional Bernoulli law."""
        if self.event_shape[-1] == 2:
            return fisher_partition_mean(self.log_scores, sizes)
        return None

    def slope_given(self, sizes: Tensor) -> Tensor:
        """The tilted scores, which are those of the law without an order of groups."""
        tilted = self.log_scores + partition_tilt(self.log_scores, sizes).unsqueeze(-2)
        return torch.where(tilted > -torch.inf, tilted, 0.0)

    def mean_field_given(self, sizes: Tensor) -> Tensor:
        """Independent labels with the given sizes on average."""
        return mean_field(self.log_scores, sizes)
