# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The central hypergeometric distribution: equal weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Size
from torch.distributions import constraints

from ..ops.fisher.law import CENTRAL
from .arrays import Numbers, as_tensor
from .fisher import FisherHypergeometric
from .parameters import need_float64


class MultivariateHypergeometric(FisherHypergeometric):
    r"""
    Counts of an unbiased draw without replacement: the (central) multivariate hypergeometric
    distribution.

    An urn holds :math:`N = \sum_i m_i` elements in :math:`G` groups. A set of :math:`n` elements is
    drawn, and every set has the same probability. The counts :math:`x_i` drawn from the groups have
    the probability

    .. math::

        p(x) = \prod_{i=1}^G \binom{m_i}{x_i} \Big/ \binom{N}{n},
        \qquad \sum_i x_i = n, \quad 0 \le x_i \le m_i .

    It is :class:`FisherHypergeometric` with equal weights. Its normaliser and its moments have a
    closed form, for example :math:`E[x_i] = n m_i / N`. The costs are the same as for
    :class:`FisherHypergeometric`.

    **References:**

    [1] Johnson, N. L., Kotz, S. and Balakrishnan, N. (1997) "Discrete Multivariate Distributions",
        chapter 39.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import MultivariateHypergeometric
        >>> hand = MultivariateHypergeometric(total_count=5, group_sizes=[13, 13, 13, 13])
        >>> hand.log_prob(torch.tensor([5.0, 0.0, 0.0, 0.0])).exp() * 4  # a flush
        tensor(0.0020)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``. Samples have its dtype if it is a floating-point tensor.
    :type group_sizes: list of int or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast. Also
        if ``total_count`` is larger than the number of elements.
    """

    law = CENTRAL
    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "group_sizes": constraints.independent(constraints.nonnegative_integer, 1),
    }

    def __init__(
        self, total_count: Numbers, group_sizes: Numbers, *, validate_args: bool | None = None
    ) -> None:
        tensors = [x for x in (group_sizes, total_count) if torch.is_tensor(x)]
        device = tensors[0].device if tensors else None
        sizes = as_tensor(group_sizes, device, "group_sizes")
        dtype = sizes.dtype if sizes.is_floating_point() else torch.get_default_dtype()
        dtype = torch.float64 if need_float64(group_sizes, total_count) else dtype
        zeros = torch.zeros(sizes.shape, dtype=dtype, device=sizes.device)
        super().__init__(total_count, group_sizes, log_weights=zeros, validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        total_count: tuple[int, ...] = (), group_sizes: tuple[int, ...] = ()
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments."""
        return FisherHypergeometric.infer_shapes(total_count, group_sizes)

    @classmethod
    def from_mean(cls, *args: Any, **kwargs: Any) -> FisherHypergeometric:
        """Return a :class:`FisherHypergeometric`: other means need unequal weights.

        Arguments as for :meth:`FisherHypergeometric.from_mean`.
        """
        return FisherHypergeometric.from_mean(*args, **kwargs)
