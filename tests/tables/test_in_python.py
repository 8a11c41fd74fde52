# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tables from DataFrames and records."""

import csv
import io
from typing import Any

import numpy as np
import pytest
import torch

from pyro_hypergeo import Table, TableError, datasets, read_table

pd = pytest.importorskip("pandas")

RECORDS = [
    {"group": "red", "size": 61, "drawn": 12, "stratum": "x"},
    {"group": "blue", "size": 40.0, "drawn": np.int64(20), "stratum": "x"},
    {"group": "red", "size": "30", "drawn": torch.tensor(3), "stratum": "y"},
    {"group": "blue", "size": np.float32(25), "drawn": "9.0", "stratum": "y"},
]
SIZES, COUNTS = [[61, 40], [30, 25]], [[12, 20], [3, 9]]


def check(table: Table) -> None:
    assert table.groups == ["red", "blue"]
    assert table.strata == ("x", "y")
    assert table.sizes.tolist() == SIZES
    assert table.counts.tolist() == COUNTS


def frame() -> Any:
    return pd.DataFrame(RECORDS).assign(size=[61, 40, 30, 25], drawn=[12, 20, 3, 9])


def test_records() -> None:
    check(Table.from_records(RECORDS))
    check(Table.from_records(dict(record) for record in RECORDS))


def test_frame() -> None:
    check(Table.from_dataframe(frame()))
    check(Table.from_dataframe(frame().astype({"size": "Int64", "drawn": float})))
    check(Table.from_dataframe(frame().set_index(["stratum", "group"])))
    renamed = frame().rename(columns={"group": "class", "size": "n"})
    check(Table.from_dataframe(renamed, group="class", size="n"))
    assert Table.from_dataframe(frame(), "urns").name == "urns"


def test_frame_of_another_library() -> None:
    class Frame:
        columns = ["group", "size", "drawn", "stratum"]

        def __getitem__(self, name: str) -> Any:
            return [record[name] for record in RECORDS]

    check(Table.from_dataframe(Frame()))


def test_frame_of_elements() -> None:
    elements = pd.DataFrame({"group": ["a", "a", "b", "b"], "outcome": [True, False, True, True]})
    for outcome in (elements.outcome, elements.outcome.astype(int), elements.outcome.astype(float)):
        table = Table.from_dataframe(elements.assign(outcome=outcome))
        assert table.sizes.tolist() == [[2, 2]]
        assert table.counts.tolist() == [[1, 2]]


def test_the_same_table_from_all_sources() -> None:
    path = datasets.path("titanic.csv")
    tables = [
        read_table(path),
        Table.from_dataframe(pd.read_csv(path)),
        Table.from_records(csv.DictReader(io.StringIO(path.read_text()))),
    ]
    for table in tables:
        assert table.groups == tables[0].groups
        assert table.strata == ("Male", "Female")
        assert torch.equal(table.sizes, tables[0].sizes)
        assert torch.equal(table.counts, tables[0].counts)


@pytest.mark.parametrize("value", [np.nan, None, pd.NA, "NA"])
def test_missing_values(value: object) -> None:
    table = Table.from_records(
        [*RECORDS, {"group": "c", "size": 9, "drawn": value, "stratum": "x"}]
    )
    check(table)
    (note,) = table.notes
    assert note == "table, row 5: no number in row 5; left out"
    with pytest.raises(TableError, match="table, row 5: the group is empty"):
        Table.from_records([*RECORDS, {"size": 9, "drawn": 1, "stratum": "x"}])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2.4, "drawn is 2.4, not an integer: sizes and drawn counts are numbers of elements"),
        ("many", "drawn is 'many', not an integer"),
        (True, "drawn is True, not an integer"),
        (-1, "drawn is -1, which is negative"),
        (np.inf, "drawn is inf, not an integer"),
        (2**53 + 1, f"drawn is {2**53 + 1}, larger than {2**53}"),
        (str(2**53 + 1), f"drawn is '{2**53 + 1}', larger than {2**53}"),
        (2**53, f"drawn is {2**53}, more than the size 9"),
        (2**60, f"drawn is {2**60}, larger than {2**53}"),
        ([1], r"drawn is [1], not an integer"),
        (10, "drawn is 10, more than the size 9"),
        ("", "the drawn is empty"),
    ],
)
def test_wrong_value(value: object, says: str) -> None:
    record = {"group": "c", "size": 9, "drawn": value, "stratum": "x"}
    with pytest.raises(TableError) as caught:
        Table.from_records([*RECORDS, record], "urns")
    assert str(caught.value).startswith(f"urns, row 5: {says}")


def test_wrong_arguments() -> None:
    with pytest.raises(
        ValueError, match=r"`frame` to be a DataFrame, but got a value of type list"
    ):
        Table.from_dataframe(RECORDS)
    with pytest.raises(
        ValueError, match=r"`records` to be mappings .* found \('a', 3, 1\) at index 0"
    ):
        Table.from_records([("a", 3, 1)])  # type: ignore[list-item]
    twice = pd.DataFrame([["a", 3, 1]], columns=["group", "size", "size"])
    with pytest.raises(ValueError, match=r"`frame` to have columns of different names"):
        Table.from_dataframe(twice)
    with pytest.raises(TypeError, match="colour"):
        Table.from_dataframe(frame(), colour="red")
    with pytest.raises(TableError, match="no rows below the header|no column 'group'"):
        Table.from_records([])
