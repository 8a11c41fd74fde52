# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The exact test of independence of the rows and columns of one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor

from ..ops.errors import check
from ..ops.fisher.law import CENTRAL
from ..ops.support import enumerate_counts, support_exceeds
from ..ops.urn import Bounds
from .exact_equal_weights import ExactTest

# Probabilities that differ by less count as equal: they may be equal but for rounding.
_EQUAL = 1e-7


def exact_test_of_independence(
    table: Tensor | Sequence[Any],
    *,
    simulations: int = 0,
    seed: int = 0,
    max_enumeration: int = 1_000_000,
) -> ExactTest:
    r"""
    Test exactly that the rows and the columns of a table are independent.

    The rows are groups, the columns are outcomes, and there may be more than two outcomes. Given
    the sums of rows and columns, a table :math:`x` has the probability

    .. math::

        P(x) = \frac{\prod_i x_{i \cdot}! \, \prod_j x_{\cdot j}!}
        {x_{\cdot \cdot}! \, \prod_{ij} x_{ij}!} .

    The p-value is the probability of all tables that are not more probable than the observed one:
    the Fisher-Freeman-Halton test, as R's ``fisher.test``. The tables are listed, or drawn. Each
    column is drawn from what the columns before it have left, under the central law.

    Cost: the number of tables. Or O(simulations rows columns).

    Example: income and job satisfaction, from R's help page of ``fisher.test``. R's p-value is
    0.7827. ::

        >>> from pyro_hypergeo import exact_test_of_independence
        >>> job = [[1, 3, 10, 6], [2, 3, 10, 7], [1, 6, 14, 12], [0, 1, 9, 11]]
        >>> p, error, *_ = exact_test_of_independence(job, simulations=10_000)
        >>> abs(p - 0.7827) < 4 * error
        True
        >>> exact_test_of_independence([[4, 1, 0], [1, 3, 2]]).p_value
        0.1126

    **References:**

    [1] Freeman, G. H. and Halton, J. H. (1951) "Note on an exact treatment of contingency,
        goodness of fit and other problems of significance", Biometrika 38.

    :param table: counts, of shape ``(rows, columns)``.
    :param int simulations: number of simulated tables; 0 to list all tables.
    :param int seed: of the simulated tables.
    :param int max_enumeration: the largest number of tables that are listed.
    :return: an :class:`ExactTest`; its ``statistic`` is the log-probability of the table.
    :raises ValueError: if the table does not have two dimensions, or is empty; if a count is
        negative or not an integer; if ``simulations`` is negative; or if there are too many tables
        to list.
    """
    counts = torch.as_tensor(table).detach().double()
    if counts.dim() != 2 or counts.numel() == 0:
        raise ValueError(
            f"Expected `table` of shape (rows, columns), not empty, but got {tuple(counts.shape)}."
        )
    allowed = (counts >= 0) & (counts % 1 == 0)
    check("table", counts, allowed, "integers that are not negative")
    if simulations < 0 or simulations != int(simulations):
        raise ValueError(
            f"Expected `simulations` to be an integer that is not negative, but got {simulations}."
        )
    rows, columns = counts.sum(1), counts.sum(0)
    constant = float(_log_factorials(rows) + _log_factorials(columns))
    constant -= math.lgamma(float(counts.sum()) + 1)
    observed = constant - float(_log_factorials(counts.flatten()))
    if simulations == 0:
        log_probs = constant - _listed(rows, columns, max_enumeration)
        extreme = log_probs <= observed + math.log1p(_EQUAL)
        p = min(1.0, float(log_probs[extreme].exp().sum()))
        return ExactTest(p, 0.0, observed, len(log_probs))
    log_probs = constant - _drawn(rows, columns, simulations, seed)
    # The observed table counts as one of them, so that the p-value is never 0.
    extreme_tables = 1 + int((log_probs <= observed + math.log1p(_EQUAL)).sum())
    p = extreme_tables / (simulations + 1)
    return ExactTest(p, (p * (1 - p) / simulations) ** 0.5, observed, simulations)


def _listed(rows: Tensor, columns: Tensor, limit: int) -> Tensor:
    """The log of the product of the factorials of the counts, for every table."""
    # What is left of each row after the columns so far, and the log of the factorials so far.
    left, logs = rows[None], rows.new_zeros(1)
    for total in columns[:-1].tolist():
        parts, found = [], 0
        for before, log in zip(left, logs, strict=True):
            sizes = [int(size) for size in before.tolist()]
            if support_exceeds(sizes, int(total), limit - found):
                raise ValueError(
                    f"Expected at most max_enumeration = {limit} tables with these sums, but there "
                    "are more; give `simulations`, such as 100000, for an estimate of the p-value."
                )
            column = enumerate_counts(sizes, int(total)).double()
            found += len(column)
            parts.append((before - column, log + _log_factorials(column)))
        left, logs = (torch.cat(part) for part in zip(*parts, strict=True))
    return logs + _log_factorials(left)


def _drawn(rows: Tensor, columns: Tensor, simulations: int, seed: int) -> Tensor:
    """The same for tables that are drawn."""
    left, logs = rows.expand(simulations, -1), rows.new_zeros(simulations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for total in columns[:-1]:
            totals = total.expand(simulations)
            state = CENTRAL.solve(torch.zeros_like(left), left, totals)
            column = CENTRAL.sample(state, Size(()), Bounds(left, totals))
            left, logs = left - column, logs + _log_factorials(column)
    return logs + _log_factorials(left)


def _log_factorials(counts: Tensor) -> Tensor:
    return torch.lgamma(counts + 1).sum(-1)
