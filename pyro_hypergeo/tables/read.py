# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Reads a table from a file."""

from __future__ import annotations

from collections.abc import Sequence

from .columns import missing
from .options import ReadOptions
from .records import of_text
from .table import Table, table_of
from .text import Source, read_text


def read_table(
    source: Source,
    *,
    group: str | None = None,
    size: str | None = None,
    drawn: str | None = None,
    left: str | None = None,
    outcome: str | None = None,
    stratum: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    sum_rows: bool = False,
    keep_totals: bool = False,
) -> Table:
    """
    Read a table of groups, sizes and drawn counts from a text file, and check it.

    The separator is a comma, a semicolon or a tab. The encoding is UTF-8, UTF-16, or else cp1252.
    The file may be compressed by gzip. Titles and comments may stand above the header. The columns
    are called group, size, drawn and, if there are several urns, stratum. Other names are given by
    arguments. Cost: O(cells).

    Example::

        >>> from pyro_hypergeo import datasets, read_table
        >>> table = read_table(datasets.path("titanic.csv"))
        >>> table.groups, table.strata
        (['1st', '2nd', '3rd', 'Crew'], ('Male', 'Female'))
        >>> table.sizes.shape, table.notes
        (torch.Size([2, 4]), ())

    :param source: a path, ``"-"`` for standard input, or an open file.
    :param str group: name of the column of groups.
    :param str size: name of the column of sizes.
    :param str drawn: name of the column of drawn counts.
    :param str left: name of the column of how many were not drawn. Then a size is drawn + left.
    :param str outcome: name of a column that says of one element whether it was drawn (0 or 1, yes
        or no). Then each row is an element, or, with ``size``, so many elements.
    :param stratum: name of the column of strata, or names of several that together name a stratum.
    :param ignore: name or names of columns that are not to be used.
    :param bool sum_rows: add the rows of one group and stratum. Without it they are a mistake.
    :param bool keep_totals: keep groups that seem to be totals.
    :return: a :class:`Table`. Its notes say what was read with a doubt, or left out.
    :raises TableError: if the table has a mistake. It names the file, the line and the value.
    :raises OSError: if the file cannot be read.
    """
    options = ReadOptions(
        group=group,
        size=size,
        drawn=drawn,
        left=left,
        outcome=outcome,
        stratum=stratum,
        ignore=ignore,
        sum_rows=sum_rows,
        keep_totals=keep_totals,
    )
    return read_with(source, options)


def read_with(source: Source, options: ReadOptions) -> Table:
    """Read a table with options that are collected already.

    :raises TableError: if the table has a mistake.
    :raises OSError: if the file cannot be read.
    """
    options.check()
    records = of_text(read_text(source), lambda header: missing(header, options))
    return table_of(records, options)
