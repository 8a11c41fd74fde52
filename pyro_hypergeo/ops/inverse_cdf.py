# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws by a cdf: where it first exceeds a uniform random part of its total."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_below_one(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform random numbers of a shape, with the dtype and device of another tensor.

    They end just below 1. So the first entry of a cdf that is larger has positive probability.
    """
    return torch.rand(shape, dtype=like.dtype, device=like.device) * (1 - 2**-52)


def index_by_cdf(cdf: Tensor) -> Tensor:
    """A random index for each row of sums of weights, (..., L) to (...); L if all weights are 0."""
    target = uniform_below_one(cdf.shape[:-1], cdf) * cdf[..., -1]
    return (cdf <= target.unsqueeze(-1)).sum(-1)
