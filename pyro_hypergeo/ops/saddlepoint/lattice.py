# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The tilted groups, and the trapezoidal rule for the law of their sum."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Nodes t_1, t_2, ... of the trapezoidal rule; t_0 = 0 is not among them. The worst case is a
# standard deviation near 4. There the integrand has not decayed at t = pi, and all (K - 1) / 2
# nodes are needed.
NODES = 21
# The period K = _SPREAD sd + _MARGIN keeps the aliased probabilities Pr[S = n + l K] below 1.3e-14
# of the peak. This follows from Bennett's inequality; it is tight for sd near 0, 4 and infinity.
_SPREAD, _MARGIN = 8.0, 10.7


class Tilted(NamedTuple):
    """The tilted groups: Binomial(m_i, p_i) with p_i = sigmoid(theta_i + s); each (..., G)."""

    u: Tensor  # log-odds theta_i + s
    sizes: Tensor  # m_i
    p: Tensor
    q: Tensor  # 1 - p_i
    variance: Tensor  # m_i p_i q_i


def tilted_groups(log_weights: Tensor, sizes: Tensor, tilt: Tensor) -> Tilted:
    """The groups under a tilt, differentiable in the log-weights."""
    u = log_weights + tilt.unsqueeze(-1)
    p, q = torch.sigmoid(u), torch.sigmoid(-u)
    return Tilted(u, sizes, p, q, sizes * p * q)


def has_largest_variance(groups: Tilted) -> Tensor:
    """Marks the group of largest variance in each entry, (..., G), bool.

    If the other groups hardly vary, this group varies much less once the sum is known. Every
    other group keeps at least half of its variance.
    """
    index = torch.arange(groups.u.shape[-1], device=groups.u.device)
    return groups.variance.detach().argmax(-1, keepdim=True) == index


class Positions(NamedTuple):
    """The places of the J nodes of the trapezoidal rule."""

    period: Tensor  # (...): K
    t: Tensor  # (..., J), 0 where not used
    haversine: Tensor  # (..., J): sin(t / 2)^2
    sine: Tensor  # (..., J): sin t
    weight: Tensor  # (..., J): 2 (for t and -t), and 0 where not used


def place_nodes(sizes: Tensor, variance: Tensor, count: int = NODES) -> Positions:
    """Nodes for the sum of groups (..., G) of these sizes and variances, without a gradient."""
    sd = variance.detach().sum(-1).sqrt()
    most = torch.ceil(sizes.sum(-1) / 2)
    half = torch.minimum(most, torch.ceil(0.5 * (_SPREAD * sd + _MARGIN)))
    period = 2 * half + 1
    index = torch.arange(1, count + 1, dtype=sd.dtype, device=sd.device)
    used = index <= half.unsqueeze(-1)
    t = torch.where(used, (2 * math.pi) * index / period.unsqueeze(-1), 0.0)
    half_sine = torch.sin(0.5 * t)
    haversine = half_sine.square()
    sine = 2 * half_sine * torch.sqrt(1 - haversine)
    return Positions(period, t, haversine, sine, 2.0 * used)


class LatticeNodes(NamedTuple):
    """The integrand of Pr[S = n] at the nodes beside t = 0, where it is 1; in real arithmetic."""

    at: Positions
    decay: Tensor  # (..., G, J): |q_i + p_i e^{it}|^2
    real: Tensor  # (..., J): real part times the weight
    imag: Tensor  # (..., J): imaginary part times the weight
    counted: Tensor  # (..., G): see `counted_by_rest`
    offset: Tensor  # (...): the total minus what is counted by the rest


def lattice_nodes(groups: Tilted, total: Tensor) -> LatticeNodes:
    """The integrand of Pr[S = n] for totals (...), accurate if n is near the mean of S. O(G)."""
    at = place_nodes(groups.sizes, groups.variance)
    log_modulus = log_moduli(groups, at.haversine).sum(-2)
    counted = counted_by_rest(groups)
    offset = total - counted.sum(-1)
    phase = phases(groups, at.haversine, at.sine).sum(-2) - offset.unsqueeze(-1) * at.t
    amplitude = at.weight * torch.exp(log_modulus)
    decay = _excess(groups, at.haversine).add_(1)
    real, imag = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
    return LatticeNodes(at, decay, real, imag, counted, offset)


def log_lattice_prob(nodes: LatticeNodes) -> Tensor:
    """log Pr[S = n] by the trapezoidal rule, shape (...)."""
    return torch.log1p(nodes.real.sum(-1)) - torch.log(nodes.at.period)


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
    return (-4 * groups.p * groups.q).unsqueeze(-1) * haversine.unsqueeze(-2)


def counted_by_rest(groups: Tilted) -> Tensor:
    """The size of each group that is counted by what it leaves, 0 for the others; (..., G)."""
    return torch.where(groups.u > 0, groups.sizes, 0.0)
