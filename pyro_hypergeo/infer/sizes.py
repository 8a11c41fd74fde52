# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sizes of groups from mean counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..distributions.laws import law_of
from ..ops.errors import check
from ..ops.law import Law

Means = Callable[[Tensor], Tensor]

# Corrections settle in two or three; searches end because each step comes closer.
_CORRECTIONS = 6


def sizes_from_mean(
    mean: Tensor | Sequence[Any],
    weights: Tensor | Sequence[Any],
    number_of_elements: int,
    *,
    law: str | Law = "fisher",
) -> Tensor:
    r"""
    The sizes of the groups, from how many of each are drawn on average and what they weigh.

    Of all integer sizes :math:`m` with :math:`\sum_i m_i = N` near the solution of

    .. math::

        \frac{\mu_i}{m_i - \mu_i} = r w_i ,

    an approximation that is corrected by the exact means, the one whose exact mean counts are
    nearest to the given ones. No exchange of one element between two groups brings them nearer.
    Cost: O(G^3), a handful of times.

    Example::

        >>> from pyro_hypergeo import FisherHypergeometric, sizes_from_mean
        >>> urn = FisherHypergeometric(8, group_sizes=[10, 12], weights=[2.0, 1.0])
        >>> sizes_from_mean(urn.mean, weights=[2.0, 1.0], number_of_elements=22)
        tensor([10, 12])

    :param mean: mean counts, of shape ``(G,)``; their sum, rounded, is the number of draws.
    :param weights: positive weights, of shape ``(G,)``; only their ratios matter.
    :param int number_of_elements: :math:`N`, of all groups together.
    :param law: ``"fisher"``, ``"wallenius"``, or a :class:`~pyro_hypergeo.ops.Law`.
    :type law: str or Law
    :return: the sizes, integers of shape ``(G,)``.
    :raises ValueError: if the means are negative or sum to ``number_of_elements`` or more, or a
        weight is not positive.
    """
    law = law_of(law)
    means, theta = _checked(mean, weights, number_of_elements)
    total = means.sum().round()

    def exact(sizes: Tensor) -> Tensor:
        return law.mean(law.solve(theta, sizes, total))

    approximate = partial(_approximate, weights=theta.exp(), elements=number_of_elements)
    sizes = _corrected(means, approximate, number_of_elements, exact)
    return _nearest(means, sizes, exact).long()


def _checked(mean: Any, weights: Any, elements: int) -> tuple[Tensor, Tensor]:
    means, given = (torch.as_tensor(v).detach().double() for v in (mean, weights))
    if means.dim() != 1 or means.shape != given.shape or len(means) == 0:
        raise ValueError(
            "Expected `mean` and `weights` of the same shape (G,), but got "
            f"{tuple(means.shape)} and {tuple(given.shape)}."
        )
    check("mean", means, means >= 0, "not negative")
    check("weights", given, (given > 0) & given.isfinite(), "positive and finite")
    if not 0 < means.sum() < elements:
        raise ValueError(
            "Expected `mean` to sum to more than 0 and less than `number_of_elements`, "
            f"{elements}, but its sum is {means.sum().item():g}."
        )
    if means.ceil().sum() > elements:
        raise ValueError(
            f"Expected `number_of_elements` to be at least {means.ceil().sum().item():g}, as each "
            f"group is at least as large as its mean, but got {elements}."
        )
    return means, given.log()


def _approximate(means: Tensor, weights: Tensor, elements: int) -> Tensor:
    # sum_i m_i = N fixes the common factor r.
    left = means / weights
    return means + left * (elements - means.sum()) / left.sum()


def _corrected(means: Tensor, approximate: Means, elements: int, exact: Means) -> Tensor:
    start = approximate(means)
    sizes = best = _whole(start, means, elements)
    for _ in range(_CORRECTIONS):
        # What these sizes' exact means would make the approximation answer is its error.
        error = approximate(exact(sizes)) - sizes
        sizes = _whole(start - error, means, elements)
        if _distance(means, sizes, exact) < _distance(means, best, exact):
            best = sizes
    return best


def _whole(sizes: Tensor, means: Tensor, elements: int) -> Tensor:
    # Rounded so that the sum stays, and no group is smaller than its mean.
    least = means.ceil()
    room = (sizes - least).clamp(min=0)
    spare = elements - least.sum()
    room = room * spare / room.sum().clamp(min=1e-300)
    low = room.floor()
    missing = int(spare - low.sum())
    order = (room - low).argsort(descending=True)
    low[order[:missing]] += 1
    return least + low


def _distance(means: Tensor, sizes: Tensor, exact: Means) -> Tensor:
    return (exact(sizes) - means).square().sum(-1)


def _nearest(means: Tensor, sizes: Tensor, exact: Means) -> Tensor:
    # From each group to each other one, one element.
    unit = torch.eye(len(sizes), dtype=sizes.dtype)
    moves = (unit.unsqueeze(0) - unit.unsqueeze(1)).flatten(0, 1)
    reached = _distance(means, sizes, exact)
    while True:
        near = sizes + moves
        near = near[(near >= means).all(-1)]
        distance = _distance(means, near, exact)
        if not len(near) or not distance.min() < reached * (1 - 1e-9):
            return sizes
        sizes, reached = near[distance.argmin()], distance.min()
