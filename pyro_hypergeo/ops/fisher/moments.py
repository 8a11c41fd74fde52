# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Log-partition function, mean, variances and covariances of Fisher's law."""

from __future__ import annotations

import torch
from torch import Tensor

from ..saddlepoint.lattice import has_largest_variance
from ..tracing import inside_transform
from .state import FisherState, saddle_point, solve_fisher


def variance_given(state: FisherState) -> Tensor:
    """Variances, (..., G), in float64. Cost: O(G)."""
    # The counts sum to a constant, and all their covariances are negative. So a variance is a sum
    # of the others' covariances, in which nothing cancels, even if the draw is nearly certain.
    urn = state.urn
    groups, b = saddle_point(state)
    scale, dominant = groups.variance, has_largest_variance(groups)
    # The group of largest variance needs the sum without itself: there, its own part would cancel.
    parts = torch.stack([torch.where(dominant, 0.0, scale), torch.where(dominant, scale, 0.0)], -1)
    by_others, by_dominant = b.covary(parts).unbind(-1)
    own = scale * (b.square - b.first.square())
    shared = by_others + torch.where(dominant, 0.0, by_dominant - own)
    result = (-scale * shared).clamp(min=0)
    return torch.where(urn.interior.unsqueeze(-1), result, 0.0)


def covariance_given(state: FisherState) -> Tensor:
    """The covariance matrix, (..., G, G), in float64. Cost: O(G^2)."""
    left, right = _factors(state)
    return _with_diagonal(torch.matmul(left, right.mT))


def summed_covariance_given(state: FisherState) -> Tensor:
    """The sum of the covariance matrices of a batch (S, G), in float64: (G, G).

    It is one product of matrices. No table of the shape (S, G, G) is formed. Cost: O(S G^2).
    """
    return _with_diagonal(torch.tensordot(*_factors(state), dims=([0, 2], [0, 2])))


def _factors(state: FisherState) -> tuple[Tensor, Tensor]:
    """Two tables, (..., G, K), with the covariances of different groups as their products."""
    groups, b = saddle_point(state)
    # An entry with one possible draw has no variance.
    scale = torch.where(state.urn.interior.unsqueeze(-1), groups.variance, 0.0).unsqueeze(-1)
    w_real, w_imag = b.weight_real.unsqueeze(-2), b.weight_imag.unsqueeze(-2)
    right = scale * torch.cat([b.real, b.imag, b.first.unsqueeze(-1)], -1)
    real, imag, first = right.split([b.real.shape[-1], b.imag.shape[-1], 1], -1)
    left = torch.cat([real * w_real - imag * w_imag, -imag * w_real - real * w_imag, -first], -1)
    return left, right


def _with_diagonal(covariance: Tensor) -> Tensor:
    """The matrix with the variances on its diagonal: all covariances are negative, and sum to 0."""
    if not covariance.requires_grad and not inside_transform():
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        diagonal.zero_()
        diagonal.copy_(0.0 - covariance.sum(-1))
        return covariance
    same = torch.eye(covariance.shape[-1], dtype=torch.bool, device=covariance.device)
    diagonal = 0.0 - covariance.masked_fill(same, 0.0).sum(-1)
    return torch.where(same, diagonal.unsqueeze(-1), covariance)


def log_partition(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Log-partition function of Fisher's law.

    .. math::

        A(\theta) = \log \, [z^n] \prod_i (1 + e^{\theta_i} z)^{m_i}

    A saddle point and the trapezoidal rule give it, exact to rounding; see
    :mod:`pyro_hypergeo.ops.saddlepoint`. Its gradient is :func:`mean` and its second derivative is
    :func:`covariance`. Both have closed forms. Autograd gives higher derivatives. Cost: O(G) and
    one sort, for any number of elements.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0, and
        has gradient 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the log-weights; ``-inf`` where no draw is possible.

    **References:**

    [1] Daniels, H. E. (1954) "Saddlepoint approximations in statistics", Annals of Mathematical
        Statistics 25(4): the tilt. The trapezoidal rule makes the result exact.

    [2] Trefethen, L. N. and Weideman, J. A. C. (2014) "The exponentially convergent trapezoidal
        rule", SIAM Review 56(3).

    >>> import torch
    >>> from pyro_hypergeo.ops import log_partition
    >>> log_partition(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... ).exp()
    tensor(120.0000)
    """
    return solve_fisher(log_weights, group_sizes, total_count).log_partition.to(log_weights.dtype)


def mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Mean counts under Fisher's law: the gradient of :func:`log_partition`.

    .. math:: \mu_i = E[x_i] = \frac{\partial A}{\partial \theta_i}

    Differentiable in the log-weights. Cost: O(G) and one sort.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import mean
    >>> mean(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    tensor([1.8000, 1.2000])
    """
    return solve_fisher(log_weights, group_sizes, total_count).mean.to(log_weights.dtype)


def variance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Variances of the counts under Fisher's law: the diagonal of :func:`covariance`.

    .. math:: \mathrm{Var}(x_i) = \frac{\partial^2 A}{\partial \theta_i^2}

    Differentiable in the log-weights. Cost: O(G) and one sort.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import variance
    >>> variance(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    tensor([0.5600, 0.5600])
    """
    return variance_given(solve_fisher(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def covariance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Covariances of the counts under Fisher's law.

    .. math::

        \Sigma_{ij} = \mathrm{Cov}(x_i, x_j)
        = \frac{\partial^2 A}{\partial \theta_i \, \partial \theta_j}

    Differentiable in the log-weights. Cost: O(G^2).

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G, G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import covariance
    >>> covariance(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    tensor([[ 0.5600, -0.5600],
            [-0.5600,  0.5600]])
    """
    return covariance_given(solve_fisher(log_weights, group_sizes, total_count)).to(
        log_weights.dtype
    )
