# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Reads and checks a table of groups, sizes and drawn counts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import CommandError

_REQUIRED, _OPTIONAL = ("group", "size", "drawn"), "stratum"
# Counts are float64. Every integer up to here is exact.
_LARGEST = 2**53


class Table(NamedTuple):
    """Sizes and drawn counts: one row for each stratum, groups in the order of the file."""

    name: str
    groups: list[str]
    sizes: Tensor  # (strata, G), float64; 0 if the stratum does not have the group
    counts: Tensor  # (strata, G), float64


class _Line(NamedTuple):
    number: int
    values: dict[str, str]


def read_table(path: Path) -> Table:
    """Read and check a CSV file with the columns group, size, drawn and perhaps stratum.

    :raises CommandError: if the table has a mistake; it names the file, the line and the value.
    """
    cells: dict[tuple[str, str], tuple[int, int]] = {}
    seen: dict[tuple[str, str], int] = {}
    lines = list(_lines(path))
    for line in lines:
        key = (line.values.get(_OPTIONAL, ""), line.values["group"])
        for column, value in line.values.items():
            if not value:
                raise _error(path, line.number, f"the {column} is empty")
        size, drawn = _integer(path, line, "size"), _integer(path, line, "drawn")
        if drawn > size:
            raise _error(path, line.number, f"drawn is {drawn}, more than the size {size}")
        if key in seen:
            where = f" in stratum {key[0]!r}" if key[0] else ""
            raise _error(
                path, line.number, f"group {key[1]!r}{where} is already on line {seen[key]}"
            )
        cells[key], seen[key] = (size, drawn), line.number
    table = _assemble(path, cells)
    _check_informative(path, lines[0].number, table)
    return table


def _lines(path: Path) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            # A quoted value may contain line breaks. `line_num` is the last line of a row.
            number, start = start, reader.line_num + 1
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            if header is None:
                header = fields
                _check_header(path, number, header)
                continue
            if len(fields) != len(header):
                raise _error(
                    path,
                    number,
                    f"{len(fields)} fields where the header has {len(header)}: {','.join(row)!r}",
                )
            values = dict(zip(header, fields, strict=True))
            yield _Line(number, {k: v for k, v in values.items() if k in (*_REQUIRED, _OPTIONAL)})
    except csv.Error as error:
        raise _error(path, start, f"not CSV: {error}") from None
    if header is None:
        raise _error(path, 1, "the file is empty; expected a header group,size,drawn")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(f"{str(path)!r}: {error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise _error(path, number, f"not UTF-8: byte 0x{content[error.start]:02x}") from None


def _check_header(path: Path, number: int, header: list[str]) -> None:
    found = ",".join(header)
    for column in (*_REQUIRED, _OPTIONAL):
        if header.count(column) > 1:
            raise _error(path, number, f"two columns {column!r} in the header {found!r}")
    for column in _REQUIRED:
        if column not in header:
            raise _error(path, number, f"no column {column!r} in the header {found!r}")


def _integer(path: Path, line: _Line, column: str) -> int:
    text = line.values[column]
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise _error(path, line.number, f"{column} is {text!r}, not an integer")
    if text.startswith("-") and text.strip("-0"):
        raise _error(path, line.number, f"{column} is {text!r}, which is negative")
    digits = text.lstrip("+-0") or "0"
    if len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
        raise _error(path, line.number, f"{column} is {text!r}, larger than {_LARGEST}")
    return int(digits)


def _assemble(path: Path, cells: dict[tuple[str, str], tuple[int, int]]) -> Table:
    if not cells:
        raise _error(path, 1, "no rows below the header")
    strata = list(dict.fromkeys(stratum for stratum, _ in cells))
    groups = list(dict.fromkeys(group for _, group in cells))
    grid = [[cells.get((stratum, group), (0, 0)) for group in groups] for stratum in strata]
    sizes, counts = torch.tensor(grid, dtype=torch.float64).unbind(-1)
    return Table(path.name, groups, sizes, counts)


def _check_informative(path: Path, first: int, table: Table) -> None:
    filled = [g for g, size in zip(table.groups, table.sizes.sum(0), strict=True) if size > 0]
    if len(filled) < 2:
        only = f"only group {filled[0]!r} has" if filled else "no group has"
        raise _error(path, first, f"{only} elements; expected two groups or more")
    if table.sizes.sum() > _LARGEST:
        raise _error(path, first, f"more than {_LARGEST} elements in all")
    drawn, size = table.counts.sum(-1), table.sizes.sum(-1)
    if not ((drawn > 0) & (drawn < size)).any():
        raise _error(path, first, f"{_degenerate(table)}, which says nothing about weights")


def _degenerate(table: Table) -> str:
    if table.counts.sum() == 0:
        return "nothing is drawn in any stratum"
    if (table.counts == table.sizes).all():
        return "everything is drawn in every stratum"
    return "in every stratum either nothing or everything is drawn"


def _error(path: Path, number: int, message: str) -> CommandError:
    return CommandError(f"{path}:{number}: {message}")
