# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The weights that have given means under Wallenius' law."""

from __future__ import annotations

from torch import Tensor

from .law import WALLENIUS


def wallenius_log_weights_from_mean(
    mean: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""The log-weights under which the mean counts are the given ones, with arithmetic mean 0.

    Newton's method with the exact derivative of the mean solves for them. A mean of 0 gives a
    log-weight of :math:`-\infty`, which the arithmetic mean leaves out. The result is
    differentiable in the mean. Cost: O(G^3), plus a few hundred times that of
    :func:`wallenius_mean`.

    :param Tensor mean: mean counts, shape ``(..., G)``, that sum to the total; 0, or between 0
        and the group's size, exclusive.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G)``, in the dtype of the mean.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_log_weights_from_mean
    >>> wallenius_log_weights_from_mean(
    ...     mean=torch.tensor([1.5, 2.5]),
    ...     group_sizes=torch.tensor([5.0, 5.0]),
    ...     total_count=torch.tensor(4.0),
    ... )
    tensor([-0.3185,  0.3185])
    """
    return WALLENIUS.log_weights_from_mean(mean, group_sizes, total_count)
