# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Wallenius' law as a mixture of Fisher's laws over the time of ring n + 1, at nodes.

Let :math:`S_u` be the number of elements that have rung by the time :math:`u`. An average over
this time and over the phases :math:`t` of a characteristic function gives every moment:

.. math::

    E[f(x)] = \int \frac{1}{2 \pi} \int \Phi_u(t) \, E_{u,t}[f(x) D(x)] \, dt \, du ,
    \qquad \Phi_u(t) = E[e^{i t (S_u - n)}] .

Under :math:`E_{u,t}`, the counts are independent and binomial, with complex probabilities
:math:`P_i = p_i + p_i q_i B_i(t)`. A tilt at each :math:`u` keeps the mean of :math:`S_u` at
:math:`n`, so nothing cancels. The table of :math:`1 / |q_i + p_i e^{i t}|^2` is the only one that
is kept: all others are its products with numbers of one group or of one node.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..saddlepoint.lattice import NODES, Tilted, enough_nodes, place_nodes, tilted_groups
from ..tracing import may_branch
from ..urn import Urn
from .clocks import BELL_RULE
from .ring import ring_nodes
from .rings import RingNodes, log_change, rung_by

# If all times have at least this variance, the integral over the phases is near to a normal one,
# and has few Gauss-Hermite nodes. The phases of t and -t are conjugate.
_BELL = 50.0
_BELL_RULE = tuple(x[len(x) // 2 :] for x in BELL_RULE)
# The density has the integral 1. The nodes are trusted if they miss it only by rounding: by so
# much, and by so much for each element. Otherwise there are so many times as many. The last ones
# may miss more, since other nodes would not be better.
_MISSED, _MISSED_EACH = 3e-13, 1e-17
_FINER, _LAST = (1, 2, 4), 100


class Complex(NamedTuple):
    """A complex table. We use real arithmetic: gradients of complex ones may fail in a trace."""

    real: Tensor
    imag: Tensor

    def __mul__(self, other: Any) -> Complex:
        """The product, entry by entry."""
        return Complex(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )


class Mixture(NamedTuple):
    """The law at U nodes of log u and J nodes t > 0 of the phase."""

    log_density: Tensor  # (..., U): of log u, times the weight of the node
    rates: Tensor  # (..., U, G): w_i u
    groups: Tilted  # (..., U, G), and sizes (..., 1, G)
    inverse: Tensor  # (..., U, G, J): 1 / |q_i + p_i e^{it}|^2
    versine: Tensor  # (..., U, J): 2 sin(t / 2)^2
    sine: Tensor  # (..., U, J): sin t
    phi: Complex  # (..., U, J): Phi_u(t) under the tilt, for t and -t
    hazard: Complex  # (..., U, J): the mean of D(x) u
    norm: Tensor  # (..., U): the mean of D(x) u over all t
    shift: Tensor  # (..., U, G): E[X D] / E[D], with X the counts minus the tilted means

    @property
    def weight(self) -> Tensor:
        """The shares of the times, (..., U). They sum to 1 exactly, not up to rounding."""
        return torch.softmax(self.log_density, -1)


def snapshots(urn: Urn) -> Mixture:
    """The law at nodes of the time of ring n + 1, differentiable in the log-weights."""
    sizes, total = urn.sizes, urn.total
    theta = urn.log_weights
    theta = theta - theta.detach().masked_fill(sizes <= 0, -torch.inf).amax(-1, keepdim=True)
    for finer in _FINER:
        nodes = ring_nodes(theta, sizes, total, finer)
        at = mixture_at(theta, sizes, total, nodes)
        if not nodes.quick or _is_whole(at, sizes, _LAST if finer == _FINER[-1] else 1):
            return at
    return mixture_at(theta, sizes, total, ring_nodes(theta, sizes, total, 0))


def mixture_at(theta: Tensor, sizes: Tensor, total: Tensor, nodes: RingNodes) -> Mixture:
    """The law at given nodes.

    :param Tensor theta: log-weights, the largest near 0, (..., G).
    :param Tensor sizes: (..., G).
    :param Tensor total: (...).
    """
    rung = rung_by(theta, nodes.times)
    groups = tilted_groups(rung.log_odds, sizes.unsqueeze(-2), nodes.tilt)
    u, m, p, q, _, variance = groups
    at = _place(sizes, variance, bell=nodes.bell)
    log_modulus, phase, inverse = _characteristic(groups, at)
    left_over = total.unsqueeze(-1) - torch.where(u > 0, m, 0.0).sum(-1)
    phase = phase - left_over.unsqueeze(-1) * at.t
    amplitude = at.weight * torch.exp(log_modulus)
    phi = Complex(amplitude * torch.cos(phase), amplitude * torch.sin(phase))

    versine, sine = 2 * at.haversine, at.sine
    by_rate = rung.rates * variance
    rows = torch.stack([variance, by_rate], -2)
    skew = p - q
    rows = torch.cat([rows * skew.unsqueeze(-2), rows], -2)
    a, b, c, d = (rows @ inverse).unbind(-2)
    column = sizes.unsqueeze(-1).unsqueeze(-3)
    sums = torch.stack([p, rung.rates * q], -2) @ column
    mean, first = sums.squeeze(-1).unbind(-1)
    over = Complex((mean - total.unsqueeze(-1)).unsqueeze(-1) + versine * a, sine * c)
    hazard = Complex(first.unsqueeze(-1) - versine * b, -sine * d)
    with_hazard, with_over = phi * hazard, phi * over
    norm = first * at.start + with_hazard.real.sum(-1)
    change = log_change(rung, u, sizes, total, nodes.tilt)
    log_density = change + nodes.log_length + torch.log(norm / at.period)

    # E[x_i (m_i - x_i)] at t is a derivative in t. By parts over t, it becomes the factor
    # E[S - n], which is the same for all groups. So two sums over the table are enough.
    columns = [x for z in (with_hazard, with_over) for x in (z.real * versine, z.imag * sine)]
    a, b, c, d = (inverse @ torch.stack(columns, -1)).unbind(-1)
    shift = variance * (skew * a - b + rung.rates * (skew * c - d)) / norm.unsqueeze(-1)
    return Mixture(
        log_density, rung.rates, groups, inverse, versine, sine, phi, hazard, norm, shift
    )


def _characteristic(groups: Tilted, at: _Phases) -> tuple[Tensor, Tensor, Tensor]:
    """Log-modulus and phase of all groups together, (..., U, J), and 1 / |q_i + p_i e^{it}|^2.

    A group with p_i > 1/2 is counted by the elements that it leaves. Then all phases are small.
    """
    u, m, p, q, pq, _ = groups
    haversine, sine = at.haversine.unsqueeze(-2), at.sine.unsqueeze(-2)
    above = u > 0
    rare, one = torch.where(above, q, p).unsqueeze(-1), u.new_ones(())
    excess = (-4 * pq).unsqueeze(-1) * haversine
    table = torch.log1p(excess)
    log_modulus = ((0.5 * m).unsqueeze(-2) @ table).squeeze(-2)
    if may_branch(u) and not table.requires_grad:
        # New memory costs more time than arithmetic.
        inverse = excess.add_(1).reciprocal_()
        angle = (rare * sine).atan2_(torch.addcmul(one, rare, haversine, value=-2))
    else:
        inverse = (1 + excess).reciprocal()
        angle = torch.atan2(rare * sine, torch.addcmul(one, rare, haversine, value=-2))
    phase = (torch.where(above, -m, m).unsqueeze(-2) @ angle).squeeze(-2)
    return log_modulus, phase, inverse


class _Phases(NamedTuple):
    """J phases t > 0 of the integral of a characteristic function, and its value at 0."""

    period: Tensor  # (..., U): by what the sum is divided
    t: Tensor  # (..., U, J)
    haversine: Tensor  # (..., U, J): sin(t / 2)^2
    sine: Tensor  # (..., U, J): sin t
    weight: Tensor  # (..., U, J)
    start: float  # the weight of t = 0


def _place(sizes: Tensor, variance: Tensor, *, bell: bool) -> _Phases:
    """The phases for tilted variances (..., U, G)."""
    spread = variance.detach().sum(-1)
    if not may_branch(variance):
        return _at_nodes(spread, NODES)
    if bell and bool((spread > _BELL).all()):
        z, log_weight = (torch.as_tensor(a).to(spread) for a in _BELL_RULE)
        sd = spread.sqrt()
        t = z / sd.unsqueeze(-1)
        weight = torch.exp(log_weight) * (2 / sd).unsqueeze(-1)
        return _Phases(
            torch.full_like(sd, 2 * math.pi),
            t,
            torch.sin(0.5 * t).square(),
            torch.sin(t),
            weight,
            0.0,
        )
    elements = sizes.sum(-1, keepdim=True)
    most = max(1, math.ceil(0.5 * elements.max().item()))
    return _at_nodes(spread, min(enough_nodes(spread), most), elements)


def _at_nodes(variance: Tensor, count: int, elements: Tensor | None = None) -> _Phases:
    at = place_nodes(variance, count, elements)
    return _Phases(at.period, 2 * at.half, at.haversine, at.sine, at.weight, 1.0)


def _is_whole(at: Mixture, sizes: Tensor, slack: float) -> bool:
    """Whether the nodes miss no part of any density."""
    missed = torch.logsumexp(at.log_density.detach(), -1).abs()
    return bool((missed <= slack * (_MISSED + _MISSED_EACH * sizes.sum(-1))).all())
