# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The solved urn of Fisher's law: log-partition function, mean, tilt, and their derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Size, Tensor

from ..autograd import apply
from ..binomial import log1p_exp, log_binomial_coefficient, log_binomial_pmf
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import (
    LatticeNodes,
    Tilted,
    has_largest_variance,
    lattice_nodes,
    log_lattice_prob,
    tilted_groups,
)
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import Urn, grow, make_urn


class FisherState(NamedTuple):
    """The results of one pass over the nodes, in float64."""

    urn: Urn
    log_partition: Tensor  # (...); its gradient is the mean
    mean: Tensor  # (..., G); its gradient is the covariance
    tilt: Tensor  # (...); no gradient
    log_center: Tensor  # (...): log Pr[S = n] of the groups at this tilt

    def expand(self, batch_shape: Size) -> FisherState:
        """The same state for a larger batch shape, without computing anything again."""
        rest = grow(batch_shape, self.tilt.dim(), *self[1:])
        return FisherState(self.urn.expand(batch_shape), *rest)

    def flat(self, rows: Tensor) -> FisherState:
        """Some states of the batch, in one dimension."""
        dim = self.tilt.dim()
        rest = (x.reshape(-1, *x.shape[dim:])[rows] for x in self[1:])
        return FisherState(self.urn.flat(rows), *rest)


def solve_fisher(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> FisherState:
    """The log-partition function, its gradient, and the tilt at which they were found."""
    urn = make_urn(log_weights, group_sizes, total_count)
    tilt = find_tilt(urn)
    value, gradient, log_center = apply(
        _State, urn.log_weights, urn.sizes, urn.total, tilt, forward_mode=_StateForwardMode
    )
    drawn = urn.edge > 0
    edge_value = (urn.edge * torch.where(drawn, log_weights, 0.0)).sum(-1)
    return FisherState(
        urn,
        torch.where(urn.interior, value, torch.where(urn.feasible, edge_value, -torch.inf)),
        torch.where(urn.interior.unsqueeze(-1), gradient, urn.edge),
        tilt,
        torch.where(urn.interior, log_center, 0.0),
    )


def solve_central(group_sizes: Tensor, total_count: Tensor) -> FisherState:
    """The state for weights of 1, where everything has a closed form."""
    sizes, total = group_sizes.double(), total_count.double()
    urn = make_urn(torch.zeros_like(sizes), sizes, total)
    everything = urn.sizes.sum(-1)
    tilt = torch.log(urn.total) - torch.log(everything - urn.total)
    mean = urn.sizes * (urn.total / everything).unsqueeze(-1)
    value = log_binomial_coefficient(everything, urn.total)
    impossible = torch.where(urn.feasible, 0.0, -torch.inf)
    return FisherState(
        urn,
        torch.where(urn.interior, value, impossible),
        torch.where(urn.interior.unsqueeze(-1), mean, urn.edge),
        tilt,
        torch.where(urn.interior, log_binomial_pmf(urn.total, everything, tilt), 0.0),
    )


class _State(torch.autograd.Function):
    """(A, dA/dtheta, log Pr[S = n]); the derivatives in theta have closed forms."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        groups = tilted_groups(theta, sizes, tilt)
        nodes = lattice_nodes(groups, total)
        log_center = log_lattice_prob(nodes)
        # A group with odds above 1 is counted by the elements that it leaves: m softplus(u) is
        # m u + m softplus(-u). The part m u joins the total, so nothing cancels in huge urns.
        log_rare = torch.nn.functional.logsigmoid(groups.u.abs())
        parts = torch.addcmul(nodes.counted * theta, sizes, log_rare, value=-1)
        value = parts.sum(-1) - nodes.offset * tilt + log_center
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


class _StateForwardMode(_State):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Any:
        theta, sizes, total, tilt, mean = ctx.saved_tensors
        independent = sizes * torch.sigmoid(theta + tilt.unsqueeze(-1))
        return (
            (mean * direction).sum(-1),
            _covariance_product(theta, sizes, total, tilt, direction),
            ((mean - independent) * direction).sum(-1),
        )


def _mean(groups: Tilted, nodes: LatticeNodes) -> Tensor:
    """The mean counts, (..., G): the tilted means m_i p_i plus a correction from the nodes."""
    weights = torch.stack([2 * nodes.at.haversine * nodes.real, -nodes.at.sine * nodes.imag], -1)
    sums = torch.matmul(1 / nodes.decay, weights) / (1 + nodes.real.sum(-1))[..., None, None]
    shift = (groups.p - groups.q) * sums[..., 0] + sums[..., 1]
    return groups.sizes * groups.p + groups.variance * shift


def saddle_point(state: FisherState) -> tuple[Tilted, Derivatives]:
    """The groups, tilted to a mean sum of n, and the averages over the nodes there."""
    urn = state.urn
    return _saddle_near(urn.log_weights, urn.sizes, urn.total, state.tilt)


def _saddle_near(
    theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
) -> tuple[Tilted, Derivatives]:
    groups = tilted_groups(theta, sizes, refine_tilt(theta.detach(), sizes, total, tilt))
    return groups, Derivatives(groups, lattice_nodes(groups, total))


def _covariance_product(
    theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor, vector: Tensor
) -> Tensor:
    """The covariance times a vector (..., G), without the matrix: O(G)."""
    # These are plain tensor operations, so autograd gives the third and higher derivatives.
    groups, b = _saddle_near(theta, sizes, total, tilt)
    # A constant vector has the product 0, so we may subtract one. We make the entry of the group of
    # largest variance 0: then the least cancels.
    spared = has_largest_variance(groups)
    vector = vector - torch.where(spared, vector, 0.0).sum(-1, keepdim=True)
    return b.covariance_product(vector.unsqueeze(-1)).squeeze(-1)


def log_center_at(state: FisherState, tilts: Tensor) -> Tensor:
    """log Pr[S = n] under other tilts than that of the state, (..., T), without cancellation."""
    urn = state.urn
    shift = (tilts - state.tilt.unsqueeze(-1)).unsqueeze(-1)  # (..., T, 1)
    u = (urn.log_weights + state.tilt.unsqueeze(-1)).unsqueeze(-2)
    # A group with odds above 1 is counted by what it leaves: the signs of u and the shift change,
    # and its size joins the total. So nothing cancels in huge urns.
    above, sizes = u > 0, urn.sizes.unsqueeze(-2)
    own = torch.where(above, -shift, shift)
    rare = -u.abs()
    near = shift.abs() < 1
    close = torch.log1p(torch.sigmoid(rare) * torch.expm1(torch.where(near, own, 0.0)))
    change = torch.where(near, close, log1p_exp(rare + own) - log1p_exp(rare))
    offset = urn.total.unsqueeze(-1) - torch.where(above, sizes, 0.0).sum(-1)
    change = (sizes * change).sum(-1) - offset * shift[..., 0]
    return state.log_center.unsqueeze(-1) - change
