# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Binomial probabilities of small integer counts, from a table of factorials."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

# Up to here the logarithm of a factorial has an error of at most 5e-13. For larger counts, the
# deviance form is more accurate.
_LARGEST = 1000


def log_factorials(counts: Tensor, largest: float) -> Tensor | None:
    """Logarithms of the factorials of counts that are not negative, on the CPU.

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
    factorial, logs = 1, [0.0]
    for k in range(1, _LARGEST + 1):
        factorial *= k
        logs.append(math.log(factorial))
    with torch.inference_mode(False):
        return torch.tensor(logs, dtype=torch.float64, device="cpu")


def log_small_binomial_pmf(
    k: Tensor, left: Tensor, log_odds: Tensor, log_factorials: Tensor
) -> Tensor:
    r"""Log-probability of a small binomial count; all terms of each sign stay together.

    .. math:: \log \tfrac{n!}{k! \, (n - k)!} + k \log p + (n - k) \log (1 - p)

    :param Tensor k: number of successes, shape ``(...)``.
    :param Tensor left: number of failures, n - k, of the same shape.
    :param Tensor log_odds: log-odds of a success, of the same shape.
    :param Tensor log_factorials: logarithms of n!, k! and (n - k)!, shape ``(3, ...)``.
    :return: shape ``(...)``.
    """
    of_all, of_k, of_left = log_factorials
    log_p = torch.nn.functional.logsigmoid(log_odds)
    log_q = torch.nn.functional.logsigmoid(-log_odds)
    return (of_all - of_k - of_left).addcmul(k, log_p).addcmul(left, log_q)
