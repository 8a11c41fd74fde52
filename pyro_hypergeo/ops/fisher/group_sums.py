# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sums of groups by Fourier transforms: transforms of the groups, periods, windows, slopes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..saddlepoint.lattice import Tilted, counted_by_rest, log_moduli, phases
from ..tracing import inside_transform
from ..urn import Bounds
from .state import FisherState

# A window of this many standard deviations on both sides, and this many points more, leaves out
# less than 1e-14 of the mass of a sum of independent trials.
_SPREAD, _MARGIN = 8.0, 11
# A Fourier transform is fast if its length is a product of these.
_FAST = (3, 5, 7, 11, 13)


class Transforms(NamedTuple):
    """Fourier transforms of groups at half of the nodes of an odd period; the law is real."""

    t: Tensor  # (H,)
    haversine: Tensor  # (H,): sin(t / 2)^2
    sine: Tensor  # (H,): sin t
    log_modulus: Tensor  # (..., G, H)
    phase: Tensor  # (..., G, H): of what :func:`counted_by_rest` leaves to count
    counted: Tensor  # (..., G)


def group_transforms(groups: Tilted, period: int) -> Transforms:
    """The transforms of all groups; differentiable in the log-odds."""
    index = torch.arange(period // 2 + 1, dtype=groups.u.dtype, device=groups.u.device)
    t = index * (2 * math.pi / period)
    haversine, sine = torch.sin(0.5 * t).square(), torch.sin(t)
    modulus, phase = log_moduli(groups, haversine), phases(groups, haversine, sine)
    return Transforms(t, haversine, sine, modulus, phase, counted_by_rest(groups))


def turned(phase: Tensor, offset: Tensor, period: int) -> Tensor:
    """The phase plus offset * t, (..., H), for integer offsets (...); exact for large ones."""
    index = torch.arange(period // 2 + 1, dtype=offset.dtype, device=offset.device)
    # The product is an integer. It is first reduced modulo the period.
    turns = torch.remainder(offset.unsqueeze(-1) * index, period)
    return torch.add(phase, turns, alpha=2 * math.pi / period)


def transforms_of_others(transforms: Transforms, rest: Tensor, period: int) -> Tensor:
    """For each group, the transform of the sum of all other groups, times exp(-i rest t).

    Its inverse transform has the probability of the sum ``rest - k`` at place k. (..., G, H)
    """
    counted = transforms.counted
    offset = rest - (counted.sum(-1, keepdim=True) - counted)
    phase = transforms.phase.sum(-2, keepdim=True) - transforms.phase
    phase = turned(phase, -offset, period)
    modulus = transforms.log_modulus.sum(-2, keepdim=True) - transforms.log_modulus
    return complex_exp(modulus, phase)


def complex_exp(log_modulus: Tensor, phase: Tensor) -> Tensor:
    """exp(log_modulus + i phase)."""
    # Real functions are several times faster than complex ones. And the gradient of `polar` is NaN
    # where it underflows.
    modulus = torch.exp(log_modulus)
    return torch.complex(torch.cos(phase).mul_(modulus), torch.sin(phase).mul_(modulus))


def slope_along(groups: Tilted, transforms: Transforms, weights: Tensor) -> Tensor:
    """Derivatives in the log-odds, (..., G), of sum_t Re(w_i(t) log phi_i(t)).

    :param Tensor weights: w, (..., G, H), complex, held fixed; it is overwritten.
    """
    # d log phi / du = m p q (2 (p - q) sin(t / 2)^2 + i sin t) / |q + p e^{it}|^2
    pq = groups.pq
    decay = 1 - (4 * pq).unsqueeze(-1) * transforms.haversine
    parts = torch.view_as_real(weights.div_(decay)).flatten(-2)
    # Both sums over t by one product: real and imaginary parts alternate.
    columns = torch.stack([transforms.haversine, -transforms.sine], -1).diag_embed().flatten(0, 1)
    real, imag = torch.matmul(parts, columns).unbind(-1)
    return groups.sizes * pq * (2 * (groups.p - groups.q) * real + imag)


class Widths(NamedTuple):
    """Sizes of tables that cover the mass, as Python numbers."""

    most: int  # the largest count of a group
    of_count: int  # the width of the window of a count
    of_sum: int  # the width of the window of the sum of some groups
    period: int  # of a Fourier transform


def table_widths(state: FisherState, bounds: Bounds) -> Widths:
    """How large tables must be: on the CPU from the variances, elsewhere from the sizes alone."""
    # A trace may be run with a larger total.
    total = bounds.elements if torch.jit.is_tracing() else bounds.total
    urn, most = state.urn, min(bounds.size, total)
    # The variance of a count is at most n / 4: it is that of a sum of n independent trials. The
    # variance of the sum of independent groups is at most its mean, and a quarter of the elements.
    sd, sd_of_sum = 0.5 * math.sqrt(most), math.sqrt(min(total, bounds.elements / 4))
    if urn.sizes.device.type == "cpu" and not inside_transform() and urn.sizes.numel():
        p = torch.sigmoid(urn.log_weights.detach() + state.tilt.unsqueeze(-1))
        variance = urn.sizes * (p - p * p)
        of_sum = variance.sum(-1)
        # Of a NaN, `min` keeps the bound. Given the sum, a group varies less.
        given = variance - variance.square() / of_sum.unsqueeze(-1).clamp(min=1e-300)
        sd = min(sd, math.sqrt(float(given.clamp(min=0).max())))
        sd_of_sum = min(sd_of_sum, math.sqrt(float(of_sum.max())))
    count = _points_of_mass(sd, most)
    # Given the total, a sum of some groups varies at most half as much as all groups without it.
    window = _points_of_mass(sd_of_sum / 2, bounds.elements)
    # A period folds sums into a window that are wrong by it. With the other groups, they belong to
    # a total that is wrong by it: by at least 8 standard deviations.
    return Widths(most, count, window, _fast_period(max(count, window)))


def _points_of_mass(sd: float, most: int) -> int:
    """How many points around the mean hold the mass of a count up to ``most``; at least 2."""
    return max(2, min(most + 1, 2 * math.ceil(_SPREAD * sd + _MARGIN) + 1))


def _fast_period(points: int) -> int:
    """An odd length of a Fourier transform that is fast; at least ``points``.

    It is odd to avoid t = pi, where a fair coin has modulus 0.
    """
    period = points + 1 - points % 2
    while not _is_product(period):
        period += 2
    return period


def _is_product(number: int) -> bool:
    for factor in _FAST:
        while number % factor == 0:
            number //= factor
    return number == 1


def binomial_window(u: Tensor, sizes: Tensor, start: Tensor, width: int) -> Tensor:
    """The pmf of binomials, up to a factor, for ``width`` counts from the start: (..., width)."""
    steps = torch.arange(width - 1, dtype=u.dtype, device=u.device)
    more = (sizes - start).unsqueeze(-1) - steps
    # From ratios of neighbours: this needs no log-gamma.
    ratio = more.clamp(min=0).div_((start + 1).unsqueeze(-1) + steps).log_() + u.unsqueeze(-1)
    # The sum starts so low that it is near 0 where the mass is. There it rounds least.
    top = ratio.detach().cumsum(-1).amax(-1, keepdim=True).clamp(min=0)
    return torch.cat([-top, ratio], -1).cumsum(-1).exp_()
