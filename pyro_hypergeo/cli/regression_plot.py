# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws the coefficients of a regression and their intervals to a file."""

from __future__ import annotations

from pathlib import Path

from .plot import literal
from .regression_report import RegressionReport


def save_regression_plot(report: RegressionReport, path: Path) -> None:
    """Draw the coefficients. With an engine, the intervals are those of the posterior.

    :param path: the file; the end of its name, one of ``PLOT_FORMATS``, says the format.
    """
    from matplotlib.figure import Figure

    names, (points, low, high) = report.names, _intervals(report)
    heights = range(len(names))
    figure = Figure(figsize=(9, min(2.4 + 0.45 * len(names), 80)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="0.5", linestyle="--", linewidth=1, label="no effect")
    posterior = report.posterior is not None
    interval = "posterior, 90% interval" if posterior else "95% interval"
    axes.hlines(heights, low, high, color="tab:blue", linewidth=3, label=interval)
    label = "posterior median" if posterior else "maximum likelihood"
    axes.plot(points, heights, "o", color="tab:blue", markersize=9, label=label)
    if posterior and report.fit is not None:
        axes.plot(
            report.fit.coefficients.tolist(),
            heights,
            "x",
            color="tab:orange",
            markersize=7,
            markeredgewidth=2,
            label="maximum likelihood",
        )
    axes.set_yticks(heights, [literal(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    # Units differ, so some intervals may be too short to see.
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    triples = zip(points, low, high, strict=True)
    right.set_yticks(heights, [f"{x:.3g}  ({a:.3g} to {b:.3g})" for x, a, b in triples])
    right.tick_params(length=0)
    axes.set_xlabel("coefficient: change of the log-weight for one unit of the covariate")
    axes.set_title(literal(report.title))
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=150)


def _intervals(report: RegressionReport) -> tuple[list[float], list[float], list[float]]:
    if report.posterior is not None:
        posterior = report.posterior
        return posterior.median.tolist(), posterior.q05.tolist(), posterior.q95.tolist()
    assert report.fit is not None
    low, high = report.fit.confidence_intervals().unbind(-1)
    return report.fit.coefficients.tolist(), low.tolist(), high.tolist()
