# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Every notebook keeps the rules, has stored outputs, and runs in smoke mode."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.check_tutorials import (
    REPEATABLE,
    TUTORIALS,
    copy_tutorials,
    differences,
    masked,
    read,
    run,
)

NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
LONGEST_CELL = 25


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def broken_rules(path: Path) -> list[str]:
    """The rules of style that a notebook breaks."""
    notebook, gallery = read(path), (TUTORIALS / "README.md").read_text(encoding="utf-8")
    code = [cell.source for cell in code_cells(notebook)]
    broken = [f"a long cell: {c[:80]}" for c in code if len(c.splitlines()) > LONGEST_CELL]
    if "style.use()" not in code[0]:
        broken.append("the second cell does not set the common style of figures")
    if any("no unit" in source for source in code):
        broken.append("an axis says that it has no unit")
    if any("savefig(" in source for source in code):
        broken.append("a picture is saved by hand, and so in smoke runs too: use style.save")
    if f"thumbnails/{path.stem}.png" not in gallery:
        broken.append("no thumbnail in tutorials/README.md")
    return broken


@notebooks
def test_one_question_then_imports_and_seed(path: Path) -> None:
    first, second = read(path).cells[:2]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert first.source.count("?") >= 1
    assert second.cell_type == "code"
    assert 'smoke_test = "CI" in os.environ' in second.source
    assert "set_rng_seed(" in second.source


@notebooks
def test_style(path: Path) -> None:
    assert not broken_rules(path)


@notebooks
def test_outputs_of_a_full_run_are_stored(path: Path) -> None:
    assert path.stat().st_size < 1.5e6
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures, "nothing to look at"


def test_gallery_lists_every_notebook_and_its_pictures_exist() -> None:
    assert "](tutorials/README.md)" in (TUTORIALS.parent / "README.md").read_text(encoding="utf-8")
    gallery = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+\.ipynb)\)", gallery) == [path.name for path in NOTEBOOKS]
    shown = re.findall(r'src="([^"]+)"', gallery)
    assert sorted(shown) == sorted(
        path.relative_to(TUTORIALS).as_posix() for path in TUTORIALS.glob("thumbnails/*.png")
    )
    for name in shown:
        assert (TUTORIALS / name).stat().st_size < 50_000


def fingerprint(folder: Path) -> dict[str, str]:
    """A hash of each file, without caches of Python."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "__pycache__" not in path.parts
    }


@pytest.mark.slow
@notebooks
def test_smoke_run_writes_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "1")
    copy = copy_tutorials(tmp_path)
    source_before, copy_before = fingerprint(TUTORIALS), fingerprint(copy)
    run(copy / path.name, timeout=240)
    assert fingerprint(copy) == copy_before
    assert fingerprint(TUTORIALS) == source_before


def notebook_that_printed(*texts: str, tags: tuple[str, ...] = ()) -> Any:
    cells = []
    for text in texts:
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        cells.append(nbformat.v4.new_code_cell("print()", outputs=outputs))
        cells[-1].metadata.tags = list(tags)
    return nbformat.v4.new_notebook(cells=cells)


def test_notebooks_that_are_compared_exist() -> None:
    assert set(REPEATABLE) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize(
    "one, other",
    [
        ("12.3 ms a step", "9 ms a step"),
        ("in    0.08 s, error 1e-3", "in 1,060.4 s, error 1e-3"),
        ("3 seconds", "2.5e-01 seconds"),
        ("largest error 3e-14", "largest error 1.5e-13"),
    ],
)
def test_times_and_rounding_errors_may_differ(one: str, other: str) -> None:
    assert masked(one) == masked(other) != one
    assert not differences(notebook_that_printed(one), notebook_that_printed(other))


@pytest.mark.parametrize(
    "one, other",
    [
        ("weight 5.24", "weight 5.25"),
        ("30 sets of draws", "31 sets of draws"),
        ("error 3e-06", "error 4e-06"),
        ("0.1 s.e.", "0.2 s.e."),
        ("one line", "one line\nand a second"),
    ],
)
def test_stale_text_is_found(one: str, other: str) -> None:
    stored, again = (notebook_that_printed("same", text) for text in (one, other))
    found = differences(stored, again)
    assert any(line.startswith("+[1] ") for line in found)
    assert not any("[0]" in line for line in found)
    assert not differences(stored, stored)


def test_cells_tagged_as_timing_are_not_compared() -> None:
    one, other = (notebook_that_printed(text, tags=("timing",)) for text in ("1", "2"))
    assert not differences(one, other)
