# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The numbers of a benchmark reach the pages of the guide."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import tables, work

PAGE = """# Speed

<!-- table: density -->
| old |
|---|
<!-- end -->

Between.

<!-- table: chain -->
kept
<!-- end -->
"""
ROWS = [
    {"urns": "small", "elements": 1000, "ms": 1.2345, "bias / noise": [1e-17, 0.123]},
    {"urns": "large", "elements": 100_000_000, "ms": 1234.5, "bias / noise": [0.0312, 15.3]},
]


@pytest.fixture
def result() -> dict[str, Any]:
    machine = {"cpu": "A processor", "threads": 1, "date": "2025-01-31", "torch": "2.5.0"}
    return {"machine": machine, "tables": {"density": {"title": "Density", "rows": ROWS}}}


def test_tables_that_were_measured_are_rewritten(
    result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = tmp_path / "bench.json", tmp_path / "page.md"
    data.write_text(json.dumps(result))
    page.write_text(PAGE)
    tables.main([str(data), str(page)])
    new = page.read_text()
    assert "old" not in new
    assert "| small | 1,000 | 1.2 | 0 / 0.12 |" in new
    assert "| large | 100,000,000 | 1,200 | 0.031 / 15 |" in new
    assert "*A processor, one thread, torch 2.5.0, 2025-01-31.*" in new
    assert "Between.\n\n<!-- table: chain -->\nkept\n<!-- end -->\n" in new
    assert capsys.readouterr().out == "page.md: rewritten, density\npage.md: not measured, chain\n"

    tables.main([str(data), str(page)])
    assert page.read_text() == new
    assert "rewritten" not in capsys.readouterr().out


def test_a_table_without_an_end_is_an_error(result: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'density' has no <!-- end -->"):
        tables.fill_in(PAGE.replace("<!-- end -->", "", 1), result)


def test_every_table_of_the_guide_is_one_of_the_benchmark() -> None:
    for path in tables.GUIDE.glob("*.md"):
        names = {match[2] for match in tables._TABLE.finditer(path.read_text(encoding="utf-8"))}
        assert names <= set(benchmarks.TABLES), path.name


def test_columns_of_the_terminal_are_aligned() -> None:
    header, *lines = tables.plain(ROWS).splitlines()
    assert header.split() == ["urns", "elements", "ms", "bias", "/", "noise"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.slow
def test_a_benchmark_writes_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    path = tmp_path / "new" / "bench.json"
    try:
        benchmarks.main(["density", "subsets", "--seconds", "0", "--json", str(path)])
    finally:
        torch.set_num_threads(threads)
    result = json.loads(path.read_text())
    assert set(result["tables"]) == {"density", "subsets"}
    assert torch.__version__.startswith(result["machine"]["torch"])
    assert all(row["ms"] > 0 for row in result["tables"]["subsets"]["rows"])
    assert "torch's Multinomial" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["density", "speed"])
    assert "no table speed" in capsys.readouterr().err


def test_work_is_counted_without_views() -> None:
    x = torch.ones(3, 4)
    assert work.work(lambda: x.t().reshape(2, 6).exp()) == work.Work(2, 24)  # a copy, and exp
    assert work.work(lambda: x[0].expand(5, 4)) == work.Work(0, 0)
