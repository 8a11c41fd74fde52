# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What once was read wrongly without a word: it is used, refused or said."""

from pathlib import Path

import pytest

from pyro_hypergeo import Table, TableError, read_table


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def of(content: str, **options: object) -> Table:
        path = tmp_path / "table.csv"
        path.write_text(content, encoding="utf-8")
        return read_table(path, **options)  # type: ignore[arg-type]

    return of


NESTED = "group,size,drawn,{}\na,10,4,x\nb,12,6,x\nc,9,2,y\nd,14,7,y\n"
LIKE_STRATUM = [
    "block", "Block", "set", "matched set", "matched_set", "matchedSet", "block_id", "Set no.",
    "urn", "pair", "batch 2", "statum", "stratums", "STRATUMM", "site", "trial", "replicate",
]  # fmt: skip


@pytest.mark.parametrize("name", ["stratum", "Stratum", "STRATA", "strata", " stratum "])
def test_strata_in_other_words_are_used(name: str, read) -> None:  # type: ignore[no-untyped-def]
    table = read(NESTED.format(name))
    assert table.sizes.tolist() == [[10, 12, 0, 0], [0, 0, 9, 14]]
    assert table.strata == ("x", "y")


@pytest.mark.parametrize("name", LIKE_STRATUM)
def test_a_column_that_seems_to_name_the_strata(name: str, read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TableError) as caught:
        read(NESTED.format(name))
    assert f"table.csv:1: the column {name!r} seems to name the strata" in str(caught.value)
    assert f"stratum={name!r}" in str(caught.value)
    assert f"ignore={name!r}" in str(caught.value)
    assert len(read(NESTED.format(name), stratum=name).sizes) == 2
    assert len(read(NESTED.format(name), ignore=name).sizes) == 1
    assert not read(NESTED.format(name), ignore=name).notes


@pytest.mark.parametrize("name", ["status", "state", "settled", "offset", "colour", "paired_up_to"])
def test_other_columns_are_left_out_with_a_note(name: str, read) -> None:  # type: ignore[no-untyped-def]
    table = read(NESTED.format(name))
    assert len(table.sizes) == 1
    assert [note.partition("table.csv")[2] for note in table.notes] == [
        f":1: column not used: {name}"
    ]


def test_other_columns_are_not_refused_if_strata_are_chosen(read) -> None:  # type: ignore[no-untyped-def]
    table = read("group,size,drawn,stratum,site\na,10,4,x,1\nb,12,6,x,1\n")
    assert "column not used: site" in table.notes[0]


def test_two_columns_of_strata(read) -> None:  # type: ignore[no-untyped-def]
    content = "group,size,drawn,stratum,Strata\na,10,4,x,1\nb,12,6,x,1\n"
    with pytest.raises(TableError, match="two columns 'stratum' and 'Strata'.* choose by stratum="):
        read(content)
    assert read(content, stratum="Strata").strata == ("1",)


def test_two_columns_of_the_same_name_but_for_case(read) -> None:  # type: ignore[no-untyped-def]
    content = "group,size,Size,drawn\na,10,20,4\nb,12,30,6\n"
    with pytest.raises(
        TableError, match="two columns 'size' in the header 'group,size,Size,drawn'"
    ):
        read(content)
    assert read(content, size="Size").sizes.tolist() == [[20, 30]]


TOTALS = {
    "one urn": "group,size,drawn\na,10,4\nb,12,6\nTotal,22,10\n",
    "the first row": "group,size,drawn\nAll,22,10\na,10,4\nb,12,6\n",
    "of one other group": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\nc,5,1,y\na,3,2,y\n"
    "Sum,8,3,y\nsum:,22,10,x\n",
    "a grand total alone": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\na,9,2,y\nb,14,7,y\n"
    "Total,45,19,all\n",
    "of a stratum with one group": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\na,3,2,y\n"
    "Total,3,2,y\nTotal,22,10,x\n",
    "of each stratum": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\nTotal,22,10,x\na,9,2,y\n"
    "b,14,7,y\nTotal,23,9,y\n",
    "of each group": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\na,9,2,y\nb,14,7,y\n"
    "a,19,6,Total\nb,26,13,Total\n",
    "of both": "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\nTotal,22,10,x\na,9,2,y\nb,14,7,y\n"
    "Total,23,9,y\na,19,6,Gesamt\nb,26,13,Gesamt\nTotal,45,19,Gesamt\n",
}


@pytest.mark.parametrize("name", TOTALS)
def test_totals_are_left_out_with_a_note(name: str, read) -> None:  # type: ignore[no-untyped-def]
    table = read(TOTALS[name])
    rows = [line for line in TOTALS[name].splitlines()[1:]]
    words = ("total", "sum", "all", "gesamt")
    kept = [r.split(",") for r in rows if not any(word in r.lower() for word in words)]
    assert table.sizes.sum() == sum(int(row[1]) for row in kept)
    assert table.counts.sum() == sum(int(row[2]) for row in kept)
    assert table.groups == list(dict.fromkeys(row[0] for row in kept))
    assert table.notes
    assert all("is the sum of the others; left out" in note for note in table.notes)


REFUSED = {
    "not the sum": (
        "group,size,drawn\na,10,4\nb,12,6\nTotal,23,10\n",
        ":4: group 'Total' is called a total, but is not the sum of the others (line 4)",
    ),
    "not the sum of those drawn": (
        "group,size,drawn\na,10,4\nb,12,6\nTotal,22,11\n",
        ":4: group 'Total' is called a total, but is not the sum of the others (line 4)",
    ),
    "no name": (
        "group,size,drawn\na,10,4\nb,12,6\nboth,22,10\n",
        ":4: group 'both' is the sum of the others (line 4)",
    ),
    "no name, below a total": (
        "group,size,drawn\nTotal,44,20\na,10,4\nb,12,6\nboth,22,10\n",
        ":5: group 'both' is the sum of the others (line 5)",
    ),
    "a stratum without a name, below a total": (
        "group,size,drawn,stratum\na,12,6,Total\nb,12,10,Total\na,1,1,x\nb,2,1,x\na,5,2,y\n"
        "b,4,4,y\na,6,3,z\nb,6,5,z\n",
        ":8: stratum 'z' is the sum of the others (lines 8 and 9)",
    ),
    "alone and no name": (
        "group,size,drawn,stratum\na,10,4,x\nb,12,6,x\neveryone,22,10,z\n",
        ":4: group 'everyone' is the sum of the others (line 4)",
    ),
    "a stratum without a name": (
        "group,size,drawn,stratum\na,1,1,x\nb,2,1,x\na,5,2,y\nb,4,4,y\na,6,3,z\nb,6,5,z\n",
        ":6: stratum 'z' is the sum of the others (lines 6 and 7)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_totals_in_doubt_are_refused(name: str, read) -> None:  # type: ignore[no-untyped-def]
    content, says = REFUSED[name]
    with pytest.raises(TableError) as caught:
        read(content)
    assert str(caught.value).partition("table.csv")[2] == (
        f"{says}; remove it if it is a total, or keep it by keep_totals=True"
    )
    if "alone" not in name:
        kept = read(content, keep_totals=True)
        assert kept.sizes.sum() == sum(int(row.split(",")[1]) for row in content.split()[1:])


@pytest.mark.parametrize("content", [
    "group,size,drawn\na,10,4\nb,10,4\n",  # as large as the other, by chance
    "group,size,drawn\na,10,4\nb,6,2\nc,4,1\n",  # the sizes add up, the drawn do not
    "group,size,drawn,stratum\na,10,4,x\nb,6,2,x\na,10,4,y\nb,6,2,y\n",  # two strata alike
    "group,size,drawn,stratum\na,3,1,x\nb,6,2,x\na,4,2,y\nb,5,1,y\na,7,3,z\n",  # one group of z
    "group,size,drawn,stratum\na,10,4,all\nb,6,2,all\n",  # one stratum of any name
])  # fmt: skip
def test_ordinary_tables_are_left_alone(content: str, read) -> None:  # type: ignore[no-untyped-def]
    table = read(content)
    assert table.sizes.sum() == sum(int(row.split(",")[1]) for row in content.split()[1:])
    assert not table.notes


def test_what_may_be_a_total_is_not_the_reference(read) -> None:  # type: ignore[no-untyped-def]
    table = read("group,size,drawn\na,11,4\nb,6,2\nc,5,1\n")
    assert table.groups[table.default_reference] == "b"
    # As large as one other group is no sign of a total, and an absent group is none either.
    table = read("group,size,drawn,stratum\na,20,4,x\nb,20,2,x\na,20,3,y\nc,20,1,y\n")
    assert table.groups[table.default_reference] == "a"
    table = read("group,size,drawn,stratum\na,11,4,x\nb,6,2,x\nc,5,1,x\nb,2,1,y\nc,1,1,y\n")
    assert table.groups[table.default_reference] == "b"


def test_group_alone_in_its_stratum_is_left_out(read) -> None:  # type: ignore[no-untyped-def]
    table = read("group,size,drawn,stratum\nbig,1000,400,z\na,10,4,x\nb,12,6,x\n")
    assert table.groups == ["a", "b"]
    assert table.strata == ("x",)
    (note,) = table.notes
    assert "table.csv:2: group 'big' is alone in each stratum, so nothing compares it" in note
    assert "left out (line 2)" in note


def test_no_stratum_compares_anything(read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        TableError, match=":2: each stratum has one group only, so nothing compares"
    ):
        read("group,size,drawn,stratum\na,10,4,x\nb,12,6,y\n")


def test_reference_is_of_the_largest_set_that_strata_compare(read) -> None:  # type: ignore[no-untyped-def]
    table = read(
        "group,size,drawn,stratum\nhuge,900,9,u\nvast,800,8,u\na,10,4,x\nb,12,6,x\nb,1,1,y\nc,11,2,y\n"
    )
    names = [[table.groups[group] for group in groups] for groups in table.comparable]
    assert names == [["a", "b", "c"], ["huge", "vast"]]
    assert table.groups[table.default_reference] == "b"
    (note,) = table.notes
    assert "compares these sets of groups with each other: a, b, c / huge, vast; weights" in note


def test_strata_where_all_is_drawn_compare_nothing(read) -> None:  # type: ignore[no-untyped-def]
    table = read(
        "group,size,drawn,stratum\nhuge,900,900,u\na,9,9,u\na,10,4,x\nb,12,6,x\nhuge,7,0,v\nb,5,0,v\n"
    )
    assert table.comparable == [[1, 2], [0]]
    assert table.groups[table.default_reference] == "a"
    assert "a, b / huge" in table.notes[0]


def test_names_in_doubt_are_said(read) -> None:  # type: ignore[no-untyped-def]
    table = read(
        "group,size,drawn,stratum\nNA,3,1,x\nred,4,2,x\nRed,5,2,x\nblue,7,1,NA\nred,1,1,NA\n"
    )
    assert [note.partition("table.csv:2: ")[2] for note in table.notes] == [
        "a group is called 'NA'; it is kept",
        "a stratum is called 'NA'; it is kept",
        "the groups 'red' and 'Red' are taken as different",
    ]


def test_a_note_is_one_line_even_if_a_name_is_not(read) -> None:  # type: ignore[no-untyped-def]
    table = read('group,size,drawn,"to\ndo"\na,3,1,x\nb,2,1,x\n')
    (note,) = table.notes
    assert note.endswith("column not used: to do")


def test_a_group_without_elements_needs_no_comparison(read) -> None:  # type: ignore[no-untyped-def]
    table = read("group,size,drawn\na,10,4\nb,12,6\nempty,0,0\n")
    assert table.groups == ["a", "b", "empty"]
    assert table.comparable == [[0, 1], [2]]
    assert not table.notes
