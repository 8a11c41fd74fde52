# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' distribution whose draws carry a gradient."""

from __future__ import annotations

from .straight_through_mixin import StraightThrough
from .wallenius import WalleniusHypergeometric


class WalleniusHypergeometricStraightThrough(StraightThrough, WalleniusHypergeometric):
    r"""
    :class:`WalleniusHypergeometric` whose draws carry a gradient to the weights.

    The value of a draw is exact: integer counts of the very law. Its derivative in the log-weights
    is that of an estimator, so that :math:`\nabla E[f(x)]` is had by backpropagation through
    :math:`f`, with little bias and with less noise than the score-function estimator. Both keep
    the sum of the counts and respect that only ratios of weights matter.

    ===============  =======================================================  ===================
    ``estimator``    the counts move                                          exact for
    ===============  =======================================================  ===================
    ``"affine"``     by the affine map that takes their mean and covariances  quadratic functions
                     along
    ``"mean"``       as their mean does                                       linear functions
    ===============  =======================================================  ===================

    It never enumerates, since Pyro would weigh values that are both enumerated and
    reparameterised wrongly: use :class:`WalleniusHypergeometric` for that.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import WalleniusHypergeometricStraightThrough
        >>> log_weights = torch.zeros(3, requires_grad=True)
        >>> race = WalleniusHypergeometricStraightThrough(4, [5, 3, 2], log_weights=log_weights)
        >>> x = race.rsample((100,))
        >>> loss = (x - torch.tensor([2.0, 1.0, 1.0])).square().sum(-1).mean()
        >>> loss.backward()
        >>> log_weights.grad.isfinite().all()
        tensor(True)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``.
    :type group_sizes: list of int or torch.Tensor
    :param weights: as for :class:`WalleniusHypergeometric`.
    :param log_weights: as for :class:`WalleniusHypergeometric`.
    :param str estimator: ``"affine"`` or ``"mean"``.
    :raises ValueError: if an argument is outside of what is said here, or shapes do not broadcast.
    """
