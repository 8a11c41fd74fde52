# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions as one-hot matrices and as labels, and which of them are possible."""

from __future__ import annotations

import torch
from torch import Tensor


def partition_to_labels(partition: Tensor) -> Tensor:
    r"""The group of each element: the column of its one.

    :param Tensor partition: one-hot rows, shape ``(..., N, K)``.
    :return: labels 0, ..., K - 1, shape ``(..., N)``, dtype ``torch.long``.

    >>> import torch
    >>> from pyro_hypergeo.ops import partition_to_labels
    >>> partition_to_labels(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    tensor([0, 1, 0])
    """
    # `argmax` does not take booleans.
    return (partition.byte() if partition.dtype == torch.bool else partition).argmax(-1)


def labels_to_partition(labels: Tensor, groups: int, dtype: torch.dtype | None = None) -> Tensor:
    r"""The one-hot matrix of labels: the row of an element has its one in the column of its group.

    :param Tensor labels: numbers 0, ..., K - 1, shape ``(..., N)``.
    :param int groups: the number of groups, :math:`K`.
    :param torch.dtype dtype: the dtype of the result; the default dtype if not given.
    :return: shape ``(..., N, K)``. A label that is no group gives a row of zeros.

    >>> import torch
    >>> from pyro_hypergeo.ops import labels_to_partition
    >>> labels_to_partition(torch.tensor([0, 1, 0]), groups=2)
    tensor([[1., 0.],
            [0., 1.],
            [1., 0.]])
    """
    group = torch.arange(groups, device=labels.device)
    return (labels.unsqueeze(-1) == group).to(dtype or torch.get_default_dtype())


def is_partition(partition: Tensor, sizes: Tensor) -> Tensor:
    """Whether each matrix has one-hot rows, and columns that sum to the sizes, (...)."""
    entries = ((partition == 0) | (partition == 1)).all(-1).all(-1)
    rows = (partition.sum(-1) == 1).all(-1)
    return entries & rows & (partition.sum(-2) == sizes).all(-1)


def fits_scores(partition: Tensor, log_scores: Tensor) -> Tensor:
    """Whether no element is in a group for which its log-score is ``-inf``, (...)."""
    return ~((partition > 0) & (log_scores == -torch.inf)).any(-1).any(-1)


def drawn_partition(labels: Tensor, log_scores: Tensor, sizes: Tensor) -> Tensor:
    """The one-hot matrix of drawn labels, (..., N, K), in float64.

    The parameters of a function are not checked. NaN where a draw got stuck, because it was not
    possible; it must not look like a draw.
    """
    result = labels_to_partition(labels, sizes.shape[-1], torch.float64)
    possible = (result.sum(-2) == sizes).all(-1) & fits_scores(result, log_scores)
    possible = possible & ~log_scores.isnan().any(-1).any(-1)
    return torch.where(possible[..., None, None], result, torch.nan)
