# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's distribution whose draws carry a gradient."""

from __future__ import annotations

from .fisher import FisherHypergeometric
from .straight_through_mixin import StraightThrough


class FisherHypergeometricStraightThrough(StraightThrough, FisherHypergeometric):
    r"""
    :class:`FisherHypergeometric` whose draws carry a gradient to the weights.

    .. math::

        p(x) = \frac{1}{P_0} \prod_{i=1}^G \binom{m_i}{x_i} w_i^{x_i},
        \qquad \sum_i x_i = n, \quad 0 \le x_i \le m_i .

    The value of a draw is exact: integer counts of the same distribution, in every dtype. Its
    derivative in the log-weights comes from an estimator. So backpropagation through :math:`f`
    gives :math:`\nabla E[f(x)]`, with a small bias and with much less noise than the score-function
    estimator. All estimators keep the sum of the counts. All respect that only ratios of weights
    matter. All are finite at every edge.

    ==============  =============================  ======================  ========================
    ``estimator``   how the counts move            exact for               cost of a draw
    ==============  =============================  ======================  ========================
    ``"affine"``    by the affine map that         quadratic functions     :math:`O(G)`
                    carries their mean and
                    covariances along
    ``"mean"``      as their mean moves            linear functions        :math:`O(G)`
    ``"implicit"``  as their marginal              sums of quadratic       :math:`O(G \sqrt N
                    distributions move             functions of single     \log N)`
                                                   counts, nearly
    ``"gumbel"``    as a Gumbel-softmax over one   no function             :math:`O(G \sqrt N
                    group after another, as                                \log N)`
                    in [1]
    ==============  =============================  ======================  ========================

    Here :math:`N` is the number of elements. At temperatures above 1, and in compiled code,
    ``"gumbel"`` costs :math:`O(G n M)` with :math:`M` the largest size.

    ``"affine"`` is the default for three reasons. It has no bias for quadratic functions, products
    of two counts included. For other functions its bias and its noise are close to the smallest
    (see the page "Benchmarks" of the guide, ``tutorials/guide/benchmarks.md``). And it costs only
    about twice as much as ``"mean"``, at any size. ``"implicit"`` has a little less bias for
    functions that are strongly curved at the scale of one or two counts.

    This class does not enumerate. Pyro would give wrong weights to values that are both enumerated
    and reparameterised. Use :class:`FisherHypergeometric` to enumerate.

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
    :param temperature: temperature of ``"gumbel"``, above 0; of a shape that broadcasts with the
        batch shape. A low temperature has more noise. It has less bias only for functions that are
        nearly linear.
    :type temperature: float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    :raises NotImplementedError: by :meth:`enumerate_support`.
    """
