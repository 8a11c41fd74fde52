# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The urn of a distribution of counts: its arguments, its shapes, its support."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ..ops.support import listed_counts, support_size
from ..ops.urn import Bounds, log_of_weights
from .constraints import hypergeometric_counts, log_weights
from .observations import check_counts, check_shape
from .parameters import Numbers, check_urn, static_sizes, urn_parameters


class CountsOfUrn(TorchDistribution):
    """Base class of :class:`UrnLaw`: all that does not depend on the law.

    It keeps the arguments, and knows which counts are possible. The arguments are those of
    :class:`UrnLaw`.
    """

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
        super(CountsOfUrn, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __getstate__(self) -> dict[str, Any]:
        # Derived tensors may belong to an autograd graph, which cannot be copied or pickled.
        derived = {"weights", "log_weights"} - {self.parameter_name}
        return {key: value for key, value in self.__dict__.items() if key not in derived}

    def _validate_sample(self, value: Tensor) -> None:
        check_shape(value, self.batch_shape, self.event_shape)
        valid = self.support.check(value)
        check_counts(value, valid, self.group_sizes, self.total_count)

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
        return self.bounds.guard(counts)
