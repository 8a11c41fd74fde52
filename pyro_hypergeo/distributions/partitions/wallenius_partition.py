# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions whose groups pick one after the other: the law of a race."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ...ops.partitions.race import wallenius_partition_log_prob, wallenius_partition_sample
from ...ops.partitions.race_mean import wallenius_mean_field, wallenius_partition_mean
from .parameters import check_never_stuck
from .partition import Partition


class WalleniusPartition(Partition):
    r"""
    Partitions whose groups pick their elements one after the other, each element one by one.

    :math:`N` elements are in :math:`K` groups of sizes :math:`n_k`. Group 1 picks its :math:`n_1`
    elements first. Each time, the probability of an element is its score :math:`w_{e1}` divided by
    the sum of the scores that are left. Then group 2 picks from the rest with the scores
    :math:`w_{e2}`, and so on. The last group takes what is left. Let :math:`S_k` be the elements of
    group :math:`k`, and :math:`R_k` those that are left before it picks. Then

    .. math::

        p(Y \mid n) = \prod_{k=1}^{K-1} \int_0^\infty D_k e^{-D_k u}
            \prod_{e \in S_k} \bigl(1 - e^{-w_{ek} u}\bigr) du,
        \qquad D_k = \sum_{e \in R_k \setminus S_k} w_{ek} .

    Each factor is Wallenius' law with one element in each group of the urn. The scores are given as
    logarithms.

    If all groups share the scores, group 1 has the first :math:`n_1` elements of an order of
    Plackett and Luce, group 2 the next :math:`n_2`, and so on. With
    :class:`~pyro_hypergeo.FisherHypergeometric` as the distribution of the sizes, this is the law
    of differentiable random partitions [3]. Its probability is a sum over
    :math:`\prod_k n_k!` orders. It was thought to be intractable, and bounds were used. Here it is
    exact.

    The order of the groups is part of the law. If the scores of a group are all multiplied by a
    constant, nothing changes. Costs are for one batch entry:

    =====================================  =========================================================
    :meth:`log_prob`                       :math:`O(N K)`, and :math:`O(N)` for each node of an
                                           integral
    :meth:`sample`, exact                  one sort with shared scores, else :math:`K - 1` sorts
    :attr:`mean` given sizes, exact with   :math:`K - 1` means of Wallenius' law, each :math:`O(N)`
    shared scores or with two groups       for each node
    :attr:`mean_field`                     :math:`O(N K)` for each step of Newton's method
    :attr:`most_probable`                  :math:`O(N^3)`
    =====================================  =========================================================

    **References:**

    [1] Plackett, R. L. (1975) "The analysis of permutations", Applied Statistics 24(2).

    [2] Wallenius, K. T. (1963) "Biased sampling: the noncentral hypergeometric probability
        distribution", Stanford University.

    [3] Sutter, T. M., Ryser, A., Liebeskind, J. and Vogt, J. E. (2023) "Differentiable random
        partition models", NeurIPS 36.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric, WalleniusPartition
        >>> race = WalleniusPartition([1, 2], log_scores=torch.tensor([2.0, 1.0, 1.0]).log())
        >>> race.mean
        tensor([[0.5000, 0.5000],
                [0.2500, 0.7500],
                [0.2500, 0.7500]])
        >>> sizes = FisherHypergeometric(3, group_sizes=[3, 3], weights=[1.0, 2.0])
        >>> law = WalleniusPartition(sizes, log_scores=torch.zeros(3, 2))
        >>> law.labels(law.sample((5,))).shape
        torch.Size([5, 3])

    :param sizes: number of elements in each group, of shape ``batch_shape + (K,)``; or a
        distribution of such counts with the total :math:`N`.
    :type sizes: list of int, torch.Tensor or torch.distributions.Distribution
    :param log_scores: logarithms of the scores, of shape ``batch_shape + (N, K)``. Scores that all
        groups share have the shape ``batch_shape + (N, 1)``, or ``(N,)`` without a batch. ``-inf``
        is a score of 0; then every group must be certain to find enough elements.
    :type log_scores: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    takes_shared_scores = True

    def check_scores(self, sizes: Tensor, log_scores: Tensor) -> None:
        """A group knows nothing of what fits the later ones."""
        order = torch.arange(sizes.shape[-1], device=sizes.device).expand(sizes.shape)
        check_never_stuck(sizes, log_scores, order=order, forced_first=False)

    def draw_given(self, sizes: Tensor, sample_shape: Size) -> Tensor:
        """One sort, or K - 1."""
        return wallenius_partition_sample(self.log_scores, sizes, sample_shape)

    def log_prob_given(self, partition: Tensor, sizes: Tensor) -> Tensor:
        """One integral for each group but the last."""
        return wallenius_partition_log_prob(partition, self.log_scores, sizes)

    def mean_given(self, sizes: Tensor) -> Tensor | None:
        """Differences of means of Wallenius' law."""
        if self.log_scores.shape[-1] == 1 or self.event_shape[-1] == 2:
            return wallenius_partition_mean(self.log_scores[..., :1], sizes)
        return None

    def mean_field_given(self, sizes: Tensor) -> Tensor:
        """The race without chance: each group takes parts of the elements."""
        return wallenius_mean_field(self.log_scores, sizes)
