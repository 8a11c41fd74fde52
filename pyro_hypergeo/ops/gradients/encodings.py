# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Counts as one-hot vectors and as masks, for integer counts and for soft counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def counts_to_one_hot(counts: Tensor, size: int) -> Tensor:
    r"""One-hot encoding of counts over 0, ..., ``size``, with gradients. Counts may be soft.

    A count between two integers puts its weight on these two, in proportion. The derivative at an
    integer is the mean of the derivatives on both sides. At 0 and at ``size`` there is one side
    only. So a gradient passes through soft counts, and also through the integer counts that
    :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough` draws. Cost: O(size) for each count.

    :param Tensor counts: numbers from 0 to ``size``, shape ``(...)``.
    :param int size: the largest count, at least 1.
    :return: shape ``(..., size + 1)``, in the dtype of the counts; sums to 1 over the last
        dimension.
    :raises ValueError: if ``size`` is less than 1.

    >>> import torch
    >>> from pyro_hypergeo import counts_to_one_hot
    >>> counts_to_one_hot(counts=torch.tensor([2.0, 0.25]), size=2)
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
    r"""A mask of ``size`` places, the first ``counts`` of them ones, with gradients.

    Place :math:`k = 0, 1, \dots` holds 1 if :math:`k < x`, and 0 otherwise. If a soft count ends
    inside a place, the place holds the part. One use is to select the first :math:`x_i` of the
    latent factors of group :math:`i`. Another use is to assign elements to groups: take the masks
    of the cumulative sums of the counts, and then their differences. The derivatives are as for
    :func:`counts_to_one_hot`. Cost: O(size) for each count.

    :param Tensor counts: numbers from 0 to ``size``, shape ``(...)``.
    :param int size: number of places, at least 1.
    :return: shape ``(..., size)``, in the dtype of the counts; sums to the count over the last
        dimension.
    :raises ValueError: if ``size`` is less than 1.

    >>> import torch
    >>> from pyro_hypergeo import counts_to_mask
    >>> counts_to_mask(counts=torch.tensor([2.0, 0.25]), size=3)
    tensor([[1.0000, 1.0000, 0.0000],
            [0.2500, 0.0000, 0.0000]])
    >>> ends = counts_to_mask(counts=torch.tensor([2.0, 1.0]).cumsum(-1), size=3)
    >>> ends.diff(dim=-2, prepend=torch.zeros(1, 3))  # which group has which of the 3 elements
    tensor([[1., 1., 0.],
            [0., 0., 1.]])
    """
    return counts_to_one_hot(counts, size)[..., 1:].flip(-1).cumsum(-1).flip(-1)


def _between(low: Tensor, share: Tensor, size: int) -> Tensor:
    """One-hot vectors (..., size + 1), between those of ``low`` and ``low + 1``."""
    share = share.unsqueeze(-1)
    lower, upper = (one_hot(k.long(), size + 1).to(share.dtype) for k in (low, low + 1))
    return torch.lerp(lower, upper, share)
