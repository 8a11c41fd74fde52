# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The rows of a file, of a DataFrame or of mappings, in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .dialect import Row, separator_name, split
from .errors import TableError
from .text import Text


class Records(NamedTuple):
    """Rows of values below a header."""

    label: str
    name: str
    in_file: bool
    separator: str  # empty if not from a file
    header_at: int
    header: list[str]
    rows: list[tuple[int, list[Any]]]
    notes: list[str]

    def at(self, number: int) -> str:
        """The place of a row, or of the header, for a message."""
        if self.in_file:
            return f"{self.label}:{number}: "
        return f"{self.label}, row {number}: " if number else f"{self.label}: "

    def numbers(self, rows: list[int]) -> str:
        """Numbers of rows in words: "lines 3, 7 and 9"."""
        word = "line" if self.in_file else "row"
        shown = [str(row) for row in rows]
        if len(shown) == 1:
            return f"{word} {shown[0]}"
        if len(shown) > 6:
            shown = [*shown[:5], f"{len(shown) - 5} more"]
        return f"{word}s {', '.join(shown[:-1])} and {shown[-1]}"


def of_text(text: Text, missing: Callable[[list[str]], list[str]]) -> Records:
    """The rows of a file.

    :param missing: a function that says which columns a header lacks.
    :raises TableError: if the file is empty, or a row has too many or too few fields.
    """
    sheet = split(text, missing)
    header, notes = sheet.header.fields, list(text.notes)
    complete = not missing(header)
    titles = [row.number for row in sheet.above if not row.fields[0].startswith("#")]
    if titles and complete:
        where = f"{text.label}:{titles[0]}: "
        notes.append(
            f"{where}{len(titles)} {'row' if len(titles) == 1 else 'rows'} above the "
            "header left out"
        )
    if complete and _has_row_names(header, sheet.rows):
        header = ["", *header]
    rows, below = [], sheet.rows if complete else []
    # A group may be called "#1". But if other rows do not start so, it is a comment.
    may_be_data = all(row.fields[0].startswith("#") for row in below)
    for row in below:
        fields = row.fields
        while len(fields) > len(header) and not fields[-1]:
            fields = fields[:-1]
        right = len(fields) == len(header)
        if fields[0].startswith("#") and not (right and may_be_data):
            notes.append(f"{text.label}:{row.number}: a comment below the header left out")
        elif right:
            rows.append((row.number, list[Any](fields)))
        else:
            raise TableError(
                f"{text.label}:{row.number}: {len(fields)} fields where the header has "
                f"{len(header)}: {sheet.separator.join(fields)!r}"
            )
    return Records(
        text.label, text.name, True, sheet.separator, sheet.header.number, header, rows, notes
    )


def _has_row_names(header: list[str], rows: list[Row]) -> bool:
    # R numbers the rows in a first column that has no name in the header.
    if not rows or any(len(row.fields) != len(header) + 1 for row in rows):
        return False
    return [row.fields[0] for row in rows] == [str(at + 1) for at in range(len(rows))]


def of_mappings(records: Iterable[Mapping[str, Any]], label: str) -> Records:
    """The rows of mappings from column to value; a value that is not there is None.

    :raises ValueError: if an entry is no mapping.
    """
    entries = list(records)
    for at, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise ValueError(
                "Expected `records` to be mappings from column to value, but found "
                f"{entry!r} at index {at}."
            )
    header = list(dict.fromkeys(column for entry in entries for column in entry))
    rows = [
        (at + 1, [_stripped(entry.get(column)) for column in header])
        for at, entry in enumerate(entries)
    ]
    return Records(label, label, False, "", 0, list(map(str, header)), rows, [])


def of_frame(frame: Any, label: str) -> Records:
    """The rows of a DataFrame of pandas or of another library; named index levels are columns.

    :raises ValueError: if it is no DataFrame.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise ValueError(
            f"Expected `frame` to be a DataFrame, but got a value of type {type(frame).__name__}."
        )
    names = getattr(getattr(frame, "index", None), "names", [])
    if any(name is not None for name in names):
        frame = frame.reset_index()
    header = list(frame.columns)
    if len(set(header)) < len(header):
        raise ValueError(f"Expected `frame` to have columns of different names, but got {header}.")
    columns = [[_stripped(value) for value in frame[column]] for column in header]
    rows = [(at + 1, list(values)) for at, values in enumerate(zip(*columns, strict=True))]
    return Records(label, label, False, "", 0, list(map(str, header)), rows, [])


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def found_separator(records: Records) -> str:
    """The separator in words; empty if the rows are not from a file."""
    return separator_name(records.separator) if records.in_file else ""
