# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

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

# A correction reaches a neighbour at most this many times less probable than its centre at full
# strength; beyond, its noise would grow without bound.
_STEEPEST = 4.0
# Counts rarer than rounding lets the marginals tell.
_RAREST = 1e-13


def implicit_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their marginal laws do: implicit reparameterisation on a lattice.

    Probability flows from count :math:`k` of group :math:`i` to :math:`k + 1` at the rate
    :math:`-\partial F_i(k) / \partial \theta`, with :math:`F_i` the exact marginal cdf. A count
    takes half of either flow that touches it, and so moves by

    .. math::

        \frac{\partial x_i}{\partial \theta} := - \frac{1}{2 p_i(x_i)} \frac{\partial}{\partial
        \theta} \bigl( F_i(x_i) + F_i(x_i - 1) \bigr) + c_i(x_i) .

    The correction :math:`c_i` turns the trapezoidal rule, by which half of the slopes at both ends
    stand for :math:`f(k + 1) - f(k)`, into the rule of fourth order, where the law is not too
    steep for it. Then what the columns of the Jacobian add to the fixed total is taken from the
    groups in proportion to their variance. The gradient of :math:`E[f(x)]` is exact but for that
    share if :math:`f` is a sum of quadratic functions of single counts. The value is that of
    ``counts``, unchanged.
    Cost: O(G (M + sqrt(N)) log N), with M the largest size and N elements, for any number of draws.

    Arguments as for :func:`mean_gradient`.

    **References:**

    [1] Figurnov, M., Mohamed, S. and Mnih, A. (2018) "Implicit reparameterization gradients".

    >>> import torch
    >>> from pyro_hypergeo.ops import implicit_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> x, m = torch.tensor([2.0, 1.0]), torch.tensor([6.0, 4.0])
    >>> implicit_gradient(x, log_weights, m, torch.tensor(3.0))
    tensor([2., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(implicit_movement, FISHER, counts, log_weights, group_sizes, total_count)


def implicit_movement(
    counts: Tensor, law: Law, state: FisherState, bounds: Bounds, temperature: Any = None
) -> Tensor:
    """The movement of each draw."""
    urn = state.urn
    windows = marginal_windows(state, bounds)
    k, probs = windows.counts, windows.probs.detach()
    cdf = windows.probs.cumsum(-1)
    below = pad(cdf[..., :-1], (1, 0))
    touching = cdf + below

    # Second differences of the slopes, centred inside of the support only. The flows over its
    # first and last edge have but one such centre, and put their whole correction there.
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
