# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A partition of given sizes with the largest sum of scores: an assignment problem."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...ops.partitions.labels import labels_to_partition


def most_probable_partition(log_scores: Tensor, sizes: Tensor) -> Tensor:
    """The partition with the largest sum of scores, (..., N, K), in the dtype of the log-scores.

    Each group is as many places as its size. An assignment of elements to places is a partition.
    Cost: O(N^3) for each entry of the batch, on the CPU.

    :param Tensor log_scores: shape ``(..., N, K)``.
    :param Tensor sizes: shape ``(..., K)``, with the sum N.
    :raises ValueError: if every partition has a score of ``-inf``.
    """
    # It takes long to import.
    from scipy.optimize import linear_sum_assignment

    elements, groups = log_scores.shape[-2:]
    batch = torch.broadcast_shapes(log_scores.shape[:-2], sizes.shape[:-1])
    scores = log_scores.detach().double().cpu().expand(*batch, elements, groups).numpy()
    counts = sizes.detach().long().cpu().expand(*batch, groups).numpy()
    labels = np.zeros((*batch, elements), dtype=np.int64)
    for index in np.ndindex(*batch):
        place = np.repeat(np.arange(groups), counts[index])
        try:
            _, column = linear_sum_assignment(-scores[index][:, place])
        except ValueError:
            raise ValueError(
                f"Expected `log_scores` with which a partition of the `sizes` "
                f"{counts[index].tolist()} is possible, but every one has an element whose "
                "log-score is -inf."
            ) from None
        labels[index] = place[column]
    result = torch.from_numpy(labels).to(log_scores.device)
    return labels_to_partition(result, groups, log_scores.dtype)
