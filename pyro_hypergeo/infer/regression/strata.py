# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Ragged strata as batches of like length, with equal rows collapsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...distributions.arrays import Numbers
from ...ops.binomial import log_binomial_coefficient
from .rows import Rows, checked_rows

# A batch holds strata of like length: the longest has at most so many times the rows of the
# shortest, and together they have at most so many rows. Small tables stay in the cache.
_LONGEST, _CELLS, _CELLS_OF_ONE_DRAW = 1.5, 8_000, 10_000


class Batch(NamedTuple):
    """S strata of up to G rows. A row that a stratum does not have has the size 0."""

    design: Tensor  # (S, G, p)
    group_sizes: Tensor  # (S, G)
    counts: Tensor  # (S, G)
    total_count: Tensor  # (S,)
    offset: Tensor  # (S, G)
    strata: Tensor  # (S,), int64: their numbers among all strata of the table

    def log_weights(self, coefficients: Tensor) -> Tensor:
        """design @ coefficients + offset, shape ``(S, G)``; differentiable in the coefficients.

        :param Tensor coefficients: shape ``(p,)``, or ``(S, p)`` with one row for each stratum.
        """
        return (self.design @ coefficients.unsqueeze(-1)).squeeze(-1) + self.offset

    def select(self, index: Tensor) -> Batch:
        """Some of the strata, such as those that a subsampled plate gives.

        :param Tensor index: positions in this batch, int64.
        """
        return Batch(*(field[index] for field in self))


class StratifiedTable:
    r"""A long table, one row for each group, as batches that a model can use.

    In each stratum the rows are the groups of an urn of its own. The log-weight of row i is
    :math:`\theta_i = x_i^\top \beta + \text{offset}_i`. A constant that all rows of a stratum share
    has no effect. So an intercept of a stratum, also a random one, cannot be estimated.

    Strata in which nothing or everything is drawn say nothing about the coefficients; they are
    left out. Rows of a stratum with equal covariates and equal offset are one group. This changes
    the log-likelihood by a constant, :attr:`log_constant`. Strata of like length share a batch;
    shorter ones are filled up with rows of size 0. Cost: one sort.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import StratifiedTable
        >>> age, case = [30.0, 41.0, 52.0, 28.0, 33.0], [0, 1, 1, 0, 1]
        >>> table = StratifiedTable(age, case, strata=["a", "a", "a", "b", "b"], names=["age"])
        >>> for batch in table.batches:
        ...     print(batch.design.shape, batch.total_count)
        torch.Size([1, 2, 1]) tensor([1.], dtype=torch.float64)
        torch.Size([1, 3, 1]) tensor([2.], dtype=torch.float64)

    The other arguments are those of :func:`~pyro_hypergeo.fit_regression`.

    :param bool collapse: whether equal rows become one. This is right for Fisher's and Wallenius'
        law.

    :ivar list batches: the strata as batches, each a tuple of ``design``, ``group_sizes``,
        ``counts``, ``total_count``, ``offset`` and the numbers of its ``strata``.
    :ivar tuple names: names of the covariates.
    :ivar list labels: labels of all strata, in order of appearance.
    :ivar int rows: number of rows of the table.
    :ivar int strata: number of strata in the batches.
    :ivar int strata_dropped: number of strata in which nothing or everything is drawn.
    :ivar float log_constant: log-probability of the counts of equal rows, given their sum.
    :raises ValueError: if an argument has a wrong shape or a value that is not allowed.
    """

    def __init__(
        self,
        design: Numbers,
        counts: Numbers,
        *,
        strata: Any = None,
        group_sizes: Numbers | None = None,
        offset: Numbers | None = None,
        names: Sequence[str] | None = None,
        collapse: bool = True,
    ) -> None:
        given = checked_rows(design, counts, strata, group_sizes, offset, names)
        self.given = given
        self.names, self.labels, self.rows = given.names, given.labels, len(given.counts)
        drawn, held = (_per_stratum(given, x) for x in (given.counts, given.sizes))
        used = (drawn > 0) & (drawn < held)
        self.strata = int(used.sum())
        self.strata_dropped = len(used) - self.strata
        kept = used[given.strata] & (given.sizes > 0)
        #: The rows after those that are equal have become one.
        self.cells = _collapsed(given, kept, collapse)
        self.log_constant = _log_constant(given, self.cells)
        self.batches = [
            _batch(self.cells, drawn, strata) for strata in _of_like_length(self.cells, used, drawn)
        ]


class Cells(NamedTuple):
    """Rows of used strata, sorted by stratum; equal rows are one."""

    design: Tensor  # (N, p)
    sizes: Tensor  # (N,)
    counts: Tensor  # (N,)
    offset: Tensor  # (N,)
    strata: Tensor  # (N,), not decreasing
    cell_of: Tensor  # of the given rows, int64: the cell of each, -1 if it is left out


def _per_stratum(rows: Rows, values: Tensor) -> Tensor:
    return values.new_zeros(len(rows.labels)).index_add_(0, rows.strata, values)


def _collapsed(rows: Rows, kept: Tensor, collapse: bool) -> Cells:
    (where,) = kept.nonzero(as_tuple=True)
    design, offset, strata = rows.design[where], rows.offset[where], rows.strata[where]
    # Equal rows have the same hash, so they come together. Two different rows with the same hash
    # may keep others apart: then these stay rows of their own, which is correct too.
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(design.shape[1] + 1, generator=generator, dtype=torch.float64)
    mark = design @ factors[1:] + offset * factors[0]
    order = mark.argsort(stable=True)
    order = order[strata[order].argsort(stable=True)]
    where, design, offset, strata = where[order], design[order], offset[order], strata[order]
    new = torch.ones(len(where), dtype=torch.bool)
    new[1:] = not collapse
    new[1:] |= (
        (strata[1:] != strata[:-1])
        | (offset[1:] != offset[:-1])
        | (design[1:] != design[:-1]).any(-1)
    )
    cell = new.cumsum(0) - 1
    number = int(new.sum())
    cell_of = torch.full((len(kept),), -1)
    cell_of[where] = cell
    sizes, counts = (
        x.new_zeros(number).index_add_(0, cell, x[where]) for x in (rows.sizes, rows.counts)
    )
    return Cells(design[new], sizes, counts, offset[new], strata[new], cell_of)


def _log_constant(rows: Rows, cells: Cells) -> float:
    inside = cells.cell_of >= 0
    if len(cells.sizes) == int(inside.sum()):
        return 0.0
    each = log_binomial_coefficient(rows.sizes[inside], rows.counts[inside]).sum()
    return float(each - log_binomial_coefficient(cells.sizes, cells.counts).sum())


def _of_like_length(cells: Cells, used: Tensor, drawn: Tensor) -> Iterator[Tensor]:
    """The numbers of the strata of each batch."""
    length = torch.bincount(cells.strata, minlength=len(used))
    (numbers,) = used.nonzero(as_tuple=True)
    # Strata with one draw have a closed form, so they have batches of their own.
    single = drawn == 1
    one, more = numbers[single[numbers]], numbers[~single[numbers]]
    for part, cells_of in ((one, _CELLS_OF_ONE_DRAW), (more, _CELLS)):
        part = part[length[part].argsort(stable=True)]
        lengths, start = length[part].tolist(), 0
        for end, longest in enumerate([*lengths[1:], torch.inf] if lengths else [], 1):
            like = longest <= max(_LONGEST * lengths[start], lengths[start] + 2)
            if like and (end + 1 - start) * longest <= cells_of:
                continue
            yield part[start:end]
            start = end


def _batch(cells: Cells, drawn: Tensor, strata: Tensor) -> Batch:
    place = torch.full((len(drawn),), -1)
    place[strata] = torch.arange(len(strata))
    (rows,) = (place[cells.strata] >= 0).nonzero(as_tuple=True)
    stratum = cells.strata[rows]
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = stratum[1:] != stratum[:-1]
    begin = torch.arange(len(rows))[first]
    column = torch.arange(len(rows)) - begin[first.cumsum(0) - 1]
    at = place[stratum], column
    shape = len(strata), int(column.max()) + 1

    def spread(values: Tensor) -> Tensor:
        table = values.new_zeros(shape + values.shape[1:])
        table[at] = values[rows]
        return table

    return Batch(
        spread(cells.design),
        spread(cells.sizes),
        spread(cells.counts),
        drawn[strata],
        spread(cells.offset),
        strata,
    )
