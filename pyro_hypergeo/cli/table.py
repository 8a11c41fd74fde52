# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The table of the command: its options, and its mistakes as errors of the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..tables import ReadOptions, Table, TableError, read_with
from .errors import CommandError

__all__ = ["Table", "add_table_options", "read_table", "table_options"]


def read_table(path: Path, options: ReadOptions | None = None) -> Table:
    """Read and check a table.

    :raises CommandError: if the table has a mistake; it names the file, the line and the value.
    """
    try:
        return read_with(path, options or ReadOptions(for_command=True))
    except TableError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to read the table."""
    options = parser.add_argument_group("reading the table")
    for name, meaning in (
        ("group", "column of the groups"),
        ("size", "column of the sizes"),
        ("drawn", "column of the drawn counts"),
        ("left", "column of how many were not drawn; the size is drawn + left"),
        (
            "outcome",
            "column that says whether an element was drawn (0/1, yes/no); then each row is one "
            "element, or --size elements",
        ),
    ):
        options.add_argument(f"--{name}", metavar="COL", help=meaning)
    for names, meaning in (
        (
            ("--stratum", "--strata"),
            "column of the strata; if given several times, the columns together",
        ),
        (("--ignore",), "a column that is not to be used; may be given several times"),
    ):
        options.add_argument(*names, metavar="COL", action="append", default=[], help=meaning)
    options.add_argument("--sum", action="store_true", help="add the rows of one group and stratum")
    options.add_argument(
        "--keep-totals", action="store_true", help="keep groups that seem to be totals"
    )


def table_options(options: argparse.Namespace) -> ReadOptions:
    """What the options of the command say about the table."""
    names = ("group", "size", "drawn", "left", "outcome", "stratum", "ignore", "keep_totals")
    given = {name: getattr(options, name) for name in names}
    return ReadOptions(**given, sum_rows=options.sum, for_command=True)
