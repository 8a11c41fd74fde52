# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A most probable count vector under Wallenius' law."""

from __future__ import annotations

from torch import Tensor

from .law import WALLENIUS


def wallenius_mode(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Counts that are more probable than all that differ from them by one exchange.

    From the rounded mean, the exchange of one element for one of another group that gains most is
    made until none gains. In all urns that have been enumerated this is the most probable count
    vector. Cost: O(G^3) for each exchange, of which few are needed.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: counts of shape ``(..., G)``; at a tie, one of the modes.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mode
    >>> wallenius_mode(torch.tensor([0.0, 1.0]), torch.tensor([5.0, 5.0]), torch.tensor(4.0))
    tensor([1., 3.])
    """
    state = WALLENIUS.solve(log_weights, group_sizes, total_count)
    return WALLENIUS.mode(state).to(log_weights.dtype)
