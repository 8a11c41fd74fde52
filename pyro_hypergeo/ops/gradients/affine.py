# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "affine": counts move by a map that carries mean and covariances along."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..fisher.law import FISHER
from ..law import Law
from ..urn import Bounds
from ..wallenius.law import WALLENIUS
from .fisher_affine import fisher_affine_movement
from .straight_through import moved_counts

# The rounding of a covariance matrix, relative to variances of independent elements.
_ROUNDING = 1e-15


def affine_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move by an affine map, which carries their mean and covariances along.

    The law is Fisher's. Its first three cumulants are :math:`\mu`, :math:`\Sigma` and
    :math:`\kappa`. The counts move by

    .. math::

        \frac{\partial x_i}{\partial \theta_j}
        := \Sigma_{ij} + \frac12 \sum_k \kappa_{ijk} \bigl(\Sigma^+ (x - \mu)\bigr)_k .

    The gradient of :math:`E[f(x)]` is exact for every quadratic :math:`f`, such as products of two
    counts. The counts keep their sum. The value is that of ``counts``, unchanged. With more than 32
    groups, conjugate gradients apply the pseudo-inverse :math:`\Sigma^+`, and no matrix is formed.
    Cost: O(G) for each draw, forward and backward.

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import affine_gradient
    >>> log_weights = torch.zeros(3, requires_grad=True)
    >>> affine_gradient(
    ...     counts=torch.tensor([2.0, 1.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0, 2.0]),
    ...     total_count=torch.tensor(4.0),
    ... )
    tensor([2., 1., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(
        fisher_affine_movement, FISHER, counts, log_weights, group_sizes, total_count
    )


def wallenius_affine_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move by an affine map, which carries their mean and covariances along.

    The law is Wallenius', with mean :math:`\mu` and covariance :math:`\Sigma`. The counts move by

    .. math::

        \frac{\partial x}{\partial \theta_j} := \frac{\partial \mu}{\partial \theta_j}
        + \frac12 \frac{\partial \Sigma}{\partial \theta_j} \Sigma^+ (x - \mu) .

    The gradient of :math:`E[f(x)]` is exact for every quadratic :math:`f`. The counts keep their
    sum. The value is that of ``counts``, unchanged. Cost: O(G^2) for each node, as for
    :func:`wallenius_covariance`, plus O(G^3).

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_affine_gradient
    >>> log_weights = torch.zeros(3, requires_grad=True)
    >>> wallenius_affine_gradient(
    ...     counts=torch.tensor([2.0, 1.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0, 2.0]),
    ...     total_count=torch.tensor(4.0),
    ... )
    tensor([2., 1., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(affine_movement, WALLENIUS, counts, log_weights, group_sizes, total_count)


def affine_movement(
    counts: Tensor, law: Law, state: Any, bounds: Bounds, temperature: Any = None
) -> Tensor:
    """The movement of each draw under any law, in the shape of the counts."""
    covariance = law.covariance(state)  # first: the state may keep the mean that this computes
    mean = law.mean(state)
    with torch.no_grad():
        away = counts.double() - mean
        # We solve in units of standard deviations. The matrix is singular where nothing varies: in
        # the direction of the sum, and for groups whose count is certain. There it is made regular.
        # It is nearly singular where rounding hides what varies. A ridge as high as this rounding
        # keeps such directions small. Elsewhere it changes nothing.
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        left = (1 - mean / state.urn.sizes.clamp(min=1)).clamp(min=10 * _ROUNDING)
        noise = _ROUNDING * mean * left
        certain = variance <= torch.maximum(noise, 10 * _ROUNDING * variance.amax(-1, keepdim=True))
        varying = torch.where(certain, 0.0, variance.rsqrt())
        known = torch.where(certain, 0.0, variance)
        share = known / known.sum(-1, keepdim=True).clamp(min=1e-300)
        matrix = covariance + share.unsqueeze(-1) * known.unsqueeze(-2)
        matrix = matrix * varying.unsqueeze(-1) * varying.unsqueeze(-2)
        matrix.diagonal(dim1=-2, dim2=-1).add_(torch.where(certain, 1.0, noise / variance))
        right = (away * varying).unsqueeze(-1)
        # `solve_ex` neither raises an error nor asks a device.
        direction = torch.linalg.solve_ex(matrix, right).result.squeeze(-1) * varying
    # A trace forgets `no_grad`, but not `detach`.
    return mean + 0.5 * (covariance @ direction.detach().unsqueeze(-1)).squeeze(-1)
