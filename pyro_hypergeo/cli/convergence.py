# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""r_hat: whether chains of draws have converged."""

from __future__ import annotations

import torch
from pyro.ops.stats import split_gelman_rubin
from torch import Tensor


def rank_r_hat(draws: Tensor) -> Tensor:
    """Rank-normalised split r_hat of draws of shape (chains, samples, quantities).

    Two values are computed: from the ranks of the draws, and from the ranks of their distances to
    the median. The result is the larger one. So it detects chains that differ in location or in
    width. It does not need finite moments. It is NaN if the draws do not move.

    **References:**

    [1] Vehtari, A., Gelman, A., Simpson, D., Carpenter, B. and Bürkner, P.-C. (2021)
        "Rank-normalization, folding, and localization", Bayesian Analysis 16(2).
    """
    distance = (draws - draws.flatten(0, 1).quantile(0.5, 0)).abs()
    return torch.maximum(_of_ranks(draws), _of_ranks(distance))


def _of_ranks(draws: Tensor) -> Tensor:
    pooled = draws.flatten(0, 1)
    shares = (_ranks(pooled) - 0.375) / (len(pooled) + 0.25)
    scores = torch.special.ndtri(shares).reshape(draws.shape)
    return split_gelman_rubin(scores, chain_dim=0, sample_dim=1)


def _ranks(values: Tensor) -> Tensor:
    """Ranks 1, 2, ... in each column; equal values share the mean of their ranks."""
    columns = []
    for column in values.unbind(-1):
        _, place, times = column.unique(return_inverse=True, return_counts=True)
        columns.append((times.cumsum(0) - 0.5 * (times - 1).double())[place])
    return torch.stack(columns, -1)
