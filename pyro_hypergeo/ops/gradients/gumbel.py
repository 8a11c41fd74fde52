# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "gumbel": counts move as a Gumbel-softmax, one group after another."""

from __future__ import annotations

from torch import Tensor

from ..fisher.law import FISHER
from .gumbel_windows import fisher_gumbel_movement
from .straight_through import moved_counts


def gumbel_gradient(
    counts: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    temperature: Tensor,
) -> Tensor:
    r"""Counts that move as a Gumbel-softmax, one group after another, under Fisher's law.

    Let :math:`r_i` be the number of elements that the groups before group :math:`i` left. Let
    :math:`\ell_{ik}` be the log-probability that group :math:`i` has the count :math:`k`, given
    :math:`r_i`. With Gumbel variables :math:`g_{ik}`, the count is the argmax of
    :math:`\ell_{ik} + g_{ik}`. We draw the :math:`g_{ik}` given that the argmax is :math:`x_i`.
    The count moves by

    .. math::

        \partial x_i := \partial \sum_k k \, \operatorname{softmax}_k
        \Bigl( \frac{\ell_{ik}(\theta, r_i) + g_{ik}}{\tau} \Bigr),
        \qquad r_i = n - \sum_{j < i} x_j ,

    The remainder :math:`r_i` moves too: central differences extend the log-probabilities to real
    remainders. The last group with elements takes all that is left. The value is that of
    ``counts``, unchanged. Counts of a probability below 1e-13 have a finite gradient without a
    meaning.

    Cost: O(G sqrt(N) log N) for each batch entry with N elements, and O(G sqrt(M)) for each draw,
    with M the largest size; all in the backward pass. At temperatures above 1 the tails count.
    There, and in compiled code, the cost is O(G n M) for each batch entry and O(G M) for each draw.

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param Tensor temperature: :math:`\tau > 0`; its shape broadcasts with ``(...)``. A lower
        temperature gives more noise. It gives less bias only if the function is nearly linear: the
        slope is taken at one end of each jump.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    **References:**

    [1] Sutter, T. M., Manduchi, L., Ryser, A. and Vogt, J. E. (2023) "Learning group importance
        using the differentiable hypergeometric distribution", ICLR.

    [2] Jang, E., Gu, S. and Poole, B. (2017) "Categorical reparameterization with Gumbel-softmax",
        ICLR.

    >>> import torch
    >>> from pyro_hypergeo.ops import gumbel_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> gumbel_gradient(
    ...     counts=torch.tensor([2.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ...     temperature=torch.tensor(1.0),
    ... )
    tensor([2., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(
        fisher_gumbel_movement, FISHER, counts, log_weights, group_sizes, total_count, temperature
    )
