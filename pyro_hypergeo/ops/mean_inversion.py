# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .fisher.moments import covariance64
from .fisher.state import cumulants
from .urn import make_urn
from .wallenius.moments import wallenius_mean64
from .wallenius.snapshots import snapshots

# Newton ends quadratically; the steps before are for means within 10^-10 of an empty or a full
# group, where each may change a log-weight by no more than _LONGEST.
_STEPS, _LONGEST = 30, 3.0
# Each costs G derivatives, and the first guess is nearly right but near empty and full groups.
_WALLENIUS_STEPS = 24


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
    return _from_mean(mean, group_sizes, total_count, torch.logit, _fisher_moments, _STEPS)


def wallenius_log_weights_from_mean(
    mean: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    """The same for Wallenius' law, by the exact derivative of its mean. Cost: O(G^3).

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_log_weights_from_mean
    >>> sizes, total = torch.tensor([5.0, 5.0]), torch.tensor(4.0)
    >>> wallenius_log_weights_from_mean(torch.tensor([1.5, 2.5]), sizes, total)
    tensor([-0.3185,  0.3185])
    """
    return _from_mean(
        mean, group_sizes, total_count, _log_time, _wallenius_moments, _WALLENIUS_STEPS
    )


class _Moments(NamedTuple):
    mean: Tensor  # (..., G)
    slope: Tensor  # (..., G, G), of the mean in the log-weights
    interior: Tensor  # (...)


def _fisher_moments(theta: Tensor, sizes: Tensor, total_count: Tensor) -> _Moments:
    known = cumulants(theta, sizes, total_count)
    return _Moments(known.mean, covariance64(known), known.urn.interior)


def _wallenius_moments(theta: Tensor, sizes: Tensor, total_count: Tensor) -> _Moments:
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        urn = make_urn(theta, sizes, total_count)
        mean = wallenius_mean64(urn, snapshots(urn))
        slope = [
            torch.autograd.grad(mean[..., i].sum(), theta, retain_graph=True)[0]
            for i in range(sizes.shape[-1])
        ]
    return _Moments(mean.detach(), torch.stack(slope, -2), urn.interior)


def _log_time(share: Tensor) -> Tensor:
    # The weight under which a clock has rung by time 1 with this probability.
    return torch.log(-torch.log1p(-share))


def _from_mean(
    mean: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    first_guess: Callable[[Tensor], Tensor],
    moments: Callable[[Tensor, Tensor, Tensor], _Moments],
    steps: int,
) -> Tensor:
    target = mean.double()
    shape = torch.broadcast_shapes(target.shape, group_sizes.shape, (*total_count.shape, 1))
    target = target.expand(shape)
    present = target > 0
    sizes = torch.where(present, group_sizes.double(), 0.0)
    # Where everything is drawn the weights do not matter.
    full = sizes.sum(-1, keepdim=True) <= total_count.double().unsqueeze(-1)
    with torch.no_grad():
        share = torch.where(present & ~full, target / sizes, 0.5)
        theta = first_guess(share)
        for _ in range(steps):
            step = _step(moments(theta, sizes, total_count), target, sizes)
            theta = theta + step.clamp(-_LONGEST, _LONGEST)
    if target.requires_grad:
        # The value is a fixed point of the step, and its gradient that of the implicit function.
        theta = theta + _step(moments(theta, sizes, total_count), target, sizes)
    number = present.sum(-1, keepdim=True)
    theta = theta - (theta * present).sum(-1, keepdim=True) / number.clamp(min=1)
    theta = torch.where(present, theta, -torch.inf)
    # Where nothing is drawn any weights do.
    return torch.where(number > 0, theta, 0.0).to(mean.dtype)


def _step(at: _Moments, target: Tensor, sizes: Tensor) -> Tensor:
    scale = at.slope.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    fixed = (sizes <= 0) | ~at.interior.unsqueeze(-1)
    scale = torch.where(fixed, 1.0, scale)
    # In units of standard deviations, with the gauge direction and the absent groups made regular.
    gauge = torch.where(fixed, 0.0, scale)
    gauge = gauge / gauge.square().sum(-1, keepdim=True).clamp(min=1e-300).sqrt()
    matrix = at.slope / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    matrix = matrix + gauge.unsqueeze(-1) * gauge.unsqueeze(-2) + torch.diag_embed(fixed.double())
    gap = torch.where(fixed, 0.0, target - at.mean)
    return torch.linalg.solve(matrix, gap / scale) / scale
