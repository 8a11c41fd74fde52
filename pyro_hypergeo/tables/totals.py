# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Rows of totals, which are no groups."""

from __future__ import annotations

from typing import Any, NamedTuple

from .cells import Cell, Cells
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
    in_stratum, in_group = _margins(cells, 0), _margins(cells, 1)
    for group, own in _by(cells, 1).items():
        parts = [in_stratum[key[0]].without(cell) for key, cell in own.items()]
        if len(own) == 1 and not parts[0].entries:
            # It is alone in its stratum. Is it the sum of everything?
            parts = [_margin(cells).without(*own.values())]
        if _is_total(records, options, f"group {group!r}", _is_named(group), own, parts, notes):
            cells = {key: cell for key, cell in cells.items() if key[1] != group}
            in_stratum, in_group = _margins(cells, 0), _margins(cells, 1)
    for stratum, own in _by(cells, 0).items():
        named = any(map(_is_named, stratum))
        # One group that is as large as elsewhere taken together is no sign of a margin.
        if len(own) == len(cells) or (len(own) == 1 and not named):
            continue
        parts = [in_group[key[1]].without(cell) for key, cell in own.items()]
        title = f"stratum {', '.join(stratum)!r}"
        if _is_total(records, options, title, named, own, parts, notes):
            cells = {key: cell for key, cell in cells.items() if key[0] != stratum}
            in_group = _margins(cells, 1)
    return cells, notes


class _Margin(NamedTuple):
    """The sums of some cells, how many there are, and how many of them have elements."""

    size: int = 0
    drawn: int = 0
    entries: int = 0
    filled: int = 0

    def plus(self, cell: Cell, sign: int = 1) -> _Margin:
        return _Margin(
            self.size + sign * cell.size,
            self.drawn + sign * cell.drawn,
            self.entries + sign,
            self.filled + sign * (cell.size > 0),
        )

    def without(self, *cells: Cell) -> _Margin:
        margin = self
        for cell in cells:
            margin = margin.plus(cell, -1)
        return margin


def _margin(cells: Cells) -> _Margin:
    margin = _Margin()
    for cell in cells.values():
        margin = margin.plus(cell)
    return margin


def _by(cells: Cells, part: int) -> dict[Any, Cells]:
    """The cells of each stratum (part 0) or of each group (part 1)."""
    found: dict[Any, Cells] = {}
    for key, cell in cells.items():
        found.setdefault(key[part], {})[key] = cell
    return found


def _margins(cells: Cells, part: int) -> dict[Any, _Margin]:
    return {name: _margin(own) for name, own in _by(cells, part).items()}


def _is_named(name: str) -> bool:
    return " ".join(name.casefold().strip(" :.").split()) in _NAMES


def _is_total(
    records: Records,
    options: ReadOptions,
    title: str,
    named: bool,
    own: Cells,
    parts: list[_Margin],
    notes: list[str],
) -> bool:
    # A single other group may be as large by chance. Only a name then says that it is a total.
    least = 1 if named else 2
    exact = all(
        others.filled >= least and (cell.size, cell.drawn) == (others.size, others.drawn)
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
