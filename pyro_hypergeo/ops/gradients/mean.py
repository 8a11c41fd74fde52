# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "mean": counts move as their mean moves."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..fisher.law import FISHER
from ..law import Law
from ..urn import Bounds
from ..wallenius.law import WALLENIUS
from .straight_through import moved_counts


def mean_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their mean moves under Fisher's law.

    The Jacobian is the covariance:

    .. math::

        \frac{\partial x_i}{\partial \theta_j} := \frac{\partial E[x_i]}{\partial \theta_j}
        = \operatorname{Cov}(x_i, x_j)

    The gradient of :math:`E[f(x)]` is exact for linear :math:`f`, and it has the least noise. The
    value is that of ``counts``, unchanged. Cost: O(G), forward and backward.

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    **References:**

    [1] Bengio, Y., Leonard, N. and Courville, A. (2013) "Estimating or propagating gradients
        through stochastic neurons for conditional computation".

    >>> import torch
    >>> from pyro_hypergeo.ops import mean_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> x = mean_gradient(
    ...     counts=torch.tensor([2.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    >>> x.detach()
    tensor([2., 1.])
    >>> x[0].backward()
    >>> log_weights.grad
    tensor([ 0.5600, -0.5600])
    """
    return moved_counts(mean_movement, FISHER, counts, log_weights, group_sizes, total_count)


def mean_movement(
    counts: Tensor, law: Law, state: Any, bounds: Bounds, temperature: Any = None
) -> Tensor:
    """The movement under any law: the mean, (..., G). It is the same for all counts."""
    return law.mean(state)


def wallenius_mean_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their mean moves under Wallenius' law.

    .. math::

        \frac{\partial x_i}{\partial \theta_j} := \frac{\partial E[x_i]}{\partial \theta_j}

    The gradient of :math:`E[f(x)]` is exact for linear :math:`f`. The value is that of ``counts``,
    unchanged. Cost: O(G) for each node, as for :func:`wallenius_mean`.

    :param Tensor counts: draws from the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the counts, shape ``sample_shape + (..., G)``, in their dtype; differentiable in the
        log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mean_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> wallenius_mean_gradient(
    ...     counts=torch.tensor([2.0, 1.0]),
    ...     log_weights=log_weights,
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... )
    tensor([2., 1.], grad_fn=<AddBackward0>)
    """
    return moved_counts(mean_movement, WALLENIUS, counts, log_weights, group_sizes, total_count)
