# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Binomial probabilities of small integer counts, from a table."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .binomial import stirling_gap

# Up to here a binomial probability has an error of a few 1e-13 at most. For larger counts, the
# deviance form is more accurate.
_LARGEST = 1000


def stirling_gaps(counts: Tensor, largest: float) -> Tensor | None:
    """:func:`~pyro_hypergeo.ops.binomial.stirling_gap` of counts that are not negative, on the CPU.

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
