# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Size, Tensor

from ._nodes import (
    Nodes,
    Tilted,
    has_largest_variance,
    lattice_nodes,
    log_lattice_prob,
    tilted_groups,
)
from ._tilt import refine_tilt, solve_tilt
from ._urn import Urn, make_urn
from .binomial import log1p_exp, log_binomial_coefficient, log_binomial_pmf


class Cumulants(NamedTuple):
    """What one pass over the nodes gives, in float64."""

    urn: Urn
    log_partition: Tensor  # (...), its gradient is the mean
    mean: Tensor  # (..., G), its gradient is the covariance
    tilt: Tensor  # (...), no gradient
    log_center: Tensor  # (...), log Pr[S = n] of the groups at this tilt

    def expand(self, batch_shape: Size) -> Cumulants:
        """The same for a larger batch shape, without computing anything anew."""
        batch = self.tilt.dim()

        def grow(x: Tensor) -> Tensor:
            return x.expand(batch_shape + x.shape[batch:])

        urn = Urn(*(grow(x) for x in self.urn))
        return Cumulants(urn, *(grow(x) for x in self[1:]))


def cumulants(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Cumulants:
    """The log-partition function and its gradient, with the tilt at which they were found."""
    urn = make_urn(log_weights, group_sizes, total_count)
    tilt = find_tilt(urn)
    function = _Cumulants if torch.compiler.is_compiling() else _CumulantsForwardMode
    value, gradient, log_center = function.apply(urn.log_weights, urn.sizes, urn.total, tilt)
    drawn = urn.edge > 0
    edge_value = (urn.edge * torch.where(drawn, log_weights, 0.0)).sum(-1)
    return Cumulants(
        urn,
        torch.where(urn.interior, value, torch.where(urn.feasible, edge_value, -torch.inf)),
        torch.where(urn.interior.unsqueeze(-1), gradient, urn.edge),
        tilt,
        torch.where(urn.interior, log_center, 0.0),
    )


def central_cumulants(group_sizes: Tensor, total_count: Tensor) -> Cumulants:
    """The same for equal weights of one, where all is known in closed form."""
    sizes, total = group_sizes.double(), total_count.double()
    urn = make_urn(torch.zeros_like(sizes), sizes, total)
    everything = urn.sizes.sum(-1)
    tilt = torch.log(urn.total) - torch.log(everything - urn.total)
    mean = urn.sizes * (urn.total / everything).unsqueeze(-1)
    value = log_binomial_coefficient(everything, urn.total)
    impossible = torch.where(urn.feasible, 0.0, -torch.inf)
    return Cumulants(
        urn,
        torch.where(urn.interior, value, impossible),
        torch.where(urn.interior.unsqueeze(-1), mean, urn.edge),
        tilt,
        torch.where(urn.interior, log_binomial_pmf(urn.total, everything, tilt), 0.0),
    )


def find_tilt(urn: Urn) -> Tensor:
    """A tilt near the saddle point, outside of the autograd graph since no result depends on it.

    The sum's mean is half an element short of the total. That changes nothing where the sum is
    spread out; where it is nearly certain, it keeps the means of all groups that are hardly drawn
    from being differences of much larger ones.
    """
    below = torch.where(urn.total >= 1, urn.total - 0.5, 0.5 * urn.total)
    return solve_tilt(urn.log_weights.detach(), urn.sizes, below)


class _Cumulants(torch.autograd.Function):
    """(A, dA/dtheta, log Pr[S = n]) with closed forms for the derivatives in theta."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        groups = tilted_groups(theta, sizes, tilt)
        nodes = lattice_nodes(groups, total)
        log_center = log_lattice_prob(nodes)
        value = (sizes * log1p_exp(groups.u)).sum(-1) - total * tilt + log_center
        return value, _mean(groups, nodes), log_center

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        theta, sizes, total, tilt = inputs
        _, mean, _ = output
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(theta, sizes, total, tilt, mean)
        ctx.save_for_forward(theta, sizes, total, tilt, mean)

    @staticmethod
    def backward(
        ctx: Any, grad_value: Tensor | None, grad_mean: Tensor | None, grad_center: Tensor | None
    ) -> Any:
        theta, sizes, total, tilt, mean = ctx.saved_tensors
        result = torch.zeros_like(mean)
        if grad_value is not None:
            result = result + grad_value.unsqueeze(-1) * mean
        if grad_mean is not None:
            result = result + _covariance_product(theta, sizes, total, tilt, grad_mean)
        if grad_center is not None:
            independent = sizes * torch.sigmoid(theta + tilt.unsqueeze(-1))
            result = result + grad_center.unsqueeze(-1) * (mean - independent)
        return result, None, None, None


class _CumulantsForwardMode(_Cumulants):
    # Apart, since torch.compile takes no function that has this method.
    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Any:
        theta, sizes, total, tilt, mean = ctx.saved_tensors
        independent = sizes * torch.sigmoid(theta + tilt.unsqueeze(-1))
        return (
            (mean * direction).sum(-1),
            _covariance_product(theta, sizes, total, tilt, direction),
            ((mean - independent) * direction).sum(-1),
        )


class Derivatives:
    """Averages under the node weights of b_i(t) = d/dtheta_i m_i log(q_i + p_i e^{it}).

    ``real`` and ``imag`` are those of b_i(t) / (m_i p_i q_i), so that nothing is divided by a
    probability that may be 0.
    """

    def __init__(self, groups: Tilted, nodes: Nodes) -> None:
        norm = (1 + nodes.real.sum(-1)).unsqueeze(-1)
        self.weight_real, self.weight_imag = nodes.real / norm, nodes.imag / norm
        skew = (groups.p - groups.q).unsqueeze(-1)
        self.real = 2 * skew * nodes.at.haversine.unsqueeze(-2) / nodes.decay
        self.imag = nodes.at.sine.unsqueeze(-2) / nodes.decay
        self.first = self.average(self.real, self.imag)
        self.square = self.average(
            self.real.square() - self.imag.square(), 2 * self.real * self.imag
        )
        # What the second derivative has on its diagonal beyond the products of first ones.
        self.own = 1 - (groups.p - groups.q) * self.first - groups.p * groups.q * self.square
        self.variance = groups.variance

    def average(self, real: Tensor, imag: Tensor) -> Tensor:
        """Re E[real + i imag] over the nodes."""
        w_real, w_imag = self.weight_real.unsqueeze(-2), self.weight_imag.unsqueeze(-2)
        return (real * w_real - imag * w_imag).sum(-1)

    def covary(self, coefficients: Tensor) -> Tensor:
        """Re E[b_i B] - Re E[b_i] Re E[B] for each i, with B = sum_k c_k b_k; c: (..., G, S)."""
        w_real, w_imag = self.weight_real.unsqueeze(-1), self.weight_imag.unsqueeze(-1)
        real, imag = (torch.matmul(b.mT, coefficients) for b in (self.real, self.imag))
        real, imag = w_real * real - w_imag * imag, w_real * imag + w_imag * real
        joint = torch.matmul(self.real, real) - torch.matmul(self.imag, imag)
        return joint - self.first.unsqueeze(-1) * real.sum(-2, keepdim=True)

    def covariance_product(self, vectors: Tensor) -> Tensor:
        """The covariance of the counts times vectors (..., G, S), without the matrix: O(G)."""
        scale = self.variance.unsqueeze(-1)
        return scale * (self.covary(scale * vectors) + self.own.unsqueeze(-1) * vectors)


def _mean(groups: Tilted, nodes: Nodes) -> Tensor:
    weights = torch.stack([2 * nodes.at.haversine * nodes.real, -nodes.at.sine * nodes.imag], -1)
    sums = torch.matmul(1 / nodes.decay, weights) / (1 + nodes.real.sum(-1))[..., None, None]
    shift = (groups.p - groups.q) * sums[..., 0] + sums[..., 1]
    return groups.sizes * groups.p + groups.variance * shift


def saddle_point(known: Cumulants) -> tuple[Tilted, Derivatives]:
    """The groups tilted to the mean sum n, and the derivatives there."""
    urn = known.urn
    return _saddle_near(urn.log_weights, urn.sizes, urn.total, known.tilt)


def _saddle_near(
    theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
) -> tuple[Tilted, Derivatives]:
    groups = tilted_groups(theta, sizes, refine_tilt(theta.detach(), sizes, total, tilt))
    return groups, Derivatives(groups, lattice_nodes(groups, total))


def _covariance_product(
    theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor, vector: Tensor
) -> Tensor:
    # The covariance times a vector without the matrix: O(G). In plain tensor operations, so that
    # autograd supplies the third and higher derivatives.
    groups, b = _saddle_near(theta, sizes, total, tilt)
    # A constant vector has product 0. One that spares the group of largest variance cancels least.
    spared = has_largest_variance(groups)
    vector = vector - torch.where(spared, vector, 0.0).sum(-1, keepdim=True)
    return b.covariance_product(vector.unsqueeze(-1)).squeeze(-1)


def variance64(known: Cumulants) -> Tensor:
    """Variances in float64. Cost: O(G)."""
    urn = known.urn
    groups, b = saddle_point(known)
    scale, dominant = groups.variance, has_largest_variance(groups)
    direct = scale * (scale * (b.square - b.first.square()) + b.own)
    others = torch.where(dominant, 0.0, scale).unsqueeze(-1)
    by_others = -scale * b.covary(others).squeeze(-1)
    result = torch.where(dominant, by_others, direct)
    return torch.where(urn.interior.unsqueeze(-1), result, 0.0)


def covariance64(known: Cumulants) -> Tensor:
    """The covariance matrix in float64. Cost: O(G^2)."""
    urn = known.urn
    groups, b = saddle_point(known)
    scale = groups.variance
    w_real, w_imag = b.weight_real.unsqueeze(-2), b.weight_imag.unsqueeze(-2)
    joint = torch.matmul(b.real * w_real - b.imag * w_imag, b.real.mT)
    joint = joint - torch.matmul(b.imag * w_real + b.real * w_imag, b.imag.mT)
    joint = joint - b.first.unsqueeze(-1) * b.first.unsqueeze(-2)
    shared = scale.unsqueeze(-1) * joint * scale.unsqueeze(-2)
    same = torch.eye(scale.shape[-1], dtype=torch.bool, device=scale.device)
    by_others = -shared.masked_fill(same, 0.0).sum(-1)
    direct = shared.diagonal(dim1=-2, dim2=-1) + scale * b.own
    diagonal = torch.where(has_largest_variance(groups), by_others, direct)
    result = torch.where(same, diagonal.unsqueeze(-1), shared)
    return torch.where(urn.interior[..., None, None], result, 0.0)
