# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Any table, written in any dialect, is read back as it was."""

import csv
import gzip
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyro_hypergeo import read_table

# No line breaks: whether a name with one survives is a matter of the line ends, tested elsewhere.
NAMES = (
    st.text(st.characters(codec="utf-16", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
    .map(str.strip)
    .filter(lambda name: name and name[0] != "#")  # a row that starts so may be a comment
)
TITLES = st.sampled_from(
    ["", "My table", "# a comment, with a comma", "Sizes; in 2024", ";;;", ",,"]
)


@st.composite
def tables(draw: Any) -> tuple[list[str], list[str], list[list[tuple[int, int]]]]:
    groups = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    strata = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    cell = st.integers(1, 10**9).flatmap(
        lambda size: st.tuples(st.just(size), st.integers(0, size))
    )
    row = st.lists(cell, min_size=len(groups), max_size=len(groups))
    grid = draw(st.lists(row, min_size=len(strata), max_size=len(strata)))
    grid[0][0] = (grid[0][0][0] + 1, 1)  # something is drawn, and something is left
    return groups, strata, grid


@given(
    table=tables(),
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    titles=st.lists(TITLES, max_size=3),
    order=st.permutations(["group", "size", "drawn", "stratum"]),
    compressed=st.booleans(),
)
def test_round_trip(
    table: Any,
    separator: str,
    encoding: str,
    quoting: Any,
    end: str,
    titles: list[str],
    order: list[str],
    compressed: bool,
) -> None:
    groups, strata, grid = table
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end)
    file.write("".join(title + end for title in titles))
    writer.writerow(order)
    for stratum, row in zip(strata, grid, strict=True):
        for group, (size, drawn) in zip(groups, row, strict=True):
            values = {"group": group, "size": size, "drawn": drawn, "stratum": stratum}
            writer.writerow([values[name] for name in order])
    content = file.getvalue().encode(encoding)
    read = read_table(
        io.BytesIO(gzip.compress(content) if compressed else content), keep_totals=True
    )
    assert read.groups == groups
    assert list(read.strata) == strata
    assert read.sizes.tolist() == [[size for size, _ in row] for row in grid]
    assert read.counts.tolist() == [[drawn for _, drawn in row] for row in grid]
