# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "affine" under Fisher's law, whose third cumulants have a closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..autograd import apply
from ..fisher.state import FisherState, saddle_near
from ..law import Law
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import Tilted, has_small_tables
from ..saddlepoint.third_cumulants import third_cumulant_product
from ..tracing import inside_transform
from ..urn import Bounds

# Up to so many groups, one solve with the matrix has fewer operations.
_FEW_GROUPS = 32
# Steps of the conjugate gradients. Few are enough: the matrix is the identity, plus a small part
# from the skewness of the groups.
_STEPS = 6
# A group whose tilted variance is smaller never varies: no draw, and no gradient, can show it.
_CERTAIN = 1e-30
# The rounding of the matrix. If a draw is nearly certain, this much keeps its solution small.
_ROUNDING = 1e-15


def fisher_affine_movement(
    counts: Tensor, law: Law, state: FisherState, bounds: Bounds, temperature: Any = None
) -> Tensor:
    """The movement of each draw under Fisher's law, in the shape of the counts."""
    urn = state.urn
    shape = torch.broadcast_shapes(counts.shape, state.mean.shape)
    away = (counts.double() - state.mean.detach()).expand(shape)
    columns = away.reshape((-1, *state.mean.shape)).movedim(0, -1)
    theta = urn.log_weights
    # The direction is held fixed: a trace forgets `no_grad`, but not `detach`.
    with torch.no_grad():
        known = None if state.kept is None else state.kept.saddle()
        saddle = known or saddle_near(theta.detach(), urn.sizes, urn.total, state.tilt)
        direction = _inverse_product(columns, *saddle).detach()
    parameters = theta, urn.sizes, urn.total, state.tilt, direction
    # While a trace is made, nothing may be kept outside of it.
    kept = saddle if has_small_tables(theta) and not inside_transform() else None
    moved = apply(_Movement, *parameters, kept, forward_mode=_ForwardMode)
    return moved.movedim(-1, 0).reshape(shape)


class _Movement(torch.autograd.Function):
    """mean + covariance @ direction / 2 with the direction held fixed, for S columns (..., G, S).

    Only its derivative counts, so its value is 0.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        theta: Tensor,
        sizes: Tensor,
        total: Tensor,
        tilt: Tensor,
        direction: Tensor,
        kept: tuple[Tilted, Derivatives] | None,
    ) -> Tensor:
        return torch.zeros_like(direction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *parameters, ctx.kept = inputs
        ctx.save_for_backward(*parameters)
        ctx.save_for_forward(*parameters)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        *parameters, direction = ctx.saved_tensors
        again = torch.is_grad_enabled() or ctx.kept is None
        groups, b = saddle_near(*parameters) if again else ctx.kept
        return (_change(grad, groups, b, direction).sum(-1), *(None,) * 5)


class _ForwardMode(_Movement):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, along_theta: Tensor, *_: Any) -> Tensor:
        *parameters, direction = ctx.saved_tensors
        groups, b = saddle_near(*parameters)
        return _change(along_theta.unsqueeze(-1).expand_as(direction), groups, b, direction)


def _change(along: Tensor, groups: Tilted, b: Derivatives, direction: Tensor) -> Tensor:
    """The movement along changes of theta, (..., G, S). As a matrix it is symmetric."""
    # A constant vector changes nothing: see the covariance product of a state.
    spared = groups.variance.detach().argmax(-1, keepdim=True)[..., None]
    along = along - along.take_along_dim(spared, -2)
    third = third_cumulant_product(groups, b, along, direction)
    return torch.add(b.covariance_product(along), third, alpha=0.5)


def _inverse_product(vectors: Tensor, groups: Tilted, b: Derivatives) -> Tensor:
    """The pseudo-inverse of the covariance times S vectors (..., G, S)."""
    # The covariance is close to that of independent groups given their sum. This is
    # D - d d' / sum(d), with D = diag(d) the tilted variances. We scale it by D^(-1/2), and fill
    # its null space by the projection on D^(1/2) 1. The result is close to the identity.
    variance = torch.where(groups.variance > _CERTAIN, groups.variance, 0.0).unsqueeze(-1)
    root = variance.sqrt()
    inverse_root = torch.where(root > 0, 1 / root, 0.0)
    null = root * variance.sum(-2, keepdim=True).clamp(min=_CERTAIN).rsqrt()
    solve = _by_elimination if root.shape[-2] <= _FEW_GROUPS else _by_conjugate_gradients
    return solve(vectors * inverse_root, root, null, b) * inverse_root


def _by_elimination(right: Tensor, root: Tensor, null: Tensor, b: Derivatives) -> Tensor:
    w_real, w_imag = b.weight_real.unsqueeze(-2), b.weight_imag.unsqueeze(-2)
    inverse = root * b.inverse
    real = (b.skew.unsqueeze(-1) * inverse) * b.haversine.unsqueeze(-2)
    imag = inverse * b.sine.unsqueeze(-2)
    # Row i times column j is Re E[b_i b_j].
    left = torch.cat(
        [
            torch.addcmul(real * w_real, imag, w_imag, value=-1),
            torch.addcmul(imag * w_real, real, w_imag).neg_(),
            root * b.first.unsqueeze(-1),
            null,
        ],
        -1,
    )
    up = torch.cat([real, imag, -left[..., -2:-1], null], -1)
    matrix = torch.matmul(left, up.mT) + torch.diag_embed(b.own + _ROUNDING)
    # `solve_ex` neither raises an error nor asks a device.
    return torch.linalg.solve_ex(matrix, right).result


def _by_conjugate_gradients(right: Tensor, root: Tensor, null: Tensor, b: Derivatives) -> Tensor:
    def matrix(z: Tensor) -> Tensor:
        product = root * b.covary(root * z) + b.own.unsqueeze(-1) * z
        return product + null * (null * z).sum(-2, keepdim=True)

    residual = right
    result, step = torch.zeros_like(residual), residual
    square = residual.square().sum(-2, keepdim=True)
    for _ in range(_STEPS):
        image = matrix(step)
        length = _ratio(square, (step * image).sum(-2, keepdim=True))
        result = result + length * step
        residual = residual - length * image
        last, square = square, residual.square().sum(-2, keepdim=True)
        step = residual + _ratio(square, last) * step
    return result


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)
