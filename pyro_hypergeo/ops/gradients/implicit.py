# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "implicit": each count moves as its marginal law moves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..autograd import apply
from ..fisher.bulk_marginals import window_start
from ..fisher.group_sums import (
    binomial_window,
    group_transforms,
    slope_along,
    table_widths,
    transforms_of_others,
)
from ..fisher.law import FISHER
from ..fisher.state import FisherState
from ..law import Law
from ..saddlepoint.lattice import tilted_groups
from ..urn import Bounds
from .straight_through import draws_last, moved_counts

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

    Cost: O(G sqrt(N) log N) for each batch entry with N elements, and O(G) for each draw; all of it
    in the backward pass.

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
    """The movement of each draw under Fisher's law, in the shape of the counts.

    All is done in the backward pass. The gradient has a closed form.
    """
    urn, widths = state.urn, table_widths(state, bounds)
    x = counts.detach().double().expand(torch.broadcast_shapes(counts.shape, state.mean.shape))
    moved = apply(
        _Movement,
        urn.log_weights,
        urn.sizes,
        urn.total,
        state.tilt,
        state.mean.detach(),
        x,
        widths.most,
        widths.of_count,
        widths.period,
        forward_mode=_MovementForwardMode,
    )
    moved = torch.where(urn.interior.unsqueeze(-1), moved, 0.0)
    # The windows of a trace may miss the counts of an urn for which it does not hold.
    return bounds.guard(moved, urn.log_weights)


class _Movement(torch.autograd.Function):
    """Numbers whose gradient is that of the movement."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor,
        sizes: Tensor,
        total: Tensor,
        tilt: Tensor,
        mean: Tensor,
        x: Tensor,
        most: int,
        width: int,
        period: int,
    ) -> Tensor:
        return torch.zeros_like(x)  # only the gradient of a movement is used

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:-3])
        ctx.save_for_forward(*inputs[:-3])
        ctx.numbers = inputs[-3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return (_slope(grad, *ctx.saved_tensors, *ctx.numbers), *[None] * 8)


class _MovementForwardMode(_Movement):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Tensor:
        saved = ctx.saved_tensors
        # The slope is linear in the gradient. So its derivative is the Jacobian.
        pull = torch.func.vjp(
            lambda grad: _slope(grad, *saved, *ctx.numbers), torch.zeros_like(saved[-1])
        )[1]
        return pull(direction)[0]


def _slope(
    grad: Tensor,
    theta: Tensor,
    sizes: Tensor,
    total: Tensor,
    tilt: Tensor,
    mean: Tensor,
    x: Tensor,
    most: int,
    width: int,
    period: int,
) -> Tensor:
    """The gradient in the log-weights, (batch, G), from that in the movement (sample, batch, G)."""
    # These are plain tensor operations on the inputs, so autograd gives further derivatives.
    groups = tilted_groups(theta, sizes, tilt)
    start = window_start(mean, sizes.clamp(max=most), width)
    transforms = group_transforms(groups, period)
    terms = binomial_window(groups.u, sizes, start, width)
    others = transforms_of_others(transforms, total.unsqueeze(-1) - start, period)
    joint = terms * torch.fft.irfft(others, n=period)[..., :width].clamp(min=0)
    mass = joint.sum(-1, keepdim=True)

    variance = groups.variance.detach()
    share = variance / variance.sum(-1, keepdim=True)
    grad = grad - (share * grad).sum(-1, keepdim=True)
    of_cdf = _of_cdf(grad, joint, mass, x, start, sizes, total)
    # The gradient in the joint probabilities, which the division by the mass has centred.
    of_joint = of_cdf.cumsum(-1)[..., 1 : width + 1]
    centre = torch.matmul(of_joint.unsqueeze(-2), joint.unsqueeze(-1)).squeeze(-1) / mass
    of_joint = centre - of_joint
    steps = torch.arange(width, dtype=x.dtype, device=x.device)
    own = torch.matmul(of_joint * joint, steps)
    of_others = torch.fft.rfft(of_joint * terms, n=period).conj() * others
    # A group is part of the others of all groups but itself.
    of_others = of_others.sum(-2, True) - of_others
    return own + slope_along(groups, transforms, of_others) * (2 / period)


def _of_cdf(
    grad: Tensor,
    joint: Tensor,
    mass: Tensor,
    x: Tensor,
    start: Tensor,
    sizes: Tensor,
    total: Tensor,
) -> Tensor:
    """The gradient in the cdf over the mass, (batch, G, W + 4): with 2 more counts on each side."""
    at = (x - start).long().clamp(0, joint.shape[-1] - 1).unsqueeze(-1)
    index = at + torch.arange(5, device=x.device)
    table = pad(joint.detach(), (2, 2))
    # The probabilities of x - 2, ..., x + 2.
    near = table.expand(index.shape[:-1] + table.shape[-1:]).gather(-1, index) / mass.detach()

    # Second differences of the slopes. Their centres are inside of the support only. The flows over
    # the first and the last edge have one such centre; it gets their whole correction.
    lowest = (total.unsqueeze(-1) - sizes.sum(-1, keepdim=True) + sizes).clamp(min=0)
    highest = torch.minimum(sizes, total.unsqueeze(-1))
    k = start + at.squeeze(-1)
    above = (k - lowest).unsqueeze(-1) + torch.arange(-1, 2, dtype=k.dtype, device=k.device)
    under = (highest - lowest).unsqueeze(-1) - above
    neighbours = torch.minimum(near[..., :-2], near[..., 2:])
    strength = (_STEEPEST * neighbours / near[..., 1:-1].clamp(min=_RAREST)).clamp(max=1)
    bent = strength * ((above > 0) & (under > 0)) * strength.new_tensor([1 / 24, -1 / 12, 1 / 24])
    # Each centre counts the flows over both of its edges.
    flows = pad(bent * (1 + (above == 1)), (0, 1)) + pad(bent * (1 + (under == 1)), (1, 0))
    flows = flows - flows.new_tensor([0.0, 0.5, 0.5, 0.0])
    flows = flows * (grad.unsqueeze(-1) / near[..., 2:3].clamp(min=_RAREST) / mass)
    # All draws of an urn add to one table.
    index, flows = (draws_last(a, start.shape) for a in (index[..., :-1], flows))
    return torch.zeros_like(table).scatter_add(-1, index, flows)
