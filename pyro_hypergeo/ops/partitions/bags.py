# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Bags of elements with scores for each label, and counts that are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tracing import static_shape
from .label_problem import LabelProblem, label_problem


class Bags(NamedTuple):
    """The arguments in float64, with one batch dimension."""

    scores: Tensor  # (B, N, K)
    sizes: Tensor  # (B, K)
    present: Tensor  # (B, N), bool
    batch_shape: torch.Size

    @property
    def two_groups(self) -> bool:
        """Whether :func:`pair_of` serves: at most two groups, and some element."""
        elements, groups = static_shape(self.scores)[-2:]
        return groups <= 2 and elements > 0

    def unflattened(self, result: Tensor) -> Tensor:
        """The result with the batch shape."""
        return result.reshape((*self.batch_shape, *static_shape(result)[1:]))


def bags_of(
    log_scores: Tensor, sizes: Tensor, present: Tensor | None, name: str = "log_scores"
) -> Bags:
    """Broadcast the arguments.

    :raises ValueError: if their shapes do not fit.
    """
    shape, of_sizes = static_shape(log_scores), static_shape(sizes)
    if len(shape) < 2 or shape[-1] < 1:
        raise ValueError(
            f"Expected `{name}` of shape (..., N, K) for N elements and K groups, "
            f"but got shape {shape}."
        )
    elements, groups = shape[-2:]
    if of_sizes[-1:] != (groups,):
        raise ValueError(
            f"Expected one size for each of the {groups} groups of `{name}`, shape "
            f"(..., {groups}), but got shape {of_sizes}."
        )
    if present is None:
        present = torch.ones(shape[:-1], dtype=torch.bool, device=log_scores.device)
    of_present = static_shape(present)
    if of_present[-1:] != (elements,):
        raise ValueError(
            f"Expected `present` to say for each of the {elements} elements of `{name}` whether "
            f"it is there, shape (..., {elements}), but got shape {of_present}."
        )
    batch = batch_of(
        {name: (shape, 2), "sizes": (of_sizes, 1), "present": (of_present, 1)},
    )
    count = math.prod(batch)
    return Bags(
        log_scores.double().expand(*batch, elements, groups).reshape(count, elements, groups),
        sizes.detach().double().expand(*batch, groups).reshape(count, groups),
        present.bool().expand(*batch, elements).reshape(count, elements),
        batch,
    )


def batch_of(shapes: dict[str, tuple[tuple[int, ...], int]]) -> torch.Size:
    """The common batch shape of arguments, each with its shape and the number of other dimensions.

    :raises ValueError: if there is none.
    """
    batches = [shape[: len(shape) - event_dim] for shape, event_dim in shapes.values()]
    try:
        return torch.broadcast_shapes(*batches)
    except RuntimeError:
        given = ", ".join(f"`{name}` of shape {shape}" for name, (shape, _) in shapes.items())
        raise ValueError(
            f"Expected batch shapes that broadcast, but got {given}: the batch shapes are "
            f"{', '.join(str(tuple(batch)) for batch in batches)}."
        ) from None


def problem_of(bags: Bags) -> tuple[LabelProblem, Tensor]:
    """The sum over labellings with these counts, and the limits of its table."""
    _, sizes, present, _ = bags
    possible = _possible(bags)
    sizes = torch.where(possible.unsqueeze(-1), sizes, 0.0)
    scores, free, known = _sorted_out(bags.scores, sizes, present)
    # The labels that are certain are taken from the counts.
    offset = torch.where(known, scores, 0.0).sum((-2, -1))
    left = sizes - known.sum(-2)
    possible = possible & (left >= 0).all(-1)
    left = torch.where(possible.unsqueeze(-1), left, 0.0)
    scores = scores.masked_fill((left == 0).unsqueeze(-2), -torch.inf)
    stuck = present & ~(bags.scores.isnan() | (scores > -torch.inf) | known).any(-1)
    possible = possible & ~stuck.any(-1)
    left = torch.where(possible.unsqueeze(-1), left, 0.0)
    elements = static_shape(bags.scores)[-2]
    j = torch.arange(elements + 1, dtype=scores.dtype, device=scores.device)
    wanted = (left.unsqueeze(-1) == j) & possible[..., None, None]
    return label_problem(
        scores=scores,
        rows=free & possible.unsqueeze(-1),
        repeats=torch.zeros_like(offset),
        counts=left,
        limits=left,
        log_factors=torch.where(wanted, 0.0, -torch.inf).to(scores),
        offset=offset,
        known=known.to(scores.dtype),
    )


class Pair(NamedTuple):
    """Two groups: the first one is a subset of the elements with a free choice."""

    log_odds: Tensor  # (B, N)
    free: Tensor  # (B, N): 1 where both labels are possible
    total: Tensor  # (B,): how many of these are in the first group
    base: Tensor  # (B,): the sum if all of these are in the second
    certain: Tensor  # (B, N): 1 where only the first is possible
    there: Tensor  # (B, N): 1 where the element is present
    possible: Tensor  # (B,)


def pair_of(bags: Bags) -> Pair:
    """One or two groups as a subset and the rest."""
    first, present = bags.scores[..., 0], bags.present
    two = static_shape(bags.scores)[-1] == 2
    second = bags.scores[..., 1] if two else torch.full_like(first, -torch.inf)
    in_first, in_second = first != -torch.inf, second != -torch.inf
    free = present & in_first & in_second
    only_first, only_second = present & in_first & ~in_second, present & in_second & ~in_first
    stuck = (present & ~in_first & ~in_second).any(-1)
    zero = torch.zeros_like(first)
    odds = torch.where(free, first, zero) - torch.where(free, second, zero)
    base = torch.where(free | only_second, second, zero) + torch.where(only_first, first, zero)
    total = bags.sizes[..., 0] - only_first.sum(-1)
    possible = _possible(bags) & ~stuck & (total >= 0) & (total <= free.sum(-1))
    return Pair(
        log_odds=odds,
        free=free.double(),
        total=total,
        base=base.sum(-1),
        certain=only_first.double(),
        there=present.double(),
        possible=possible,
    )


def _possible(bags: Bags) -> Tensor:
    """Whether the sizes are counts, and as many as there are elements."""
    counts = (bags.sizes >= 0) & (bags.sizes % 1 == 0)
    return counts.all(-1) & (bags.sizes.sum(-1) == bags.present.sum(-1))


def _sorted_out(scores: Tensor, sizes: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of possible labels; which elements have a choice; and labels that are certain."""
    scores = scores.detach().masked_fill((sizes == 0).unsqueeze(-2), -torch.inf)
    open_labels = scores != -torch.inf
    choices = open_labels.sum(-1)
    known = open_labels & (present & (choices == 1)).unsqueeze(-1)
    return scores, present & (choices > 1), known
