# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""No call becomes more expensive unnoticed: operations and numbers are counted, not timed."""

import json

import pytest
import torch

from tests.benchmarks.work import KEPT, rows, work

KNOWN = json.loads(KEPT.read_text())


@pytest.fixture(scope="module")
def counted() -> dict[tuple[object, object], dict[str, int]]:
    return {(row["urns"], row["call"]): row for row in rows()}


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: f"{row['call']}, {row['urns']}")
def test_no_count_grows(row: dict[str, object], counted: dict[object, dict[str, int]]) -> None:
    """If a count must grow, `python -m tests.benchmarks.work --keep` writes the new one."""
    found = counted[row["urns"], row["call"]]
    for count in ("operations", "numbers per group"):
        assert found[count] <= 1.1 * row[count], (count, found[count], row[count])


def test_all_calls_are_kept(counted: dict[object, object]) -> None:
    assert set(counted) == {(row["urns"], row["call"]) for row in KNOWN}


def test_what_is_counted() -> None:
    x = torch.ones(3)
    assert work(lambda: (x + x).exp()) == (2, 6)
    assert work(lambda: x.unsqueeze(0).expand(2, 3)) == (0, 0)
