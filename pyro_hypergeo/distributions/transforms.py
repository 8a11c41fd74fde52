# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The transforms from free coordinates to log-weights, and to vectors that sum to zero."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.transforms import Transform, identity_transform

from ..ops.zero_sum import zero_sum_coordinates, zero_sum_vector
from .constraints import log_weight, zero_sum


class ZeroSumTransform(Transform):
    r"""
    Isometry from :math:`\mathbb R^{G-1}` onto the vectors of :math:`\mathbb R^G` that sum to zero.

    Its log-Jacobian is 0 with respect to Lebesgue measure on the hyperplane. It maps a spherical
    normal distribution to :class:`ZeroSumNormal`, which treats all entries in the same way. Cost
    of a call and of its inverse: O(G). See :func:`~pyro_hypergeo.ops.zero_sum_vector` for the
    formula.

    ``biject_to(zero_sum)`` and ``transform_to(zero_sum)`` return this transform. So automatic
    guides and HMC work for sites with this support.

    Example::

        >>> import torch
        >>> from pyro_hypergeo.distributions import ZeroSumTransform
        >>> ZeroSumTransform()(torch.tensor([3.0, 0.0, 0.0]))
        tensor([ 2.5000, -0.5000, -0.5000, -1.5000])
        >>> ZeroSumTransform().inv(torch.tensor([2.5, -0.5, -0.5, -1.5]))
        tensor([3., 0., 0.])

    :raises ValueError: by :meth:`forward_shape` and :meth:`inverse_shape`, if a shape has no last
        dimension of a legal size.
    """

    domain = constraints.real_vector
    codomain = zero_sum
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZeroSumTransform)

    def __hash__(self) -> int:
        return hash(type(self))

    def _call(self, x: Tensor) -> Tensor:
        return zero_sum_vector(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return zero_sum_coordinates(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Zeros of the batch shape."""
        return x.new_zeros(x.shape[:-1])

    def forward_shape(self, shape: Any) -> Any:
        """One entry more in the last dimension."""
        return _resized(shape, 1, at_least=0)

    def inverse_shape(self, shape: Any) -> Any:
        """One entry less in the last dimension."""
        return _resized(shape, -1, at_least=1)


def _resized(shape: Any, change: int, at_least: int) -> Any:
    if len(shape) < 1 or shape[-1] < at_least:
        raise ValueError(
            f"Expected `shape` to have a last dimension of at least {at_least}, "
            f"but got {tuple(shape)}."
        )
    return type(shape)([*shape[:-1], shape[-1] + change])


@biject_to.register(log_weight)  # type: ignore[untyped-decorator]
@transform_to.register(log_weight)  # type: ignore[untyped-decorator]
def _to_log_weight(constraint: constraints.Constraint) -> Transform:
    # Minus infinity is a log-weight too, but no finite number leads to it.
    return identity_transform


@biject_to.register(zero_sum)  # type: ignore[untyped-decorator]
@transform_to.register(zero_sum)  # type: ignore[untyped-decorator]
def _to_zero_sum(constraint: constraints.Constraint) -> ZeroSumTransform:
    return ZeroSumTransform()
