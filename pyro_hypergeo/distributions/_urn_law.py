# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from .. import ops
from ..ops.tracing import largest
from ._parameters import Numbers, check_urn, mean_parameters, static_sizes, urn_parameters
from .constraints import hypergeometric_counts
from .group_count import GroupCount

_Law = TypeVar("_Law", bound="UrnLaw")


class UrnLaw(TorchDistribution):
    """What laws of counts drawn from an urn without replacement share: all but the probabilities.

    A subclass names in `_derived` what it computes once: tensors whose shape begins with the batch
    shape, or objects with an ``expand`` of their own.
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "group_sizes": constraints.independent(constraints.nonnegative_integer, 1),
        "weights": constraints.independent(constraints.nonnegative, 1),
        "log_weights": constraints.independent(constraints.less_than(torch.inf), 1),
    }
    has_enumerate_support = True

    #: :meth:`enumerate_support` refuses to list more count vectors than this.
    max_enumeration = 100_000

    _derived: ClassVar[tuple[str, ...]] = ()
    _without_enumeration: ClassVar[str] = "`log_prob` and `mean` need no enumeration."

    def __init__(
        self,
        total_count: Numbers,
        group_sizes: Numbers,
        weights: Numbers | None = None,
        *,
        log_weights: Numbers | None = None,
        validate_args: bool | None = None,
    ) -> None:
        urn = urn_parameters(total_count, group_sizes, weights, log_weights)
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            check_urn(urn)
        self.total_count = urn.total_count
        self.group_sizes = urn.group_sizes
        setattr(self, urn.name, urn.weights)
        self._given = urn.name
        table_sizes = static_sizes(group_sizes, total_count)
        if table_sizes is not None:
            self._table_sizes = table_sizes
        # The values were checked above, with the whole urn in view.
        super().__init__(urn.batch_shape, urn.group_sizes.shape[-1:], validate_args=False)
        self._validate_args = validate_args

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Integer counts within the groups' sizes that sum to the total."""
        return hypergeometric_counts(self.group_sizes, self.total_count)

    @lazy_property
    def weights(self) -> Tensor:
        """Weights of the elements of each group, of shape ``batch_shape + (G,)``."""
        return self.log_weights.exp()

    @lazy_property
    def log_weights(self) -> Tensor:
        """Logarithms of the weights, of shape ``batch_shape + (G,)``."""
        return _log(self.weights)

    @property
    def _parameter(self) -> Tensor:
        return self.__dict__[self._given]

    @property
    def _theta(self) -> Tensor:
        # Not from the other property, which is rounded to the parameters' dtype.
        parameter = self._parameter.double()
        return parameter if self._given == "log_weights" else _log(parameter)

    @lazy_property
    def _table_sizes(self) -> tuple[int, int]:
        return largest(self.group_sizes), largest(self.total_count)

    def _out(self, value: Tensor) -> Tensor:
        return value.to(self._parameter.dtype)

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        total_count: tuple[int, ...] = (),
        group_sizes: tuple[int, ...] = (),
        weights: tuple[int, ...] | None = None,
        log_weights: tuple[int, ...] | None = None,
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments."""
        of_weights = log_weights if weights is None else weights
        shape = broadcast_shape(of_weights or (), group_sizes, (*total_count, 1))
        return Size(shape[:-1]), Size(shape[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same law with a larger batch shape; what was computed already is carried over."""
        new = self._get_checked_instance(UrnLaw, _instance)
        batch_shape = Size(batch_shape)
        shape = batch_shape + self.event_shape
        new.total_count = self.total_count.expand(batch_shape)
        new.group_sizes = self.group_sizes.expand(shape)
        new._given = self._given
        for name in ("weights", "log_weights"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand(shape)
        for name in self._derived:
            if name in self.__dict__:
                new.__dict__[name] = self._expand_derived(self.__dict__[name], batch_shape)
        if "_table_sizes" in self.__dict__:
            new.__dict__["_table_sizes"] = self._table_sizes
        if "max_enumeration" in self.__dict__:
            new.max_enumeration = self.max_enumeration
        super(UrnLaw, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expand_derived(self, value: Any, batch_shape: Size) -> Any:
        if torch.is_tensor(value):
            return value.expand(batch_shape + value.shape[len(self.batch_shape) :])
        return value.expand(batch_shape)

    def __getstate__(self) -> dict[str, Any]:
        # What is derived may be part of an autograd graph, which can be neither copied nor stored.
        derived = {*self._derived, "weights", "log_weights"} - {self._given}
        return {key: value for key, value in self.__dict__.items() if key not in derived}

    @property
    def min_counts(self) -> Tensor:
        """The smallest count of each group in the support, of shape ``batch_shape + (G,)``."""
        drawable = self._drawable
        others = drawable.sum(-1, keepdim=True) - drawable
        return (self.total_count.unsqueeze(-1) - others).clamp(min=0).to(self._parameter.dtype)

    @property
    def max_counts(self) -> Tensor:
        """The largest count of each group in the support, of shape ``batch_shape + (G,)``."""
        total = self.total_count.unsqueeze(-1)
        return torch.minimum(self._drawable, total).to(self._parameter.dtype)

    @property
    def _drawable(self) -> Tensor:
        return torch.where(self._theta == -torch.inf, 0, self.group_sizes)

    def marginal(self, group: int) -> GroupCount:
        """The law of the count of one group, over 0, ..., its largest size in the batch.

        Exact in the tails. Cost: O(G m_group).

        :param int group: index of the group; negative ones count from the end.
        :return: a :class:`~pyro_hypergeo.distributions.GroupCount`, with ``cdf``, ``sf``, ``icdf``.
        """
        groups = self.event_shape[0]
        if not -groups <= group < groups:
            raise ValueError(
                f"Expected `group` between {-groups} and {groups - 1} for {groups} groups, "
                f"but got {group}."
            )
        max_size = largest(self.group_sizes[..., group])
        logits = self._out(self._log_marginal(group % groups, max_size))
        return GroupCount(logits=logits, validate_args=self._validate_args)

    def _log_marginal(self, group: int, max_size: int) -> Tensor:
        raise NotImplementedError

    @classmethod
    def from_mean(
        cls: type[_Law],
        mean: Numbers,
        group_sizes: Numbers,
        total_count: Numbers | None = None,
        *,
        validate_args: bool | None = None,
    ) -> _Law:
        """The distribution whose mean counts are the given ones; ``weights`` tells its weights.

        Cost: O(G^3).

        Example::

            >>> import torch
            >>> from pyro_hypergeo import FisherHypergeometric
            >>> urn = FisherHypergeometric.from_mean([1.0, 1.0, 2.0], group_sizes=[5, 3, 3])
            >>> urn.mean
            tensor([1.0000, 1.0000, 2.0000])

        :param mean: mean counts, of shape ``batch_shape + (G,)``; each 0 or strictly between 0 and
            the group's size, unless every group of mean above 0 is drawn wholly.
        :param group_sizes: sizes of the groups, of shape ``batch_shape + (G,)``.
        :param total_count: what the means sum to; found by summing if not given.
        :raises ValueError: if no weights have these means.
        """
        means, sizes, total = mean_parameters(mean, group_sizes, total_count)
        log_weights = cls._log_weights_from_mean(means, sizes, total)
        return cls(total, sizes, log_weights=log_weights, validate_args=validate_args)

    @staticmethod
    def _log_weights_from_mean(mean: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def support_size(self) -> int:
        """Number of count vectors in the support. Cost: O(G n) additions."""
        return ops.support_size(*self._one_urn())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All count vectors, of shape ``(support_size,) + batch_shape + (G,)``.

        :param bool expand: if False, the batch dimensions have size 1.
        :raises ValueError: if there are more than ``max_enumeration`` of them.
        :raises NotImplementedError: if totals or sizes differ within the batch.
        """
        return self._list_support(expand)

    def _list_support(self, expand: bool) -> Tensor:
        sizes, total = self._one_urn()
        if ops.support_exceeds(sizes, total, self.max_enumeration):
            raise ValueError(
                f"The support of {total} elements drawn from groups of sizes {sizes} has "
                f"{ops.support_size(sizes, total)} count vectors, more than max_enumeration = "
                f"{self.max_enumeration}. {self._without_enumeration}"
            )
        counts = ops.enumerate_counts(sizes, total).to(self._parameter)
        counts = counts.reshape((-1,) + (1,) * len(self.batch_shape) + self.event_shape)
        if expand:
            counts = counts.expand((-1,) + self.batch_shape + self.event_shape)
        return counts

    def _one_urn(self) -> tuple[list[int], int]:
        totals = self.total_count.reshape(-1)
        sizes = self.group_sizes.reshape(-1, self.event_shape[0])
        if not ((totals == totals[0]).all() and (sizes == sizes[0]).all()):
            raise NotImplementedError(
                "Inhomogeneous total count or group sizes not supported by `enumerate_support`."
            )
        return [int(size) for size in sizes[0].tolist()], int(totals[0])


def _log(weights: Tensor) -> Tensor:
    # A weight of 0 is a log-weight of -inf without a gradient, where autograd's would be NaN.
    zero = weights == 0
    return torch.where(zero, -torch.inf, torch.log(torch.where(zero, 1.0, weights)))
