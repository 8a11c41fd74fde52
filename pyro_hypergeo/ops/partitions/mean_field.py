# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The mean field: independent labels that have the given sizes on average."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tracing import inside_transform, may_branch
from .tilt import solve_tilt, tilt_at


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

    Differentiable to any order in the scores, and in the sizes as real numbers. In a size of 0 it
    has a first derivative, from above. Cost: that of :func:`partition_tilt`.

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
    return mean_field_at(log_scores, sizes, solve_tilt(log_scores, sizes))


def mean_field_at(log_scores: Tensor, sizes: Tensor, shifts: Tensor) -> Tensor:
    """:func:`mean_field` where :func:`solve_tilt` has given the shifts already."""
    # Elements in the last dimension: a softmax over few groups is several times faster so.
    scores, sizes = log_scores.double().mT, sizes.double()
    moves = sizes.requires_grad or inside_transform()
    if moves and not (may_branch(sizes) and bool((sizes > 0).all())):
        sizes, grown = _grow_empty_groups(scores.detach(), sizes, shifts)
    else:
        grown = None
    probs = _probabilities(scores + tilt_at(log_scores, sizes, shifts).unsqueeze(-1))
    if grown is not None:
        probs = probs * (1 - grown.sum(-2, keepdim=True)) + grown
    return probs.mT.to(log_scores.dtype)


def _probabilities(tilted: Tensor) -> Tensor:
    """A softmax over the groups, (..., K, N); 0 for an element without a place."""
    nowhere = (tilted == -torch.inf).all(-2, keepdim=True)
    return torch.softmax(tilted.masked_fill(nowhere, 0.0), -2).masked_fill(nowhere, 0.0)


def _grow_empty_groups(scores: Tensor, sizes: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """How empty groups would grow: nothing has a value here, but it has a derivative.

    A group of a tiny size takes of each element what its score says, relative to the groups where
    the element is now. From there it takes this share.

    :return: the sizes of the other groups before the share is taken from them, and the shares of
        the empty groups, (..., K, N).
    """
    empty = sizes.detach() <= 0
    tilted = (scores + shifts.unsqueeze(-1)).masked_fill(empty.unsqueeze(-1), -torch.inf)
    probs = _probabilities(tilted)
    fits = scores - torch.logsumexp(tilted, -2, keepdim=True)
    shares = torch.softmax(fits, -1).nan_to_num(0.0)
    grown = shares * torch.where(empty, sizes, 0.0).unsqueeze(-1)
    return sizes + (probs * grown.sum(-2, keepdim=True)).sum(-1), grown
