# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's distribution whose draws carry a gradient."""

from __future__ import annotations

from .fisher import FisherHypergeometric
from .straight_through_mixin import StraightThrough


class FisherHypergeometricStraightThrough(StraightThrough, FisherHypergeometric):
    r"""
    :class:`FisherHypergeometric` whose draws carry a gradient to the weights.

    The value of a draw is exact: integer counts of the very law, in every dtype. Its derivative in
    the log-weights is that of an estimator, so that :math:`\nabla E[f(x)]` is had by
    backpropagation through :math:`f`, with little bias and with much less noise than the
    score-function estimator. All of them keep the sum of the counts, respect that only ratios of
    weights matter, and are finite at every edge.

    ===============  ===========================================  ===================  =========
    ``estimator``    the counts move                              exact for            cost
    ===============  ===========================================  ===================  =========
    ``"affine"``     by the affine map that takes their mean and  quadratic functions  O(G)
                     covariances along
    ``"mean"``       as their mean does                           linear functions     O(G)
    ``"implicit"``   as their marginal laws do                    sums of quadratic    O(G (M +
                                                                  functions of single  sqrt(N))
                                                                  counts, nearly       log N)
    ``"gumbel"``     by Gumbel-softmax over the conditional law   nothing              O(G n M)
                     of group after group, as in [1]
    ===============  ===========================================  ===================  =========

    Here :math:`M` is the largest size, :math:`N` the number of elements. ``"affine"`` is the
    default because it is unbiased for products and sums of squares, has a bias and a noise close to
    the least for other functions in the table of the README ("Gradients through counts"), and costs
    about twice as much as ``"mean"``, whatever the sizes. ``"implicit"`` has somewhat less bias for
    functions that bend within one or two counts.

    It never enumerates, since Pyro would weigh values that are both enumerated and
    reparameterised wrongly: use :class:`FisherHypergeometric` for that.

    **References:**

    [1] Sutter, T. M., Manduchi, L., Ryser, A. and Vogt, J. E. (2023) "Learning group importance
        using the differentiable hypergeometric distribution", ICLR.

    [2] Bengio, Y., Leonard, N. and Courville, A. (2013) "Estimating or propagating gradients
        through stochastic neurons for conditional computation".

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometricStraightThrough
        >>> log_weights = torch.zeros(3, requires_grad=True)
        >>> urn = FisherHypergeometricStraightThrough(4, [5, 3, 2], log_weights=log_weights)
        >>> x = urn.rsample((100,))
        >>> loss = (x - torch.tensor([2.0, 1.0, 1.0])).square().sum(-1).mean()
        >>> loss.backward()
        >>> log_weights.grad.isfinite().all()
        tensor(True)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``.
    :type group_sizes: list of int or torch.Tensor
    :param weights: as for :class:`FisherHypergeometric`.
    :param log_weights: as for :class:`FisherHypergeometric`.
    :param str estimator: ``"affine"``, ``"mean"``, ``"implicit"`` or ``"gumbel"``.
    :param temperature: of ``"gumbel"``, above 0 and of a shape that broadcasts with the batch
        shape: low ones have more noise, and less bias for nearly straight functions only.
    :type temperature: float or torch.Tensor
    :raises ValueError: if an argument is outside of what is said here, or shapes do not broadcast.
    """
