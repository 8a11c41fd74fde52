# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The base class of the distributions of partitions: every method once."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ...ops.errors import at_index, first_of
from ...ops.partitions.labels import partition_to_labels
from ...ops.tracing import inside_transform
from ..arrays import Numbers, as_tensor
from ..constraints import log_weight, partition_of
from ..observations import check_shape, impossible
from .most_probable import most_probable_partition
from .parameters import (
    PartitionParameters,
    check_partition,
    drawn_sizes,
    expand_sizes,
    partition_parameters,
    without_validation,
)

_Partition = TypeVar("_Partition", bound="Partition")


class Partition(TorchDistribution):
    r"""Base class of the distributions that say which element is in which group.

    :math:`N` elements are in :math:`K` groups of the sizes :math:`n_1, \dots, n_K`, which sum to
    :math:`N`. The event is a matrix :math:`Y` of shape ``(N, K)``. Each row has one 1, in the
    column of its group. So column :math:`k` sums to :math:`n_k`.

    The sizes are numbers, or they are drawn first from a distribution of counts with the total
    :math:`N`. Then

    .. math::

        \log p(Y) = \log p(n) + \log p(Y \mid n), \qquad n_k = \sum_e Y_{ek} .

    The weights of that distribution say how many elements a group has. The scores say which.

    A subclass says how partitions of given sizes are drawn, in :meth:`draw_given`, and how probable
    they are, in :meth:`log_prob_given`.

    :param sizes: number of elements in each group, of shape ``batch_shape + (K,)``; or a
        distribution of such counts, for example
        :class:`~pyro_hypergeo.FisherHypergeometric`.
    :type sizes: list of int, torch.Tensor or torch.distributions.Distribution
    :param log_scores: how well each element fits each group, as logarithms, of shape
        ``batch_shape + (N, K)``.
    :type log_scores: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast.
    """

    arg_constraints = {
        "sizes": constraints.independent(constraints.nonnegative_integer, 1),
        "log_scores": constraints.independent(log_weight, 2),
    }

    #: Whether all groups may share the scores, given in one column.
    takes_shared_scores = False

    def __init__(
        self,
        sizes: Numbers | Distribution,
        log_scores: Numbers,
        *,
        validate_args: bool | None = None,
    ) -> None:
        parameters = partition_parameters(sizes, log_scores, shared=self.takes_shared_scores)
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            self._check(parameters)
        elif isinstance(parameters.sizes, Distribution):
            parameters = parameters._replace(sizes=without_validation(parameters.sizes))
        #: The sizes, or their distribution.
        self.sizes: Any = parameters.sizes
        #: The log-scores, of shape ``batch_shape + (N, K)``, or ``(N, 1)`` if they are shared.
        self.log_scores = parameters.log_scores
        # The values were checked above, together, which `super` cannot do.
        super().__init__(parameters.batch_shape, parameters.event_shape, validate_args=False)
        self._validate_args = validate_args

    def _check(self, parameters: PartitionParameters) -> None:
        check_partition(parameters)
        if not isinstance(parameters.sizes, Distribution):
            self.check_scores(parameters.sizes, parameters.log_scores)

    def check_scores(self, sizes: Tensor, log_scores: Tensor) -> None:
        """Check that scores of ``-inf`` leave a draw of these sizes possible.

        :raises ValueError: if they may not.
        """

    def draw_given(self, sizes: Tensor, sample_shape: Size) -> Tensor:
        """Draws of partitions of given sizes, of shape ``sample_shape + (..., N, K)``."""
        raise NotImplementedError

    def log_prob_given(self, partition: Tensor, sizes: Tensor) -> Tensor:
        """Log-probability of partitions given their sizes; ``-inf`` if they have others."""
        raise NotImplementedError

    def mean_given(self, sizes: Tensor) -> Tensor | None:
        """The exact mean given the sizes, or ``None`` if it is not known."""
        return None

    def mean_field_given(self, sizes: Tensor) -> Tensor:
        """An approximation of the mean given the sizes, which may be real numbers."""
        raise NotImplementedError

    def slope_given(self, sizes: Tensor) -> Tensor:
        """How the log-probability given the sizes moves with each entry of a partition."""
        if self._is_exchangeable():
            return torch.zeros_like(self.log_scores)
        raise NotImplementedError(
            f"The log-probability of this {type(self).__name__} has no derivative in the "
            "partition, but the partition carries a gradient. Detach it, or use a FisherPartition, "
            "or estimate the gradient by `partition_expectation`."
        )

    @property
    def has_given_sizes(self) -> bool:
        """Whether the sizes are numbers, and not a distribution."""
        return not isinstance(self.sizes, Distribution)

    @constraints.dependent_property(is_discrete=True, event_dim=2)
    def support(self) -> constraints.Constraint:
        """One-hot rows whose columns sum to possible sizes."""
        return partition_of(self.sizes if self.has_given_sizes else self.sizes.support)

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        sizes: tuple[int, ...] = (), log_scores: tuple[int, ...] = ()
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments.

        For a distribution of sizes, give the shape of its draws.
        """
        scores = (*log_scores, 1) if len(log_scores) == 1 else log_scores
        batch = Size(broadcast_shape(tuple(sizes[:-1]), tuple(scores[:-2])))
        return batch, Size([scores[-2], sizes[-1]])

    def expand(self: _Partition, batch_shape: Any, _instance: Any = None) -> _Partition:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        batch_shape = Size(batch_shape)
        new.sizes = expand_sizes(self.sizes, batch_shape)
        new.log_scores = self.log_scores.expand(batch_shape + self.log_scores.shape[-2:])
        super(Partition, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def given(self: _Partition, sizes: Numbers) -> _Partition:
        """The distribution of partitions of given sizes, with the same scores.

        :param sizes: number of elements in each group, of a shape that broadcasts with
            ``batch_shape + (K,)``.
        :type sizes: list of int or torch.Tensor
        :raises ValueError: as the class.
        """
        return type(self)(sizes, self.log_scores, validate_args=self._validate_args)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (N, K)``."""
        with torch.no_grad():
            if self.has_given_sizes:
                return self.draw_given(self.sizes, Size(sample_shape))
            validate = bool(self._validate_args)
            shape, elements = Size(sample_shape), self.event_shape[0]
            sizes = drawn_sizes(self.sizes, shape, elements, validate=validate)
            return self.draw_given(sizes, Size())

    def log_prob(self, value: Numbers) -> Tensor:
        """Log-probability of partitions, of shape ``sample_shape + batch_shape``.

        It is differentiable in the scores, and in the parameters of the distribution of sizes. If
        the partition carries a gradient, as the draws of
        :class:`~pyro_hypergeo.FisherPartitionStraightThrough` do, the log-probability moves with it
        by :meth:`slope_given`, and by the distribution of sizes. Without validation it is ``-inf``
        outside of the support.

        :param value: one-hot rows, of shape ``sample_shape + batch_shape + (N, K)``.
        :type value: list of float or torch.Tensor
        :raises ValueError: with validation, if a matrix is no partition of possible sizes.
        :raises NotImplementedError: if the partition carries a gradient, and the class does not say
            how the log-probability moves.
        """
        value = as_tensor(value, self.log_scores.device)
        if self._validate_args:
            self._validate_sample(value)
        counts = value.sum(-2)
        sizes = self.sizes if self.has_given_sizes else counts.detach()
        result = self.log_prob_given(value.detach(), sizes)
        if not self.has_given_sizes:
            result = result + self.sizes.log_prob(counts)
        if not value.requires_grad:
            return result
        # Only its gradient is used. A partition that is not possible has no slope.
        moved = (value - value.detach()) * self.slope_given(sizes).detach()
        return result + moved.sum((-1, -2))

    def _validate_sample(self, value: Tensor) -> None:
        check_shape(value, self.batch_shape, self.event_shape)
        wrong = impossible(self.support.check(value), value.shape[:-2])
        if torch._is_all_true(~wrong):
            return
        first = first_of(wrong)
        found = value.expand(wrong.shape + value.shape[-2:])[first]
        sizes = "possible sizes"
        if self.has_given_sizes:
            shape = wrong.shape + self.sizes.shape[-1:]
            sizes = f"the `sizes` {self.sizes.expand(shape)[first].tolist()}"
        columns, rows = found.sum(-2).tolist(), sorted(set(found.sum(-1).tolist()))
        raise ValueError(
            f"Expected `value` of shape {tuple(value.shape)} to have one-hot rows, and columns "
            f"that sum to {sizes}, but found columns that sum to {columns}, and rows that sum to "
            f"{', '.join(f'{row:g}' for row in rows[:5])}{at_index(first)}."
        )

    @staticmethod
    def labels(value: Tensor) -> Tensor:
        """The group of each element, of shape ``(..., N)``, from partitions ``(..., N, K)``."""
        return partition_to_labels(value)

    @property
    def mean(self) -> Tensor:
        """Probability of each element to be in each group, of shape ``batch_shape + (N, K)``.

        :raises NotImplementedError: if no exact formula is known. The class says where one is.
        """
        if self._is_exchangeable():
            sizes = self.sizes if self.has_given_sizes else self.sizes.mean
            share = (sizes.to(self.log_scores) / self.event_shape[0]).unsqueeze(-2)
            return share.expand(self.batch_shape + self.event_shape)
        exact = self.mean_given(self.sizes) if self.has_given_sizes else None
        if exact is None:
            raise NotImplementedError(
                f"No exact formula is known for the mean of this {type(self).__name__}. The "
                "attribute `mean_field` is an approximation of O(N K). The mean of many draws is "
                "another one."
            )
        return exact

    @property
    def mean_field(self) -> Tensor:
        """An approximation of the mean, of shape ``batch_shape + (N, K)``, with exact sizes.

        If the sizes have a distribution, it is that for the mean sizes. It is differentiable in the
        scores. Small groups make it rough.
        """
        sizes = self.sizes if self.has_given_sizes else self.sizes.mean
        return self.mean_field_given(sizes)

    @property
    def variance(self) -> Tensor:
        """Variances of the entries, of shape ``batch_shape + (N, K)``, where the mean is exact."""
        mean = self.mean
        return mean * (1 - mean)

    @property
    def most_probable(self) -> Tensor:
        r"""A partition of given sizes with the largest sum of scores, ``batch_shape + (N, K)``.

        It is a most probable one of the law without an order of groups,
        :math:`p(Y) \propto \exp \sum_{ek} Y_{ek} s_{ek}`. The mode of the present law may differ.
        Cost: O(N^3) for each entry of the batch, on the CPU.

        :raises NotImplementedError: if the sizes have a distribution; use :meth:`given`.
        :raises ValueError: if no partition of these sizes is possible.
        """
        if not self.has_given_sizes:
            raise NotImplementedError(
                "`most_probable` needs given sizes. Take those of `given(sizes)`."
            )
        shape = self.batch_shape + self.event_shape
        return most_probable_partition(self.log_scores.expand(shape), self.sizes)

    def _is_exchangeable(self) -> bool:
        """Whether the elements are known to have equal scores, up to what changes nothing."""
        scores = self.log_scores
        # The formula for equal scores has no gradient.
        if scores.requires_grad or inside_transform():
            return False
        return bool((scores == scores[..., :1, :]).all())

    def __repr__(self) -> str:
        sizes = f"sizes: {self.sizes.shape}" if self.has_given_sizes else f"sizes={self.sizes!r}"
        return f"{type(self).__name__}({sizes}, log_scores: {self.log_scores.shape})"
