# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Checks of observed counts; an observation need not be possible for every enumerated total."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..ops.errors import at_index, first_of, shown


def check_shape(value: Tensor, batch_shape: Size, event_shape: Size) -> None:
    """Check the shape of observations.

    :raises ValueError: if the event has another shape, or if the batch does not broadcast.
    """
    dim = value.dim() - len(event_shape)
    found = tuple(value.shape)
    if dim < 0 or value.shape[dim:] != event_shape:
        raise ValueError(
            f"Expected `value` of shape {found} to end with the event shape {tuple(event_shape)}."
        )
    try:
        if value.shape[:dim] != batch_shape:
            torch.broadcast_shapes(value.shape[:dim], batch_shape)
    except RuntimeError:
        raise ValueError(
            f"Expected `value` of shape {found} to broadcast with the batch shape "
            f"{tuple(batch_shape)} and the event shape {tuple(event_shape)}."
        ) from None


def impossible(valid: Tensor, value_shape: Size) -> Tensor:
    """Which observations are impossible under every distribution that they are compared with.

    An observation is repeated along the dimensions that it lacks, and along those where its size
    is 1. Along these, its distribution varies: a total that is enumerated does so. It is enough if
    the observation is possible once.

    :param Tensor valid: whether each pair of observation and distribution is possible.
    :param value_shape: the shape of the observations, without the event.
    :return: booleans of the shape of ``valid``, with size 1 along repeated dimensions.
    """
    padded = (1,) * (valid.dim() - len(value_shape)) + tuple(value_shape)
    repeated = [i for i, size in enumerate(padded) if size == 1 and valid.shape[i] != 1]
    for i in repeated:
        valid = valid.any(i, keepdim=True)
    return ~valid


def check_counts(value: Tensor, valid: Tensor, group_sizes: Tensor, total_count: Tensor) -> None:
    """Check observed vectors of counts.

    :param Tensor value: counts, ``(..., G)``.
    :param Tensor valid: whether each vector is in the support of each urn.
    :param Tensor group_sizes: sizes of the groups, ``(..., G)``.
    :param Tensor total_count: totals, ``(...)``.
    :raises ValueError: if a vector is in the support of no urn that it is compared with.
    """
    if torch._is_all_true(valid):
        return
    wrong = impossible(valid, value.shape[:-1])
    if torch._is_all_true(~wrong):
        return
    first = first_of(wrong)
    shape = valid.shape
    counts = value.expand(*shape, value.shape[-1])[first]
    sizes = group_sizes.expand(*shape, value.shape[-1])[first]
    total = shown(total_count.expand(shape)[first])
    raise ValueError(
        f"Expected `value` of shape {tuple(value.shape)} to be within the support, integers "
        f"between 0 and the `group_sizes` {sizes.tolist()} that sum to the `total_count` {total}, "
        f"but found {counts.tolist()}{at_index(first)}: sum {shown(counts.double().sum())}, "
        f"total {total}."
    )
