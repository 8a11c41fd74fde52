# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The separator of a file, and the line of its header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import NamedTuple

from .errors import TableError
from .text import Text

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
# So many rows at the top may be titles and comments.
_MOST_TITLES = 100
_SEP_LINE = re.compile(r'\A(\s*)"?sep=(.)"?[ \t]*(?=[\r\n])', re.IGNORECASE)


class Row(NamedTuple):
    """The fields of a row, and the number of its first line."""

    number: int
    fields: list[str]


class Sheet(NamedTuple):
    """A file as rows."""

    separator: str
    header: Row
    rows: list[Row]
    above: list[Row]  # the rows above the header


def split(text: Text, missing: Callable[[list[str]], list[str]]) -> Sheet:
    """Find separator and header: the first row that has all columns under some separator.

    If there is none, the result has the row that lacks the fewest columns.

    :param missing: a function that says which columns a header lacks.
    :raises TableError: if the file is empty, or not CSV under any separator.
    """
    content, separators = text.content, list(_SEPARATORS)
    declared = _SEP_LINE.match(content)
    if declared:
        content, separators = declared[1] + content[declared.end() :], [declared[2]]
    best: tuple[int, int, str, int] | None = None
    damage = ""
    for separator in separators:
        top, error = _rows(content, separator, _MOST_TITLES)
        damage = damage or error
        for at, row in enumerate(top):
            # Among rows that lack as many columns, one of more fields is rather the header.
            rank = len(missing(row.fields)), -len(row.fields)
            if best is None or rank < best[:2]:
                best = (*rank, separator, at)
        if best is not None and best[0] == 0:
            break
    if best is None and not damage:
        raise TableError(f"{text.label}:1: the file is empty; expected a header group,size,drawn")
    if best is None:
        raise TableError(f"{text.label}:{damage}")
    lacking, _, separator, at = best
    rows, error = _rows(content, separator)
    if error and not lacking:
        raise TableError(f"{text.label}:{error}")
    return Sheet(separator, _plain(rows[at]), rows[at + 1 :], rows[:at])


def separator_name(separator: str) -> str:
    """The separator in words."""
    return _SEPARATORS.get(separator, repr(separator))


def _rows(content: str, separator: str, most: int | None = None) -> tuple[list[Row], str]:
    """The rows that are not blank, up to a number, and what ended them early."""
    lines = io.StringIO(content, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")
    rows, start = [], 1
    try:
        for fields in reader:
            # A quoted value may contain line breaks. `line_num` is the last line of a row.
            number, start = start, reader.line_num + 1
            fields = [field.strip() for field in fields]
            if any(fields):
                rows.append(Row(number, fields))
                if len(rows) == most:
                    break
    except csv.Error as error:
        return rows, f"{start}: not CSV: {error}"
    return rows, ""


def _plain(header: Row) -> Row:
    # Some programs write the header as a comment.
    first = header.fields[0].lstrip("#").strip()
    return header._replace(fields=[first, *header.fields[1:]])
