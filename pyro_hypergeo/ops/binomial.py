# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Binomial coefficients and probabilities in logarithms, exact for any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_binomial_coefficient(n: Tensor, k: Tensor) -> Tensor:
    r"""Logarithm of a binomial coefficient, without the cancellation of large log-gammas.

    .. math::

        \log \binom{n}{k} = \log \frac{\Gamma(n + 1)}{\Gamma(k + 1) \, \Gamma(n - k + 1)}

    Differentiable in both arguments, also where k is 0 or n. Cost: O(1) an entry.

    :param Tensor n: number of elements, not negative, of any shape ``(...)``.
    :param Tensor k: how many of them are chosen, between 0 and n, real; broadcasts with n.
    :return: shape ``(...)``.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_binomial_coefficient
    >>> log_binomial_coefficient(n=torch.tensor(5.0), k=torch.tensor([0.0, 2.0])).exp()
    tensor([ 1.0000, 10.0000])
    """
    if not (n.requires_grad or k.requires_grad):
        return _log_binomial_coefficient(n, k)
    # The value of the one formula, the gradient of the other: that of the former ends at 0 and n.
    value = _log_binomial_coefficient(n.detach(), k.detach())
    plain = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return value + (plain - plain.detach())


def _log_binomial_coefficient(n: Tensor, k: Tensor) -> Tensor:
    r = n - k
    rare = torch.minimum(k, r)
    share = rare / _positive(n)
    entropy = -torch.xlogy(rare, share) - (n - rare) * torch.log1p(-share)
    return entropy + _stirling_gaps(n, k, r)


def log_binomial_pmf(k: Tensor, n: Tensor, log_odds: Tensor) -> Tensor:
    """log pmf of Binomial(n, sigmoid(log_odds)) at real 0 <= k <= n, in deviance form.

    The error is a few units in the last place of the result's own terms, whatever n.

    **References:**

    [1] Loader, C. (2000) "Fast and accurate computation of binomial probabilities".
    """
    r = n - k
    p, q = torch.sigmoid(log_odds), torch.sigmoid(-log_odds)
    excess = torch.where(log_odds > 0, n * q - r, k - n * p)
    deviance = _deviance(k, n, p, excess, -log_odds) + _deviance(r, n, q, -excess, log_odds)
    return _stirling_gaps(n, k, r) - deviance


def log_tilted_pmf(k: Tensor, n: Tensor, log_odds: Tensor) -> Tensor:
    """:func:`log_binomial_pmf` at min(k, n), with the gradient of the plain formula in log_odds."""
    k = torch.minimum(k, n)
    with torch.no_grad():
        value = log_binomial_pmf(k, n, log_odds)
    plain = k * log_odds - n * log1p_exp(log_odds)
    return value + (plain - plain.detach())


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x) with full relative accuracy, which torch's softplus gives up beyond 20."""
    return -torch.nn.functional.logsigmoid(-x)


def _deviance(k: Tensor, n: Tensor, p: Tensor, excess: Tensor, minus_log_odds: Tensor) -> Tensor:
    # k log(k / (n p)). Near k = n p the logarithm comes from the excess; where p may underflow, or
    # a real k is so small that the excess loses it, its logarithm is taken directly.
    expected = _positive(n * p)
    tiny = (minus_log_odds > 30) | (2 * k < expected)
    expected = torch.where(tiny, 1.0, expected)
    near = torch.special.xlog1py(k, torch.where(tiny, 0.0, excess) / expected)
    far = torch.xlogy(k, k / _positive(n)) + k * log1p_exp(minus_log_odds)
    return torch.where(tiny, far, near)


def _stirling_gaps(n: Tensor, k: Tensor, r: Tensor) -> Tensor:
    # One call for the three: at the sizes of a batch the calls cost as much as the arithmetic.
    gaps = _stirling_gap(torch.stack(torch.broadcast_tensors(n, k, r)))
    return gaps[0] - gaps[1] - gaps[2]


def _stirling_gap(z: Tensor) -> Tensor:
    """lgamma(z + 1) - z log z + z: 0 at z = 0, (1/2) log(2 pi z) + 1 / (12 z) - ... for large z."""
    small = z.clamp(max=16)
    direct = torch.lgamma(small + 1) - torch.xlogy(small, small) + small
    large = z.clamp(min=16)
    x = 1 / large
    y = x * x
    series = x * (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188))))
    return torch.where(z < 16, direct, 0.5 * torch.log(2 * math.pi * large) + series)


def _positive(n: Tensor) -> Tensor:
    return torch.where(n > 0, n, 1.0)
