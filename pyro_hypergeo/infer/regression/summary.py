# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A regression as text, as readers of R and Stata know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .statistics import shown_p

if TYPE_CHECKING:
    from .regression_fit import RegressionFit


def summary(fit: RegressionFit) -> str:
    """What ``print(fit)`` shows."""
    given = fit.table.given
    drawn, held = int(given.counts.sum()), int(given.sizes.sum())
    strata = f"{fit.strata} {'stratum' if fit.strata == 1 else 'strata'}"
    dropped = ""
    if fit.strata_dropped:
        dropped = f" ({fit.strata_dropped} left out, where nothing or everything is drawn)"
    lines = [
        f"Hypergeometric regression under {fit.urn_law.title} law",
        f"{fit.rows} rows in {strata}{dropped}, {drawn} of {held} elements drawn",
    ]
    head = ["", "coef", "exp(coef)", "s.e.", "z", "p", "95% interval"]
    rows = [head]
    columns = zip(
        fit.names,
        fit.coefficients.tolist(),
        fit.coefficients.exp().tolist(),
        fit.standard_errors.tolist(),
        fit.z_values.tolist(),
        fit.p_values.tolist(),
        fit.confidence_intervals().tolist(),
        strict=True,
    )
    for name, value, factor, error, z, p, (low, high) in columns:
        rows.append(
            [
                name,
                f"{value:.4g}",
                f"{factor:.4g}",
                f"{error:.3g}",
                f"{z:.2f}",
                shown_p(p),
                f"{low:.4g} to {high:.4g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    lines.append(
        f"log-likelihood: {fit.log_likelihood:.4f}, with all coefficients 0: "
        f"{fit.log_likelihood_null:.4f}"
    )
    if fit.ridge:
        lines.append(f"ridge {fit.ridge:g}: estimates are shrunk, and tests are approximate")
    lines += [
        f"likelihood ratio: {fit.likelihood_ratio()}",
        f"Wald: {fit.wald()}",
        f"score: {fit.score()}",
    ]
    if fit.errors == "clustered":
        lines.append("standard errors and Wald's test: from the scores of clusters (sandwich)")
    return "\n".join(lines)
