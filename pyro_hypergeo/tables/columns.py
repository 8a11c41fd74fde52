# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Which column is which."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from .options import ReadOptions

_STRATUM = ("stratum", "strata")
# Words that say that a column names urns. A column of such a name is never dropped silently.
_LIKE_STRATUM = {
    "stratum", "strata", "stratification", "block", "blocks", "set", "sets", "urn", "urns", "match",
    "matched", "matchset", "pair", "pairs", "batch", "site", "centre", "center", "replicate", "rep",
    "trial", "round", "session", "plate", "litter", "layer",
}  # fmt: skip
_NEAR = 0.6
_NEAR_STRATUM = 0.8


class ColumnError(ValueError):
    """What is wrong with a header, without its place."""


class Columns(NamedTuple):
    """The positions of the columns; -1 for a column that the table does not use."""

    group: int
    size: int
    drawn: int
    left: int
    outcome: int
    strata: tuple[int, ...]
    unused: list[int]


def missing(header: list[str], options: ReadOptions) -> list[str]:
    """The names of the columns that the header lacks."""
    names = [*_wanted(header, options).values(), *options.strata, *options.ignored]
    return [name for name in names if not places_of(header, name)]


def choose(header: list[str], options: ReadOptions, separator: str = "") -> Columns:
    """Say which column is which.

    :param separator: that of the file, in words, for the message.
    :raises ColumnError: if a column is missing or there twice, or if one that seems to name the
        strata is not used.
    """
    absent = missing(header, options)
    if absent:
        raise ColumnError(_explain(header, options, absent, separator))
    places = {
        role: the_place(header, name, role, options)
        for role, name in _wanted(header, options).items()
    }
    strata = tuple(the_place(header, name, "stratum", options) for name in options.strata)
    refuse_two_uses(header, [*places.values(), *strata])
    if not strata:
        strata = default_strata(header, options, set(places.values()))
    ignored = {the_place(header, name, "ignore", options) for name in options.ignored}
    used = {*places.values(), *strata, *ignored}
    unused = [at for at in range(len(header)) if at not in used]
    if not strata:
        refuse_strata(header, options, unused)
    size, drawn, left, outcome = (
        places.get(role, -1) for role in ("size", "drawn", "left", "outcome")
    )
    return Columns(places["group"], size, drawn, left, outcome, strata, unused)


def _wanted(header: list[str], options: ReadOptions) -> dict[str, str]:
    """The needed roles and the name of the column of each."""

    def has(name: str) -> bool:
        return bool(places_of(header, name))

    said = options.size or options.drawn or options.left
    others = any(has(name) for name in ("size", "drawn", "left"))
    if options.outcome or (has("outcome") and not said and not others):
        roles = ["group", "outcome", *(["size"] if options.size else [])]
    elif options.left or (not options.size and not has("size") and has("left")):
        roles = ["group", "drawn", "left"]
    else:
        roles = ["group", "size", "drawn"]
    return {role: getattr(options, role) or role for role in roles}


def _plain(name: str) -> str:
    return name.strip().lstrip("#").strip().casefold()


def places_of(header: list[str], name: str) -> list[int]:
    """Where a column is in a header: the exact name, or else one that differs in case only."""
    exact = [at for at, column in enumerate(header) if column == name]
    return exact or [at for at, column in enumerate(header) if _plain(column) == _plain(name)]


def the_place(header: list[str], name: str, role: str, options: ReadOptions) -> int:
    """The place of a column that is there.

    :raises ColumnError: if it is there twice.
    """
    alike = [at for at, column in enumerate(header) if _plain(column) == _plain(name)]
    said = name in (*options.strata, *options.ignored, getattr(options, role, None))
    places = places_of(header, name) if said else alike
    if len(places) > 1:
        raise ColumnError(f"two columns {name!r} in the header {shown_header(header)!r}")
    return places[0]


def default_strata(header: list[str], options: ReadOptions, used: set[int]) -> tuple[int, ...]:
    """The columns of the strata if the user names none.

    :raises ColumnError: if there are two that could be meant.
    """
    ignored = {at for name in options.ignored for at in places_of(header, name)}
    found = [
        at
        for at, column in enumerate(header)
        if _plain(column) in _STRATUM and at not in used | ignored
    ]
    if len(found) > 1:
        names = " and ".join(repr(header[at]) for at in found)
        raise ColumnError(
            f"two columns {names} in the header {shown_header(header)!r}; choose by "
            f"{options.spelled('stratum', header[found[0]])}"
        )
    return tuple(found)


def refuse_two_uses(header: list[str], places: list[int]) -> None:
    """Check that no column is used twice.

    :raises ColumnError: if one is.
    """
    for at in places:
        if places.count(at) > 1:
            raise ColumnError(f"the column {header[at]!r} cannot be two things at once")


def refuse_strata(header: list[str], options: ReadOptions, unused: list[int]) -> None:
    """Check that no column that is left out seems to name the strata.

    :raises ColumnError: if one does.
    """
    for at in unused:
        if _like_stratum(header[at]):
            raise ColumnError(
                f"the column {header[at]!r} seems to name the strata; use it by "
                f"{options.spelled('stratum', header[at])}, or leave it out by "
                f"{options.spelled('ignore', header[at])}"
            )


def _like_stratum(name: str) -> bool:
    # "matchedSet", "block_id" and "set.no" have their words apart.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.split(r"[\W_\d]+", spaced.casefold())
    near = difflib.get_close_matches(_plain(name), _STRATUM, cutoff=_NEAR_STRATUM)
    return bool(near) or not _LIKE_STRATUM.isdisjoint(words)


def _explain(header: list[str], options: ReadOptions, absent: list[str], separator: str) -> str:
    names = " and ".join(f"no column {name!r}" for name in absent)
    message = f"{names} in the header {shown_header(header)!r}"
    if _is_wide(header):
        return (
            f"{message}; the table seems to be wide, with a pair of columns for each group. "
            "Write one row for each group and stratum: group,size,drawn,stratum"
        )
    if separator and len(header) == 1:
        return f"{message}, which is one field; expected a comma, a semicolon or a tab in it"
    if separator:
        message += f"; the separator seems to be {separator}"
    roles = {name: role for role, name in _wanted(header, options).items()}
    free = [name for name in header if name and name not in roles]
    for name in absent:
        near = nearest(name, free)
        if near and name in roles:
            message += f"; is it {near!r}? Then write {options.spelled(roles[name], near)}"
        elif near:
            message += f"; is it {near!r}?"
    return message


def nearest(name: str, columns: list[str]) -> str:
    """The column whose name is close, or has the word in it; empty if there is none."""
    for column in columns:
        if _plain(name) in re.split(r"[\W_]+", _plain(column)):
            return column
    plain = {_plain(column): column for column in columns}
    found = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=_NEAR)
    return plain[found[0]] if found else ""


def _is_wide(header: list[str]) -> bool:
    # "red_size, red_drawn, blue_size, blue_drawn": two kinds of columns for the same stems.
    for first in (True, False):
        stems: dict[str, set[str]] = {}
        for column in header:
            words = [word for word in re.split(r"[\W_]+", _plain(column)) if word]
            if len(words) > 1:
                kind = words[0] if first else words[-1]
                rest = words[1:] if first else words[:-1]
                stems.setdefault(kind, set()).add(" ".join(rest))
        kinds = [found for found in stems.values() if len(found) > 1]
        if any(len(a & b) > 1 for i, a in enumerate(kinds) for b in kinds[:i]):
            return True
    return False


def shown_header(header: list[str]) -> str:
    """A header for a message."""
    return ",".join(header)
