# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "gumbel" under Fisher's law, from tables that cover the mass only."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..autograd import apply
from ..fisher.bulk_marginals import window_start
from ..fisher.group_sums import (
    Transforms,
    binomial_window,
    complex_exp,
    group_transforms,
    slope_along,
    table_widths,
    turned,
)
from ..fisher.law import FisherLaw
from ..fisher.state import FisherState
from ..saddlepoint.lattice import Tilted, tilted_groups
from ..tracing import largest, nan_unless
from ..urn import Bounds
from .gumbel_softmax import waiting_times
from .gumbel_tables import gumbel_movement
from .straight_through import draws_last

# Probabilities of sums of groups below this are only rounding errors.
_RAREST = 1e-16
# A probability that stands for 0 where its logarithm is taken.
_TINY = 1e-300


def fisher_gumbel_movement(
    counts: Tensor, law: FisherLaw, state: FisherState, bounds: Bounds, temperature: Tensor
) -> Tensor:
    """The movement of each draw under Fisher's law, in the shape of the counts.

    It is that of :func:`gumbel_movement` for all draws that have a probability above 1e-13. Others
    move by a finite number without a meaning. The tables cover the mass of the law only: a window
    of each group, and one of each sum of the last groups. A Fourier transform gives the sums. The
    gradient goes back through it in closed form. All is done in the backward pass, so without one
    it costs nothing. At temperatures above 1 the tails count. There, and in compiled code, which
    has no complex numbers, the general movement is used.
    """
    groups = state.mean.shape[-1]
    general = groups < 2 or not state.mean.numel() or torch.compiler.is_compiling()
    if general or largest(temperature.detach() > 1):
        return gumbel_movement(counts, law, state, bounds, temperature)
    urn = state.urn
    x = counts.double().expand(torch.broadcast_shapes(counts.shape, urn.sizes.shape))
    total = torch.where(urn.interior, urn.total, x.detach().sum(-1)).unsqueeze(-1)
    left = total - x.cumsum(-1) + x
    widths = table_widths(state, bounds)
    # From here on, the last group is the first.
    theta, sizes, mean, x, left = (
        a.flip(-1) for a in (urn.log_weights, urn.sizes, state.mean.detach(), x, left)
    )
    shape = x[..., 1:].shape
    waiting = waiting_times((*shape, widths.of_count), like=x)
    top = waiting_times((*shape, 1), like=x).clamp(min=_TINY)
    moved = apply(
        _Movement,
        theta,
        temperature.double(),
        sizes,
        state.tilt,
        mean,
        x.detach(),
        left.detach(),
        waiting,
        top,
        widths.most,
        widths.of_sum,
        widths.period,
    )
    moved = torch.where(urn.interior.unsqueeze(-1), moved.flip(-1), 0.0)
    # The windows of a trace may miss the counts of an urn for which it does not hold.
    moved = bounds.guard(moved, urn.log_weights)
    if torch.jit.is_tracing():
        moved = nan_unless((temperature <= 1).all(), moved)
    return moved


class _Movement(torch.autograd.Function):
    """Draws whose gradient is that of their movement. The last group comes first."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor,
        temperature: Tensor,
        sizes: Tensor,
        tilt: Tensor,
        mean: Tensor,
        x: Tensor,
        left: Tensor,
        waiting: Tensor,
        top: Tensor,
        most: int,
        width: int,
        period: int,
    ) -> Tensor:
        # Only the gradient of a movement is used.
        return torch.zeros_like(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:-3])
        ctx.most, ctx.width, ctx.period = inputs[-3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        theta, temperature, sizes, tilt, mean, x, left, waiting, top = ctx.saved_tensors
        # These are plain tensor operations on the inputs, so autograd gives further derivatives.
        groups = tilted_groups(theta, sizes, tilt)
        sums = _sums(groups, mean, ctx.width, ctx.period)
        scale = temperature.unsqueeze(-1)
        rows = _rows(groups, sums, mean, x, left, waiting, top, scale, ctx.most)
        by_left = torch.where(sums.nothing, 1.0, rows.by_left / scale.detach())
        strength = _strength(grad, by_left) / scale
        weights = rows.weights * strength.unsqueeze(-1)
        of_theta = _to_theta(weights, groups, sums, rows, theta)
        of_temperature = None
        if ctx.needs_input_grad[1]:
            of_scale = -strength / scale * (rows.weights * rows.perturbed).sum(-1)
            of_temperature = of_scale.sum(-1).sum_to_size(temperature.shape)
        return (of_theta, of_temperature, *[None] * 10)


class _Sums(NamedTuple):
    """Laws of the sums of the groups before each group but the first, in their window."""

    transforms: Transforms
    conjugate: Tensor  # (..., G - 1, H): conjugates of their Fourier transforms
    start: Tensor  # (..., G - 1): the sum that the first probability belongs to
    floored: Tensor  # (..., G - 1, W): probabilities, at least `_RAREST`
    possible: Tensor  # (..., G - 1, W + 4): 0 where impossible; with 2 zeros on both sides
    nothing: Tensor  # (..., G - 1), bool: the groups before hold no element


def _sums(groups: Tilted, mean: Tensor, width: int, period: int) -> _Sums:
    before = Tilted(*(field[..., :-1] for field in groups))
    transforms = group_transforms(before, period)
    elements = before.sizes.cumsum(-1)
    start = window_start(mean[..., :-1].cumsum(-1), elements, width)
    phase = turned(-transforms.phase.cumsum(-2), start - transforms.counted.cumsum(-1), period)
    conjugate = complex_exp(transforms.log_modulus.cumsum(-2), phase)
    floored = torch.fft.irfft(conjugate, n=period)[..., :width].clamp(min=_RAREST)
    steps = torch.arange(width, dtype=start.dtype, device=start.device)
    possible = floored * (steps <= (elements - start).unsqueeze(-1))
    return _Sums(transforms, conjugate, start, floored, pad(possible, (2, 2)), elements == 0)


class _Rows(NamedTuple):
    """For each draw, and each group but the first: its window of K counts."""

    place: Tensor  # (sample, batch, G - 1, K): the place of the sum that remains, from 0 to W + 1
    weights: Tensor  # shares times the distance of the count from the mean: they sum to 0
    perturbed: Tensor  # perturbed log-probabilities
    by_left: Tensor  # (sample, batch, G - 1): slope of the mean in the remainder, times temperature


def _rows(
    groups: Tilted,
    sums: _Sums,
    mean: Tensor,
    x: Tensor,
    left: Tensor,
    waiting: Tensor,
    top: Tensor,
    scale: Tensor,
    most: int,
) -> _Rows:
    width, last = int(waiting.shape[-1]), int(sums.floored.shape[-1]) + 1
    sizes = groups.sizes[..., 1:]
    first = window_start(mean[..., 1:], sizes.clamp(max=most), width)
    terms = binomial_window(groups.u[..., 1:], sizes, first, width)
    # What is outside of the window of sums gets the zeros beside it. One more count on both sides
    # serves the slopes.
    highest = (left[..., 1:] - first - sums.start).long().unsqueeze(-1) + 2
    index = (highest - torch.arange(width + 2, device=x.device)).clamp(0, last)
    after = sums.possible[..., 1:-1]
    after = after.expand(index.shape[:-1] + after.shape[-1:]).gather(-1, index)
    joint = (terms * after[..., 1:-1]).clamp(min=_TINY)
    # A count outside of all windows does not move.
    mass = joint.sum(-1, keepdim=True).clamp(min=_TINY**0.5)
    # The largest perturbed log-probability is a Gumbel variable, and independent of the argmax.
    # Given this maximum, the others are Gumbel variables truncated at it.
    drawn = (x[..., 1:] - first).long().clamp(0, width - 1).unsqueeze(-1)
    arrival = waiting.scatter(-1, drawn, 0.0).div_(joint.detach()).mul_(mass.detach()).add_(top)
    perturbed = arrival.log_().neg_()
    if torch.is_grad_enabled():  # for a second derivative: the noise has none
        log_probs = joint.log() - mass.log()
        perturbed = perturbed + (log_probs - log_probs.detach())
    shares = torch.softmax(perturbed / scale.unsqueeze(-1), -1)
    steps = torch.arange(width, dtype=x.dtype, device=x.device)
    weights = (steps - torch.matmul(shares, steps).unsqueeze(-1)).mul_(shares)
    with torch.no_grad():
        slopes = _slopes(after).unsqueeze(-1)
        by_left = torch.matmul(weights.unsqueeze(-2), slopes)[..., 0, 0]
    return _Rows(index[..., 1:-1], weights, perturbed, by_left)


def _slopes(after: Tensor) -> Tensor:
    """Derivatives of log-probabilities in the remainder, (..., K), from probabilities (..., K + 2).

    The difference is central where both neighbours exist. The remainder falls along the table.
    """
    after = after.log()
    step = after[..., :-1] - after[..., 1:]
    exists = step.isfinite()
    step = torch.where(exists, step, 0.0)
    number = exists.to(step.dtype)
    number = (number[..., 1:] + number[..., :-1]).clamp(min=1)
    return (step[..., 1:] + step[..., :-1]).div_(number)


def _strength(grad: Tensor, by_left: Tensor) -> Tensor:
    """How strongly each group's own movement counts, (..., G - 1), from the gradient (..., G).

    A group moves by its own movement, and it takes a share of what the groups after it (which come
    first in its draw) have left or taken. So the gradient of the remainder is a recurrence.
    """
    # remainder_g = remainder_(g - 1) + by_left_g (grad_g - remainder_(g - 1)), with by_left_0 = 1;
    # by doubling the number of groups that are joined.
    kept, added = 1 - by_left, by_left * grad[..., 1:]
    kept, added = (
        torch.cat([torch.zeros_like(kept[..., :1]), kept], -1),
        torch.cat([grad[..., :1], added], -1),
    )
    shift = 1
    while shift < kept.shape[-1]:
        later = kept[..., shift:]
        added = torch.cat(
            [added[..., :shift], torch.addcmul(added[..., shift:], later, added[..., :-shift])], -1
        )
        kept = torch.cat([kept[..., :shift], later * kept[..., :-shift]], -1)
        shift *= 2
    return grad[..., 1:] - added[..., :-1]


def _to_theta(weights: Tensor, groups: Tilted, sums: _Sums, rows: _Rows, theta: Tensor) -> Tensor:
    """The gradient in the log-weights, (batch, G), from that in the log-probabilities of the rows.

    The log-probability of a count is that of the group, plus that of the sum that remains.
    """
    steps = torch.arange(weights.shape[-1], dtype=theta.dtype, device=theta.device)
    own = torch.matmul(weights, steps).sum_to_size(theta[..., 1:].shape)
    # All draws of an urn add to one table.
    index, weights = (draws_last(a, theta[..., 1:].shape) for a in (rows.place, weights))
    of_sums = torch.zeros_like(sums.possible[..., 1:-1]).scatter_add(-1, index, weights)
    period = 2 * int(sums.conjugate.shape[-1]) - 1
    # Rounding errors have no derivative.
    of_sums = of_sums[..., 1:-1] / sums.floored * (sums.floored > 10 * _RAREST)
    of_sums = torch.fft.rfft(of_sums, n=period)
    of_sums = of_sums * sums.conjugate.conj()
    # A group is part of all sums after it.
    sofar = of_sums.cumsum(-2)
    of_sums = (of_sums + sofar[..., -1:, :]).sub_(sofar)
    before = Tilted(*(field[..., :-1] for field in groups))
    slope = slope_along(before, sums.transforms, of_sums) * (2 / period)
    return pad(own, (1, 0)) + pad(slope, (0, 1))
