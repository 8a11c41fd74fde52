# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor

from ..saddlepoint.lattice import has_largest_variance
from .state import FisherState, saddle_point, solve_fisher


def variance_given(state: FisherState) -> Tensor:
    """Variances in float64. Cost: O(G)."""
    urn = state.urn
    groups, b = saddle_point(state)
    scale, dominant = groups.variance, has_largest_variance(groups)
    direct = scale * (scale * (b.square - b.first.square()) + b.own)
    others = torch.where(dominant, 0.0, scale).unsqueeze(-1)
    by_others = -scale * b.covary(others).squeeze(-1)
    result = torch.where(dominant, by_others, direct)
    return torch.where(urn.interior.unsqueeze(-1), result, 0.0)


def covariance_given(state: FisherState) -> Tensor:
    """The covariance matrix in float64. Cost: O(G^2)."""
    urn = state.urn
    groups, b = saddle_point(state)
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


def log_partition(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Log-partition function of Fisher's noncentral hypergeometric law.

    .. math::

        A(\theta) = \log \, [z^n] \prod_i (1 + e^{\theta_i} z)^{m_i}

    Exact to rounding by a saddle point and the trapezoidal rule, at a cost of O(G) (and one sort)
    whatever the number of elements. Its gradient is :func:`mean`, its second derivative
    :func:`covariance`, both by closed forms; higher ones by autograd. All in float64 inside.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0, and
        has gradient 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the log-weights; ``-inf`` where no draw is possible.

    **References:**

    [1] Daniels, H. E. (1954) "Saddlepoint approximations in statistics", Annals of Mathematical
        Statistics 25(4): the tilt, which the rule makes exact.

    [2] Trefethen, L. N. and Weideman, J. A. C. (2014) "The exponentially convergent trapezoidal
        rule", SIAM Review 56(3).

    >>> import torch
    >>> from pyro_hypergeo.ops import log_partition
    >>> log_partition(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0)).exp()
    tensor(120.0000)
    """
    return solve_fisher(log_weights, group_sizes, total_count).log_partition.to(log_weights.dtype)


def mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Mean counts, shape ``(..., G)``; arguments as for :func:`log_partition`. Cost: O(G).

    >>> import torch
    >>> from pyro_hypergeo.ops import mean
    >>> mean(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([1.8000, 1.2000])
    """
    return solve_fisher(log_weights, group_sizes, total_count).mean.to(log_weights.dtype)


def variance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Variances, shape ``(..., G)``; arguments as for :func:`log_partition`. Cost: O(G).

    >>> import torch
    >>> from pyro_hypergeo.ops import variance
    >>> variance(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([0.5600, 0.5600])
    """
    return variance_given(solve_fisher(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def covariance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Covariances, shape ``(..., G, G)``; arguments as for :func:`log_partition`. Cost: O(G^2).

    >>> import torch
    >>> from pyro_hypergeo.ops import covariance
    >>> covariance(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([[ 0.5600, -0.5600],
            [-0.5600,  0.5600]])
    """
    return covariance_given(solve_fisher(log_weights, group_sizes, total_count)).to(
        log_weights.dtype
    )
