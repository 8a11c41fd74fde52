# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def counts_to_one_hot(counts: Tensor, size: int) -> Tensor:
    r"""One-hot encoding over 0, ..., size of counts, hard or soft, with gradient.

    A count between two integers has its weight on these two, in proportion. The derivative at an
    integer is the mean of those on both sides (of the only one at 0 and at ``size``), so that the
    gradient of counts drawn by :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough` passes
    as well as that of soft counts.

    :param Tensor counts: numbers from 0 to ``size``, of any shape ``(...)``.
    :param int size: the largest count, 1 at least.
    :return: shape ``(..., size + 1)``; sums to one over the last dimension. Cost: O(size) a count.
    :raises ValueError: if ``size`` is less than 1.

    >>> import torch
    >>> from pyro_hypergeo import counts_to_one_hot
    >>> counts_to_one_hot(torch.tensor([2.0, 0.25]), 2)
    tensor([[0.0000, 0.0000, 1.0000],
            [0.7500, 0.2500, 0.0000]])
    """
    if size < 1:
        raise ValueError(f"Expected `size` to be at least 1, but got {size}.")
    whole = counts.detach()
    low, high = whole.floor().clamp(0, size - 1), whole.ceil().clamp(1, size)
    from_low = _between(low, counts - low, size)
    return 0.5 * (from_low + _between(high - 1, counts - high + 1, size))


def counts_to_mask(counts: Tensor, size: int) -> Tensor:
    r"""The first ``counts`` of ``size`` places filled with ones, hard or soft, with gradient.

    The cumulative ("filled") encoding: place :math:`k` holds :math:`1[k < x]` and, where the count
    ends within a place, the part of it. It selects, say, the first :math:`x_i` of the latent
    factors of group :math:`i`; applied to the cumulative sums of the counts, its differences
    assign consecutive elements to groups. Derivatives as for :func:`counts_to_one_hot`.

    :param Tensor counts: numbers from 0 to ``size``, of any shape ``(...)``.
    :param int size: number of places, 1 at least.
    :return: shape ``(..., size)``; sums to the count over the last dimension.
    :raises ValueError: if ``size`` is less than 1.

    >>> import torch
    >>> from pyro_hypergeo import counts_to_mask
    >>> counts_to_mask(torch.tensor([2.0, 0.25]), 3)
    tensor([[1.0000, 1.0000, 0.0000],
            [0.2500, 0.0000, 0.0000]])
    >>> ends = counts_to_mask(torch.tensor([2.0, 1.0]).cumsum(-1), 3)
    >>> ends.diff(dim=-2, prepend=torch.zeros(1, 3))  # which group has which of the 3 elements
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    """
    return counts_to_one_hot(counts, size)[..., 1:].flip(-1).cumsum(-1).flip(-1)


def _between(low: Tensor, share: Tensor, size: int) -> Tensor:
    share = share.unsqueeze(-1)
    lower, upper = (one_hot(k.long(), size + 1).to(share.dtype) for k in (low, low + 1))
    return torch.lerp(lower, upper, share)
