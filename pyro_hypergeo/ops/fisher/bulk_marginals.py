# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals of Fisher's law where they have mass, and the entropy that follows from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log_tilted_pmf
from ..saddlepoint.lattice import tilted_groups
from ..urn import Bounds
from .group_sums import group_transforms, table_widths, transforms_of_others
from .state import FisherState, solve_fisher


class Windows(NamedTuple):
    """For each group, W consecutive counts that hold all mass to rounding; and their marginals."""

    counts: Tensor  # (..., G, W)
    probs: Tensor  # (..., G, W): the marginal probabilities
    log_tilted: Tensor  # (..., G, W): log pmf of the tilted binomial of the group


def width_of_mass(size: int) -> int:
    """How many points around the mean hold all but 1e-17 of the mass of a count up to `size`."""
    size = max(size, 0)
    return min(size + 1, 2 * math.ceil(4.5 * math.sqrt(size) + 10) + 1)


def window_start(mean: Tensor, size: Tensor, width: int) -> Tensor:
    """The first of `width` consecutive counts around the mean; they stay in 0..size if they fit."""
    start = torch.round(mean.detach()) - width // 2
    return torch.minimum(start, size + 1 - width).clamp(min=0)


def marginal_windows(state: FisherState, bounds: Bounds) -> Windows:
    """Marginals of all groups where they have mass, by one Fourier transform for each group.

    The absolute error is about 1e-14 at most. In the tails, use :func:`log_marginals`.
    Differentiable in the log-weights. Cost: O(G sqrt(N) log N), with N elements.
    """
    urn, widths = state.urn, table_widths(state, bounds)
    width, period = widths.of_count, widths.period
    groups = tilted_groups(urn.log_weights, urn.sizes, state.tilt)
    start = window_start(state.mean, urn.sizes.clamp(max=widths.most), width)
    counts = start.unsqueeze(-1) + torch.arange(width, dtype=start.dtype, device=start.device)
    rest = urn.total.unsqueeze(-1) - start
    others = transforms_of_others(group_transforms(groups, period), rest, period)
    others = torch.fft.irfft(others, n=period)[..., :width]
    log_tilted = log_tilted_pmf(counts, urn.sizes.unsqueeze(-1), groups.u.unsqueeze(-1))
    probs = torch.exp(log_tilted - state.log_center[..., None, None]) * others
    fits = counts <= urn.sizes.unsqueeze(-1)
    probs = torch.where(fits, probs, 0.0).clamp(min=0)
    certain = (counts == urn.edge.unsqueeze(-1)).to(probs.dtype)
    probs = bounds.guard(torch.where(urn.interior[..., None, None], probs, certain))
    return Windows(counts, probs, log_tilted)


def entropy_given(state: FisherState, bounds: Bounds) -> Tensor:
    """The entropy, (...), in float64, from the marginals: -log p is a sum over groups."""
    windows = marginal_windows(state, bounds)
    result = state.log_center - (windows.probs * windows.log_tilted).sum((-1, -2))
    return torch.where(state.urn.interior, result, 0.0)


def entropy(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Entropy in nats under Fisher's law.

    .. math::

        H = A(\theta) - \sum_i \Bigl( \theta_i E[x_i] + E \log \tbinom{m_i}{x_i} \Bigr)

    The expectations come from the marginals, without a sum over the support. Differentiable in the
    log-weights. Cost: O(G sqrt(N) log N), with N elements.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import entropy
    >>> entropy(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... )
    tensor(0.6931)
    """
    state = solve_fisher(log_weights, group_sizes, total_count)
    return entropy_given(state, Bounds(group_sizes, total_count)).to(log_weights.dtype)
