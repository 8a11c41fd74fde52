# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "implicit": each count moves as its marginal law moves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..fisher.bulk_marginals import marginal_windows
from ..fisher.law import FISHER
from ..fisher.state import FisherState
from ..law import Law
from ..saddlepoint.lattice import tilted_groups
from ..urn import Bounds
from .straight_through import moved_counts

# A correction has full strength if its neighbours are at most this many times less probable than
# its centre. At less probable neighbours it is weakened. Otherwise its noise would have no bound.
_STEEPEST = 4.0
# Marginals below this are not accurate: they may be only rounding errors.
_RAREST = 1e-13


def implicit_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their marginal laws move: implicit reparameterisation on integers.

    The law is Fisher's. When the log-weights change, probability flows from count :math:`k` of
    group :math:`i` to :math:`k + 1`. The rate is :math:`-\partial F_i(k) / \partial \theta`, with
    :math:`F_i` the exact marginal cdf. A count takes half of each of the two flows that touch it.
    So it moves by

    .. math::

        \frac{\partial x_i}{\partial \theta} := - \frac{1}{2 p_i(x_i)} \frac{\partial}{\partial
        \theta} \bigl( F_i(x_i) + F_i(x_i - 1) \bigr) + c_i(x_i) .

    Half of each flow means that :math:`f(k + 1) - f(k)` is approximated by the mean of the slopes
    at both ends. The correction :math:`c_i` raises the order of this rule to four. It is weakened
    where the probabilities change fast. Then each column of the Jacobian is shifted so that the
    counts keep their sum; each group takes a share in proportion to its variance. The gradient of
    :math:`E[f(x)]` is exact, except for this shift, if :math:`f` is a sum of quadratic functions of
    single counts. The value is that of ``counts``, unchanged.

    Cost: O(G (M + sqrt(N)) log N), with M the largest size and N elements, for any number of draws.

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    **References:**

    [1] Figurnov, M., Mohamed, S. and Mnih, A. (2018) "Implicit reparameterization gradients".

    >>> import torch
    >>> from pyro_hypergeo.ops import implicit_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> implicit_gradient(
    ...     counts=torch.tensor([2.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    tensor([2., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(implicit_movement, FISHER, counts, log_weights, group_sizes, total_count)


def implicit_movement(
    counts: Tensor, law: Law, state: FisherState, bounds: Bounds, temperature: Any = None
) -> Tensor:
    """The movement of each draw under Fisher's law, in the shape of the counts."""
    urn = state.urn
    windows = marginal_windows(state, bounds)
    k, probs = windows.counts, windows.probs.detach()
    cdf = windows.probs.cumsum(-1)
    below = pad(cdf[..., :-1], (1, 0))
    touching = cdf + below

    # Second differences of the slopes. Their centres are inside of the support only. The flows over
    # the first and the last edge have one such centre; it gets their whole correction.
    lowest = (urn.total - urn.sizes.sum(-1)).unsqueeze(-1) + urn.sizes
    lowest = lowest.clamp(min=0).unsqueeze(-1)
    highest = torch.minimum(urn.sizes, urn.total.unsqueeze(-1)).unsqueeze(-1)
    bent = touching + below * (k == lowest + 1) + cdf * (k == highest - 1)
    neighbours = torch.minimum(pad(probs[..., 1:], (0, 1)), pad(probs[..., :-1], (1, 0)))
    strength = (_STEEPEST * neighbours / probs.clamp(min=_RAREST)).clamp(max=1)
    inside = (k > lowest) & (k < highest)
    bent = torch.where(inside, bent * strength, 0.0)
    second = pad(bent[..., 1:], (0, 1)) - 2 * bent + pad(bent[..., :-1], (1, 0))
    flow = (second / 24 - touching / 2) / probs.clamp(min=_RAREST)

    shape = torch.broadcast_shapes(counts.shape, state.mean.shape)
    index = (counts.double() - k[..., 0]).long().clamp(0, int(k.shape[-1]) - 1)
    index = index.expand(shape).unsqueeze(-1)
    moved = flow.expand(index.shape[:-1] + flow.shape[-1:]).gather(-1, index).squeeze(-1)
    variance = tilted_groups(urn.log_weights.detach(), urn.sizes, state.tilt).variance
    share = variance / variance.sum(-1, keepdim=True)
    moved = moved - share * moved.sum(-1, keepdim=True)
    return torch.where(urn.interior.unsqueeze(-1), moved, 0.0)
