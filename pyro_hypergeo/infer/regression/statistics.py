# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Statistics with a chi-square law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class ChiSquareTest(NamedTuple):
    """A statistic that has a chi-square law if the hypothesis is true.

    >>> from pyro_hypergeo.infer.regression.statistics import chi_square_test
    >>> print(chi_square_test(3.84, 1))
    3.84 on 1 df, p 0.050

    :ivar float statistic: the statistic.
    :ivar int degrees_of_freedom: of its law.
    :ivar float p_value: the probability of at least this statistic.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float

    def __str__(self) -> str:
        if math.isnan(self.statistic):
            return "not defined, since the covariance is singular"
        return f"{self.statistic:.4g} on {self.degrees_of_freedom} df, p {shown_p(self.p_value)}"


def chi_square_test(statistic: float, degrees_of_freedom: int) -> ChiSquareTest:
    """A test from its statistic; a statistic below 0 by rounding is 0."""
    from scipy.special import chdtrc  # scipy takes long to import, and scipy.stats most

    statistic = max(float(statistic), 0.0)
    return ChiSquareTest(
        statistic, degrees_of_freedom, float(chdtrc(degrees_of_freedom, statistic))
    )


def two_sided_p(z: Tensor) -> Tensor:
    """Probabilities of at least so large a standard normal, in absolute value."""
    return torch.special.erfc(z.abs() / math.sqrt(2))


def shown_p(p_value: float) -> str:
    """A p-value as a summary shows it."""
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1e}"


def contrast_rows(
    contrast: Tensor | Sequence[Any] | Mapping[str, float] | None, names: Sequence[str]
) -> Tensor:
    """Contrasts of coefficients as rows of a matrix, ``(k, p)``; each coefficient for None.

    :raises ValueError: if the shape is wrong, or a name is unknown.
    """
    if contrast is None:
        return torch.eye(len(names), dtype=torch.float64)
    if isinstance(contrast, Mapping):
        unknown = [name for name in contrast if name not in names]
        if unknown:
            raise ValueError(
                f"Expected `contrast` to name covariates of {list(names)}, but got {unknown[0]!r}."
            )
        contrast = [float(contrast.get(name, 0.0)) for name in names]
    rows = torch.atleast_2d(torch.as_tensor(contrast).detach().double())
    if rows.dim() != 2 or rows.shape[1] != len(names):
        raise ValueError(
            f"Expected `contrast` of shape ({len(names)},) or (k, {len(names)}), but "
            f"got {tuple(rows.shape)}."
        )
    return rows
