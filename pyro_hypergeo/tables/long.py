# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Long tables: each row is a group of elements, with columns that describe it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .columns import (
    ColumnError,
    default_strata,
    nearest,
    places_of,
    refuse_strata,
    refuse_two_uses,
    shown_header,
)
from .errors import TableError
from .numbers import CellError, count, is_empty, is_missing, outcome, real
from .options import ReadOptions
from .records import Records, found_separator, of_text
from .text import Source, read_text


class LongTable(NamedTuple):
    """The rows of a long table: counts, sizes and strata; other columns by their names."""

    records: Records
    counts: Tensor  # (rows,), float64
    sizes: Tensor  # (rows,), float64
    strata: list[str] | None  # a label for each row
    notes: tuple[str, ...]

    def title(self, name: str) -> str:
        """The name of a column as the header has it."""
        return self.records.header[_place(self.records, name)]

    def numbers(self, name: str, hint: str = "", *, minus_infinity: bool = False) -> Tensor:
        """The numbers of a column, (rows,).

        :param name: the column.
        :param hint: what to do if a cell is no number, for the message.
        :param minus_infinity: whether a number may be -inf.
        :raises TableError: if a cell is missing, or is no number.
        """
        records, at = self.records, _place(self.records, name)
        cells = self.labels(name)
        quick = _all_plain(cells)
        if quick is not None:
            return quick
        values = []
        for (number, _), cell in zip(records.rows, cells, strict=True):
            try:
                value = real(cell, records.header[at], records.separator)
            except CellError as error:
                raise TableError(f"{records.at(number)}{error}{hint}") from None
            if not (abs(value) < torch.inf or (minus_infinity and value < 0)):
                raise TableError(f"{records.at(number)}{records.header[at]} is {cell}, not finite")
            values.append(value)
        return torch.tensor(values, dtype=torch.float64)

    def labels(self, name: str) -> list[str]:
        """The cells of a column as text.

        :raises TableError: if a cell is missing.
        """
        at = _place(self.records, name)
        cells = [row[at] for _, row in self.records.rows]
        # Most cells of a long table repeat, so a look at the different ones is cheaper.
        if any(is_empty(cell) or is_missing(cell) for cell in set(cells)):
            for number, row in self.records.rows:
                _refuse_missing(self.records, at, number, row[at])
        return cells

    def cells(self, name: str) -> Tensor | list[str]:
        """The numbers of a column if all its cells are numbers, and else its texts.

        :raises TableError: if a cell is missing.
        """
        texts = self.labels(name)
        try:
            return self.numbers(name)
        except TableError:
            return texts


def read_long(source: Source, options: ReadOptions, needed: Sequence[str] = ()) -> LongTable:
    """Read a long table. Each row is ``size`` elements, or one if there is no such column.

    :param source: a path, ``"-"`` for standard input, or an open file.
    :param options: the columns of counts, sizes and strata.
    :param needed: the other columns that the caller needs.
    :raises TableError: if the table has a mistake; it names the file, the line and the value.
    :raises OSError: if the file cannot be read.
    """
    options.check()
    records = of_text(read_text(source), lambda header: _lacking(header, options, needed))
    header, at_header = records.header, records.at(records.header_at)
    absent = _lacking(header, options, needed)
    if absent:
        raise TableError(f"{at_header}{_explained(header, absent[0], options, records)}")
    if not records.rows:
        raise TableError(f"{at_header}no rows below the header")
    roles = {role: _place(records, name) for role, name in _roles(header, options, needed).items()}
    others = [_place(records, name) for name in needed]
    used = [*roles.values(), *others]
    try:
        counted = {at for role, at in roles.items() if role in ("drawn", "outcome")}
        refuse_two_uses(header, [*counted, *counted.intersection(others)])
        strata = tuple(_place(records, name) for name in options.strata)
        refuse_two_uses(header, [*roles.values(), *strata])
        strata = strata or default_strata(header, options, set(used))
        ignored = [at for name in options.ignored for at in places_of(header, name)]
        unused = [at for at in range(len(header)) if at not in {*used, *strata, *ignored}]
        if not strata:
            refuse_strata(header, options, unused)
    except ColumnError as error:
        raise TableError(f"{at_header}{error}") from None
    pairs = [_pair(records, roles, options, number, row) for number, row in records.rows]
    counts, sizes = torch.tensor(pairs, dtype=torch.float64).mT
    return LongTable(
        records,
        counts,
        sizes,
        _labels(records, strata),
        (*records.notes, *_unused(records, unused)),
    )


def _lacking(header: list[str], options: ReadOptions, needed: Sequence[str]) -> list[str]:
    roles = _roles(header, options, needed).values()
    names = [*roles, *options.strata, *options.ignored, *needed]
    return [name for name in names if not places_of(header, name)]


def _roles(header: list[str], options: ReadOptions, needed: Sequence[str]) -> dict[str, str]:
    """The columns of the numbers of a row, by what they are."""

    def free(name: str) -> bool:
        places = places_of(header, name)
        return bool(places) and not any(places_of(header, other) == places for other in needed)

    if options.outcome or not (options.drawn or free("drawn") or not free("outcome")):
        roles = {"outcome": options.outcome or "outcome"}
    else:
        roles = {"drawn": options.drawn or "drawn"}
    if options.size or (not options.left and free("size")):
        roles["size"] = options.size or "size"
    elif options.left or ("drawn" in roles and free("left")):
        roles["left"] = options.left or "left"
    return roles


def _place(records: Records, name: str) -> int:
    places = places_of(records.header, name)
    if len(places) > 1:
        raise TableError(
            f"{records.at(records.header_at)}two columns {name!r} in the header "
            f"{shown_header(records.header)!r}"
        )
    return places[0]


def _explained(header: list[str], name: str, options: ReadOptions, records: Records) -> str:
    message = f"no column {name!r} in the header {shown_header(header)!r}"
    if len(header) == 1 and found_separator(records):
        return f"{message}, which is one field; expected a comma, a semicolon or a tab in it"
    near = nearest(name, [column for column in header if column])
    if near:
        message += f"; is it {near!r}?"
    if name == "drawn" and not options.drawn:
        message += (
            f"; name the column of the counts by {options.spelled('drawn', 'COL')}, or one of yes "
            f"and no by {options.spelled('outcome', 'COL')}"
        )
    return message


def _unused(records: Records, unused: list[int]) -> list[str]:
    names = [records.header[at] for at in unused if records.header[at]]
    if not names:
        return []
    word = "column" if len(names) == 1 else "columns"
    return [f"{records.at(records.header_at)}{word} not used: {', '.join(names)}"]


def _pair(
    records: Records, roles: dict[str, int], options: ReadOptions, number: int, row: list[Any]
) -> tuple[int, int]:
    """The drawn count and the size of a row."""
    header, separator = records.header, records.separator
    for at in roles.values():
        _refuse_missing(records, at, number, row[at])
    try:
        found = {
            role: count(row[at], header[at], separator)
            for role, at in roles.items()
            if role != "outcome"
        }
        if "outcome" in roles:
            at, size = roles["outcome"], found.get("size", 1)
            return size * outcome(row[at], header[at]), size
    except CellError as error:
        hint = ""
        if "drawn" in roles and _is_outcome(row[roles["drawn"]]):
            title = header[roles["drawn"]]
            hint = f"; for yes and no write {options.spelled('outcome', title)}"
        raise TableError(f"{records.at(number)}{error}{hint}") from None
    drawn = found["drawn"]
    size = drawn + found["left"] if "left" in found else found.get("size", 1)
    if drawn > size:
        limit = f"the {header[roles['size']]} {size}" if "size" in roles else "the size 1 of a row"
        hint = "" if "size" in roles else "; is there a column of sizes?"
        raise TableError(
            f"{records.at(number)}{header[roles['drawn']]} is {drawn}, more than {limit}{hint}"
        )
    return drawn, size


def _is_outcome(cell: Any) -> bool:
    try:
        outcome(cell, "")
    except CellError:
        return False
    return True


def _labels(records: Records, strata: tuple[int, ...]) -> list[str] | None:
    if not strata:
        return None
    for number, row in records.rows:
        for at in strata:
            # In a file "NA" may be the name of a stratum.
            if is_empty(row[at]):
                raise TableError(f"{records.at(number)}the {records.header[at]} is empty")
    parts = [tuple(row[at] for at in strata) for _, row in records.rows]
    # Names with commas must not meet: ("a, b", "c") is not ("a", "b, c").
    return [part[0] if len(part) == 1 else ", ".join(map(repr, part)) for part in parts]


def _all_plain(cells: list[str]) -> Tensor | None:
    """The numbers if all cells are plain finite ones, as they nearly always are; fast."""
    try:
        values = np.array(cells).astype(np.float64)
    except ValueError:
        return None
    return torch.from_numpy(values) if np.isfinite(values).all() else None


def _refuse_missing(records: Records, at: int, number: int, cell: Any) -> None:
    if is_empty(cell) or is_missing(cell):
        said = f" ({cell!r})" if cell else ""
        raise TableError(
            f"{records.at(number)}the {records.header[at]} is missing{said}; fill it in, or leave "
            "such rows out"
        )
