# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws the weights and their intervals to a file."""

from __future__ import annotations

import math
from pathlib import Path

from .report import Report

# Log-weights are cut off here. No table reaches it, and exp(300) is still a finite number.
_LARGEST_LOG = 300.0

#: The ends of file names, and with them the formats, that :func:`save_plot` knows.
PLOT_FORMATS = (".png", ".pdf", ".svg")


def save_plot(report: Report, path: Path) -> None:
    """Draw the posterior intervals and the maximum-likelihood estimates.

    :param path: the file; the end of its name, one of ``PLOT_FORMATS``, says the format.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    groups = report.groups
    heights = range(len(groups))
    figure = Figure(figsize=(8, min(2.2 + 0.45 * len(groups), 80)), layout="constrained")
    axes = figure.add_subplot()
    equal = f"weight 1, as {literal(report.reference)}"
    axes.axvline(1, color="0.5", linestyle="--", linewidth=1, label=equal)
    axes.hlines(
        heights,
        [_exp(group.q05) for group in groups],
        [_exp(group.q95) for group in groups],
        color="tab:blue",
        linewidth=3,
        label="posterior, 90% interval",
    )
    axes.plot(
        [_exp(group.median) for group in groups],
        heights,
        "o",
        color="tab:blue",
        markersize=9,
        label="posterior median",
    )
    finite = [(_exp(g.mle), row) for row, g in enumerate(groups) if g.mle is not None]
    axes.plot(
        [weight for weight, _ in finite],
        [row for _, row in finite],
        "x",
        color="tab:orange",
        markersize=7,
        markeredgewidth=2,
        label="maximum likelihood (where finite)",
    )
    axes.set_xscale("log")
    ends = [_exp(q) for group in groups for q in (group.q05, group.q95)]
    axes.xaxis.set_major_locator(LogLocator(subs=_ticks(max(ends) / min(ends))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(heights, [literal(group.name) for group in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(literal(f"weight of one element relative to one of {report.reference}"))
    axes.set_title(literal(f"Weights of the groups in {report.table.name}{_warning(report)}"))
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=150)


def _warning(report: Report) -> str:
    goodness = report.estimate.goodness
    if goodness is None or not goodness.refuted:
        return ""
    return "\n" + goodness.verdict().replace("; ", ":\n")


def _exp(log_weight: float) -> float:
    return math.exp(min(max(log_weight, -_LARGEST_LOG), _LARGEST_LOG))


def _ticks(ratio: float) -> tuple[float, ...]:
    if ratio > 1e3:
        return (1.0,)
    if ratio > 4:
        return (1.0, 2.0, 5.0)
    return (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)


def literal(name: str) -> str:
    """A name that matplotlib draws as it is."""
    # A dollar sign would start a formula.
    return name.replace("$", r"\$")
