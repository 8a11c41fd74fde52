# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""From rows to the cells of a table: one size and one drawn count for a stratum and a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from .columns import ColumnError, Columns, choose
from .errors import TableError
from .numbers import CellError, count, is_empty, is_missing, outcome
from .options import ReadOptions
from .records import Records, found_separator


class Cell(NamedTuple):
    """The size and the drawn count of a group in a stratum."""

    size: int
    drawn: int
    number: int  # of its row


#: A stratum (one name for each of its columns) and a group.
Key: TypeAlias = "tuple[tuple[str, ...], str]"
Cells: TypeAlias = "dict[Key, Cell]"


def cells_of(records: Records, options: ReadOptions) -> tuple[Cells, list[str]]:
    """The cells in the order of the rows, and notes on what was left out.

    :raises TableError: if a column is missing, or a value is wrong.
    """
    try:
        columns = choose(records.header, options, found_separator(records))
    except ColumnError as error:
        raise TableError(f"{records.at(records.header_at)}{error}") from None
    notes = _unused(records, columns)
    skipped: list[int] = []
    cells: Cells = {}
    rows: dict[Key, list[Any]] = {}
    for number, row in records.rows:
        try:
            found = _numbers(records, columns, number, row)
        except CellError as error:
            raise TableError(f"{records.at(number)}{error}") from None
        if found is None:
            skipped.append(number)
            continue
        key = _key(records, columns, number, row)
        before = cells.get(key)
        if before is None:
            cells[key], rows[key] = found, row
        elif options.sum_rows or columns.outcome >= 0:
            cells[key] = Cell(before.size + found.size, before.drawn + found.drawn, before.number)
        else:
            raise _twice(records, columns, options, number, row, rows[key], before.number)
    if skipped:
        notes.append(f"{records.at(skipped[0])}no number in {records.numbers(skipped)}; left out")
    if not cells:
        raise TableError(f"{records.at(records.header_at)}no rows below the header")
    return cells, notes


def _unused(records: Records, columns: Columns) -> list[str]:
    """A note on the columns that hold something and are not used."""
    names = [
        records.header[at] or "one without a name"
        for at in columns.unused
        if not all(is_empty(row[at]) or row[at] is None for _, row in records.rows)
    ]
    if not names:
        return []
    word = "column" if len(names) == 1 else "columns"
    return [f"{records.at(records.header_at)}{word} not used: {', '.join(names)}"]


def _numbers(records: Records, columns: Columns, number: int, row: list[Any]) -> Cell | None:
    """The numbers of a row; None if one is missing or if it has none at all."""
    places = [columns.outcome, columns.size, columns.drawn, columns.left]
    used = [at for at in places if at >= 0]
    if any(is_missing(row[at]) for at in used) or all(is_empty(row[at]) for at in used):
        return None
    # The name of the group comes first in the row, so a reader looks for its fault first.
    for at in (columns.group, *used):
        if is_empty(row[at]):
            raise CellError(f"the {records.header[at]} is empty")
    numbers = {
        at: count(row[at], records.header[at], records.separator)
        for at in used
        if at != columns.outcome
    }
    if columns.outcome >= 0:
        # With a size, a row stands for so many elements that are alike.
        size = numbers.get(columns.size, 1)
        was_drawn = outcome(row[columns.outcome], records.header[columns.outcome])
        return Cell(size, size * was_drawn, number)
    drawn = numbers[columns.drawn]
    if columns.left >= 0:
        return Cell(drawn + numbers[columns.left], drawn, number)
    size = numbers[columns.size]
    if drawn > size:
        names = records.header[columns.drawn], records.header[columns.size]
        raise CellError(f"{names[0]} is {drawn}, more than the {names[1]} {size}")
    return Cell(size, drawn, number)


def _key(records: Records, columns: Columns, number: int, row: list[Any]) -> Key:
    group, *stratum = _names(records, (columns.group, *columns.strata), number, row)
    return tuple(stratum), group


def _names(records: Records, places: tuple[int, ...], number: int, row: list[Any]) -> Iterator[str]:
    for at in places:
        value = row[at]
        # In a file "NA" may be the name of a group. In a DataFrame a missing value is one.
        if is_empty(value) or (not isinstance(value, str) and is_missing(value)):
            raise TableError(f"{records.at(number)}the {records.header[at]} is empty")
        yield str(value)


def _twice(
    records: Records,
    columns: Columns,
    options: ReadOptions,
    number: int,
    row: list[Any],
    before: list[Any],
    first: int,
) -> TableError:
    stratum, group = _key(records, columns, number, row)
    where = f" in stratum {', '.join(stratum)!r}" if stratum else ""
    message = f"{records.at(number)}group {group!r}{where} is already on {records.numbers([first])}"
    differ = [records.header[at] for at in columns.unused if str(row[at]) != str(before[at])]
    for name in [name for name in differ if name][:1]:
        message += f"; if {name!r} names the strata, write {options.spelled('stratum', name)}"
    return TableError(f"{message}; {options.spelled('sum_rows')} adds such rows")
