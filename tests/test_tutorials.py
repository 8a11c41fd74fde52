# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Every notebook keeps the rules, has stored outputs, and runs in smoke mode."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@notebooks
def test_one_question_then_imports_and_seed(path: Path) -> None:
    first, second = read(path).cells[:2]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert first.source.count("?") >= 1
    assert second.cell_type == "code"
    assert 'smoke_test = "CI" in os.environ' in second.source
    assert "set_rng_seed(" in second.source
    for cell in code_cells(read(path)):
        assert len(cell.source.splitlines()) <= 45, f"a long cell: {cell.source[:80]}"


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


@notebooks
def test_linked_from_readme_and_index(path: Path) -> None:
    assert f"tutorials/{path.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"]({path.name})" in (ROOT / "tutorials" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@notebooks
def test_runs_in_smoke_mode(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    NotebookClient(
        read(path),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    ).execute()
