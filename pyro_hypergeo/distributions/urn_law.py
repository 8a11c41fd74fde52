# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The base class of all distributions of counts that are drawn from an urn."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ..ops.law import Law
from ..ops.support import listed_counts, support_size
from ..ops.tracing import largest
from ..ops.urn import Bounds, log_of_weights
from .constraints import hypergeometric_counts, log_weights
from .group_count import GroupCount
from .parameters import Numbers, check_urn, mean_parameters, static_sizes, urn_parameters

_UrnLaw = TypeVar("_UrnLaw", bound="UrnLaw")


class UrnLaw(TorchDistribution):
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

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "group_sizes": constraints.independent(constraints.nonnegative_integer, 1),
        "weights": constraints.independent(constraints.nonnegative, 1),
        "log_weights": log_weights,
    }
    has_enumerate_support = True

    #: :meth:`enumerate_support` refuses to list more count vectors than this.
    max_enumeration = 100_000

    #: What to use instead if there are more. The error says it.
    without_enumeration: ClassVar[str] = "`log_prob` and `mean` need no enumeration."

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Refuse ``logits``, with which Pyro would make the marginal of an enumerated site."""
        if "logits" in options:
            raise NotImplementedError(
                "Pyro's `compute_marginals` and `sample_posterior` do not work for counts, which "
                "are vectors. pyro_hypergeo.enumerated_posterior gives their posterior; for large "
                "supports use markov_counts and pyro.infer.infer_discrete."
            )
        return super().__new__(cls)

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
        if urn.name == "weights":
            self.weights = urn.weights
        else:
            self.log_weights = urn.weights
        #: "weights" or "log_weights": the one that was given.
        self.parameter_name = urn.name
        #: Largest size, total and number of elements, as Python numbers.
        self.bounds = Bounds(
            urn.group_sizes, urn.total_count, static_sizes(group_sizes, total_count)
        )
        # The values were checked above, together, which `super` cannot do.
        super().__init__(urn.batch_shape, urn.group_sizes.shape[-1:], validate_args=False)
        self._validate_args = validate_args

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Integer counts with 0 <= x_i <= m_i that sum to the total."""
        return hypergeometric_counts(self.group_sizes, self.total_count)

    @lazy_property
    def weights(self) -> Tensor:
        """Weights of the elements of each group, of shape ``batch_shape + (G,)``."""
        return self.log_weights.exp()

    @lazy_property
    def log_weights(self) -> Tensor:
        """Logarithms of the weights, of shape ``batch_shape + (G,)``."""
        return log_of_weights(self.weights)

    @property
    def parameter(self) -> Tensor:
        """The weights or the log-weights, whichever was given."""
        return self.__dict__[self.parameter_name]

    @property
    def theta(self) -> Tensor:
        """The log-weights in float64."""
        # Not from `log_weights`, which is rounded to the dtype of the weights.
        parameter = self.parameter.double()
        return parameter if self.parameter_name == "log_weights" else log_of_weights(parameter)

    @lazy_property
    def state(self) -> Any:
        """What the law computes once for these parameters, in float64."""
        return self.law.solve(self.theta, self.group_sizes, self.total_count)

    def to_dtype(self, value: Tensor) -> Tensor:
        """A result in the dtype of the weights."""
        return value.to(self.parameter.dtype)

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
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        batch_shape = Size(batch_shape)
        shape = batch_shape + self.event_shape
        new.total_count = self.total_count.expand(batch_shape)
        new.group_sizes = self.group_sizes.expand(shape)
        for name in ("weights", "log_weights"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand(shape)
        if "state" in self.__dict__:
            new.__dict__["state"] = self.state.expand(batch_shape)
        super(UrnLaw, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __getstate__(self) -> dict[str, Any]:
        # Derived tensors may belong to an autograd graph, which cannot be copied or pickled.
        derived = {"state", "weights", "log_weights"} - {self.parameter_name}
        return {key: value for key, value in self.__dict__.items() if key not in derived}

    @property
    def min_counts(self) -> Tensor:
        """The smallest count of each group in the support, of shape ``batch_shape + (G,)``."""
        drawable = self._drawable
        others = drawable.sum(-1, keepdim=True) - drawable
        return self.to_dtype((self.total_count.unsqueeze(-1) - others).clamp(min=0))

    @property
    def max_counts(self) -> Tensor:
        """The largest count of each group in the support, of shape ``batch_shape + (G,)``."""
        total = self.total_count.unsqueeze(-1)
        return self.to_dtype(torch.minimum(self._drawable, total))

    @property
    def _drawable(self) -> Tensor:
        return torch.where(self.theta == -torch.inf, 0, self.group_sizes)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (G,)``."""
        with torch.no_grad():
            return self.to_dtype(self.law.sample(self.state, Size(sample_shape), self.bounds))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        It is differentiable in the weights. The formula also accepts real counts, and is
        differentiable in them. Without validation it is ``-inf`` outside of the support.

        :param torch.Tensor value: counts, of shape ``sample_shape + batch_shape + (G,)``.
        :raises ValueError: with validation, if a count vector is not in the support.
        """
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
            ``cdf``, ``sf`` and ``icdf``.
        :raises ValueError: if there is no such group.
        """
        groups = self.event_shape[0]
        if not -groups <= group < groups:
            raise ValueError(
                f"Expected `group` between {-groups} and {groups - 1} for {groups} groups, "
                f"but got {group}."
            )
        max_size = largest(self.group_sizes[..., group])
        logits = self.to_dtype(self.law.log_marginal(self.state, group % groups, max_size))
        return GroupCount(logits=logits, validate_args=self._validate_args)

    def marginals(self) -> GroupCount:
        """The distributions of the single counts of all groups: see :meth:`marginal`.

        Their values are 0, ..., the largest size of all groups.

        :return: a :class:`~pyro_hypergeo.distributions.GroupCount` of the batch shape
            ``batch_shape + (G,)``.
        """
        logits = self.to_dtype(self.law.log_marginals(self.state, self.bounds))
        return GroupCount(logits=logits, validate_args=False)

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

    @property
    def support_size(self) -> int:
        """Number of count vectors in the support. Cost: O(G n) additions."""
        return support_size(*self.bounds.one_urn())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All count vectors, of shape ``(support_size,) + batch_shape + (G,)``.

        The list is in lexicographic order. Cost: O(G) for each vector.

        :param bool expand: if False, the batch dimensions have size 1.
        :raises ValueError: if there are more than ``max_enumeration`` vectors.
        :raises NotImplementedError: if totals or sizes differ within the batch.
        """
        sizes, total = self.bounds.one_urn()
        counts = listed_counts(
            sizes, total, self.max_enumeration, otherwise=self.without_enumeration
        ).to(self.parameter)
        counts = counts.reshape((-1,) + (1,) * len(self.batch_shape) + self.event_shape)
        if expand:
            counts = counts.expand((-1,) + self.batch_shape + self.event_shape)
        return counts
