# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Elements with scores for labels: which there are, and whether their scores are legal."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ...ops.errors import check
from ...ops.tracing import static_shape
from ..arrays import Numbers, as_tensor


def rows_present(present: Numbers, scores: Tensor) -> Tensor:
    """Which elements there are, broadcast with the scores (..., N, K) to (..., N).

    :raises ValueError: if the shapes do not fit.
    """
    there = as_tensor(present, scores.device, "present")
    of_scores, given = static_shape(scores), static_shape(there)
    try:
        rows = torch.broadcast_shapes(of_scores[:-1], given)
    except RuntimeError:
        rows = Size()
    if not given or rows[-1:] != of_scores[-2:-1]:
        raise ValueError(
            "Expected `present` of shape (..., N) that broadcasts with `log_scores` of shape "
            f"(..., N, K), but got shapes {given} and {of_scores}."
        )
    return there.bool().expand(rows)


def check_scores(scores: Tensor, present: Tensor) -> None:
    """Check the scores of the elements that are present.

    :raises ValueError: if one is NaN or infinite, or if an element has no possible label.
    """
    absent = ~present
    legal = (scores < torch.inf) | absent.unsqueeze(-1)
    check("log_scores", scores, legal, "numbers, or -inf for a label that is ruled out")
    some = (scores > -torch.inf).any(-1) | absent
    check("log_scores", scores, some, "above -inf for a label of each element", event_dim=1)
