# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The tilted groups, and the trapezoidal rule for the law of their sum."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..tracing import inside_transform, may_branch

# Nodes t_1, t_2, ... of the trapezoidal rule; t_0 = 0 is not among them. The worst case is a
# standard deviation near 4. There the integrand has not decayed at t = pi, and all (K - 1) / 2
# nodes are needed.
NODES, _WORST_SPREAD = 21, 4.0
# Numbers in a table that a backward pass may keep.
_KEPT = 100_000
# The period K = _SPREAD sd + _MARGIN keeps the aliased probabilities Pr[S = n + l K] below 1.3e-14
# of the peak. This follows from Bennett's inequality; it is tight for sd near 0, 4 and infinity.
_SPREAD, _MARGIN = 8.0, 10.7


class Tilted(NamedTuple):
    """The tilted groups: Binomial(m_i, p_i) with p_i = sigmoid(theta_i + s); each (..., G)."""

    u: Tensor  # log-odds theta_i + s
    sizes: Tensor  # m_i
    p: Tensor
    q: Tensor  # 1 - p_i
    pq: Tensor  # p_i q_i
    variance: Tensor  # m_i p_i q_i


def tilted_groups(log_weights: Tensor, sizes: Tensor, tilt: Tensor) -> Tilted:
    """The groups under a tilt, differentiable in the log-weights."""
    u = log_weights + tilt.unsqueeze(-1)
    p, q = torch.sigmoid(u), torch.sigmoid(-u)
    pq = p * q
    return Tilted(u, sizes, p, q, pq, sizes * pq)


def varies_much(groups: Tilted) -> bool:
    """Whether the sum of the groups has a variance of at least 4 in all entries."""
    return groups.variance.detach().sum(-1).amin().item() >= 4


def has_largest_variance(groups: Tilted) -> Tensor:
    """Marks the group of largest variance in each entry, (..., G), bool.

    If the other groups hardly vary, this group varies much less once the sum is known. Every
    other group keeps at least half of its variance.
    """
    index = torch.arange(groups.u.shape[-1], device=groups.u.device)
    return groups.variance.detach().argmax(-1, keepdim=True) == index


def has_small_tables(theta: Tensor) -> bool:
    """Whether tables over groups (..., G) and nodes are so small that a backward pass keeps them.

    For small tables, to compute them again costs more than memory.
    """
    return theta.numel() * NODES < _KEPT


class Positions(NamedTuple):
    """The places of the J nodes of the trapezoidal rule."""

    period: Tensor  # (...): K
    half: Tensor  # (..., J): t / 2
    haversine: Tensor  # (..., J): sin(t / 2)^2
    sine: Tensor  # (..., J): sin t
    weight: Tensor  # (..., J): 2 (for t and -t), and 0 where not used


def place_nodes(variance: Tensor, count: int = NODES, elements: Tensor | None = None) -> Positions:
    """Nodes for sums of these variances, (...), without a gradient.

    If the number of elements is given, a period is not longer than it: fewer nodes are exact then.
    """
    variance = variance.detach()
    last = torch.ceil(0.5 * _SPREAD * variance.sqrt() + 0.5 * _MARGIN)
    if elements is not None:
        last = torch.minimum(last, torch.ceil(0.5 * elements))
    last = last.unsqueeze(-1)
    period = 2 * last + 1
    index = torch.arange(1, count + 1, dtype=variance.dtype, device=variance.device)
    half = index * (math.pi / period)
    sine = torch.sin(half)
    haversine = sine.square()
    sine = (2 * sine) * torch.cos(half)
    return Positions(period.squeeze(-1), half, haversine, sine, 2.0 * (index <= last))


def enough_nodes(variance: Tensor) -> int:
    """How many nodes are enough for sums of these variances, (...)."""
    if not may_branch(variance):
        return NODES
    # The number rises with the variance as long as all nodes of a period count. Then it falls:
    # beyond a node with 2 V sin(t / 2)^2 = 40, the modulus is below 1e-17.
    low, high = (math.sqrt(max(bound.item(), 0.0)) for bound in variance.detach().aminmax())
    if not (high < _WORST_SPREAD or low > _WORST_SPREAD):
        return NODES
    spread = high if high < _WORST_SPREAD else low
    half = math.ceil(0.5 * (_SPREAD * spread + _MARGIN))
    decayed = math.asin(min(1.0, math.sqrt(20) / spread)) if spread else math.pi
    return min(NODES, half, math.ceil((2 * half + 1) * decayed / math.pi))


class LatticeNodes(NamedTuple):
    """The integrand of Pr[S = n] at the nodes beside t = 0, where it is 1; in real arithmetic."""

    at: Positions
    decay: Tensor  # (..., G, J): |q_i + p_i e^{it}|^2
    real: Tensor  # (..., J): real part times the weight
    imag: Tensor  # (..., J): imaginary part times the weight
    norm: Tensor  # (...): the sum of the integrand over all K nodes


def lattice_nodes(groups: Tilted, total: Tensor) -> LatticeNodes:
    """The integrand of Pr[S = n] for totals (...), accurate if n is near the mean of S. O(G)."""
    variance = groups.variance.sum(-1)
    at = place_nodes(variance, enough_nodes(variance))
    sums, decay = characteristic_sums(groups, at)
    return LatticeNodes(at, decay, *integrand(at, sums, total))


class CharacteristicSums(NamedTuple):
    """Sums over groups, of which the characteristic function of S is made."""

    log_modulus: Tensor  # (..., J): twice the logarithm of its modulus
    phase: Tensor  # (..., J): its phase, if `counted` is counted by the rest
    counted: Tensor  # (...): the elements of the groups with odds above 1


def characteristic_sums(groups: Tilted, at: Positions) -> tuple[CharacteristicSums, Tensor]:
    """The sums, and the table of |q_i + p_i e^{it}|^2, (..., G, J)."""
    excess = groups.pq.unsqueeze(-1) * (-4 * at.haversine).unsqueeze(-2)
    log_modulus = _summed(groups.sizes, torch.log1p(excess))
    # A group with odds above 1 is counted by the elements that it leaves: see `phases`.
    above = groups.u > 0
    rare = torch.where(above, groups.q, groups.p).unsqueeze(-1)
    one = torch.ones((), dtype=rare.dtype, device=rare.device)
    cosine = torch.addcmul(one, rare, at.haversine.unsqueeze(-2), value=-2)
    angle = torch.atan2(rare * at.sine.unsqueeze(-2), cosine)
    counted = torch.where(above, groups.sizes, 0.0)
    phase = _summed(groups.sizes - 2 * counted, angle)
    kept = excess.requires_grad or inside_transform()
    decay = excess + 1 if kept else excess.add_(1)
    return CharacteristicSums(log_modulus, phase, counted.sum(-1)), decay


def integrand(
    at: Positions, sums: CharacteristicSums, total: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of the integrand times the weight, and its sum over all nodes."""
    offset = total - sums.counted
    phase = torch.addcmul(sums.phase, offset.unsqueeze(-1), at.half, value=-2)
    amplitude = at.weight * torch.exp(0.5 * sums.log_modulus)
    real, imag = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
    return real, imag, 1 + real.sum(-1)


def _summed(factors: Tensor, table: Tensor) -> Tensor:
    """The sum over groups of factors (..., G) times a table (..., G, J)."""
    return torch.matmul(factors.unsqueeze(-2), table).squeeze(-2)


def log_lattice_prob(nodes: LatticeNodes) -> Tensor:
    """log Pr[S = n] by the trapezoidal rule, shape (...)."""
    return torch.log(nodes.norm / nodes.at.period)


# log_moduli, phases and _excess do most of the work. They compute in place. They keep no table that
# one product can give again. Here, new memory costs more time than arithmetic.


def log_moduli(groups: Tilted, haversine: Tensor) -> Tensor:
    """Log-moduli of the groups' characteristic functions, (..., G, J); haversine is (..., J)."""
    return _excess(groups, haversine).log1p_().mul_((0.5 * groups.sizes).unsqueeze(-1))


def phases(groups: Tilted, haversine: Tensor, sine: Tensor) -> Tensor:
    """Phases of the groups' characteristic functions, (..., G, J).

    A group with p_i > 1/2 is counted by the elements that it leaves. So these are the phases of the
    counts minus :func:`counted_by_rest`. They are small where rounding would matter.
    """
    above = groups.u > 0
    # Not the minimum of p and q: at p = q its gradient is the mean of two.
    rare, sine = torch.where(above, groups.q, groups.p).unsqueeze(-1), sine.unsqueeze(-2)
    cosine = ((-2 * rare) * haversine.unsqueeze(-2)).add_(1)
    kept = torch.compiler.is_compiling() or torch.jit.is_tracing() or cosine.requires_grad
    if kept:
        angle = torch.atan(rare * sine / cosine)
    else:
        angle = cosine.reciprocal_().mul_(rare).mul_(sine).atan_()
    signed = torch.where(above, -groups.sizes, groups.sizes).unsqueeze(-1)
    return angle.mul_(signed)


def _excess(groups: Tilted, haversine: Tensor) -> Tensor:
    # |q_i + p_i e^{it}|^2 - 1
    return (-4 * groups.pq).unsqueeze(-1) * haversine.unsqueeze(-2)


def counted_by_rest(groups: Tilted) -> Tensor:
    """The size of each group that is counted by what it leaves, 0 for the others; (..., G)."""
    return torch.where(groups.u > 0, groups.sizes, 0.0)
