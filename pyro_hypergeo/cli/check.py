# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The posterior predictive check: is the table like tables that the posterior would give?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor

from ..distributions.laws import LAWS
from ..infer.maximum import blocks
from ..infer.pearson import pearson
from ..ops.law import Law
from ..ops.urn import Bounds
from .engine import Posterior
from .model import one_thread
from .table import Table

# Tables that are drawn: fewer if the table is large.
_MOST_TABLES, _FEWEST_TABLES, _CELLS = 1_000, 100, 20_000_000
# Cells in the picture: those that are furthest from what is predicted.
_MOST_CELLS = 20


class PosteriorCheck(NamedTuple):
    """Tables drawn from the posterior, and how far they and the observed one are from their means.

    For each draw of the log-weights, a table is drawn under the law. Pearson's statistic of the
    drawn table, and of the observed one, is computed with the means at these log-weights.
    """

    observed: Tensor  # (tables,), Pearson's statistic of the observed table
    drawn: Tensor  # (tables,), of the drawn tables
    counts: Tensor  # (tables, strata, G), the drawn tables

    @property
    def p_value(self) -> float:
        """Share of the drawn tables that are at least as far as the observed one."""
        # Tables that are equally far must count as such, in spite of rounding.
        return float((self.drawn >= self.observed - 1e-7 * (1 + self.observed)).double().mean())

    @property
    def standard_error(self) -> float:
        """The standard error of the p-value, since the tables are random."""
        return (self.p_value * (1 - self.p_value) / len(self.drawn)) ** 0.5

    def p_in_words(self) -> str:
        """The p-value with its standard error; a bound if no drawn table is as far."""
        if self.p_value == 0:
            return f"p < {1 / len(self.drawn):.3f}"
        return f"p = {self.p_value:.3f} (s.e. {self.standard_error:.3f})"

    def sentence(self) -> str:
        """The check in words."""
        tables, far = len(self.drawn), round(self.p_value * len(self.drawn))
        return (
            f"Posterior predictive check: {self.p_in_words()}; "
            f"{far} of {tables} tables drawn from the posterior are as far from their means as "
            "the observed one, or further"
        )

    def as_json(self) -> dict[str, Any]:
        """The check in numbers."""
        return {
            "p_value": self.p_value,
            "p_value_se": self.standard_error,
            "tables": len(self.drawn),
        }


def check_posterior(
    table: Table, posterior: Posterior, law: str = "fisher", seed: int = 0
) -> PosteriorCheck:
    """Draw tables from the posterior, and compare them with the observed one.

    Cost: O(tables strata G^3).

    References: Gelman, A., Meng, X.-L. and Stern, H. (1996) "Posterior predictive assessment of
    model fitness via realized discrepancies", Statistica Sinica 6.
    """
    number = max(_FEWEST_TABLES, min(_MOST_TABLES, _CELLS // table.counts.numel()))
    draws = posterior.draws(number, seed).flatten(0, 1)
    # Chains may give more draws than needed: take some of them, evenly spaced, from all chains.
    at = torch.linspace(0, len(draws) - 1, min(number, len(draws))).round().long()
    theta = draws[at].to(table.counts)
    groups, urn_law = len(table.groups), LAWS[law].law
    parts = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        for part in blocks(len(theta), groups * groups):
            counts = _drawn(urn_law, theta[part], table)
            both = torch.stack([table.counts.expand_as(counts), counts])
            statistics = pearson(urn_law, theta[part], table.sizes, both)
            parts.append((*statistics, counts))
    return PosteriorCheck(*map(torch.cat, zip(*parts, strict=True)))


def _drawn(law: Law, theta: Tensor, table: Table) -> Tensor:
    rows = []
    for part in blocks(len(table.sizes), theta.numel()):
        sizes, total = table.sizes[part], table.counts[part].sum(-1)
        state = law.solve(theta.unsqueeze(-2).expand(-1, *sizes.shape), sizes, total)
        rows.append(law.sample(state, Size(()), Bounds(sizes, total)))
    return torch.cat(rows, -2)


def save_check(check: PosteriorCheck, table: Table, path: Path) -> None:
    """Draw the check to a PNG file: the statistics, and the cells that are furthest away."""
    from matplotlib.figure import Figure

    cells = _furthest(check, table)
    height = max(4.5, 2 + 0.3 * len(cells))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(check.observed.tolist(), check.drawn.tolist(), ".", color="tab:blue", alpha=0.4)
    ends = torch.cat([check.observed, check.drawn])
    span = [float(ends.min()), float(ends.max())]
    left.plot(span, span, color="0.5", linestyle="--", linewidth=1, label="equally far")
    left.set_xlabel("Pearson's statistic of the observed table")
    left.set_ylabel("Pearson's statistic of a drawn table")
    left.set_title(f"{check.p_in_words()}: the share of points on or above the line")
    left.legend(loc="best", frameon=False)
    for row, (_, low, high, seen) in enumerate(cells):
        interval = "90 % of the drawn tables" if row == 0 else None
        right.hlines(row, low, high, color="tab:blue", linewidth=3, label=interval)
        observed = "observed" if row == 0 else None
        right.plot([seen], [row], "x", color="tab:orange", markeredgewidth=2, label=observed)
    right.set_yticks(range(len(cells)), [name for name, *_ in cells])
    right.set_ylim(len(cells) - 0.5, -0.5)
    right.set_xlim(-0.02, 1.02)
    right.set_xlabel("share of the elements of the cell that was drawn")
    some = "" if len(cells) == int((table.sizes > 0).sum()) else ": the furthest cells"
    right.set_title(f"Observed and predicted{some}")
    right.legend(loc="best", frameon=False)
    figure.savefig(path, format="png", dpi=150)


def _furthest(check: PosteriorCheck, table: Table) -> list[tuple[str, float, float, float]]:
    """Name, 90 % interval and observed share of the cells that are furthest from the mean."""
    deviation = check.counts.std(0).clamp(min=1e-3)
    away = ((table.counts - check.counts.mean(0)) / deviation).abs()
    away = torch.where(table.sizes > 0, away, -1.0).flatten()
    present = int((table.sizes > 0).sum())
    best = away.topk(min(_MOST_CELLS, present)).indices.sort().values.tolist()
    rows = []
    for stratum, group in (divmod(cell, len(table.groups)) for cell in best):
        size = float(table.sizes[stratum, group])
        counts = check.counts[:, stratum, group] / size
        low, high = (float(counts.quantile(q)) for q in (0.05, 0.95))
        seen = float(table.counts[stratum, group]) / size
        name = table.groups[group]
        if len(table.sizes) > 1:
            named = table.strata[stratum] if table.strata else ""
            name = f"{name}, {named or f'stratum {stratum + 1}'}"
        # A dollar sign would start a formula.
        rows.append((name.replace("$", r"\$"), low, high, seen))
    return rows
