# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Means, variances and draws of the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Size, Tensor

from ...distributions.arrays import as_tensor
from ...ops.errors import check
from ...ops.law import Law
from ...ops.urn import Bounds
from .rows import Rows, checked_rows

# Strata of one length are solved together, up to so many rows.
_CELLS = 50_000


def log_weights(rows: Rows, coefficients: Tensor) -> Tensor:
    """The log-weight of each row."""
    return rows.design @ coefficients + rows.offset


def urns(rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """For batches of strata with equally many rows: the rows (S, G), and the strata (S,)."""
    order = rows.strata.argsort(stable=True)
    length = torch.bincount(rows.strata, minlength=len(rows.labels))
    begin = length.cumsum(0) - length
    for number in length.unique().tolist():
        if number == 0:
            continue
        (strata,) = (length == number).nonzero(as_tuple=True)
        for part in strata.split(max(1, _CELLS // number)):
            yield order[begin[part].unsqueeze(-1) + torch.arange(number)], part


def mean_counts(
    law: Law, rows: Rows, coefficients: Tensor, total_count: Tensor | None = None
) -> Tensor:
    """Mean counts of all rows; the totals are those of the counts if not given."""
    theta, result = log_weights(rows, coefficients), torch.zeros_like(rows.counts)
    for index, strata in urns(rows):
        total = rows.counts[index].sum(-1) if total_count is None else total_count[strata]
        result[index] = law.mean(law.solve(theta[index], rows.sizes[index], total))
    return result


def dispersion(law: Law, rows: Rows, coefficients: Tensor) -> float:
    """The mean of squared Pearson residuals, with as many degrees of freedom as coefficients."""
    theta = log_weights(rows, coefficients)
    statistic, varying = 0.0, 0
    for index, _ in urns(rows):
        counts = rows.counts[index]
        state = law.solve(theta[index], rows.sizes[index], counts.sum(-1))
        variance = law.variance(state)
        varies = variance > 0
        square = (counts - law.mean(state)).square() / torch.where(varies, variance, 1.0)
        statistic += float(torch.where(varies, square, 0.0).sum())
        varying += int(varies.sum())
    return statistic / max(varying - len(coefficients), 1)


def simulate(law: Law, rows: Rows, coefficients: Tensor, number: int, seed: int) -> Tensor:
    """Tables of counts drawn at the estimates, (number, rows)."""
    if number < 1:
        raise ValueError(f"Expected `number` to be at least 1, but got {number}.")
    theta = log_weights(rows, coefficients)
    result = rows.counts.new_zeros(number, len(rows.counts))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for index, _ in urns(rows):
            sizes, total = rows.sizes[index], rows.counts[index].sum(-1)
            state = law.solve(theta[index], sizes, total)
            result[:, index] = law.sample(state, Size([number]), Bounds(sizes, total))
    return result


def predict(
    law: Law,
    coefficients: Tensor,
    names: Sequence[str],
    design: Any,
    total_count: Any,
    strata: Any,
    group_sizes: Any,
    offset: Any,
) -> Tensor:
    """Mean counts of other rows, (rows,)."""
    length = len(as_tensor(design, name="design"))
    rows = checked_rows(design, torch.zeros(length), strata, group_sizes, offset, None)
    if rows.design.shape[1] != len(names):
        raise ValueError(
            f"Expected `design` with the {len(names)} covariates {list(names)}, but got "
            f"{rows.design.shape[1]}."
        )
    if total_count is None:
        raise ValueError("Expected `total_count`, how many are drawn, since these rows are new.")
    total = as_tensor(total_count, name="total_count").double()
    number = len(rows.labels)
    if total.dim() == 0:
        total = total.expand(number)
    if total.shape != (number,):
        raise ValueError(
            f"Expected `total_count` to be one number, or one for each of {number} strata, but got "
            f"{tuple(total.shape)}."
        )
    held = torch.zeros_like(total).index_add(0, rows.strata, rows.sizes)
    allowed = f"integers between 0 and the elements of the stratum, {held.tolist()[:5]}"
    check("total_count", total, (total >= 0) & (total <= held) & (total % 1 == 0), allowed)
    return mean_counts(law, rows, coefficients, total)
