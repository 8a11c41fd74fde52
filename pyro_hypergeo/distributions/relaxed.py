# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Soft counts: a continuous relaxation of Fisher's noncentral hypergeometric distribution."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ..ops.fisher.density import log_prob_given
from ..ops.gradients.soft_counts import relaxed_sample_given
from .constraints import hypergeometric_soft_counts
from .fisher import FisherHypergeometric
from .parameters import Numbers, positive_temperature


class RelaxedFisherHypergeometric(TorchDistribution):
    r"""
    Soft counts: a continuous relaxation of :class:`FisherHypergeometric`, as
    ``RelaxedOneHotCategorical`` is one of ``OneHotCategorical``.

    The counts are drawn one group after another. Each comes from a Gumbel-softmax with temperature
    :math:`\tau` over the exact distribution of the group's count, given the counts before it. Soft
    counts are real numbers with :math:`0 \le x_i \le m_i`, and they sum to :math:`n`. They are
    differentiable in the weights and in the temperature. As :math:`\tau \to 0` they become exact
    draws, and their gradients become noisy. Cost of :meth:`rsample`: :math:`O(G n \max m)` for each
    batch entry and :math:`O(G \max m)` for each draw. Cost of :meth:`log_prob`: :math:`O(G)`.

    :meth:`log_prob` is **not** the density of :meth:`rsample`, which has no closed form. It is the
    formula of the discrete distribution, applied to real counts by the gamma function:

    .. math::

        \log p(x) = \sum_i \left( \log \frac{\Gamma(m_i + 1)}{\Gamma(x_i + 1) \Gamma(m_i - x_i + 1)}
        + x_i \log w_i \right) - \log P_0 ,

    It does not depend on the temperature, and it does not integrate to one. At integers it equals
    the discrete log-probability. So an ELBO in which model and guide both use it is a smooth
    replacement for the discrete ELBO. It becomes the discrete one as :math:`\tau \to 0`. At a
    temperature above 0 it is not a bound.

    **References:**

    [1] Sutter, T. M., Manduchi, L., Ryser, A. and Vogt, J. E. (2023) "Learning group importance
        using the differentiable hypergeometric distribution", ICLR.

    [2] Maddison, C. J., Mnih, A. and Teh, Y. W. (2017) "The concrete distribution: a continuous
        relaxation of discrete random variables", ICLR.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import RelaxedFisherHypergeometric
        >>> weights = torch.tensor([1.0, 2.0, 4.0])
        >>> urn = RelaxedFisherHypergeometric(0.5, 4, group_sizes=[5, 3, 2], weights=weights)
        >>> x = urn.rsample()
        >>> bool(((x.sum() - 4).abs() < 1e-5) & (x >= 0).all())
        True

    :param temperature: :math:`\tau`, above 0; of a shape that broadcasts with the batch shape. You
        may change a tensor in place between draws, to lower the temperature step by step.
    :type temperature: float or torch.Tensor
    :param total_count: as for :class:`FisherHypergeometric`.
    :param group_sizes: as for :class:`FisherHypergeometric`.
    :param weights: as for :class:`FisherHypergeometric`.
    :param log_weights: as for :class:`FisherHypergeometric`.
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    arg_constraints = {"temperature": constraints.positive, **FisherHypergeometric.arg_constraints}
    has_rsample = True

    def __init__(
        self,
        temperature: float | Tensor,
        total_count: Numbers,
        group_sizes: Numbers,
        weights: Numbers | None = None,
        *,
        log_weights: Numbers | None = None,
        validate_args: bool | None = None,
    ) -> None:
        fisher = FisherHypergeometric(
            total_count, group_sizes, weights, log_weights=log_weights, validate_args=validate_args
        )
        self.temperature = positive_temperature(
            temperature, fisher.parameter, fisher.batch_shape, fisher._validate_args
        )
        shape = torch.broadcast_shapes(fisher.batch_shape, self.temperature.shape)
        if shape != fisher.batch_shape:
            fisher = fisher.expand(shape)
        self._fisher = fisher
        super().__init__(shape, fisher.event_shape, validate_args=False)
        self._validate_args = fisher._validate_args

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real counts within the groups' sizes that sum to the total."""
        return hypergeometric_soft_counts(self.group_sizes, self.total_count)

    @property
    def total_count(self) -> Tensor:
        """Number of elements drawn, of the batch shape."""
        return self._fisher.total_count

    @property
    def group_sizes(self) -> Tensor:
        """Number of elements in each group, of shape ``batch_shape + (G,)``."""
        return self._fisher.group_sizes

    @property
    def weights(self) -> Tensor:
        """Weights of the elements of each group, of shape ``batch_shape + (G,)``."""
        return self._fisher.weights

    @property
    def log_weights(self) -> Tensor:
        """Logarithms of the weights, of shape ``batch_shape + (G,)``."""
        return self._fisher.log_weights

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        temperature: tuple[int, ...] = (),
        total_count: tuple[int, ...] = (),
        group_sizes: tuple[int, ...] = (),
        weights: tuple[int, ...] | None = None,
        log_weights: tuple[int, ...] | None = None,
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments."""
        batch_shape, event_shape = FisherHypergeometric.infer_shapes(
            total_count, group_sizes, weights, log_weights
        )
        return Size(torch.broadcast_shapes(batch_shape, temperature)), event_shape

    def expand(self, batch_shape: Any, _instance: Any = None) -> RelaxedFisherHypergeometric:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new = self._get_checked_instance(RelaxedFisherHypergeometric, _instance)
        batch_shape = Size(batch_shape)
        new.temperature = self.temperature
        new._fisher = self._fisher.expand(batch_shape)
        super(RelaxedFisherHypergeometric, new).__init__(
            batch_shape, self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Soft counts, of shape ``sample_shape + batch_shape + (G,)``."""
        urn = self._fisher
        return urn.to_dtype(
            relaxed_sample_given(urn.state, self.temperature, Size(sample_shape), urn.bounds)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """The discrete formula at real counts, of shape ``sample_shape + batch_shape``.

        It is not the density of :meth:`rsample`: see the class.
        """
        if self._validate_args:
            self._validate_sample(value)
        return self._fisher.to_dtype(log_prob_given(self._fisher.state, value))
