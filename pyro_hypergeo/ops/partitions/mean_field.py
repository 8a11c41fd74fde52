# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The mean field: independent labels that have the given sizes on average."""

from __future__ import annotations

import torch
from torch import Tensor

from .tilt import partition_tilt


def mean_field(log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Probabilities of independent labels whose expected sizes are the given ones.

    .. math::

        P_{ek} = \frac{e^{s_{ek} + b_k}}{\sum_j e^{s_{ej} + b_j}}, \qquad \sum_e P_{ek} = n_k

    The shifts :math:`b` are :func:`partition_tilt`. Rows have the sum 1, and columns have the
    sizes as their sums. An empty group has probability 0. So has an element that can only be in
    empty groups.

    This approximates the probability of each label under the law of labels given their counts,
    :math:`p(z) \propto \exp \sum_e s_{e z_e}`. For scores with a standard deviation of 1 it is off
    by less than 0.01 for 100 elements in three groups. It is rough for groups of one or two
    elements: it may be off by 0.3 there.

    Differentiable to any order in the scores, and in the sizes as real numbers. Cost: that of
    :func:`partition_tilt`.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` forbids a label.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with sum :math:`N`; real numbers are legal.
    :return: :math:`P`, shape ``(..., N, K)``, in the dtype of the scores.

    >>> import torch
    >>> from pyro_hypergeo.ops import mean_field
    >>> mean_field(
    ...     log_scores=torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]),
    ...     sizes=torch.tensor([2.0, 1.0]),
    ... )
    tensor([[0.9041, 0.0959],
            [0.7763, 0.2237],
            [0.3196, 0.6804]])
    """
    scores = log_scores.double()
    # Elements in the last dimension: a softmax over few groups is several times faster so.
    tilted = scores.mT + partition_tilt(scores, sizes).unsqueeze(-1)
    nowhere = (tilted == -torch.inf).all(-2, keepdim=True)
    probs = torch.softmax(tilted.masked_fill(nowhere, 0.0), -2)
    return probs.masked_fill(nowhere, 0.0).mT.to(log_scores.dtype)
