# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The solved urn of Fisher's law: log-partition function, mean, tilt, and their derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Size, Tensor

from ..autograd import apply
from ..binomial import log1p_exp, log_binomial_pmf
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import (
    Tilted,
    has_small_tables,
    lattice_nodes,
    log_lattice_prob,
    tilted_groups,
    varies_much,
)
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..tracing import may_branch
from ..urn import Urn, grow, make_urn


class FisherState(NamedTuple):
    """The results of one pass over the nodes, in float64."""

    urn: Urn
    mean: Tensor  # (..., G); its gradient is the covariance
    tilt: Tensor  # (...); no gradient
    log_center: Tensor  # (...): log Pr[S = n] of the groups at this tilt
    at_edge: Tensor  # (...): the log-partition function where the entry is not interior
    kept: Kept | None = None  # for first derivatives

    @property
    def log_partition(self) -> Tensor:
        """The log-partition function, (...); its gradient is the mean."""
        urn = self.urn
        value = apply(
            _LogPartition,
            urn.log_weights,
            urn.sizes,
            urn.total,
            self.tilt,
            self.log_center.detach(),
            self.mean,
            forward_mode=_LogPartitionForwardMode,
        )
        if may_branch(value) and urn.ordinary:
            return value
        return torch.where(urn.interior, value, self.at_edge)

    def expand(self, batch_shape: Size) -> FisherState:
        """The same state for a larger batch shape, without computing anything again."""
        mean, tilt, center, edge = grow(batch_shape, self.tilt.dim(), *self[1:5])
        return FisherState(self.urn.expand(batch_shape), mean, tilt, center, edge)

    def flat(self, rows: Tensor) -> FisherState:
        """Some states of the batch, in one dimension."""
        dim = self.tilt.dim()
        mean, tilt, center, edge = (x.reshape(-1, *x.shape[dim:])[rows] for x in self[1:5])
        return FisherState(self.urn.flat(rows), mean, tilt, center, edge)


def solve_fisher(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> FisherState:
    """The mean, the tilt at which it was found, and what the log-partition function needs."""
    urn = make_urn(log_weights, group_sizes, total_count)
    tilt = find_tilt(urn)
    parameters = urn.log_weights, urn.sizes, urn.total, tilt
    small = may_branch(tilt) and has_small_tables(urn.log_weights)
    kept = Kept() if small and urn.log_weights.requires_grad else None
    mean, log_center = apply(_State, *parameters, kept, forward_mode=_StateForwardMode)
    if may_branch(tilt) and urn.ordinary:
        # The last field is not read: all entries are interior.
        return FisherState(urn, mean, tilt, log_center, tilt, kept)
    drawn = urn.edge > 0
    at_edge = (urn.edge * torch.where(drawn, log_weights, 0.0)).sum(-1)
    return FisherState(
        urn,
        torch.where(urn.interior.unsqueeze(-1), mean, urn.edge),
        tilt,
        torch.where(urn.interior, log_center, 0.0),
        torch.where(urn.feasible, at_edge, -torch.inf),
        kept,
    )


def solve_central(group_sizes: Tensor, total_count: Tensor) -> FisherState:
    """The state for weights of 1, where everything has a closed form."""
    sizes, total = group_sizes.double(), total_count.double()
    urn = make_urn(torch.zeros_like(sizes), sizes, total)
    everything = urn.sizes.sum(-1)
    tilt = torch.log(urn.total) - torch.log(everything - urn.total)
    mean = urn.sizes * (urn.total / everything).unsqueeze(-1)
    return FisherState(
        urn,
        torch.where(urn.interior.unsqueeze(-1), mean, urn.edge),
        tilt,
        torch.where(urn.interior, log_binomial_pmf(urn.total, everything, tilt), 0.0),
        torch.where(urn.feasible, 0.0, -torch.inf),
    )


class Kept:
    """What the forward pass computed at a tilt, for first derivatives; only where it is small."""

    def __init__(self) -> None:
        self._made: tuple[Tilted, Derivatives] | None = None

    def keep(self, groups: Tilted, averages: Derivatives) -> None:
        """Keep these, if the sum varies so much that no better tilt is needed."""
        self._made = (groups, averages) if varies_much(groups) else None

    def saddle(self) -> tuple[Tilted, Derivatives] | None:
        """What :func:`saddle_near` would compute again; None while it must be differentiable."""
        return None if torch.is_grad_enabled() else self._made


class _State(torch.autograd.Function):
    """(dA/dtheta, log Pr[S = n]); the derivatives in theta have closed forms."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor, kept: Kept | None
    ) -> tuple[Tensor, Tensor]:
        groups = tilted_groups(theta, sizes, tilt)
        nodes = lattice_nodes(groups, total)
        averages = Derivatives(groups, nodes)
        if kept is not None:
            kept.keep(groups, averages)
        mean = torch.addcmul(sizes * groups.p, groups.variance, averages.first)
        return mean, log_lattice_prob(nodes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        theta, sizes, total, tilt, ctx.kept = inputs
        mean, _ = output
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(theta, sizes, total, tilt, mean)
        ctx.save_for_forward(theta, sizes, total, tilt, mean)

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor | None, grad_center: Tensor | None) -> Any:
        theta, sizes, total, tilt, mean = ctx.saved_tensors
        result = None
        if grad_mean is not None:
            kept = None if ctx.kept is None else ctx.kept.saddle()
            groups, b = saddle_near(theta, sizes, total, tilt) if kept is None else kept
            result = _covariance_product(groups, b, grad_mean)
        if grad_center is not None:
            independent = sizes * torch.sigmoid(theta + tilt.unsqueeze(-1))
            by_center = grad_center.unsqueeze(-1) * (mean - independent)
            result = by_center if result is None else result + by_center
        return result, None, None, None, None


class _StateForwardMode(_State):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Any:
        theta, sizes, total, tilt, mean = ctx.saved_tensors
        groups, b = saddle_near(theta, sizes, total, tilt)
        independent = sizes * torch.sigmoid(theta + tilt.unsqueeze(-1))
        return (
            _covariance_product(groups, b, direction),
            ((mean - independent) * direction).sum(-1),
        )


class _LogPartition(torch.autograd.Function):
    """A = sum_i m_i softplus(u_i) - n s + log Pr[S = n]; the gradient is the mean."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor, log_center: Tensor, mean: Tensor
    ) -> Tensor:
        # A group with odds above 1 is counted by the elements that it leaves: m softplus(u) is
        # m u + m softplus(-u). The part m u joins the total, so nothing cancels in huge urns.
        u = theta + tilt.unsqueeze(-1)
        counted = torch.where(u > 0, sizes, 0.0)
        log_rare = torch.nn.functional.logsigmoid(u.abs())
        parts = torch.addcmul(counted * theta, sizes, log_rare, value=-1)
        return parts.sum(-1) - (total - counted.sum(-1)) * tilt + log_center

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[-1])
        ctx.save_for_forward(inputs[-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (mean,) = ctx.saved_tensors
        return grad.unsqueeze(-1) * mean, None, None, None, None, None


class _LogPartitionForwardMode(_LogPartition):
    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Tensor:
        (mean,) = ctx.saved_tensors
        return (mean * direction).sum(-1)


def saddle_point(state: FisherState) -> tuple[Tilted, Derivatives]:
    """The groups, tilted to a mean sum of n, and the averages over the nodes there."""
    urn = state.urn
    return saddle_near(urn.log_weights, urn.sizes, urn.total, state.tilt)


def saddle_near(
    theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
) -> tuple[Tilted, Derivatives]:
    """:func:`saddle_point` from a tilt that brings the mean sum within an element of n."""
    # If the sum varies much, the tilt at hand will do.
    groups = tilted_groups(theta, sizes, tilt)
    if not (may_branch(tilt) and varies_much(groups)):
        groups = tilted_groups(theta, sizes, refine_tilt(theta.detach(), sizes, total, tilt))
    return groups, Derivatives(groups, lattice_nodes(groups, total))


def _covariance_product(groups: Tilted, b: Derivatives, vector: Tensor) -> Tensor:
    """The covariance times a vector (..., G), without the matrix: O(G)."""
    # These are plain tensor operations, so autograd gives the third and higher derivatives.
    # A constant vector has the product 0, so we may subtract one. We make the entry of the group of
    # largest variance 0: then the least cancels.
    spared = groups.variance.detach().argmax(-1, keepdim=True)
    vector = vector - vector.gather(-1, spared)
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
