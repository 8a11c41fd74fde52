# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Where the elements of a race go on average: exactly with shared scores, else approximately."""

from __future__ import annotations

import torch
from torch import Tensor

from ..wallenius.moments import wallenius_mean

# Newton's steps in log-time. They start below the root of a concave function of time.
_STEPS = 40
_LONGEST = 3.0
# With the exponential of this as its rate, a clock has rung to rounding.
_CERTAIN = 7.0


def wallenius_partition_mean(log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Probability of each element to be in each group, if all groups share the scores. Exact.

    The first :math:`c_k = n_1 + \dots + n_k` elements of the race have Wallenius' law. So the
    probability of group :math:`k` is the difference of two means, of :math:`c_k` and of
    :math:`c_{k-1}` drawn. Differentiable in the log-scores. Cost: that of K - 1 calls of
    :func:`wallenius_mean` with N groups of one element each.

    :param Tensor log_scores: shape ``(..., N, 1)``.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :return: shape ``(..., N, K)``, in the dtype of the log-scores.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_partition_mean
    >>> wallenius_partition_mean(torch.tensor([[3.0], [1.0]]).log(), torch.tensor([1, 1]))
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """
    theta = log_scores.double().mT
    until = wallenius_mean(theta, torch.ones_like(theta), sizes.cumsum(-1)[..., :-1])
    ends = torch.zeros_like(until[..., :1, :]), torch.ones_like(until[..., :1, :])
    if not int(until.shape[-2]):
        ends = torch.zeros_like(theta), torch.ones_like(theta)
    until = torch.cat([ends[0], until, ends[1]], -2)
    return until.diff(dim=-2).mT.to(log_scores.dtype)


def wallenius_mean_field(log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""The race without chance: an approximation of the mean of a partition.

    Group :math:`k` picks until the time :math:`u_k`, at which it has :math:`n_k` elements on
    average. Let :math:`R_{ek}` be the part of element :math:`e` that is left before that:

    .. math::

        P_{ek} = R_{ek} \bigl(1 - e^{-w_{ek} u_k}\bigr), \qquad \sum_e P_{ek} = n_k, \qquad
        R_{e,k+1} = R_{ek} - P_{ek} .

    The last group has what is left. Rows have the sum 1, and columns have the sizes as their sums.
    Differentiable in the log-scores and in the sizes as real numbers. Cost: O(N K) for each of 40
    steps of Newton's method.

    :param Tensor log_scores: shape ``(..., N, K)``, or ``(..., N, 1)`` if all groups share the
        scores; ``-inf`` is a score of 0.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :return: :math:`P`, shape ``(..., N, K)``, in the dtype of the log-scores.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mean_field
    >>> wallenius_mean_field(torch.tensor([[3.0], [1.0]]).log(), torch.tensor([1, 1]))
    tensor([[0.6823, 0.3177],
            [0.3177, 0.6823]])
    """
    groups = int(sizes.shape[-1])
    scores = log_scores.double().expand(*log_scores.shape[:-1], groups)
    left = torch.ones_like(scores[..., 0])
    result = []
    for k in range(groups - 1):
        part = _rung(scores[..., k], left, sizes[..., k, None].double())
        result.append(part)
        left = left - part
    parts = torch.broadcast_tensors(*result, left)
    return torch.stack(parts, -1).to(log_scores.dtype)


def _rung(scores: Tensor, left: Tensor, wanted: Tensor) -> Tensor:
    """The parts of the elements, (..., N), that ring until the wanted number has rung."""
    present = scores > -torch.inf
    theta = torch.where(present, scores, 0.0)
    weight = torch.where(present, left, 0.0)
    number = weight.sum(-1, keepdim=True)
    inside = (wanted > 0) & (wanted < number)
    target = torch.where(inside, wanted, 0.5 * number)
    with torch.no_grad():
        time = _earlier(theta, weight, target)
        for _ in range(_STEPS):
            rate = torch.exp((theta + time).clamp(max=_CERTAIN))
            slope = (weight * rate * torch.exp(-rate)).sum(-1, keepdim=True)
            gap = target + (weight * torch.expm1(-rate)).sum(-1, keepdim=True)
            time = time + (gap / slope).nan_to_num(0.0).clamp(-_LONGEST, _LONGEST)
        rate = torch.exp((theta + time).clamp(max=_CERTAIN))
        slope = (weight * rate * torch.exp(-rate)).sum(-1, keepdim=True)
    # One more step: its derivative is that of the implicit function.
    rate = torch.exp((theta + time).clamp(max=_CERTAIN))
    gap = target + (weight * torch.expm1(-rate)).sum(-1, keepdim=True)
    time = time + gap / torch.where(slope > 0, slope, 1.0)
    rung = -weight * torch.expm1(-torch.exp((theta + time).clamp(max=_CERTAIN)))
    return torch.where(inside, rung, torch.where(wanted > 0, weight, 0.0))


def _earlier(theta: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """The logarithm of a time before the wanted number has rung, (..., 1), and near to it."""
    # Let the first j elements ring at once, and let the others ring at the rate of the time 0. That
    # is more than rings, for all j. With j = 0 alone, elements of far lower scores would be out of
    # reach of Newton's steps.
    keys = torch.where(weight > 0, theta, -torch.inf)
    order = keys.argsort(-1, descending=True)
    keys, weight = keys.gather(-1, order), weight.gather(-1, order)
    rates = keys + torch.where(weight > 0, weight, 1.0).log()
    later = rates.flip(-1).logcumsumexp(-1).flip(-1)
    missing = target - (weight.cumsum(-1) - weight)
    some = (missing > 0) & (later > -torch.inf)
    times = torch.where(some, missing, 1.0).log() - torch.where(some, later, 0.0)
    return torch.where(some, times, -torch.inf).amax(-1, keepdim=True)
