# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The report of the command, as text and as JSON."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..distributions.laws import LAWS
from ..infer import LikelihoodRatio
from .check import PosteriorCheck
from .engine import Posterior
from .estimate import Estimate
from .table import Table

_NOT_FINITE = "not finite"


class GroupSummary(NamedTuple):
    """Posterior and estimate of the log-weight of one group, relative to the reference."""

    name: str
    median: float
    sd: float
    q05: float
    q95: float
    mle: float | None
    mle_se: float | None


class Report(NamedTuple):
    """Everything that the command prints, as numbers."""

    table: Table
    reference: str
    groups: list[GroupSummary]
    posterior: Posterior
    estimate: Estimate
    law: str
    check: PosteriorCheck | None = None


def make_report(
    table: Table,
    reference: int,
    posterior: Posterior,
    estimate: Estimate,
    law: str = "fisher",
    check: PosteriorCheck | None = None,
) -> Report:
    """Collect posterior, estimate and check, the first two relative to the reference."""
    columns = (*posterior.relative_to(reference), *posterior.interval(reference))
    rows = zip(
        table.groups,
        *(column.tolist() for column in columns),
        estimate.log_weights,
        estimate.standard_errors,
        strict=True,
    )
    groups = [GroupSummary(*row) for row in rows]
    return Report(table, table.groups[reference], groups, posterior, estimate, law, check)


def as_json(report: Report) -> dict[str, Any]:
    """The numbers of the report as a JSON object; None if an estimate is not finite."""
    return {
        "groups": report.table.groups,
        "notes": list(report.table.notes),
        "reference": report.reference,
        "law": report.law,
        "engine": report.posterior.engine,
        "mle": {
            "log_weights": {group.name: group.mle for group in report.groups},
            "se": {group.name: group.mle_se for group in report.groups},
            "log_likelihood": report.estimate.log_likelihood,
        },
        "goodness_of_fit": _goodness_as_json(report),
        "posterior": {
            "log_weights": {
                group.name: {
                    "median": group.median,
                    "sd": group.sd,
                    "q05": group.q05,
                    "q95": group.q95,
                }
                for group in report.groups
            },
            **report.posterior.diagnostics(),
        },
        **({} if report.check is None else {"posterior_check": report.check.as_json()}),
    }


def _goodness_as_json(report: Report) -> dict[str, Any] | None:
    goodness, tested = report.estimate.goodness, report.estimate.tested
    if goodness is None:
        return None
    ratio, errors = goodness.likelihood_ratio, goodness.scaled_standard_errors.tolist()
    return {
        "groups": tested,
        "statistic": goodness.statistic,
        "degrees_of_freedom": goodness.degrees_of_freedom,
        "p_value": goodness.p_value,
        "p_simulated": goodness.p_simulated,
        "p_simulated_se": goodness.p_simulated_error,
        "likelihood_ratio": None if ratio is None else _ratio_as_json(ratio),
        "refuted": goodness.refuted,
        "scale": goodness.scale,
        "scaled_se": dict(zip(tested, errors, strict=True)),
    }


def _ratio_as_json(ratio: LikelihoodRatio) -> dict[str, Any]:
    return {
        "statistic": ratio.statistic,
        "degrees_of_freedom": ratio.degrees_of_freedom,
        "p_value": ratio.p_value,
    }


def as_text(report: Report) -> str:
    """The report as a table and sentences."""
    parts = [
        _head(report),
        _grid(report),
        _columns(report),
        _sentences(report),
        _goodness(report),
        _fit(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(report: Report) -> str:
    table, reference, law = report.table, report.reference, LAWS[report.law].law
    strata, elements = len(table.sizes), table.sizes.sum()
    return (
        f"{table.name}: {len(table.groups)} groups in {strata} "
        f"{'stratum' if strata == 1 else 'strata'}, {elements:.0f} elements, "
        f"{table.counts.sum():.0f} of them drawn\n"
        f"Law: {law.title}, {law.story}\n"
        f"Weights are relative to the reference group {reference}, whose weight is 1."
    )


def _grid(report: Report) -> str:
    digits = _digits(report)
    header = ["group", "weight", "90% interval", "log-weight", "sd", "ML weight"]
    rows = [[*header, "ML log-weight", "ML s.e."]]
    for group in report.groups:
        row = [
            group.name,
            _weight(group.median, digits),
            _interval(group, digits),
            f"{group.median:.{digits}f}",
            f"{group.sd:.{digits}f}",
        ]
        if group.mle is None or group.mle_se is None:
            row += [_NOT_FINITE, _NOT_FINITE, "-"]
        else:
            row += [
                _weight(group.mle, digits),
                f"{group.mle:.{digits}f}",
                f"{group.mle_se:.{digits}f}",
            ]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _columns(report: Report) -> str:
    return (
        "weight: how many times as much one element of the group counts as one of "
        f"{report.reference} (posterior median)\n"
        "90% interval: the weight lies in it with a probability of 90 %\n"
        "log-weight, sd: posterior median and standard deviation of the weight's logarithm\n"
        "ML: the weight under which the drawn counts are most probable, its logarithm, and the\n"
        "    logarithm's standard error; no prior enters"
    )


def _sentences(report: Report) -> str:
    digits = _digits(report)
    return "\n".join(
        _sentence(group, report.reference, digits)
        for group in report.groups
        if group.name != report.reference
    )


def _sentence(group: GroupSummary, reference: str, digits: int) -> str:
    equal = "; it may count the same" if group.q05 <= 0 <= group.q95 else ""
    weight, interval = _weight(group.median, digits), _interval(group, digits)
    return (
        f"{group.name}: each element counts {weight} times as much as one of {reference} "
        f"when the drawn ones are chosen (90% interval {interval}{equal})"
    )


def _goodness(report: Report) -> str:
    estimate, lines = report.estimate, []
    if estimate.goodness is not None:
        alone = f" ({', '.join(estimate.tested)} alone)" if estimate.why_not else ""
        lines = [f"Fit{alone}: {estimate.goodness}"]
    if report.check is not None:
        lines.append(report.check.sentence())
    return "\n".join(lines)


def _fit(report: Report) -> str:
    estimate, posterior = report.estimate, report.posterior
    equal = f"{estimate.log_likelihood_equal:.3f} at equal weights"
    if estimate.log_likelihood is None:
        lines = [
            f"log-likelihood: {equal}; it has no maximum",
            f"Maximum likelihood: {_NOT_FINITE}, since {estimate.why_not}. "
            "The posterior is finite thanks to the prior, depends on it there, and is only roughly "
            "normal.",
        ]
    else:
        gain = estimate.log_likelihood - estimate.log_likelihood_equal
        lines = [
            f"log-likelihood: {estimate.log_likelihood:.3f} at the maximum-likelihood weights, "
            f"{equal} ({gain:.3f} less)"
        ]
    lines.append(posterior.how())
    return "\n".join(lines)


def _digits(report: Report) -> int:
    # The smallest standard deviation gets two digits, because large tables are that accurate.
    sds = [group.sd for group in report.groups if group.sd > 0]
    return min(max(3, 1 - math.floor(math.log10(min(sds)))), 12)


def _interval(group: GroupSummary, digits: int) -> str:
    return f"{_weight(group.q05, digits)} to {_weight(group.q95, digits)}"


def _weight(log_weight: float, digits: int) -> str:
    # Very large or small weights occur if only the prior bounds them.
    if abs(log_weight) > math.log(1e4):
        power, rest = divmod(log_weight / math.log(10), 1)
        return f"{10**rest:.2f}e{power:+03.0f}"
    weight = math.exp(log_weight)
    return f"{weight:.{max(0, digits - 1 - math.floor(math.log10(weight) + 1e-9))}f}"
