# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor

from ..urn import Urn, make_urn

# From a bracket of up to 10^3 down to rounding.
_BISECTIONS = 64


def mode(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""A most probable count vector, for urns of any size.

    The log-probability is a sum of concave functions of the counts, so the draw that takes the
    element of largest gain n times is a mode. The gains are decreasing within a group: bisection
    on the level that n gains exceed finds the same counts at once. Cost: O(G).

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: counts of shape ``(..., G)``; at a tie, one of the modes.

    >>> import torch
    >>> from pyro_hypergeo.ops import mode
    >>> mode(torch.tensor([0.0, 1.0]), torch.tensor([5.0, 5.0]), torch.tensor(4.0))
    tensor([1., 3.])
    """
    return mode_given(make_urn(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def mode_given(urn: Urn) -> Tensor:
    """A most probable count vector in float64."""
    theta, sizes, total = urn.log_weights.detach(), urn.sizes, urn.total
    absent = sizes <= 0
    reach = torch.log(sizes.amax(-1) + 2) + 1
    low = -theta.masked_fill(absent, -torch.inf).amax(-1) - reach
    high = -theta.masked_fill(absent, torch.inf).amin(-1) + reach
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        enough = _counts_above(theta, sizes, middle).sum(-1) >= total
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    counts, most = _counts_above(theta, sizes, low), _counts_above(theta, sizes, high)
    # The groups that differ between the two sides of the level gain the same: any will do.
    room = most - counts
    missing = (total - counts.sum(-1)).unsqueeze(-1)
    counts = counts + torch.minimum((missing - room.cumsum(-1) + room).clamp(min=0), room)
    return torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)


def _counts_above(theta: Tensor, sizes: Tensor, tilt: Tensor) -> Tensor:
    # A group's next element gains log((m - x) / (x + 1)) + theta; this many gain more than -tilt.
    u = theta + tilt.unsqueeze(-1)
    return torch.floor((sizes + 1) * torch.sigmoid(u)).minimum(sizes)
