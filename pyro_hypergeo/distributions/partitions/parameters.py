# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Converts the sizes and the scores of a partition to tensors, and checks every value."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from ...ops.errors import at_index, check, first_of, shown
from ...ops.tracing import inside_transform, static_shape
from ..arrays import Numbers, as_tensor
from ..parameters import check_count_values


class PartitionParameters(NamedTuple):
    """Sizes and scores that share a batch shape."""

    sizes: Any  # batch_shape + (K,), or a distribution of such counts
    log_scores: Tensor  # batch_shape + (N, K) or batch_shape + (N, 1)
    batch_shape: Size
    event_shape: Size  # (N, K)


def partition_parameters(
    sizes: Numbers | Distribution, log_scores: Numbers, *, shared: bool
) -> PartitionParameters:
    """Convert the arguments, and broadcast them.

    :param bool shared: whether all groups may share the scores.
    :raises ValueError: if shapes do not fit.
    """
    scores = as_tensor(log_scores, _device(sizes), "log_scores")
    if not scores.is_floating_point():
        scores = scores.to(torch.get_default_dtype())
    # While torch.jit.trace runs, shapes are tensors. Here they must be Python numbers.
    given = static_shape(scores)
    if isinstance(sizes, Distribution):
        if len(sizes.event_shape) != 1:
            raise ValueError(
                "Expected `sizes` to be numbers, or a distribution of counts whose event shape is "
                f"(K,), but got a {type(sizes).__name__} of event shape {tuple(sizes.event_shape)}."
            )
        groups, batch = int(sizes.event_shape[0]), sizes.batch_shape
    else:
        sizes = as_tensor(sizes, scores.device, "sizes")
        if sizes.dtype == torch.bool:
            sizes = sizes.long()
        shape = static_shape(sizes)
        if not shape or not shape[-1]:
            raise ValueError(
                "Expected `sizes` to have one entry for each group in its last dimension, "
                f"but got shape {shape}."
            )
        groups, batch = shape[-1], Size(shape[:-1])
    if scores.dim() == 1:
        scores = scores.unsqueeze(-1)
    shape = static_shape(scores)
    _check_scores_shape(shape, given, groups, shared)
    try:
        batch = torch.broadcast_shapes(batch, shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"Expected `sizes` of the batch shape {tuple(batch)} and `log_scores` of shape "
            f"{given} to broadcast: `log_scores` has the shape (..., N, K), and `sizes` the shape "
            "(..., K)."
        ) from None
    if shape[:-2] != batch:
        scores = scores.expand(batch + shape[-2:])
    event_shape = Size([shape[-2], groups])
    return PartitionParameters(expand_sizes(sizes, batch), scores, batch, event_shape)


def expand_sizes(sizes: Any, batch_shape: Size) -> Any:
    """Sizes, or a distribution of sizes, for a larger batch shape."""
    if isinstance(sizes, Distribution):
        return sizes if sizes.batch_shape == batch_shape else sizes.expand(batch_shape)
    shape = batch_shape + static_shape(sizes)[-1:]
    return sizes if static_shape(sizes) == shape else sizes.expand(shape)


def without_validation(sizes: Any) -> Any:
    """A copy of a distribution of sizes that checks no values, as its partition checks none."""
    new = copy(sizes)
    new._validate_args = False
    return new


def _device(sizes: Any) -> torch.device | None:
    return sizes.device if torch.is_tensor(sizes) else None


def _check_scores_shape(
    shape: tuple[int, ...], given: tuple[int, ...], groups: int, shared: bool
) -> None:
    if len(shape) < 2 or shape[-2] < 1:
        raise ValueError(
            f"Expected `log_scores` of shape (..., N, K) with at least one element, but got shape "
            f"{given}."
        )
    columns = shape[-1]
    if columns == groups or (columns == 1 and shared):
        return
    if columns == 1:
        raise ValueError(
            f"Expected `log_scores` of shape (..., N, K) with K = {groups} groups, but got shape "
            f"{given}. One score for each element changes nothing here: only differences between "
            "the groups matter. WalleniusPartition has a law with one score for each element."
        )
    also = ", (..., N, 1) or (N,)" if shared else ""
    raise ValueError(
        f"Expected `log_scores` of shape (..., N, K){also}, with K = {groups} as for `sizes`, but "
        f"got shape {given}."
    )


def check_partition(parameters: PartitionParameters) -> None:
    """Check the values.

    :raises ValueError: if no partition has these sizes, or if an element fits no group.
    """
    sizes, scores, _, (elements, _) = parameters
    check("log_scores", scores, scores < torch.inf, "real or -inf, the logarithm of a zero score")
    fits = (scores > -torch.inf).any(-1)
    check("log_scores", scores, fits, "not all -inf for an element", event_dim=1)
    if isinstance(sizes, Distribution):
        support: Any = sizes.support
        if not support.is_discrete:
            raise ValueError(
                "Expected `sizes` to be numbers, or a distribution of whole counts, but the draws "
                f"of {type(sizes).__name__} are real numbers. "
                "FisherHypergeometricStraightThrough draws whole counts that carry a gradient."
            )
        check(
            "log_scores",
            scores,
            scores > -torch.inf,
            "finite if `sizes` is a distribution: some sizes may be impossible with scores of -inf",
        )
        total = getattr(sizes, "total_count", None)
        if total is not None:
            total = torch.as_tensor(total)
            if not (total == elements).all():
                raise ValueError(
                    f"Expected `sizes` to be a distribution of counts with the total {elements}, "
                    f"one for each row of `log_scores` of shape {tuple(scores.shape)}, but its "
                    f"`total_count` is {shown(total)}."
                )
        return
    check_count_values("sizes", sizes, scores.dtype)
    summed = sizes.sum(-1)
    check(
        "sizes",
        sizes,
        summed == elements,
        f"of sum {elements}, the number of rows of `log_scores` of shape {tuple(scores.shape)}",
        event_dim=1,
    )


def drawn_sizes(
    law: Any, sample_shape: Size, elements: int, *, validate: bool, rsample: bool = False
) -> Tensor:
    """Draws of sizes from their distribution.

    Some distributions have no attribute ``total_count``. So their total could not be checked
    before, and is checked here.

    :raises ValueError: with validation, if a draw has another sum than the number of elements.
    """
    sizes: Tensor = (law.rsample if rsample else law.sample)(sample_shape)
    if not validate or inside_transform() or getattr(law, "total_count", None) is not None:
        return sizes
    wrong = sizes.detach().sum(-1) != elements
    if wrong.any():
        raise ValueError(
            f"Expected `sizes` to be a distribution of counts with the total {elements}, one for "
            f"each row of `log_scores`, but {type(law).__name__} drew "
            f"{sizes[first_of(wrong)].tolist()}."
        )
    return sizes


def check_never_stuck(
    sizes: Tensor, log_scores: Tensor, order: Tensor, *, forced_first: bool
) -> None:
    r"""Check that no group can find too few elements that fit, whatever the earlier groups took.

    :math:`C_{jk}` elements fit both group :math:`j` and group :math:`k`. So group :math:`j` takes
    at most :math:`\min(n_j, C_{jk})` of those that fit group :math:`k`.

    :param Tensor sizes: number of elements in each group, (..., K).
    :param Tensor log_scores: with the columns in the order of the groups, (..., N, K).
    :param Tensor order: the groups, in the order in which they take elements, (..., K).
    :param bool forced_first: whether a group takes first the elements that fit no later group.
    :raises ValueError: if a group could.
    """
    present = log_scores > -torch.inf
    if present.all():
        return
    fits = present.double().expand(*log_scores.shape[:-1], sizes.shape[-1])
    n = sizes.gather(-1, order).to(fits)
    common = fits.mT @ fits
    earlier = torch.minimum(n.unsqueeze(-1), common).triu(1).sum(-2)
    left = common.diagonal(dim1=-2, dim2=-1) - earlier
    enough = left >= n
    if forced_first:
        # What is left after the last stage fits the last group, because all else was taken.
        groups = n.shape[-1]
        place = torch.arange(groups, device=n.device)
        last = torch.where(fits > 0, place, -1).amax(-1)
        forced = (last.unsqueeze(-1) == place).sum(-2)
        enough = torch.where(place < groups - 1, enough & (forced <= n), True)
    if enough.all():
        return
    first = first_of(~enough)
    raise ValueError(
        f"Expected `log_scores` of shape {tuple(log_scores.shape)} with which every group finds "
        f"enough elements, whatever the groups before it took. But group {int(order[first])} of "
        f"{shown(n[first])} elements may not{at_index(first[:-1])}: of the elements whose score is "
        f"not -inf, {max(0, int(left[first]))} are certain to be left. Put the groups with few "
        "possible elements first, or use a large negative number instead of -inf."
    )
