# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor

from ._cumulants import covariance64, cumulants

# Newton ends quadratically; the steps before are for means within 10^-10 of an empty or a full
# group, where each may change a log-weight by no more than _LONGEST.
_STEPS, _LONGEST = 30, 3.0


def log_weights_from_mean(mean: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""The log-weights under which the mean counts are the given ones, with arithmetic mean 0.

    The mean is the gradient of the convex log-partition function, so this is a convex problem;
    Newton's method with the exact covariance solves it. Means of 0 give log-weights of
    :math:`-\infty`, which the arithmetic mean leaves out. The result is differentiable in the
    mean. Cost: O(G^3).

    :param Tensor mean: mean counts, shape ``(..., G)``, that sum to the total; 0 or between 0
        and the group's size, exclusive.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_weights_from_mean
    >>> sizes, total = torch.tensor([5.0, 5.0]), torch.tensor(4.0)
    >>> log_weights_from_mean(torch.tensor([1.5, 2.5]), sizes, total)
    tensor([-0.3802,  0.3802])
    """
    target = mean.double()
    shape = torch.broadcast_shapes(target.shape, group_sizes.shape, (*total_count.shape, 1))
    target = target.expand(shape)
    present = target > 0
    sizes = torch.where(present, group_sizes.double(), 0.0)
    # Where everything is drawn the weights do not matter.
    full = sizes.sum(-1, keepdim=True) <= total_count.double().unsqueeze(-1)
    with torch.no_grad():
        share = torch.where(present & ~full, target / sizes, 0.5)
        theta = torch.logit(share)
        for _ in range(_STEPS):
            theta = theta + _step(theta, target, sizes, total_count).clamp(-_LONGEST, _LONGEST)
    if target.requires_grad:
        # The value is a fixed point of the step, and its gradient that of the implicit function.
        theta = theta + _step(theta, target, sizes, total_count)
    number = present.sum(-1, keepdim=True)
    theta = theta - (theta * present).sum(-1, keepdim=True) / number.clamp(min=1)
    theta = torch.where(present, theta, -torch.inf)
    # Where nothing is drawn any weights do.
    return torch.where(number > 0, theta, 0.0).to(mean.dtype)


def _step(theta: Tensor, target: Tensor, sizes: Tensor, total_count: Tensor) -> Tensor:
    known = cumulants(theta, sizes, total_count)
    covariance = covariance64(known)
    scale = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    fixed = (sizes <= 0) | ~known.urn.interior.unsqueeze(-1)
    scale = torch.where(fixed, 1.0, scale)
    # In units of standard deviations, with the gauge direction and the absent groups made regular.
    gauge = torch.where(fixed, 0.0, scale)
    gauge = gauge / gauge.square().sum(-1, keepdim=True).clamp(min=1e-300).sqrt()
    matrix = covariance / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    matrix = matrix + gauge.unsqueeze(-1) * gauge.unsqueeze(-2) + torch.diag_embed(fixed.double())
    gap = torch.where(fixed, 0.0, target - known.mean)
    return torch.linalg.solve(matrix, gap / scale) / scale
