# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's partitions whose draws carry a gradient."""

from __future__ import annotations

from typing import Any

from torch import Size, Tensor

from ...ops.gradients.straight_through import attach_gradient
from ...ops.tracing import inside_transform
from .fisher_partition import FisherPartition
from .parameters import drawn_sizes


class FisherPartitionStraightThrough(FisherPartition):
    r"""
    :class:`FisherPartition` whose draws carry a gradient to the scores and to the sizes' weights.

    The value of a draw is exact: a one-hot matrix of the same distribution, in every dtype. Its
    derivative is that of the mean field :math:`P`, the probabilities of independent labels whose
    expected sizes are those of the draw:

    .. math::

        \frac{\partial Y}{\partial s} := \frac{\partial P(s, n)}{\partial s}, \qquad
        P_{ek} = \frac{e^{s_{ek} + b_k}}{\sum_j e^{s_{ej} + b_j}}, \quad \sum_e P_{ek} = n_k .

    So the rows of a draw keep the sum 1, and its columns move as the sizes do. If ``sizes`` is a
    distribution whose draws carry a gradient, such as
    :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`, the drawn sizes pass it on to the
    tilt :math:`b`, and so to the weights. If it has no ``rsample``, only the scores move.

    **This gradient has a bias**, and it can be large. It has several times less noise than the
    unbiased one of :func:`~pyro_hypergeo.partition_expectation`, which is the default for
    partitions. Take this class for the scores of some tens of elements or more. Do not take it for
    few elements. Do not take it for the weights of the sizes under a loss that looks at who is
    together: the movement with the sizes does not know who was drawn. The page "Partitions" of the
    guide has a table, ``tutorials/guide/partitions.md``.

    Cost of a draw: that of ``sample``, and one more tilt.

    **References:**

    [1] Bengio, Y., Leonard, N. and Courville, A. (2013) "Estimating or propagating gradients
        through stochastic neurons for conditional computation".

    [2] Sutter, T. M., Ryser, A., Liebeskind, J. and Vogt, J. E. (2023) "Differentiable random
        partition models", NeurIPS 36. They relax the partition; nothing is relaxed here.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import (
        ...     FisherHypergeometricStraightThrough, FisherPartitionStraightThrough,
        ... )
        >>> log_weights = torch.zeros(2, requires_grad=True)
        >>> log_scores = torch.zeros(5, 2, requires_grad=True)
        >>> sizes = FisherHypergeometricStraightThrough(5, [5, 5], log_weights=log_weights)
        >>> partition = FisherPartitionStraightThrough(sizes, log_scores).rsample()
        >>> (partition * torch.randn(5, 2)).sum().backward()
        >>> log_scores.grad.shape, log_weights.grad.shape
        (torch.Size([5, 2]), torch.Size([2]))

    :param sizes: as for :class:`FisherPartition`.
    :param log_scores: as for :class:`FisherPartition`.
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws with gradients, of shape ``sample_shape + batch_shape + (N, K)``."""
        shape = Size(sample_shape)
        if self.has_given_sizes:
            sizes, partition = self.sizes, self.draw_given(self.sizes, shape)
        else:
            # Laws of counts need not have `rsample`.
            sizes = drawn_sizes(
                self.sizes,
                shape,
                self.event_shape[0],
                validate=bool(self._validate_args),
                rsample=self.sizes.has_rsample,
            )
            partition = self.draw_given(sizes.detach(), Size())
        moves = self.log_scores.requires_grad or sizes.requires_grad or inside_transform()
        if not (moves):
            return partition
        return attach_gradient(partition, self.mean_field_given(sizes))
