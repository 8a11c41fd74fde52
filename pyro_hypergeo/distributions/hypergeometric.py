# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The hypergeometric distribution: how many of the drawn elements are marked."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ..ops.errors import check, first_of, shown
from ..ops.fisher.two_groups import central_log_tails, terms_of_tail
from ..ops.tracing import nan_unless
from ..ops.urn import Bounds
from .arrays import Numbers, as_tensor
from .central import MultivariateHypergeometric
from .observations import check_shape, impossible
from .parameters import check_count_values, need_float64
from .tails import Tails, log_tail_at, probabilities, quantile


class Hypergeometric(Tails, TorchDistribution):
    r"""
    Number of marked elements in a draw without replacement: the hypergeometric distribution.

    A population has :math:`N` elements, and :math:`K` of them are marked. A set of :math:`n`
    elements is drawn, and every set has the same probability. The number :math:`x` of marked
    elements in it has the probability

    .. math::

        p(x) = \binom{K}{x} \binom{N - K}{n - x} \Big/ \binom{N}{n}, \qquad
        \max(0, n + K - N) \le x \le \min(n, K) .

    It is one count of :class:`MultivariateHypergeometric` with the groups :math:`K` and
    :math:`N - K`. In the notation of ``scipy.stats.hypergeom``, it is
    ``hypergeom(M=population, n=marked, N=total_count)``.

    Samples, :meth:`log_prob`, :meth:`icdf` and moments have the dtype of the arguments, if one of
    them is a floating-point tensor, else the default dtype. Both tails and their logarithms are in
    float64: float32 would show a tail of less than 1e-45 as 0. Costs are for one batch entry, with
    :math:`S` the largest number of counts in a support of the batch:

    =================================================  ============================================
    :meth:`log_prob`, :attr:`mean`, :attr:`variance`   :math:`O(1)` a value
    :meth:`sample`, exact                              :math:`O(1)` a draw
    :meth:`cdf`, :meth:`sf`, :meth:`logcdf`,           :math:`O(\sqrt{S})` a value; for many values,
    :meth:`logsf`                                      :math:`O(S)` and :math:`O(1)` a value
    :meth:`icdf`                                       :math:`O(S)` a value
    :meth:`enumerate_support`, :meth:`entropy`         :math:`O(S)`
    =================================================  ============================================

    **References:**

    [1] Johnson, N. L., Kemp, A. W. and Kotz, S. (2005) "Univariate Discrete Distributions",
        chapter 6.

    Example::

        >>> from pyro_hypergeo import Hypergeometric
        >>> aces = Hypergeometric(total_count=13, marked=4, population=52)
        >>> aces.log_prob(4).exp(), aces.mean
        (tensor(0.0026), tensor(1.))
        >>> aces.sf(2)
        tensor(0.0438, dtype=torch.float64)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param marked: number of elements that are marked, :math:`K`; of the batch shape.
    :type marked: int or torch.Tensor
    :param population: number of all elements, :math:`N`; of the batch shape.
    :type population: int or torch.Tensor
    :raises ValueError: if an argument is not a count, if ``total_count`` or ``marked`` is larger
        than ``population``, or if the shapes do not broadcast.
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "marked": constraints.nonnegative_integer,
        "population": constraints.nonnegative_integer,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Numbers,
        marked: Numbers,
        population: Numbers,
        *,
        validate_args: bool | None = None,
    ) -> None:
        given = (total_count, marked, population)
        devices = [x.device for x in given if torch.is_tensor(x)]
        tensors = [as_tensor(x, devices[0] if devices else None) for x in given]
        wide = need_float64(*given)
        dtype = torch.float64 if wide else torch.get_default_dtype()
        for x in given:
            if torch.is_tensor(x) and x.is_floating_point():
                dtype = torch.promote_types(dtype, x.dtype) if wide else x.dtype
        #: The dtype of samples and moments.
        self.dtype = dtype
        try:
            shape = torch.broadcast_shapes(*(x.shape for x in tensors))
        except RuntimeError:
            shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
            raise ValueError(
                "Expected `total_count`, `marked` and `population` of shapes that broadcast, but "
                f"got shapes {shapes}."
            ) from None
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            _check(tensors[0], tensors[1], tensors[2], dtype)
        self.total_count, self.marked, self.population = (x.expand(shape) for x in tensors)
        super().__init__(shape, validate_args=False)
        self._validate_args = validate_args

    @lazy_property
    def urn(self) -> MultivariateHypergeometric:
        """The distribution of two counts: of the marked elements, and of the others."""
        groups = torch.stack([self.marked, self.population - self.marked], -1)
        return MultivariateHypergeometric(
            self.total_count, groups.to(self.dtype), validate_args=False
        )

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Integers from max(0, n + K - N) to min(n, K)."""
        return constraints.integer_interval(*self._ends())

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        total_count: tuple[int, ...] = (),
        marked: tuple[int, ...] = (),
        population: tuple[int, ...] = (),
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments."""
        return Size(broadcast_shape(total_count, marked, population)), Size()

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        batch_shape = Size(batch_shape)
        for name in self.arg_constraints:
            setattr(new, name, getattr(self, name).expand(batch_shape))
        if "urn" in self.__dict__:
            new.__dict__["urn"] = self.urn.expand(batch_shape)
        super(Hypergeometric, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape``."""
        return self.urn.sample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor | float) -> Tensor:
        """Log-probability of a count.

        A count may be compared with several distributions at once, for example with those of an
        enumerated total. Some of them may not have it in their support: there, the result is
        ``-inf``.

        :param value: counts, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: log-probabilities of the broadcast shape.
        :raises ValueError: with validation, if a count is in the support of no distribution that it
            is compared with.
        """
        value = as_tensor(value, self.total_count.device)
        if self._validate_args:
            self._validate_sample(value)
        drawn, total = torch.broadcast_tensors(value.double(), self.total_count)
        return self.urn.log_prob(torch.stack([drawn, total - drawn], -1))

    def _validate_sample(self, value: Tensor) -> None:
        check_shape(value, self.batch_shape, self.event_shape)
        wrong = impossible(self.support.check(value), value.shape)
        if torch._is_all_true(~wrong):
            return
        low, high = (torch.broadcast_tensors(x, value)[0] for x in self._ends())
        first = first_of(wrong)
        allowed = (
            f"within the support, integers from {shown(low[first])} to {shown(high[first])} for "
            "this `total_count`, `marked` and `population`"
        )
        check("value", value, ~wrong, allowed)

    def icdf(self, value: Tensor | float) -> Tensor:
        """Quantiles: the smallest count whose ``cdf`` is at least ``value``.

        :param value: probabilities, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: counts of the broadcast shape.
        :raises ValueError: if a value is not between 0 and 1.
        """
        value = probabilities(value, self.total_count, self._validate_args)
        low, _ = self._ends()
        return (low + quantile(self._table(), value)).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        """n K / N, of the batch shape."""
        return self.urn.mean[..., 0]

    @property
    def variance(self) -> Tensor:
        """n (K / N) (1 - K / N) (N - n) / (N - 1), of the batch shape."""
        n, marked, everything = (
            x.double() for x in (self.total_count, self.marked, self.population)
        )
        pairs = (everything * everything * (everything - 1)).clamp(min=1)
        result = n * marked * (everything - marked) * (everything - n) / pairs
        return result.to(self.dtype)

    @property
    def mode(self) -> Tensor:
        """A most probable count, of the batch shape."""
        return self.urn.mode[..., 0]

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape."""
        return self.urn.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All counts of the support, of shape ``(S,) + batch_shape``, in increasing order.

        :param bool expand: if False, the batch dimensions have size 1.
        :raises NotImplementedError: if supports differ within the batch.
        """
        low, high = (x.reshape(-1) for x in self._ends())
        if not ((low == low[0]).all() and (high == high[0]).all()):
            raise NotImplementedError(
                "Supports that differ within a batch are not supported by `enumerate_support`."
            )
        first, last = int(low[0]), int(high[0])
        values = torch.arange(first, last + 1, device=low.device).to(self.dtype)
        if torch.jit.is_tracing():  # both ends are constants of the trace
            values = nan_unless((low == first).all() & (high == last).all(), values)
        values = values.reshape((-1,) + (1,) * len(self.batch_shape))
        return values.expand((-1,) + self.batch_shape) if expand else values

    def _ends(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest count, of the batch shape."""
        low = (self.total_count + self.marked - self.population).clamp(min=0)
        return low, torch.minimum(self.total_count, self.marked)

    def _bounds(self) -> Bounds:
        return Bounds(self._ends()[1], self.total_count)

    def _table(self) -> Tensor:
        """The log-probabilities of the support, ``batch_shape + (S,)``, in float64."""
        bounds = self._bounds()
        return bounds.guard(self.urn.law.marginal_table(self.urn.state, 0, bounds.size).logs)

    def log_tail(self, side: int, value: Tensor | float) -> Tensor:
        """The lower tail (side 0) or the upper one (side 1)."""
        low, _ = self._ends()
        index = as_tensor(value, low.device).floor() + 1
        bounds = self._bounds()
        terms = terms_of_tail(bounds.size)
        # A tail has fewer terms than the table, but many values share the table.
        if index.numel() * terms > self.batch_shape.numel() * (bounds.size + 1):
            return log_tail_at(self._table(), index - low, self.batch_shape)[side]
        urn = self.urn
        tails = central_log_tails(urn.state, urn.group_sizes, urn.total_count, index, terms)
        return bounds.guard(tails[side])


def _check(total: Tensor, marked: Tensor, population: Tensor, dtype: torch.dtype) -> None:
    check_count_values("population", population, dtype)
    for name, value in (("total_count", total), ("marked", marked)):
        check_count_values(name, value, dtype)
        most = f"at most the `population` {shown(population)}"
        check(name, value, value <= population, most)
