# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from torch import Tensor

from ._cumulants import covariance64, cumulants, variance64


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
    return cumulants(log_weights, group_sizes, total_count).log_partition.to(log_weights.dtype)


def mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Mean counts, shape ``(..., G)``; arguments as for :func:`log_partition`. Cost: O(G).

    >>> import torch
    >>> from pyro_hypergeo.ops import mean
    >>> mean(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([1.8000, 1.2000])
    """
    return cumulants(log_weights, group_sizes, total_count).mean.to(log_weights.dtype)


def variance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Variances, shape ``(..., G)``; arguments as for :func:`log_partition`. Cost: O(G).

    >>> import torch
    >>> from pyro_hypergeo.ops import variance
    >>> variance(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([0.5600, 0.5600])
    """
    return variance64(cumulants(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def covariance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    """Covariances, shape ``(..., G, G)``; arguments as for :func:`log_partition`. Cost: O(G^2).

    >>> import torch
    >>> from pyro_hypergeo.ops import covariance
    >>> covariance(torch.zeros(2), torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    tensor([[ 0.5600, -0.5600],
            [-0.5600,  0.5600]])
    """
    return covariance64(cumulants(log_weights, group_sizes, total_count)).to(log_weights.dtype)
