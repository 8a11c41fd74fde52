# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What a user says about a table: which column is which, and how to treat its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .errors import TableError


class ReadOptions(NamedTuple):
    """The options of :func:`~pyro_hypergeo.tables.read_table`; None if the user says nothing."""

    group: str | None = None
    size: str | None = None
    drawn: str | None = None
    left: str | None = None
    outcome: str | None = None
    stratum: str | Sequence[str] = ()
    ignore: str | Sequence[str] = ()
    sum_rows: bool = False
    keep_totals: bool = False
    for_command: bool = False  # whether messages spell an option as the command does

    @property
    def strata(self) -> tuple[str, ...]:
        """The names of the columns that together are the stratum."""
        return (self.stratum,) if isinstance(self.stratum, str) else tuple(self.stratum)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of the columns that the user does not want."""
        return (self.ignore,) if isinstance(self.ignore, str) else tuple(self.ignore)

    def check(self) -> None:
        """Check that the options do not contradict each other.

        :raises TableError: if they do.
        """
        for one, other in (("left", "size"), ("outcome", "drawn"), ("outcome", "left")):
            given = getattr(self, one), getattr(self, other)
            if None not in given:
                options = " and ".join(map(self.spelled, (one, other), given))
                raise TableError(f"{options} exclude each other")

    def spelled(self, option: str, value: str | None = None) -> str:
        """An option as the user writes it, for a message; a switch if there is no value."""
        if self.for_command:
            name = "--sum" if option == "sum_rows" else f"--{option.replace('_', '-')}"
            return name if value is None else f"{name} {_quoted(value)}"
        return f"{option}=True" if value is None else f"{option}={value!r}"


def _quoted(value: str) -> str:
    return value if value and value.replace("_", "a").isalnum() else f'"{value}"'
