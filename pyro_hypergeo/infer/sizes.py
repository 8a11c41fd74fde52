# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Finds the sizes of groups from their mean counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..distributions.laws import law_of
from ..distributions.parameters import Numbers, as_tensor
from ..ops.errors import check
from ..ops.law import Law

#: A function from sizes of shape ``(..., G)`` to mean counts of the same shape, or back.
Means = Callable[[Tensor], Tensor]

# Two or three corrections are usually enough.
_CORRECTIONS = 6


def sizes_from_mean(
    mean: Numbers,
    weights: Numbers,
    number_of_elements: int,
    *,
    law: str | Law = "fisher",
) -> Tensor:
    r"""
    Find the sizes of the groups, from the mean counts and the weights.

    The search starts near the solution of

    .. math::

        \frac{\mu_i}{m_i - \mu_i} = r w_i , \qquad \sum_i m_i = N .

    This is an approximation; a few corrections use the exact means. Then elements are moved from
    one group to another, as long as the exact mean counts come closer to the given ones. So the
    result cannot be improved by the move of one element. It is not always the best of all sizes.
    Cost: O(G^3) for each move. Few moves are needed.

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
    :raises ValueError: if the shapes differ, a mean is negative, a weight is not positive, or
        ``law`` is unknown. Also if the means sum to 0, or to ``number_of_elements`` or more, or if
        groups at least as large as their means need more elements.
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
    means, given = (as_tensor(v).detach().double() for v in (mean, weights))
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
    # The factor r follows from sum_i m_i = N.
    left = means / weights
    return means + left * (elements - means.sum()) / left.sum()


def _corrected(means: Tensor, approximate: Means, elements: int, exact: Means) -> Tensor:
    start = approximate(means)
    sizes = best = _rounded(start, means, elements)
    for _ in range(_CORRECTIONS):
        # The approximation would answer the exact means of these sizes with other sizes. The
        # difference is its error.
        error = approximate(exact(sizes)) - sizes
        sizes = _rounded(start - error, means, elements)
        if _distance(means, sizes, exact) < _distance(means, best, exact):
            best = sizes
    return best


def _rounded(sizes: Tensor, means: Tensor, elements: int) -> Tensor:
    # Round to integers. The sum stays N, and no group becomes smaller than its mean.
    least = means.ceil()
    room = (sizes - least).clamp(min=0)
    available = elements - least.sum()
    room = room * available / room.sum().clamp(min=1e-300)
    low = room.floor()
    missing = int(available - low.sum())
    order = (room - low).argsort(descending=True)
    low[order[:missing]] += 1
    return least + low


def _distance(means: Tensor, sizes: Tensor, exact: Means) -> Tensor:
    return (exact(sizes) - means).square().sum(-1)


def _nearest(means: Tensor, sizes: Tensor, exact: Means) -> Tensor:
    # Each move takes one element from one group to another group.
    unit = torch.eye(len(sizes), dtype=sizes.dtype)
    moves = (unit.unsqueeze(0) - unit.unsqueeze(1)).flatten(0, 1)
    reached = _distance(means, sizes, exact)
    while True:
        neighbours = sizes + moves
        neighbours = neighbours[(neighbours >= means).all(-1)]
        distance = _distance(means, neighbours, exact)
        if not len(neighbours) or not distance.min() < reached * (1 - 1e-9):
            return sizes
        sizes, reached = neighbours[distance.argmin()], distance.min()
