# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Is the text that the notebooks store still what they print? ``make tutorials-check`` asks.

Only notebooks whose text is the same in every full run can be asked. Each is run in a copy of the
folder, so the check writes nothing into it. Another processor may round a last digit differently.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "tutorials"
REPEATABLE = [
    "01_getting_started",
    "02_exact_and_differentiable",
    "03_enumeration",
    "03b_subsets_and_hidden_labels",
    "04_weak_supervision",
    "04b_scenes",
    "06_fisher_or_wallenius",
]

# Times differ from run to run, and rounding errors from processor to processor. The space before a
# time goes too, as a column of times is padded.
TIME = re.compile(r" *\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?= ?(?:µs|ms|s|seconds?|minutes?)\b(?!\.))")
ROUNDING = re.compile(r"\d(?:\.\d+)?e-(?:[1-9]\d\d|[1-9]\d)")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def copy_tutorials(folder: Path) -> Path:
    """A copy of what notebooks need: themselves and their toolbox."""
    unused = shutil.ignore_patterns("guide", "api", "*.png", "__pycache__", ".ipynb_checkpoints")
    return shutil.copytree(TUTORIALS, folder / "tutorials", ignore=unused)


def run(path: Path, timeout: int) -> Any:
    """The notebook at this path after a run in its folder. The file stays as it is."""
    notebook = read(path)
    # Away from the repository, the package is found only if it is installed. In the repository's
    # own environment it is; elsewhere this helps.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=environment)
    return notebook


def masked(text: str) -> str:
    """A text without what may differ between two runs."""
    return ROUNDING.sub("tiny", TIME.sub(" time", text))


def text_of(output: Any) -> str:
    """What a reader sees as text: all but the words that stand for a picture."""
    data = output.get("data", {})
    return output.get("text", "" if "image/png" in data else data.get("text/plain", "") + "\n")


def printed(notebook: Any) -> list[str]:
    """The lines that the cells print, each after the number of its cell.

    Cells with the tag "timing" are left out.
    """
    lines = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or "timing" in cell.metadata.get("tags", []):
            continue
        text = "".join(text_of(output) for output in cell.outputs)
        lines += [f"[{index}] {line}".rstrip() for line in masked(text).splitlines()]
    return lines


def differences(stored: Any, again: Any) -> list[str]:
    """What differs between the stored text and that of another run, as lines of a diff."""
    lines = difflib.unified_diff(printed(stored), printed(again), "stored", "rerun", "", "", 0, "")
    return list(lines)


def main(names: list[str]) -> int:
    """Rerun the notebooks of these names, or all; the number of those whose text is stale."""
    os.environ.pop("CI", None)  # a full run
    chosen = [name for name in REPEATABLE if not names or name.startswith(tuple(names))]
    stale = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_tutorials(Path(folder))
        for name in chosen:
            path = copy / f"{name}.ipynb"
            lines = differences(read(path), run(path, timeout=1200))
            verdict = "stale" if lines else "the stored text is what it prints"
            print(f"{name}: {verdict}", flush=True)
            print("\n".join(lines), end="\n" if lines else "", flush=True)
            stale += bool(lines)
    return stale


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
