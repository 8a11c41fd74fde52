# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from .. import ops
from ..ops._cumulants import Cumulants, covariance64, cumulants, variance64
from ..ops._static import largest
from ..ops.log_prob import log_prob_given
from ..ops.marginals import log_marginal_given
from ..ops.sampling import sample_given
from ..ops.windows import entropy_given
from ._parameters import (
    Numbers,
    check_urn,
    mean_parameters,
    static_sizes,
    urn_parameters,
)
from .constraints import hypergeometric_counts
from .group_count import GroupCount


class FisherHypergeometric(TorchDistribution):
    r"""
    Counts of a biased draw without replacement: Fisher's multivariate noncentral hypergeometric
    distribution.

    An urn holds :math:`G` groups of :math:`m_i` elements; each element of group :math:`i` has the
    weight (importance, odds) :math:`w_i`. Of all ways to draw :math:`n` elements, each is taken
    with probability proportional to the product of the weights of its elements. The counts
    :math:`x_i` drawn from the groups then have the probability

    .. math::

        p(x) = \frac{1}{P_0} \prod_{i=1}^G \binom{m_i}{x_i} w_i^{x_i},
        \qquad \sum_i x_i = n, \quad 0 \le x_i \le m_i .

    Only ratios of weights matter. Weights of 0, empty groups, and totals of 0 or of all elements
    are legal and exact.

    With :math:`\theta_i = \log w_i`, the law is an exponential family in :math:`\theta` whose
    log-partition function :math:`\log P_0` is evaluated to rounding at a cost that does not depend
    on the number of elements. :meth:`log_prob`, :attr:`mean` and :attr:`variance` cost
    :math:`O(G)` for each batch entry, :attr:`covariance_matrix` :math:`O(G^2)`, :meth:`entropy`
    :math:`O(G (\max m + \sqrt N))` at most, all in float64 inside and differentiable in the
    weights. :meth:`sample` is exact, never an approximation.

    **References:**

    [1] Fisher, R. A. (1935) "The logic of inductive inference", Journal of the Royal Statistical
        Society 98(1).

    [2] McCullagh, P. and Nelder, J. A. (1989) "Generalized Linear Models", section 7.3.

    [3] Fog, A. (2008) "Sampling methods for Wallenius' and Fisher's noncentral hypergeometric
        distributions", Communications in Statistics, Simulation and Computation 37(2).

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric
        >>> urn = FisherHypergeometric(4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0])
        >>> urn.mean
        tensor([1.3697, 1.3494, 1.2809])
        >>> urn.log_prob(torch.tensor([2.0, 1.0, 1.0])).exp()
        tensor(0.2221)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``.
    :type group_sizes: list of int or torch.Tensor
    :param weights: weights of the elements of each group, not negative and not all 0; of shape
        ``batch_shape + (G,)``. Exactly one of ``weights`` and ``log_weights`` is given.
    :type weights: list of float or torch.Tensor
    :param log_weights: their logarithms; ``-inf`` is a weight of 0.
    :type log_weights: list of float or torch.Tensor
    :raises ValueError: if an argument is outside of what is said here, or shapes do not broadcast.
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
    def _known(self) -> Cumulants:
        return cumulants(self._theta, self.group_sizes, self.total_count)

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

    def expand(self, batch_shape: Any, _instance: Any = None) -> FisherHypergeometric:
        """The same law with a larger batch shape; what was computed already is carried over."""
        new = self._get_checked_instance(FisherHypergeometric, _instance)
        batch_shape = Size(batch_shape)
        shape = batch_shape + self.event_shape
        new.total_count = self.total_count.expand(batch_shape)
        new.group_sizes = self.group_sizes.expand(shape)
        new._given = self._given
        for name in ("weights", "log_weights"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand(shape)
        if "_known" in self.__dict__:
            new.__dict__["_known"] = self._known.expand(batch_shape)
        if "_table_sizes" in self.__dict__:
            new.__dict__["_table_sizes"] = self._table_sizes
        if "max_enumeration" in self.__dict__:
            new.max_enumeration = self.max_enumeration
        super(FisherHypergeometric, new).__init__(
            batch_shape, self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def __getstate__(self) -> dict[str, Any]:
        # What is derived may be part of an autograd graph, which can be neither copied nor stored.
        derived = {"_known", "weights", "log_weights"} - {self._given}
        return {key: value for key, value in self.__dict__.items() if key not in derived}

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (G,)``.

        By rejection or by inverse cdf down a tree of the groups' sums, whichever is faster for the
        sizes; by the latter, which has no loop that ends on data, wherever PyTorch traces,
        compiles or vmaps.
        """
        with torch.no_grad():
            return self._out(sample_given(self._known, Size(sample_shape), *self._table_sizes))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        Differentiable in the weights and, as the formula extends to real counts, in the value.
        Without validation it is ``-inf`` outside of the support. Cost: O(G).
        """
        if self._validate_args:
            self._validate_sample(value)
        return self._out(log_prob_given(value, self._known))

    @property
    def log_partition(self) -> Tensor:
        r""":math:`\log P_0`, of the batch shape; its gradient in ``log_weights`` is the mean."""
        return self._out(self._known.log_partition)

    @property
    def mean(self) -> Tensor:
        """Mean counts, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(self._known.mean)

    @property
    def variance(self) -> Tensor:
        """Variances of the counts, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(variance64(self._known))

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix of the counts, of shape ``batch_shape + (G, G)``. Cost: O(G^2)."""
        return self._out(covariance64(self._known))

    @property
    def mode(self) -> Tensor:
        """A most probable count vector, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(ops.mode(self._theta, self.group_sizes, self.total_count))

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape, from the marginals and without enumeration."""
        max_size, _ = self._table_sizes
        return self._out(entropy_given(self._known, max_size, largest(self.group_sizes.sum(-1))))

    def marginal(self, group: int) -> GroupCount:
        """The law of the count of one group, over 0, ..., its largest size in the batch.

        Exact in the tails. Cost: O(G m_group).

        :param int group: index of the group; negative ones count from the end.
        """
        groups = self.event_shape[0]
        if not -groups <= group < groups:
            raise ValueError(
                f"Expected `group` between {-groups} and {groups - 1} for {groups} groups, "
                f"but got {group}."
            )
        max_size = largest(self.group_sizes[..., group])
        logits = self._out(log_marginal_given(self._known, group % groups, max_size))
        return GroupCount(logits=logits, validate_args=self._validate_args)

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
        sizes, total = self._one_urn()
        if ops.support_exceeds(sizes, total, self.max_enumeration):
            raise ValueError(
                f"The support of {total} elements drawn from groups of sizes {sizes} has "
                f"{ops.support_size(sizes, total)} count vectors, more than max_enumeration = "
                f"{self.max_enumeration}. `log_prob`, `mean`, `marginal` and `entropy` need no "
                "enumeration, and `markov_counts` sums latent counts out group by group."
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

    @classmethod
    def from_mean(
        cls,
        mean: Numbers,
        group_sizes: Numbers,
        total_count: Numbers | None = None,
        *,
        validate_args: bool | None = None,
    ) -> FisherHypergeometric:
        """The distribution whose mean counts are the given ones; ``weights`` tells its weights.

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
        log_weights = ops.log_weights_from_mean(means, sizes, total)
        return cls(total, sizes, log_weights=log_weights, validate_args=validate_args)


def _log(weights: Tensor) -> Tensor:
    # A weight of 0 is a log-weight of -inf without a gradient, where autograd's would be NaN.
    zero = weights == 0
    return torch.where(zero, -torch.inf, torch.log(torch.where(zero, 1.0, weights)))
