# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A most probable count vector under Fisher's law."""

from __future__ import annotations

import torch
from torch import Tensor

from ..urn import Urn, make_urn

# A bracket has a length of up to 10^3; so many halvings bring it down to rounding.
_BISECTIONS = 64
# In groups of more than 2^31 elements, rounding may misplace single elements at the level.
_EXCHANGES = 4


def mode(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""A most probable count vector under Fisher's law, for urns of any size.

    The log-probability is a sum of concave functions of single counts. One more element of group
    :math:`i` gains :math:`\log \frac{m_i - x_i}{x_i + 1} + \theta_i`. To take the element of
    largest gain n times gives a mode. Within a group the gains decrease. So we only need the level
    that exactly n gains exceed; bisection finds it. Cost: O(G). Not differentiable.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: counts, shape ``(..., G)``, in the dtype of the log-weights; at a tie, one of the
        modes.

    >>> import torch
    >>> from pyro_hypergeo.ops import mode
    >>> mode(
    ...     log_weights=torch.tensor([0.0, 1.0]),
    ...     group_sizes=torch.tensor([5.0, 5.0]),
    ...     total_count=torch.tensor(4.0),
    ... )
    tensor([1., 3.])
    """
    return mode_given(make_urn(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def mode_given(urn: Urn) -> Tensor:
    """A most probable count vector, (..., G), in float64."""
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
    # Some groups differ between the two sides of the level. Their gains are equal: any is right.
    room = most - counts
    missing = (total - counts.sum(-1)).unsqueeze(-1)
    counts = counts + torch.minimum((missing - room.cumsum(-1) + room).clamp(min=0), room)
    for _ in range(_EXCHANGES):
        counts = _exchanged(counts, theta, sizes)
    return torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)


def _exchanged(counts: Tensor, theta: Tensor, sizes: Tensor) -> Tensor:
    """The counts after the best exchange of one element for one of another group, if it gains."""
    next_gain = torch.log(sizes - counts) - torch.log(counts + 1) + theta
    last_gain = torch.log(sizes - counts + 1) - torch.log(counts) + theta
    best, to = next_gain.max(-1, keepdim=True)
    worst, origin = last_gain.min(-1, keepdim=True)
    index = torch.arange(counts.shape[-1], device=counts.device)
    move = (index == to).to(counts.dtype) - (index == origin).to(counts.dtype)
    return torch.where(best > worst, counts + move, counts)


def _counts_above(theta: Tensor, sizes: Tensor, tilt: Tensor) -> Tensor:
    # The next element of a group gains log((m - x) / (x + 1)) + theta. This many gain more than
    # -tilt.
    u = theta + tilt.unsqueeze(-1)
    return torch.floor((sizes + 1) * torch.sigmoid(u)).minimum(sizes)
