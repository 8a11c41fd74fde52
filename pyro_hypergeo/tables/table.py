# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A table of groups, sizes and drawn counts, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .cells import Cells, cells_of
from .comparison import comparable_sets, largest_comparable
from .errors import TableError
from .numbers import LARGEST, is_missing
from .options import ReadOptions
from .records import Records, of_frame, of_mappings
from .totals import without_totals


class Table(NamedTuple):
    """Sizes and drawn counts: one row for each stratum, groups in the order of the source.

    >>> from pyro_hypergeo import Table, fit_weights
    >>> records = [
    ...     {"colour": "red", "size": 10, "drawn": 6},
    ...     {"colour": "blue", "size": 20, "drawn": 4},
    ... ]
    >>> table = Table.from_records(records, group="colour")
    >>> table.groups, table.sizes
    (['red', 'blue'], tensor([[10., 20.]], dtype=torch.float64))
    >>> fit_weights(table.sizes, table.counts, reference=table.default_reference).log_weights
    tensor([1.7202, 0.0000], dtype=torch.float64)

    :ivar str name: what the table is called in titles.
    :ivar list groups: names of the groups.
    :ivar torch.Tensor sizes: of shape ``(strata, G)``, float64; 0 if the stratum does not have the
        group.
    :ivar torch.Tensor counts: drawn counts, of the same shape.
    :ivar tuple strata: names of the strata; one empty name if there is no such column.
    :ivar tuple notes: what was read with a doubt or left out, each a sentence.
    """

    name: str
    groups: list[str]
    sizes: Tensor
    counts: Tensor
    strata: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def comparable(self) -> list[list[int]]:
        """The sets of groups that strata compare, as indices; the largest set first.

        Two groups are in one set if a stratum holds both, or if a chain of such strata leads from
        one to the other. Strata in which all or nothing is drawn do not count.
        """
        return comparable_sets(self.sizes, self.counts)

    @property
    def default_reference(self) -> int:
        """The index of the largest group of the largest comparable set."""
        return largest_comparable(self.sizes, self.counts)

    @classmethod
    def from_dataframe(cls, frame: Any, name: str = "table", **options: Any) -> Table:
        """Make a table from a DataFrame of pandas, or of a library like it.

        Named levels of the index count as columns.

        :param frame: the DataFrame; one row for each group and stratum.
        :param str name: what the table is called in titles and messages.
        :param options: as of :func:`~pyro_hypergeo.tables.read_table`.
        :raises TableError: if the table has a mistake; it names the row and the value.
        :raises ValueError: if it is no DataFrame.
        """
        return table_of(of_frame(frame, name), ReadOptions(**options))

    @classmethod
    def from_records(
        cls, records: Iterable[Mapping[str, Any]], name: str = "table", **options: Any
    ) -> Table:
        """Make a table from mappings of column to value, such as the rows of ``csv.DictReader``.

        :param records: one mapping for each group and stratum.
        :param str name: what the table is called in titles and messages.
        :param options: as of :func:`~pyro_hypergeo.tables.read_table`.
        :raises TableError: if the table has a mistake; it names the row and the value.
        :raises ValueError: if an entry is no mapping.
        """
        return table_of(of_mappings(records, name), ReadOptions(**options))


def table_of(records: Records, options: ReadOptions) -> Table:
    """Read the columns, leave out totals, and check the rest.

    :raises TableError: if the table has a mistake.
    """
    options.check()
    cells, notes = cells_of(records, options)
    first = records.at(next(iter(cells.values())).number)
    cells, more = without_totals(records, cells, options)
    table = _assemble(records.name, cells)
    _check_informative(first, table)
    table, lone = _without_lone_groups(records, cells, table)
    doubts = [*_doubtful_names(first, table), *_apart(first, table)]
    notes = [*records.notes, *notes, *more, *lone, *doubts]
    return table._replace(notes=tuple(" ".join(note.splitlines()) for note in notes))


def _assemble(name: str, cells: Cells) -> Table:
    strata = {stratum: at for at, stratum in enumerate(dict.fromkeys(s for s, _ in cells))}
    groups = {group: at for at, group in enumerate(dict.fromkeys(g for _, g in cells))}
    rows = torch.tensor([strata[stratum] for stratum, _ in cells])
    columns = torch.tensor([groups[group] for _, group in cells])
    numbers = torch.tensor([cell[:2] for cell in cells.values()], dtype=torch.float64)
    grid = torch.zeros(2, len(strata), len(groups), dtype=torch.float64)
    grid[:, rows, columns] = numbers.mT
    return Table(name, list(groups), grid[0], grid[1], tuple(map(", ".join, strata)))


def _check_informative(first: str, table: Table) -> None:
    filled = [g for g, size in zip(table.groups, table.sizes.sum(0), strict=True) if size > 0]
    if len(filled) < 2:
        only = f"only group {filled[0]!r} has" if filled else "no group has"
        raise TableError(f"{first}{only} elements; expected two groups or more")
    if table.sizes.sum() > LARGEST:
        raise TableError(f"{first}more than {LARGEST} elements in all")
    drawn, size = table.counts.sum(-1), table.sizes.sum(-1)
    if not ((drawn > 0) & (drawn < size)).any():
        raise TableError(f"{first}{_degenerate(table)}, which says nothing about weights")


def _degenerate(table: Table) -> str:
    if table.counts.sum() == 0:
        return "nothing is drawn in any stratum"
    if (table.counts == table.sizes).all():
        return "everything is drawn in every stratum"
    return "in every stratum either nothing or everything is drawn"


def _without_lone_groups(records: Records, cells: Cells, table: Table) -> tuple[Table, list[str]]:
    """The table without groups that are alone in each of their strata."""
    present = table.sizes > 0
    shared = present & (present.sum(-1, keepdim=True) > 1)
    lone = [g for g in range(len(table.groups)) if present[:, g].any() and not shared[:, g].any()]
    if not lone:
        return table, []
    names = dict.fromkeys(table.groups[group] for group in lone)
    numbers = [cell.number for (_, group), cell in cells.items() if group in names]
    at, rows = records.at(numbers[0]), records.numbers(numbers)
    if not shared.any():
        raise TableError(f"{at}each stratum has one group only, so nothing compares the groups")
    rest = {key: cell for key, cell in cells.items() if key[1] not in names}
    title = ", ".join(map(repr, names))
    which = f"group {title} is alone" if len(names) == 1 else f"the groups {title} are alone"
    note = f"{at}{which} in each stratum, so nothing compares {'it' if len(names) == 1 else 'them'}"
    return _assemble(table.name, rest), [f"{note}; left out ({rows})"]


def _doubtful_names(first: str, table: Table) -> list[str]:
    """Notes on names that may be a missing value, or the same name in another spelling."""
    notes = [
        f"{first}a {kind} is called {name!r}; it is kept"
        for kind, names in (("group", table.groups), ("stratum", table.strata))
        for name in names
        if is_missing(name)
    ]
    spelled: dict[str, str] = {}
    for name in table.groups:
        other = spelled.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            notes.append(f"{first}the groups {other!r} and {name!r} are taken as different")
    return notes


def _apart(first: str, table: Table) -> list[str]:
    """A note if no stratum compares some groups with others."""
    sets = [
        ", ".join(table.groups[group] for group in groups)
        for groups in table.comparable
        if any(table.sizes[:, group].any() for group in groups)
    ]
    if len(sets) < 2:
        return []
    return [
        f"{first}no stratum compares these sets of groups with each other: {' / '.join(sets)}; "
        "weights between them rest on the prior alone"
    ]
