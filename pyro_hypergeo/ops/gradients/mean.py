# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from torch import Tensor

from ..fisher.state import Cumulants
from ..urn import make_urn
from ..wallenius.moments import wallenius_mean64
from ..wallenius.snapshots import snapshots
from .straight_through import carried, carry


def mean_gradient(
    counts: Tensor, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> Tensor:
    r"""Counts that move as their mean does: the Jacobian is the covariance.

    .. math::

        \frac{\partial x_i}{\partial \theta_j} := \frac{\partial E[x_i]}{\partial \theta_j}
        = \operatorname{Cov}(x_i, x_j)

    The gradient of :math:`E[f(x)]` is exact for linear :math:`f`, and has the least noise. The
    value is that of ``counts``, unchanged. Cost: O(G), forward and backward.

    :param Tensor counts: draws of the law, shape ``sample_shape + (..., G)``.
    :param Tensor log_weights: shape ``(..., G)``.
    :param Tensor group_sizes: shape ``(..., G)``.
    :param Tensor total_count: shape ``(...)``.
    :return: the counts, differentiable in the log-weights.

    **References:**

    [1] Bengio, Y., Leonard, N. and Courville, A. (2013) "Estimating or propagating gradients
        through stochastic neurons for conditional computation".

    >>> import torch
    >>> from pyro_hypergeo.ops import mean_gradient
    >>> log_weights = torch.zeros(2, requires_grad=True)
    >>> x = torch.tensor([2.0, 1.0])
    >>> x = mean_gradient(x, log_weights, torch.tensor([6.0, 4.0]), torch.tensor(3.0))
    >>> x.detach()
    tensor([2., 1.])
    >>> x[0].backward()
    >>> log_weights.grad
    tensor([ 0.5600, -0.5600])
    """
    return carried(mean_movement, counts, log_weights, group_sizes, total_count)


def mean_movement(counts: Tensor, known: Cumulants) -> Tensor:
    """The movement, whatever the counts."""
    return known.mean


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
