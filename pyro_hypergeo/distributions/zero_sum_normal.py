# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The normal distribution over vectors that sum to zero: a prior for log-weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl

from ..ops.errors import check
from ..ops.zero_sum import zero_sum_normal_log_prob, zero_sum_vector
from .arrays import as_tensor
from .constraints import zero_sum


class ZeroSumNormal(TorchDistribution):
    r"""
    Normal distribution over vectors that sum to zero; it treats all entries in the same way.

    It is :math:`N(0, \sigma^2 I)` on :math:`\mathbb R^G`, restricted to the hyperplane
    :math:`\sum_i x_i = 0`. Its density is

    .. math::

        p(x) = (2 \pi \sigma^2)^{-(G-1)/2}
        \exp\left( -\frac{\lVert x \rVert^2}{2 \sigma^2} \right)

    with respect to Lebesgue measure on the hyperplane, which has :math:`G - 1` dimensions. If
    :math:`z_i` are independent normal numbers of scale :math:`\sigma`, then :math:`z - \bar z` has
    this distribution. An entry has the variance :math:`\sigma^2 (1 - 1/G)`. The difference of two
    entries has the variance :math:`2 \sigma^2`, as if they were independent. With one entry, the
    value is always 0.

    Use it as a prior for log-weights, logits or effects if only their differences matter. No entry
    has to be the reference. Automatic guides and HMC work, through
    :class:`~pyro_hypergeo.distributions.ZeroSumTransform`. Costs are :math:`O(G)` for each batch
    entry, and :math:`O(G^2)` for :attr:`covariance_matrix`.

    **References:**

    [1] Lindley, D. V. and Smith, A. F. M. (1972) "Bayes estimates for the linear model", Journal
        of the Royal Statistical Society B 34(1).

    Example::

        >>> import torch
        >>> from pyro_hypergeo import ZeroSumNormal
        >>> prior = ZeroSumNormal(torch.tensor([1.0, 3.0]), size=4)
        >>> prior.sample().sum(-1).abs() < 1e-5
        tensor([True, True])
        >>> prior.log_prob(torch.tensor([1.0, 0.0, 0.0, -1.0]))
        tensor([-3.7568, -6.1638])
        >>> prior.variance
        tensor([[0.7500, 0.7500, 0.7500, 0.7500],
                [6.7500, 6.7500, 6.7500, 6.7500]])

    :param scale: standard deviation :math:`\sigma` before the restriction, positive and finite;
        of the batch shape.
    :type scale: float or torch.Tensor
    :param int size: number of entries :math:`G`, at least 1.
    :raises ValueError: if an argument is not as said here.
    """

    arg_constraints = {"scale": constraints.positive}
    support = zero_sum
    has_rsample = True

    def __init__(
        self, scale: float | Tensor, size: int, *, validate_args: bool | None = None
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"Expected `size` to be an integer of at least 1, but got {size!r}.")
        tensor = as_tensor(scale, name="scale")
        if not tensor.is_floating_point():
            tensor = tensor.to(torch.get_default_dtype())
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            finite = (tensor > 0) & (tensor < torch.inf)
            check("scale", tensor, finite, "positive and finite")
        self.scale = tensor
        # The values were checked above. The check of `super` would accept an infinite scale.
        super().__init__(tensor.shape, Size([size]), validate_args=False)
        self._validate_args = validate_args

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.event_shape[0]

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        scale: tuple[int, ...] = (), *, size: int
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shape of ``scale`` and from ``size`` itself."""
        return Size(scale), Size([size])

    def expand(self, batch_shape: Any, _instance: Any = None) -> ZeroSumNormal:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(ZeroSumNormal, _instance)
        new.scale = self.scale.expand(Size(batch_shape))
        super(ZeroSumNormal, new).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Draws of shape ``sample_shape + batch_shape + (G,)``, differentiable in the scale."""
        shape = Size(sample_shape) + self.batch_shape + Size([self.size - 1])
        noise = torch.randn(shape, dtype=self.scale.dtype, device=self.scale.device)
        return zero_sum_vector(self.scale.unsqueeze(-1) * noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density on the hyperplane, of shape ``sample_shape + batch_shape``.

        Without validation, the value is assumed to sum to zero.
        """
        if self._validate_args:
            self._validate_sample(value)
        return zero_sum_normal_log_prob(value, self.scale)

    @property
    def mean(self) -> Tensor:
        """Zeros of shape ``batch_shape + (G,)``."""
        return self.scale.new_zeros(self.batch_shape + self.event_shape)

    @property
    def mode(self) -> Tensor:
        """Zeros of shape ``batch_shape + (G,)``."""
        return self.mean

    @property
    def variance(self) -> Tensor:
        r""":math:`\sigma^2 (1 - 1/G)`, of shape ``batch_shape + (G,)``."""
        variance = self.scale.square() * (1 - 1 / self.size)
        return variance.unsqueeze(-1).expand(self.batch_shape + self.event_shape)

    @property
    def covariance_matrix(self) -> Tensor:
        r""":math:`\sigma^2 (I - 1/G)`, of shape ``batch_shape + (G, G)``."""
        projection = torch.eye(self.size, dtype=self.scale.dtype, device=self.scale.device)
        return self.scale.square()[..., None, None] * (projection - 1 / self.size)

    def entropy(self) -> Tensor:
        """Differential entropy on the hyperplane in nats, of the batch shape."""
        return (self.size - 1) * (self.scale.log() + 0.5 * (1 + math.log(2 * math.pi)))


@register_kl(ZeroSumNormal, ZeroSumNormal)  # type: ignore[untyped-decorator]
def _kl_zero_sum_normal(p: ZeroSumNormal, q: ZeroSumNormal) -> Tensor:
    if p.size != q.size:
        raise ValueError(
            f"The Kullback-Leibler divergence needs equal `size`, but got {p.size} and {q.size}."
        )
    ratio = p.scale / q.scale
    return (p.size - 1) * (0.5 * (ratio.square() - 1) - ratio.log())
