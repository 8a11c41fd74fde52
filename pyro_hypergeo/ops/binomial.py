# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Logarithms of binomial coefficients and probabilities, exact to rounding for any size."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def log_binomial_coefficient(n: Tensor, k: Tensor) -> Tensor:
    r"""Logarithm of a binomial coefficient, without a difference of large log-gammas.

    .. math::

        \log \binom{n}{k} = \log \frac{\Gamma(n + 1)}{\Gamma(k + 1) \, \Gamma(n - k + 1)}

    Differentiable in both arguments, also where k is 0 or n. Cost: O(1) for each entry.

    :param Tensor n: number of elements, not negative, shape ``(...)``.
    :param Tensor k: number of chosen elements, real, between 0 and n; broadcasts with n.
    :return: shape ``(...)``, in the dtype of the arguments.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_binomial_coefficient
    >>> log_binomial_coefficient(n=torch.tensor(5.0), k=torch.tensor([0.0, 2.0])).exp()
    tensor([ 1.0000, 10.0000])
    """
    if not _differentiated(n, k):
        return _log_binomial_coefficient(n, k)
    # One formula gives the value, the other the gradient: the first has no gradient at 0 and n.
    value = _log_binomial_coefficient(n.detach(), k.detach())
    plain = _plain_log_binomial_coefficient(n, k)
    return value + (plain - plain.detach())


def _differentiated(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _plain_log_binomial_coefficient(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def _log_binomial_coefficient(n: Tensor, k: Tensor) -> Tensor:
    r = n - k
    rare = torch.minimum(k, r)
    share = rare / _positive(n)
    entropy = -torch.xlogy(rare, share) - (n - rare) * torch.log1p(-share)
    return entropy + _stirling_gaps(n, k, r)


def log_binomial_pmf(k: Tensor, n: Tensor, log_odds: Tensor) -> Tensor:
    r"""Log-probability of a binomial count, without cancellation for any n.

    The deviance form compares k with its mean. With p the sigmoid of the log-odds and q = 1 - p,

    .. math::

        \log \mathrm{Bin}(k; n, p) = g(n) - g(k) - g(n - k)
            - k \log \frac{k}{n p} - (n - k) \log \frac{n - k}{n q} ,
        \qquad g(z) = \log \Gamma(z + 1) - z \log z + z .

    The error is a few units in the last place of these terms. Differentiable in all arguments, also
    where k is 0 or n. Cost: O(1) for each entry.

    :param Tensor k: number of successes, real, between 0 and n, shape ``(...)``.
    :param Tensor n: number of trials, not negative; broadcasts with k.
    :param Tensor log_odds: log-odds of a success; broadcasts with k.
    :return: shape ``(...)``, in the dtype of the arguments.

    **References:**

    [1] Loader, C. (2000) "Fast and accurate computation of binomial probabilities".

    >>> import torch
    >>> from pyro_hypergeo.ops import log_binomial_pmf
    >>> log_binomial_pmf(
    ...     k=torch.tensor([0.0, 1.0, 2.0]), n=torch.tensor(2.0), log_odds=torch.tensor(0.0)
    ... ).exp()
    tensor([0.2500, 0.5000, 0.2500])
    """
    if not _differentiated(n, k):
        return _log_binomial_pmf(k, n, log_odds)
    value = _log_binomial_pmf(k.detach(), n.detach(), log_odds.detach())
    plain = _plain_log_binomial_coefficient(n, k) + k * log_odds - n * log1p_exp(log_odds)
    return value + (plain - plain.detach())


def _log_binomial_pmf(k: Tensor, n: Tensor, log_odds: Tensor) -> Tensor:
    r = n - k
    p, q = torch.sigmoid(log_odds), torch.sigmoid(-log_odds)
    excess = torch.where(log_odds > 0, n * q - r, k - n * p)
    deviance = _deviance(k, n, p, excess, -log_odds) + _deviance(r, n, q, -excess, log_odds)
    return _stirling_gaps(n, k, r) - deviance


def log_tilted_pmf(k: Tensor, n: Tensor, log_odds: Tensor) -> Tensor:
    """:func:`log_binomial_pmf` at min(k, n); the gradient in the log-odds is exactly k - n p."""
    k = torch.minimum(k, n)
    # Not `no_grad`, which a trace forgets: then the gradient would be there twice.
    value = log_binomial_pmf(k.detach(), n.detach(), log_odds.detach())
    plain = k * log_odds - n * log1p_exp(log_odds)
    return value + (plain - plain.detach())


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x) with full relative accuracy; torch's softplus loses it where x is above 20."""
    return -torch.nn.functional.logsigmoid(-x)


def _deviance(k: Tensor, n: Tensor, p: Tensor, excess: Tensor, minus_log_odds: Tensor) -> Tensor:
    # k log(k / (n p)). Near k = n p, the logarithm comes from the excess k - n p. It is taken
    # directly in two cases: p may underflow (in float32, below e^-87), or k is so small that the
    # excess does not show it.
    expected = _positive(n * p)
    tiny = (minus_log_odds > 80) | (2 * k < expected)
    expected = torch.where(tiny, 1.0, expected)
    near = torch.special.xlog1py(k, torch.where(tiny, 0.0, excess) / expected)
    far = torch.xlogy(k, k / _positive(n)) + k * log1p_exp(minus_log_odds)
    return torch.where(tiny, far, near)


def _stirling_gaps(n: Tensor, k: Tensor, r: Tensor) -> Tensor:
    # One call for all three: in small batches a call costs as much as its arithmetic.
    gaps = stirling_gap(torch.stack(torch.broadcast_tensors(n, k, r)))
    return gaps[0] - gaps[1] - gaps[2]


def stirling_gap(z: Tensor) -> Tensor:
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


# Up to here a binomial probability has an error of a few 1e-13 at most. For larger counts, the
# deviance form is more accurate.
_LARGEST = 1000


def stirling_gaps(counts: Tensor, largest: float) -> Tensor | None:
    """:func:`stirling_gap` of counts that are not negative, on the CPU.

    :param Tensor counts: shape ``(...)``, in float64.
    :param float largest: the largest of them.
    :return: shape ``(...)``; ``None`` if a count is too large for the table, or not an integer.
    """
    if largest > _LARGEST:
        return None
    index = counts.long()
    return _table()[index] if (index == counts).all() else None


@lru_cache(maxsize=1)
def _table() -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return stirling_gap(torch.arange(_LARGEST + 1, dtype=torch.float64, device="cpu"))


def log_small_binomial_pmf(
    k: Tensor, left: Tensor, n: Tensor, log_odds: Tensor, gaps: Tensor
) -> Tensor:
    r"""Log-probability of a small binomial count, without differences of log-gammas.

    .. math:: g(n) - g(k) - g(n - k) - k \log \frac{k}{n p} - (n - k) \log \frac{n - k}{n q}

    :param Tensor k: number of successes, shape ``(...)``.
    :param Tensor left: number of failures, of the same shape.
    :param Tensor n: number of trials, at least 1, of the same shape.
    :param Tensor log_odds: log-odds of a success, of the same shape.
    :param Tensor gaps: :func:`stirling_gaps` of n, k and the failures, shape ``(3, ...)``.
    :return: shape ``(...)``.
    """
    of_all, of_k, of_left = gaps
    log_p = torch.nn.functional.logsigmoid(log_odds)
    log_q = torch.nn.functional.logsigmoid(-log_odds)
    result = torch.addcmul(of_all - of_k - of_left, k, log_p).addcmul_(left, log_q)
    return result.sub_(torch.xlogy(k, k / n)).sub_(torch.xlogy(left, left / n))
