# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor

from ._carry import carry
from ._urn import make_urn
from .wallenius_moments import snapshots, wallenius_covariance64, wallenius_mean64


def wallenius_mean_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their mean under Wallenius' law does.

    .. math::

        \frac{\partial x_i}{\partial \theta_j} := \frac{\partial E[x_i]}{\partial \theta_j}

    The gradient of :math:`E[f(x)]` is exact for linear :math:`f`. The value is that of ``counts``,
    unchanged. Arguments as for :func:`mean_gradient`. Cost: that of :func:`wallenius_mean`.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mean_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> x, m = torch.tensor([2.0, 1.0]), torch.tensor([6.0, 4.0])
    >>> wallenius_mean_gradient(x, log_weights, m, torch.tensor(3.0))
    tensor([2., 1.], grad_fn=<AddBackward0>)
    """
    urn = make_urn(log_weights, group_sizes, total_count)
    return carry(counts.detach(), wallenius_mean64(urn, snapshots(urn)))


def wallenius_affine_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move by the affine map that takes their mean and their covariances along.

    With :math:`\mu` and :math:`\Sigma` the mean and the covariance under Wallenius' law,

    .. math::

        \frac{\partial x}{\partial \theta_j} := \frac{\partial \mu}{\partial \theta_j}
        + \frac12 \frac{\partial \Sigma}{\partial \theta_j} \Sigma^+ (x - \mu) .

    The gradient of :math:`E[f(x)]` is exact for every quadratic :math:`f`, and the counts keep
    their sum. The value is that of ``counts``, unchanged. Arguments as for :func:`mean_gradient`.
    Cost: that of :func:`wallenius_covariance`, and O(G^3).

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_affine_gradient
    >>> log_weights = torch.zeros(3, requires_grad=True)
    >>> x, m = torch.tensor([2.0, 1.0, 1.0]), torch.tensor([6.0, 4.0, 2.0])
    >>> wallenius_affine_gradient(x, log_weights, m, torch.tensor(4.0))
    tensor([2., 1., 1.], grad_fn=<AddBackward0>)
    """
    urn = make_urn(log_weights, group_sizes, total_count)
    at = snapshots(urn)
    mean, covariance = wallenius_mean64(urn, at), wallenius_covariance64(urn, at)
    return carry(counts.detach(), affine_movement_of(counts.detach(), mean, covariance))


def affine_movement_of(counts: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The movement of each draw, for any law whose counts have a fixed sum."""
    with torch.no_grad():
        away = counts.double() - mean
        # In units of standard deviations, with the directions in which nothing varies made
        # regular: the sum, and the groups whose count is certain.
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        certain = variance <= 1e-14 * variance.amax(-1, keepdim=True).clamp(min=1e-280)
        scale = torch.where(certain, 1.0, variance.clamp(min=1e-300).sqrt())
        fixed = torch.where(certain, 0.0, scale)
        fixed = fixed / fixed.square().sum(-1, keepdim=True).clamp(min=1e-300).sqrt()
        varying = torch.where(certain, 0.0, 1 / scale)
        matrix = covariance * varying.unsqueeze(-1) * varying.unsqueeze(-2)
        matrix = matrix + fixed.unsqueeze(-1) * fixed.unsqueeze(-2)
        matrix = matrix + torch.diag_embed(certain.to(matrix.dtype))
        right = (away * varying).unsqueeze(-1)
        direction = torch.linalg.solve(matrix, right).squeeze(-1) * varying
    return mean + 0.5 * (covariance @ direction.unsqueeze(-1)).squeeze(-1)
