# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Straight-through draws for any law: exact counts that carry a gradient."""

from __future__ import annotations

from typing import Any

from torch import Size, Tensor

from ..ops.gradients.registry import estimators
from ..ops.gradients.straight_through import attach_gradient
from ..ops.tracing import inside_transform
from .parameters import Numbers, checked_estimator, positive_temperature
from .urn_law import UrnLaw


class StraightThrough(UrnLaw):
    """Mixin that adds gradients to the draws of a distribution of counts.

    Put it in front of the distribution: ``class MineStraightThrough(StraightThrough, Mine)``. The
    value of a draw is exact: integer counts of the same law. Its derivative in the log-weights
    comes from an estimator. :func:`~pyro_hypergeo.ops.estimators` lists the estimators of a law:
    every law has ``"affine"`` and ``"mean"``. The new class does not enumerate, because Pyro would
    give wrong weights to values that are both enumerated and reparameterised.

    Cost of a draw: that of ``sample``, and that of the estimator. ``"mean"`` costs as much as the
    mean, and ``"affine"`` as much as the covariance matrix and O(G^3), unless the law has a faster
    one. :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough` says more.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import WalleniusHypergeometric
        >>> from pyro_hypergeo.distributions import StraightThrough
        >>> class Race(StraightThrough, WalleniusHypergeometric):
        ...     pass
        >>> log_weights = torch.zeros(3, requires_grad=True)
        >>> x = Race(4, [5, 3, 2], log_weights=log_weights, estimator="mean").rsample()
        >>> x.sum().item(), x.requires_grad
        (4.0, True)

    The other arguments are those of the distribution.

    :param str estimator: name of the estimator.
    :param temperature: temperature of the estimator ``"gumbel"``, above 0; of a shape that
        broadcasts with the batch shape; 1 if not given. Other estimators ignore it.
    :type temperature: float or torch.Tensor
    :raises ValueError: if the law does not have the estimator, or has none with a temperature; or
        if another argument is not as said here.
    """

    has_rsample = True
    has_enumerate_support = False

    def __init__(
        self,
        total_count: Numbers,
        group_sizes: Numbers,
        weights: Numbers | None = None,
        *,
        log_weights: Numbers | None = None,
        estimator: str = "affine",
        temperature: float | Tensor | None = None,
        validate_args: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            total_count,
            group_sizes,
            weights,
            log_weights=log_weights,
            validate_args=validate_args,
            **options,
        )
        names = tuple(estimators(self.law))
        self.estimator = checked_estimator(estimator, names)
        if temperature is not None and "gumbel" not in names:
            raise ValueError(
                f"Expected no `temperature`, since no estimator of {self.law.title} law has one, "
                f"but got {temperature}."
            )
        self.temperature = positive_temperature(
            1.0 if temperature is None else temperature,
            self.parameter,
            self.batch_shape,
            self._validate_args and temperature is not None,
        )

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws with gradients, of shape ``sample_shape + batch_shape + (G,)``."""
        counts = self.sample(sample_shape)
        wanted = self.parameter.requires_grad or inside_transform()
        if not (wanted and counts.numel()):
            return counts
        movement = estimators(self.law)[self.estimator]
        moved = movement(counts, self.law, self.state, self.bounds, self.temperature)
        return attach_gradient(counts, self.bounds.guard(moved))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Raise an error: only the class without gradients enumerates.

        :raises NotImplementedError: always.
        """
        name = type(self).__name__
        raise NotImplementedError(
            f"{name} does not enumerate, since Pyro would give wrong weights to enumerated values "
            f"that carry a gradient. {name.removesuffix('StraightThrough')} is the same law and "
            "enumerates."
        )
