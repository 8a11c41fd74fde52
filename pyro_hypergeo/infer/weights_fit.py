# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The result of a fit: estimates, their accuracy, and questions to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ops.errors import check
from ..ops.law import Law
from .goodness_of_fit import GoodnessOfFit, goodness_of_fit
from .levels import check_level, reach
from .maximum import blocks, log_likelihood, table_size
from .profile import profile_interval


@dataclass(frozen=True, eq=False)
class WeightsFit:
    """The result of :func:`fit_weights`: maximum-likelihood log-weights and their accuracy.

    All tensors are float64. Log-weights are relative to the reference group, or to their mean if
    there is no reference. Printed, it is a summary.

    >>> from pyro_hypergeo import fit_weights
    >>> fit = fit_weights([10, 20], [6, 4], groups=["old", "new"], reference="old")
    >>> fit.log_weights, fit.law
    (tensor([ 0.0000, -1.7202], dtype=torch.float64), 'fisher')
    >>> print(fit)
    Weights under Fisher's law, 1 stratum, relative to old
    group  log-weight   s.e.  weight    95% interval
    old         0.000  0.000   1.000
    new        -1.720  0.832   0.179  0.035 to 0.914
    log-likelihood: -1.115 at these weights, -3.385 at equal weights

    :ivar torch.Tensor log_weights: estimates, of shape ``(G,)``.
    :ivar torch.Tensor covariance: their covariance matrix, of shape ``(G, G)``: the inverse of the
        observed information, for the same reference.
    :ivar torch.Tensor standard_errors: roots of its diagonal, of shape ``(G,)``.
    :ivar torch.Tensor log_likelihood: log-likelihood at the estimates, in nats, a scalar.
    :ivar torch.Tensor log_likelihood_equal: log-likelihood at equal weights, a scalar.
    :ivar int iterations: number of Newton steps.
    :ivar str law: name of the law.
    :ivar tuple groups: names of the groups.
    :ivar int reference: index of the reference group, or None.
    :ivar torch.Tensor group_sizes: the sizes, of shape ``(strata, G)``.
    :ivar torch.Tensor counts: the drawn counts, of shape ``(strata, G)``.
    :ivar Law urn_law: the law as an object.
    """

    log_weights: Tensor
    covariance: Tensor
    standard_errors: Tensor
    log_likelihood: Tensor
    log_likelihood_equal: Tensor
    iterations: int
    law: str
    groups: tuple[str, ...]
    reference: int | None
    group_sizes: Tensor = field(repr=False)
    counts: Tensor = field(repr=False)
    urn_law: Law = field(repr=False)

    @property
    def fitted_counts(self) -> Tensor:
        """Mean counts at the estimates, of shape ``(strata, G)``. Cost: O(strata G)."""
        return torch.cat([self.urn_law.mean(state) for state in self._states()])

    @property
    def residuals(self) -> Tensor:
        """Pearson's residual of each cell: count minus mean, divided by the standard deviation.

        Shape ``(strata, G)``. A cell that can have one count only has the residual 0. Cost:
        O(strata G) under Fisher's law, O(strata G^2) under others.

        >>> from pyro_hypergeo import fit_weights
        >>> fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]]).residuals
        tensor([[ 0.4271, -0.4271],
                [-0.4000,  0.4000]], dtype=torch.float64)
        """
        parts = [
            (self.urn_law.mean(state), self.urn_law.variance(state)) for state in self._states()
        ]
        mean, variance = map(torch.cat, zip(*parts, strict=True))
        deviation, rest = variance.sqrt(), self.counts - mean
        return torch.where(deviation > 0, rest / deviation.where(deviation > 0, 1), 0.0)

    def goodness_of_fit(self, simulations: int = 0, seed: int = 0) -> GoodnessOfFit:
        """Test whether the same weights in all strata fit: see :class:`GoodnessOfFit`.

        :param int simulations: number of simulated tables for a p-value that holds for small counts
            too; 0 for none.
        :param int seed: of the simulated tables.
        :return: a :class:`GoodnessOfFit`.
        :raises ValueError: if ``simulations`` is negative.
        """
        return goodness_of_fit(self, simulations, seed)

    def confidence_intervals(self, level: float = 0.95, *, profile: bool = False) -> Tensor:
        r"""Intervals of the log-weights, of shape ``(G, 2)``.

        By default they are Wald's, :math:`\hat\theta_i \pm z \, \mathrm{s.e.}` With ``profile``
        they are from the profile likelihood: see :meth:`profile_interval`. The log-weight of the
        reference is 0 exactly.

        >>> from pyro_hypergeo import fit_weights
        >>> fit = fit_weights([10, 20], [6, 4], reference=0)
        >>> fit.confidence_intervals(0.9)[1]
        tensor([-3.0886, -0.3518], dtype=torch.float64)

        :param float level: the level, between 0 and 1.
        :param bool profile: whether to use the profile likelihood.
        :raises ValueError: if ``level`` is not between 0 and 1.
        """
        check_level(level)
        if not profile:
            away = reach(level) * self.standard_errors
            return torch.stack([self.log_weights - away, self.log_weights + away], -1)
        contrasts = torch.eye(len(self.groups), dtype=torch.float64)
        if self.reference is None:
            contrasts = contrasts - 1 / len(self.groups)
        else:
            contrasts[:, self.reference] -= 1
        rows = [
            (0.0, 0.0) if index == self.reference else self.profile_interval(contrast, level)
            for index, contrast in enumerate(contrasts)
        ]
        return torch.tensor(rows, dtype=torch.float64)

    def profile_interval(
        self, contrast: Tensor | Sequence[float] | Mapping[str, float], level: float = 0.95
    ) -> tuple[float, float]:
        r"""The profile-likelihood interval of a contrast :math:`c^\top \theta` of log-weights.

        It holds all values :math:`v` for which

        .. math::

            2 \bigl( \ell(\hat\theta) - \max_{c^\top \theta = v} \ell(\theta) \bigr)
            \le \chi^2_{1, \mathrm{level}} .

        Cost: some tens of Newton steps of :func:`fit_weights` for each end.

        >>> from pyro_hypergeo import fit_weights
        >>> fit = fit_weights([10, 20], [6, 4], groups=["old", "new"])
        >>> low, high = fit.profile_interval({"old": 1, "new": -1})
        >>> round(low, 3), round(high, 3)
        (0.136, 3.45)

        :param contrast: the coefficients :math:`c`, G numbers with sum 0; or a dictionary from
            names of groups to numbers.
        :param float level: the level, between 0 and 1.
        :return: the lower and the upper end.
        :raises ValueError: if the contrast has the wrong shape, is 0, does not sum to 0, or names
            an unknown group; or if ``level`` is not between 0 and 1.
        """
        check_level(level)
        evaluate = partial(log_likelihood, self.urn_law, sizes=self.group_sizes, counts=self.counts)
        return profile_interval(
            evaluate,
            self.log_weights,
            self.covariance,
            self._contrast(contrast),
            level,
            gauge=True,
        )

    def _contrast(self, contrast: Tensor | Sequence[float] | Mapping[str, float]) -> Tensor:
        if isinstance(contrast, Mapping):
            unknown = [name for name in contrast if name not in self.groups]
            if unknown:
                raise ValueError(
                    f"Expected `contrast` to name groups of {list(self.groups)}, but got "
                    f"{unknown[0]!r}."
                )
            contrast = [float(contrast.get(name, 0.0)) for name in self.groups]
        values = torch.as_tensor(contrast).detach().double()
        if values.shape != self.log_weights.shape:
            raise ValueError(
                f"Expected `contrast` of shape {tuple(self.log_weights.shape)}, but got "
                f"{tuple(values.shape)}."
            )
        check("contrast", values, values.isfinite(), "finite")
        size = values.abs().sum()
        if size == 0 or values.sum().abs() > 1e-9 * size:
            raise ValueError(
                "Expected `contrast` to sum to 0 and not to be 0 everywhere, since only ratios of "
                f"weights have a meaning, but got {values.tolist()} with the sum {values.sum():g}."
            )
        return values

    def _states(self) -> Iterator[Any]:
        """The solved urns, in blocks of strata."""
        cells = table_size(self.urn_law, self.group_sizes, self.counts)
        for block in blocks(len(self.group_sizes), cells):
            sizes, total = self.group_sizes[block], self.counts[block].sum(-1)
            yield self.urn_law.solve(self.log_weights.expand(sizes.shape), sizes, total)

    def __str__(self) -> str:
        strata = len(self.group_sizes)
        base = "their mean" if self.reference is None else self.groups[self.reference]
        rows = [["group", "log-weight", "s.e.", "weight", "95% interval"]]
        intervals = self.confidence_intervals().tolist()
        for index, (name, (low, high)) in enumerate(zip(self.groups, intervals, strict=True)):
            interval = "" if index == self.reference else f"{_exp(low)} to {_exp(high)}"
            value, error = self.log_weights[index].item(), self.standard_errors[index].item()
            rows.append([name, f"{value:.3f}", f"{error:.3f}", _exp(value), interval])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in rows
        ]
        return "\n".join(
            [
                f"Weights under {self.urn_law.title} law, {strata} "
                f"{'stratum' if strata == 1 else 'strata'}, "
                f"relative to {base}",
                *lines,
                f"log-likelihood: {self.log_likelihood:.3f} at these weights, "
                f"{self.log_likelihood_equal:.3f} at equal weights",
            ]
        )


def _exp(log_weight: float) -> str:
    # Weights may be too large for a float.
    if abs(log_weight) > 9:
        power, rest = divmod(log_weight / math.log(10), 1)
        return f"{10**rest:.1f}e{power:+.0f}"
    return f"{math.exp(log_weight):.3f}"
