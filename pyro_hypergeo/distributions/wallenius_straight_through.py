# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' distribution whose draws carry a gradient."""

from __future__ import annotations

from .straight_through_mixin import StraightThrough
from .wallenius import WalleniusHypergeometric


class WalleniusHypergeometricStraightThrough(StraightThrough, WalleniusHypergeometric):
    r"""
    :class:`WalleniusHypergeometric` whose draws carry a gradient to the weights.

    .. math::

        p(x) = \prod_{i=1}^G \binom{m_i}{x_i} \int_0^\infty D e^{-D u}
            \prod_{i=1}^G \bigl(1 - e^{-w_i u}\bigr)^{x_i} du,
        \qquad D = \sum_i w_i (m_i - x_i) .

    The value of a draw is exact: integer counts of the same distribution, in every dtype. Its
    derivative in the log-weights comes from an estimator. So backpropagation through :math:`f`
    gives :math:`\nabla E[f(x)]`, with a small bias and with less noise than the score-function
    estimator. Both estimators keep the sum of the counts. Both respect that only ratios of
    weights matter.

    ==============  ==========================================  ===================  ==============
    ``estimator``   how the counts move                         exact for            cost of a draw
    ==============  ==========================================  ===================  ==============
    ``"affine"``    by the affine map that carries their mean   quadratic functions  :math:`O(G^3)`
                    and covariances along
    ``"mean"``      as their mean moves                         linear functions     :math:`O(G)`
    ==============  ==========================================  ===================  ==============

    This class does not enumerate. Pyro would give wrong weights to values that are both enumerated
    and reparameterised. Use :class:`WalleniusHypergeometric` to enumerate.

    **References:**

    [1] Bengio, Y., Leonard, N. and Courville, A. (2013) "Estimating or propagating gradients
        through stochastic neurons for conditional computation".

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
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    :raises NotImplementedError: by :meth:`enumerate_support`.
    """
