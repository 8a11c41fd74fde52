# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The base class of all distributions of counts that are drawn from an urn: every method once."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Size, Tensor
from torch.distributions.utils import lazy_property

from ..ops.law import Law
from ..ops.urn import Bounds
from .arrays import Numbers, as_tensor
from .counts_of_urn import CountsOfUrn
from .group_count import GroupCount
from .parameters import mean_parameters

_UrnLaw = TypeVar("_UrnLaw", bound="UrnLaw")


class UrnLaw(CountsOfUrn):
    r"""Base class of the distributions of counts that are drawn from an urn without replacement.

    An urn holds :math:`G` groups of :math:`m_i` elements, and :math:`n` elements are drawn. The
    event is the vector of counts :math:`x` with

    .. math::

        \sum_i x_i = n, \qquad 0 \le x_i \le m_i .

    A subclass sets the class attribute :attr:`law`, an object of :class:`pyro_hypergeo.ops.Law`
    ("law" is short for "probability distribution"). The law says how probable each vector is. All
    methods are here. Results have the dtype of the weights; they are computed in float64. The
    class of each law lists the costs of its methods.

    If a law has parameters of its own, the subclass takes them in its ``__init__``, sets
    ``self.law``, and calls this ``__init__``. :meth:`expand` copies the attributes of a subclass
    unchanged. If an attribute has the batch shape, the subclass must extend :meth:`expand`.

    Example::

        >>> import torch
        >>> from pyro_hypergeo.distributions import UrnLaw
        >>> from pyro_hypergeo.ops import FISHER
        >>> class Mine(UrnLaw):
        ...     law = FISHER
        >>> Mine(4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0]).mean
        tensor([1.3697, 1.3494, 1.2809])

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``.
    :type group_sizes: list of int or torch.Tensor
    :param weights: weight of one element of each group, of shape ``batch_shape + (G,)``. Give
        either ``weights`` or ``log_weights``.
    :type weights: list of float or torch.Tensor
    :param log_weights: logarithms of the weights, of the same shape; ``-inf`` is a weight of 0.
    :type log_weights: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    #: The mathematics of the distribution, see :class:`pyro_hypergeo.ops.Law`.
    law: Law

    @lazy_property
    def state(self) -> Any:
        """What the law computes once for these parameters, in float64."""
        return self.law.solve(self.theta, self.group_sizes, self.total_count)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new = super().expand(batch_shape, _instance)
        if "state" in self.__dict__:
            new.__dict__["state"] = self.state.expand(new.batch_shape)
        return new

    def __getstate__(self) -> dict[str, Any]:
        # It may belong to an autograd graph, as the weights that are derived.
        return {key: value for key, value in super().__getstate__().items() if key != "state"}

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (G,)``."""
        with torch.no_grad():
            return self.to_dtype(self.law.sample(self.state, Size(sample_shape), self.bounds))

    def log_prob(self, value: Numbers) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        It is differentiable in the weights. The formula also accepts real counts, and is
        differentiable in them. Without validation it is ``-inf`` outside of the support.

        Counts may be compared with several urns at once, for example with those of an enumerated
        total. Then some of the urns may not have these counts in their support: there, the result
        is ``-inf``.

        :param value: counts, of shape ``sample_shape + batch_shape + (G,)``.
        :type value: list of float or torch.Tensor
        :raises ValueError: with validation, if a count vector is in the support of no urn that it
            is compared with.
        """
        value = as_tensor(value, self.group_sizes.device)
        if self._validate_args:
            self._validate_sample(value)
        return self.to_dtype(self.law.log_prob(self.state, value))

    @property
    def mean(self) -> Tensor:
        """Mean counts, of shape ``batch_shape + (G,)``."""
        return self.to_dtype(self.law.mean(self.state))

    @property
    def variance(self) -> Tensor:
        """Variances of the counts, of shape ``batch_shape + (G,)``."""
        return self.to_dtype(self.law.variance(self.state))

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix of the counts, of shape ``batch_shape + (G, G)``."""
        return self.to_dtype(self.law.covariance(self.state))

    @property
    def mode(self) -> Tensor:
        """A most probable count vector, of shape ``batch_shape + (G,)``."""
        return self.to_dtype(self.law.mode(self.state))

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape.

        Fisher's law needs only its marginals. So does Wallenius' law with two groups. In all other
        cases the entropy is a sum over the support.

        :raises NotImplementedError: if the sum over the support is needed, and the support has more
            than ``max_enumeration`` count vectors, or differs within the batch.
        """
        return self.to_dtype(self.law.entropy(self.state, self.bounds, self.max_enumeration))

    def marginal(self, group: int) -> GroupCount:
        """The distribution of the count of one group, accurate far into the tails.

        Its values are 0, ..., the largest size of the group in the batch.

        :param int group: index of the group; a negative index counts from the end.
        :return: a :class:`~pyro_hypergeo.distributions.GroupCount` of the same batch shape, with
            ``cdf``, ``sf``, ``logcdf``, ``logsf`` and ``icdf``.
        :raises ValueError: if there is no such group.
        """
        groups = self.event_shape[0]
        if not -groups <= group < groups:
            raise ValueError(
                f"Expected `group` between {-groups} and {groups - 1} for {groups} groups, "
                f"but got {group}."
            )
        bounds = Bounds(self.group_sizes[..., group, None], self.total_count)
        first, table = self.law.marginal_table(self.state, group % groups, bounds.size)
        return GroupCount(
            logits=bounds.guard(table, self.theta),
            dtype=self.parameter.dtype,
            first=first,
            largest=bounds.size,
            validate_args=self._validate_args,
        )

    def marginals(self) -> GroupCount:
        """The distributions of the single counts of all groups: see :meth:`marginal`.

        Their values are 0, ..., the largest size of all groups.

        :return: a :class:`~pyro_hypergeo.distributions.GroupCount` of the batch shape
            ``batch_shape + (G,)``.
        """
        logits = self.law.log_marginals(self.state, self.bounds)
        return GroupCount(logits=logits, dtype=self.parameter.dtype, validate_args=False)

    @classmethod
    def from_mean(
        cls: type[_UrnLaw],
        mean: Numbers,
        group_sizes: Numbers,
        total_count: Numbers | None = None,
        *,
        validate_args: bool | None = None,
        **options: Any,
    ) -> _UrnLaw:
        """Find the distribution that has the given mean counts.

        Its attribute ``weights`` has the weights. Cost: O(G^3).

        Example::

            >>> import torch
            >>> from pyro_hypergeo import FisherHypergeometric
            >>> urn = FisherHypergeometric.from_mean([1.0, 1.0, 2.0], group_sizes=[5, 3, 3])
            >>> urn.mean
            tensor([1.0000, 1.0000, 2.0000])

        :param mean: mean counts, of shape ``batch_shape + (G,)``. A mean is 0, or strictly between
            0 and the size of the group. A mean may equal the size only if every group with a mean
            above 0 is drawn completely.
        :param group_sizes: sizes of the groups, of shape ``batch_shape + (G,)``.
        :param total_count: number of elements drawn; if not given, the rounded sum of the means.
        :param options: other arguments of the class.
        :raises ValueError: if no weights have these means.
        """
        means, sizes, total = mean_parameters(mean, group_sizes, total_count)
        equal = torch.zeros_like(means)
        law = cls(total, sizes, log_weights=equal, validate_args=False, **options).law
        log_weights = law.log_weights_from_mean(means, sizes, total)
        return cls(total, sizes, log_weights=log_weights, validate_args=validate_args, **options)
