# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Rows of totals, which are no groups."""

from __future__ import annotations

from .cells import Cell, Cells, Key
from .errors import TableError
from .options import ReadOptions
from .records import Records

_NAMES = {
    "total", "totals", "sum", "sums", "all", "overall", "grand total", "subtotal", "gesamt",
    "summe", "insgesamt", "totale", "totaal", "ensemble", "suma", "margin",
}  # fmt: skip


def without_totals(records: Records, cells: Cells, options: ReadOptions) -> tuple[Cells, list[str]]:
    """The cells without rows of totals, and notes on what was left out.

    A row that is called a total and is the sum of the others is left out. If only one of the two is
    true, nobody can be sure, so it is an error.

    :raises TableError: if a row seems to be a total.
    """
    if options.keep_totals:
        return cells, []
    notes: list[str] = []
    for group in dict.fromkeys(group for _, group in cells):
        own = {key: cell for key, cell in cells.items() if key[1] == group}
        parts = [_beside(cells, key) for key in own]
        if len(own) == 1 and not parts[0]:  # alone in its stratum: is it the sum of everything?
            parts = [[cell for key, cell in cells.items() if key not in own]]
        if _is_total(records, options, f"group {group!r}", _is_named(group), own, parts, notes):
            cells = {key: cell for key, cell in cells.items() if key not in own}
    for stratum in dict.fromkeys(stratum for stratum, _ in cells):
        own = {key: cell for key, cell in cells.items() if key[0] == stratum}
        if len(own) == len(cells):
            continue
        parts = [_elsewhere(cells, key) for key in own]
        title, named = f"stratum {', '.join(stratum)!r}", any(map(_is_named, stratum))
        # One group that is as large as elsewhere taken together is no sign of a margin.
        if (named or len(own) > 1) and _is_total(records, options, title, named, own, parts, notes):
            cells = {key: cell for key, cell in cells.items() if key not in own}
    return cells, notes


def _is_named(name: str) -> bool:
    return " ".join(name.casefold().strip(" :.").split()) in _NAMES


def _beside(cells: Cells, key: Key) -> list[Cell]:
    return [cell for other, cell in cells.items() if other[0] == key[0] and other[1] != key[1]]


def _elsewhere(cells: Cells, key: Key) -> list[Cell]:
    return [cell for other, cell in cells.items() if other[0] != key[0] and other[1] == key[1]]


def _is_total(
    records: Records,
    options: ReadOptions,
    title: str,
    named: bool,
    own: Cells,
    parts: list[list[Cell]],
    notes: list[str],
) -> bool:
    # A single other group may be as large by chance. Only a name then says that it is a total.
    least = 1 if named else 2
    exact = all(
        sum(part.size > 0 for part in others) >= least
        and cell.size == sum(part.size for part in others)
        and cell.drawn == sum(part.drawn for part in others)
        for cell, others in zip(own.values(), parts, strict=True)
    )
    if not named and not exact:
        return False
    numbers = [cell.number for cell in own.values()]
    at, rows = records.at(numbers[0]), records.numbers(numbers)
    if named and exact:
        notes.append(f"{at}{title} is the sum of the others; left out ({rows})")
        return True
    doubt = "is" if exact else "is called a total, but is not"
    raise TableError(
        f"{at}{title} {doubt} the sum of the others ({rows}); remove it if it is a total, "
        f"or keep it by {options.spelled('keep_totals')}"
    )
