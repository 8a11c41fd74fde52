# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The report of a regression, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..infer import ChiSquareTest, RegressionFit, StratifiedTable
from .regression_posterior import CoefficientsPosterior


class RegressionReport(NamedTuple):
    """Everything that the command prints of a regression."""

    title: str
    law: str
    story: str
    table: StratifiedTable
    fit: RegressionFit | None  # None if the maximum-likelihood estimate is not finite
    why_not: str  # why it is not; empty if it is
    posterior: CoefficientsPosterior | None  # None without an engine
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return self.table.names


def as_text(report: RegressionReport) -> str:
    """The report as a table and sentences."""
    parts = []
    if report.posterior is not None:
        parts += [_posterior(report, report.posterior), report.posterior.how()]
    if report.fit is not None:
        parts.append(str(report.fit))
    else:
        parts.append(f"There is no maximum-likelihood estimate. {report.why_not}")
    return f"{report.title}\n" + "\n\n".join(parts)


def _posterior(report: RegressionReport, posterior: CoefficientsPosterior) -> str:
    rows = [["covariate", "factor", "90% interval", "coefficient", "sd", "90% interval"]]
    columns = (posterior.median, posterior.sd, posterior.q05, posterior.q95)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    for name, (median, sd, low, high) in zip(report.names, numbers, strict=True):
        rows.append(
            [
                name,
                _factor(median),
                f"{_factor(low)} to {_factor(high)}",
                f"{median:.4g}",
                f"{sd:.3g}",
                f"{low:.4g} to {high:.4g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    grid = "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
    return (
        f"Posterior under {report.story}\n{grid}\n"
        "factor: by how much a unit of the covariate multiplies the weight of an element\n"
        "coefficient, sd: posterior median and standard deviation of its logarithm"
    )


def _factor(coefficient: float) -> str:
    return f"{_exp(coefficient) or math.inf:.4g}"


def _exp(coefficient: float) -> float | None:
    return math.exp(coefficient) if coefficient < 700 else None


def as_json(report: RegressionReport) -> dict[str, Any]:
    """The numbers of the report as a JSON object; None if an estimate is not finite."""
    table, posterior = report.table, report.posterior
    return {
        "covariates": list(report.names),
        "notes": list(report.notes),
        "law": report.law,
        "engine": None if posterior is None else posterior.engine,
        "rows": table.rows,
        "strata": table.strata,
        "strata_dropped": table.strata_dropped,
        "elements": int(table.given.sizes.sum()),
        "drawn": int(table.given.counts.sum()),
        "mle": None if report.fit is None else _fit_as_json(report.fit),
        **({} if posterior is None else {"posterior": _posterior_as_json(report, posterior)}),
    }


def _fit_as_json(fit: RegressionFit) -> dict[str, Any]:
    coefficients = _named(fit.names, fit.coefficients)
    intervals = _named(fit.names, fit.confidence_intervals())
    tests = {"likelihood_ratio": fit.likelihood_ratio(), "wald": fit.wald(), "score": fit.score()}
    return {
        "coefficients": coefficients,
        "factors": {name: _exp(value) for name, value in coefficients.items()},
        "se": _named(fit.names, fit.standard_errors),
        "se_from": fit.errors,
        "z": _named(fit.names, fit.z_values),
        "p_values": _named(fit.names, fit.p_values),
        "intervals": {name: {"q025": q[0], "q975": q[1]} for name, q in intervals.items()},
        "covariance": fit.covariance.tolist(),
        "log_likelihood": fit.log_likelihood,
        "log_likelihood_null": fit.log_likelihood_null,
        "ridge": fit.ridge,
        "iterations": fit.iterations,
        "dispersion": fit.dispersion,
        **{name: _test_as_json(test) for name, test in tests.items()},
    }


def _posterior_as_json(
    report: RegressionReport, posterior: CoefficientsPosterior
) -> dict[str, Any]:
    columns = {
        key: _named(report.names, getattr(posterior, key)) for key in ("median", "sd", "q05", "q95")
    }
    return {
        "coefficients": {
            name: {key: column[name] for key, column in columns.items()} for name in report.names
        },
        **posterior.diagnostics(),
    }


def _test_as_json(test: ChiSquareTest) -> dict[str, Any]:
    return {
        "statistic": test.statistic,
        "degrees_of_freedom": test.degrees_of_freedom,
        "p_value": test.p_value,
    }


def _named(names: Sequence[str], values: Tensor) -> dict[str, Any]:
    return dict(zip(names, values.tolist(), strict=True))
