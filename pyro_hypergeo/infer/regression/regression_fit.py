# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The result of a regression: coefficients, their accuracy, and questions to them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ops.law import Law, LogLikelihood
from ..levels import reach
from ..profile import profile_interval
from . import permutation, prediction, score_tests
from .likelihood import TableLikelihood
from .robust import clustered_covariance
from .statistics import ChiSquareTest, chi_square_test, contrast_rows, two_sided_p
from .strata import StratifiedTable
from .summary import summary

# A correlation matrix with a smaller eigenvalue is singular.
_SINGULAR = 1e-10


@dataclass(frozen=True, eq=False)
class RegressionFit:
    """The result of :func:`fit_regression`: coefficients and their accuracy.

    All tensors are float64. Printed, it is a summary.

    >>> from pyro_hypergeo import fit_regression
    >>> age = [31, 44, 52, 38, 47, 29, 60, 35]
    >>> fit = fit_regression(age, [0, 1, 0, 0, 1, 0, 1, 1], names=["age"])
    >>> fit.coefficients, fit.standard_errors
    (tensor([0.0901], dtype=torch.float64), tensor([0.0816], dtype=torch.float64))
    >>> print(fit)
    Hypergeometric regression under Fisher's law
    8 rows in 1 stratum, 4 of 8 elements drawn
            coef  exp(coef)    s.e.     z      p      95% interval
    age  0.09009      1.094  0.0816  1.10  0.270  -0.06985 to 0.25
    log-likelihood: -3.4959, with all coefficients 0: -4.2485
    likelihood ratio: 1.505 on 1 df, p 0.220
    Wald: 1.219 on 1 df, p 0.270
    score: 1.403 on 1 df, p 0.236

    :ivar torch.Tensor coefficients: estimates, of shape ``(p,)``. A unit of the covariate
        multiplies the weight of an element by the exponential of the coefficient.
    :ivar torch.Tensor covariance: their covariance matrix, of shape ``(p, p)``: the inverse of the
        observed information, to which the ridge is added.
    :ivar torch.Tensor standard_errors: roots of its diagonal, of shape ``(p,)``.
    :ivar float log_likelihood: log-probability of the counts at the estimates, without the ridge.
    :ivar float log_likelihood_null: the same if all coefficients are 0; the offset stays.
    :ivar int iterations: number of Newton steps.
    :ivar tuple names: names of the covariates.
    :ivar str law: name of the law.
    :ivar int rows: number of rows.
    :ivar int strata: number of strata that were used.
    :ivar int strata_dropped: number of strata in which nothing or everything is drawn.
    :ivar float ridge: the penalty.
    :ivar str errors: how the standard errors were found: ``"information"`` or ``"clustered"``.
    """

    coefficients: Tensor
    covariance: Tensor
    log_likelihood: float
    log_likelihood_null: float
    iterations: int
    ridge: float
    null: LogLikelihood = field(repr=False)
    information: Tensor = field(repr=False)
    likelihood: TableLikelihood = field(repr=False)
    errors: str = "information"

    @property
    def standard_errors(self) -> Tensor:
        """Roots of the diagonal of the covariance, of shape ``(p,)``."""
        return self.covariance.diagonal().sqrt()

    @property
    def table(self) -> StratifiedTable:
        """The table that was fitted."""
        return self.likelihood.table

    @property
    def urn_law(self) -> Law:
        """The law as an object."""
        return self.likelihood.law

    @property
    def law(self) -> str:
        """The name of the law."""
        return self.urn_law.name

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return self.table.names

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.table.rows

    @property
    def strata(self) -> int:
        """Number of strata that were used."""
        return self.table.strata

    @property
    def strata_dropped(self) -> int:
        """Number of strata in which nothing or everything is drawn."""
        return self.table.strata_dropped

    @property
    def z_values(self) -> Tensor:
        """Coefficients divided by their standard errors, of shape ``(p,)``."""
        return self.coefficients / self.standard_errors

    @property
    def p_values(self) -> Tensor:
        """Two-sided p-values of Wald's test of each coefficient, of shape ``(p,)``."""
        return two_sided_p(self.z_values)

    def confidence_intervals(self, level: float = 0.95, *, profile: bool = False) -> Tensor:
        r"""Intervals of the coefficients, of shape ``(p, 2)``.

        :param float level: the level, between 0 and 1.
        :param bool profile: whether they come from the profile likelihood, instead of Wald's
            :math:`\hat\beta \pm z \, \mathrm{s.e.}`
        :raises ValueError: if ``level`` is not between 0 and 1.
        """
        away = reach(level) * self.standard_errors
        if not profile:
            return torch.stack([self.coefficients - away, self.coefficients + away], -1)
        scale = self.likelihood.scale
        ends = [
            profile_interval(
                self.likelihood.at,
                self.coefficients * scale,
                self.covariance * scale * scale.unsqueeze(-1),
                contrast,
                level,
            )
            for contrast in torch.eye(len(scale), dtype=torch.float64)
        ]
        return torch.tensor(ends, dtype=torch.float64) / scale.unsqueeze(-1)

    def wald(
        self, contrast: Tensor | Sequence[Any] | Mapping[str, float] | None = None
    ) -> ChiSquareTest:
        r"""Wald's test that contrasts of the coefficients are 0.

        :param contrast: C, of shape ``(p,)`` or ``(k, p)``; or a dictionary from names of
            covariates to numbers; all coefficients if not given.
        :return: a :class:`ChiSquareTest` with the statistic
            :math:`(C \beta)^\top (C V C^\top)^{-1} C \beta`; NaN if the covariance of the
            contrasts is singular, as with robust errors from fewer clusters than contrasts.
        :raises ValueError: if the contrast has a wrong shape, or names an unknown covariate.
        """
        rows = contrast_rows(contrast, self.names)
        value, covariance = rows @ self.coefficients, rows @ self.covariance @ rows.mT
        unit = covariance.diagonal().clamp(min=1e-300).rsqrt()
        if torch.linalg.eigvalsh(covariance * unit * unit.unsqueeze(-1))[0] < _SINGULAR:
            return ChiSquareTest(math.nan, len(rows), math.nan)
        return chi_square_test(float(value @ torch.linalg.solve(covariance, value)), len(rows))

    def likelihood_ratio(self, smaller: RegressionFit | None = None) -> ChiSquareTest:
        """The likelihood-ratio test against a smaller model of the same counts.

        :param RegressionFit smaller: a fit of fewer covariates; of none if not given.
        :raises ValueError: if the smaller fit has other rows or another law, or is not smaller.
        """
        if smaller is None:
            low, fewer = self.log_likelihood_null, 0
        else:
            given, other = self.table.given, smaller.table.given
            same = all(
                getattr(given, name).equal(getattr(other, name))
                for name in ("counts", "sizes", "strata")
            )
            if not same or smaller.law != self.law:
                raise ValueError(
                    "Expected `smaller` to be a fit of the same rows under the same law, but got "
                    f"{smaller.rows} rows under {smaller.law}."
                )
            low, fewer = smaller.log_likelihood, len(smaller.names)
        if fewer >= len(self.names):
            raise ValueError(
                f"Expected `smaller` to have fewer covariates than {len(self.names)}, but got "
                f"{fewer}."
            )
        return chi_square_test(2 * (self.log_likelihood - low), len(self.names) - fewer)

    def score(self) -> ChiSquareTest:
        """The score test that all coefficients are 0; it needs no estimate."""
        step = torch.linalg.solve(self.null.information, self.null.gradient)
        return chi_square_test(float(self.null.gradient @ step), len(self.names))

    def score_tests(self, candidates: Any) -> score_tests.ScoreTests:
        """Test whether further covariates have an effect, one after the other, at these estimates.

        :param candidates: k columns, of shape ``(rows, k)``: an array, a tensor, a DataFrame or a
            sparse matrix of scipy.
        :return: a :class:`ScoreTests`. Cost under Fisher's law: about 50 operations for each entry
            that is not 0.
        :raises ValueError: if the number of rows is another.
        """
        return score_tests.score_tests(
            self.urn_law, self.table.given, self.coefficients, candidates
        )

    def robust(self, cluster: Any = None) -> RegressionFit:
        r"""The same estimates with standard errors that hold if strata are not as the law says.

        They come from the sandwich :math:`V (\sum_s u_s u_s^\top) V`, with the scores :math:`u_s`
        of the strata or of clusters of strata.

        :param cluster: labels, one for each row; strata if not given.
        :raises ValueError: if there is one cluster only: then the scores sum to 0. Use
            :attr:`dispersion` or :meth:`permutation_test` then. Or if a stratum is in two clusters.
        """
        covariance = clustered_covariance(
            self.likelihood, self.coefficients, self.information, cluster
        )
        return dataclasses.replace(self, covariance=covariance, errors="clustered")

    @property
    def dispersion(self) -> float:
        """Pearson's dispersion: the mean square of the residuals, about 1 if the model holds.

        The residuals have exact variances. If it is far above 1, all standard errors are too small
        by about its root.
        """
        return prediction.dispersion(self.urn_law, self.table.given, self.coefficients)

    def permutation_test(
        self, permute: Callable[[np.random.Generator], Any], number: int = 999, seed: int = 0
    ) -> Tensor:
        """Two-sided p-values of the scores, if labels are permuted (QAP), of shape ``(p,)``.

        A score is the covariance of a covariate and of what the offset alone does not explain. In
        a network, permuted labels of the nodes give the scores that chance gives.

        :param permute: a function of a numpy generator. It returns the design for permuted labels.
        :param int number: how many permutations.
        :param int seed: of the generator.
        :raises ValueError: if a permuted design has another shape, or ``number`` is below 1.
        """
        return permutation.permutation_test(self.urn_law, self.table.given, permute, number, seed)

    def predict(
        self,
        design: Any = None,
        *,
        total_count: Any = None,
        strata: Any = None,
        group_sizes: Any = None,
        offset: Any = None,
    ) -> Tensor:
        """Mean counts of the rows, of shape ``(rows,)``; of the fitted rows by default.

        :param design: covariates of other rows.
        :param total_count: how many are drawn from each of their strata, in order of appearance.
        :param strata: labels of their strata, as for :func:`fit_regression`.
        :param group_sizes: their sizes, 1 if not given.
        :param offset: their offset.
        :raises ValueError: if an argument has a wrong shape or a value that is not allowed.
        """
        law, beta = self.urn_law, self.coefficients
        if design is None:
            return prediction.mean_counts(law, self.table.given, beta)
        return prediction.predict(
            law, beta, self.names, design, total_count, strata, group_sizes, offset
        )

    def simulate(self, number: int = 1, seed: int = 0) -> Tensor:
        """Counts drawn at the estimates, of shape ``(number, rows)``, with the same totals.

        :param int number: how many tables.
        :param int seed: of the draws.
        """
        return prediction.simulate(self.urn_law, self.table.given, self.coefficients, number, seed)

    def __str__(self) -> str:
        return summary(self)
