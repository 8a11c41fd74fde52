# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Log-weights from mean counts, for any law, by Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# In the end Newton's method converges quadratically. Most steps are for means within 10^-10 of an
# empty or a full group. One step changes a log-weight by _LONGEST at most.
STEPS, _LONGEST = 30, 3.0


class Moments(NamedTuple):
    """The mean of a law and how it changes."""

    mean: Tensor  # (..., G)
    slope: Tensor  # (..., G, G), of the mean in the log-weights
    interior: Tensor  # (...), bool: more than one draw is possible


def moments_by_autograd(
    mean_of: Callable[[Tensor], tuple[Tensor, Tensor]], log_weights: Tensor
) -> Moments:
    """The moments of a law that gives only its mean: one derivative for each group.

    :param mean_of: a function of the log-weights. It returns the mean and ``interior``.
    :param Tensor log_weights: shape ``(..., G)``.
    :return: a :class:`Moments`, without a gradient.
    """
    with torch.enable_grad():
        theta = log_weights.detach().requires_grad_()
        mean, interior = mean_of(theta)
        slope = [
            torch.autograd.grad(mean[..., i].sum(), theta, retain_graph=True)[0]
            for i in range(theta.shape[-1])
        ]
    return Moments(mean.detach(), torch.stack(slope, -2), interior)


def invert_mean(
    mean: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    moments: Callable[[Tensor, Tensor, Tensor], Moments],
    *,
    first_guess: Callable[[Tensor], Tensor] = torch.logit,
    steps: int = STEPS,
) -> Tensor:
    """The log-weights under which the mean counts are the given ones, with arithmetic mean 0.

    :param Tensor mean: shape ``(..., G)``; a mean of 0 gives the log-weight ``-inf``.
    :param Tensor group_sizes: shape ``(..., G)``.
    :param Tensor total_count: shape ``(...)``.
    :param moments: a function of log-weights, sizes and totals. It returns a :class:`Moments`.
    :param first_guess: a function of the share of each group that is drawn. It returns a rough
        log-weight of the group.
    :param int steps: number of Newton steps; all are taken.
    :return: shape ``(..., G)``, in the dtype of the mean and differentiable in it.
    """
    target = mean.double()
    shape = torch.broadcast_shapes(target.shape, group_sizes.shape, (*total_count.shape, 1))
    target = target.expand(shape)
    present = target > 0
    sizes = torch.where(present, group_sizes.double(), 0.0)
    # Where everything is drawn, the weights do not matter.
    full = sizes.sum(-1, keepdim=True) <= total_count.double().unsqueeze(-1)
    with torch.no_grad():
        share = torch.where(present & ~full, target / sizes, 0.5)
        theta = first_guess(share)
        for _ in range(steps):
            step = _step(moments(theta, sizes, total_count), target, sizes)
            theta = theta + step.clamp(-_LONGEST, _LONGEST)
    if target.requires_grad:
        # The value is a fixed point of the step. One more step does not change it, and gives it
        # the gradient of the implicit function.
        theta = theta + _step(moments(theta, sizes, total_count), target, sizes)
    number = present.sum(-1, keepdim=True)
    theta = theta - (theta * present).sum(-1, keepdim=True) / number.clamp(min=1)
    theta = torch.where(present, theta, -torch.inf)
    # Where nothing is drawn, all weights are right.
    return torch.where(number > 0, theta, 0.0).to(mean.dtype)


def _step(moments: Moments, target: Tensor, sizes: Tensor) -> Tensor:
    """One Newton step of the log-weights, shape (..., G)."""
    scale = moments.slope.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    fixed = (sizes <= 0) | ~moments.interior.unsqueeze(-1)
    scale = torch.where(fixed, 1.0, scale)
    # We solve in units of standard deviations. The matrix is singular in the gauge direction (the
    # same change of all log-weights) and at absent groups. There it is made regular.
    gauge = torch.where(fixed, 0.0, scale)
    gauge = gauge / gauge.square().sum(-1, keepdim=True).clamp(min=1e-300).sqrt()
    matrix = moments.slope / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    matrix = matrix + gauge.unsqueeze(-1) * gauge.unsqueeze(-2) + torch.diag_embed(fixed.double())
    gap = torch.where(fixed, 0.0, target - moments.mean)
    return torch.linalg.solve(matrix, gap / scale) / scale
