# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The entropy of Wallenius' law."""

from __future__ import annotations

from torch import Tensor

from ..urn import Bounds
from .law import WALLENIUS


def wallenius_entropy(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    *,
    max_enumeration: int = 100_000,
) -> Tensor:
    r"""Entropy in nats under Wallenius' law.

    .. math::

        H = - \sum_x p(x) \log p(x)

    With two groups, one count decides the other. Then the sum runs over the counts of one group,
    and totals and sizes may differ within the batch. With more groups it runs over all count
    vectors, and totals and sizes must not differ. Differentiable in the log-weights. Cost: O(G) for
    each count vector.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param int max_enumeration: the largest number of count vectors, for three groups or more.
    :return: shape ``(...)``, in the dtype of the log-weights.
    :raises NotImplementedError: for three groups or more, if there are more count vectors, or if
        sizes or totals differ within the batch.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_entropy
    >>> wallenius_entropy(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... )
    tensor(0.6931)
    """
    state = WALLENIUS.solve(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes, total_count)
    return WALLENIUS.entropy(state, bounds, max_enumeration).to(log_weights.dtype)
