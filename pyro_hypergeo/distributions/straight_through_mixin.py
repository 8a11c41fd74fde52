# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What makes the draws of a law carry a gradient."""

from __future__ import annotations

from typing import Any

from torch import Size, Tensor

from ..ops.gradients.registry import estimators
from ..ops.gradients.straight_through import attach_gradient
from ..ops.tracing import inside_transform
from .parameters import Numbers, known_estimator, positive_temperature
from .urn_law import UrnLaw


class StraightThrough(UrnLaw):
    """Mixed into the class of a law: its draws carry a gradient, and it does not enumerate.

    The value of a draw is exact: integer counts of the law itself. Its derivative in the
    log-weights is that of an estimator, of which
    :func:`~pyro_hypergeo.ops.estimators` lists those that the law has.

    :param str estimator: name of the estimator.
    :param temperature: of the estimator ``"gumbel"``; above 0, of a shape that broadcasts with the
        batch shape. It is 1 if not given.
    :type temperature: float or torch.Tensor
    :raises ValueError: if the law does not have the estimator, or has none with a temperature.

    The other arguments are those of the law's class.
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
        self.estimator = known_estimator(estimator, names)
        if temperature is not None and "gumbel" not in names:
            raise ValueError(
                f"Expected no `temperature`, since no estimator of {self.law.title} law has one, "
                f"but got {temperature}."
            )
        self.temperature = positive_temperature(
            1.0 if temperature is None else temperature,
            self.parameter,
            self.batch_shape,
            self._validate_args,
        )

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws with gradients, of shape ``sample_shape + batch_shape + (G,)``."""
        counts = self.sample(sample_shape)
        wanted = self.parameter.requires_grad or inside_transform()
        if not (wanted and counts.numel()):
            return counts
        movement = estimators(self.law)[self.estimator]
        return attach_gradient(
            counts, movement(counts, self.law, self.state, self.bounds, self.temperature)
        )

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Refuse.

        :raises NotImplementedError: always; the class without gradients enumerates.
        """
        name = type(self).__name__
        raise NotImplementedError(
            f"{name} does not enumerate, since Pyro would weigh values wrongly that also carry a "
            f"gradient. {name.removesuffix('StraightThrough')} is the same law and enumerates."
        )
