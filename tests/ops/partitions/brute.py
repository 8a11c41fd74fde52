# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sums over labellings without the package: by listing them, or by long floats."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import torch
from torch import Tensor


def labellings(sizes: list[int]) -> list[tuple[int, ...]]:
    """All labellings with these counts."""
    if sum(sizes) == 0:
        return [()]
    result = []
    for k, size in enumerate(sizes):
        if size > 0:
            less = [n - (j == k) for j, n in enumerate(sizes)]
            result += [(k, *rest) for rest in labellings(less)]
    return result


def listed(scores: Tensor, sizes: list[int]) -> tuple[float, Tensor]:
    """The log-sum, and the probability of each label, from the list of all labellings."""
    found = labellings(sizes)
    rows = range(scores.shape[0])
    logs = torch.tensor([math.fsum(scores[e, z[e]].item() for e in rows) for z in found])
    marginals = torch.zeros_like(scores)
    if not found or logs.max() == -math.inf:
        return -math.inf, marginals
    total = logs.logsumexp(0)
    for z, log in zip(found, logs, strict=True):
        for e in rows:
            marginals[e, z[e]] += (log - total).exp()
    return total.item(), marginals


def exact(scores: Tensor, sizes: list[int]) -> Any:
    """The log-sum in long floats, whose exponents have no limit: for large bags of 3 groups."""
    _, second, third = sizes
    table = {(0, 0): mpmath.mpf(1)}
    for row in scores.tolist():
        weights = [mpmath.exp(mpmath.mpf(x)) if x > -math.inf else mpmath.mpf(0) for x in row]
        new: dict[tuple[int, int], Any] = {}
        for (i, j), value in table.items():
            for di, dj, weight in ((0, 0, weights[0]), (1, 0, weights[1]), (0, 1, weights[2])):
                if i + di <= second and j + dj <= third:
                    key = i + di, j + dj
                    new[key] = new.get(key, 0) + value * weight
        table = new
    result = table.get((second, third), mpmath.mpf(0))
    return mpmath.log(result) if result else -mpmath.inf
