# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Every Python block of the README runs, alone, as a reader would run it."""

from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"


def python_blocks(text: str) -> list[tuple[str, int, str]]:
    """Heading above it, number of its first line, and source of each ```python block."""
    blocks = []
    heading, fence, start, source = "top", None, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is not None and line.strip() == "```":
            if fence == "python":
                blocks.append((heading, start, "\n".join(source)))
            fence = None
        elif fence is not None:
            source.append(line)
        elif line.startswith("```"):
            fence, start, source = line[3:].strip(), number + 1, []
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert fence is None, f"the block at line {start} is not closed"
    return blocks


BLOCKS = python_blocks(README.read_text(encoding="utf-8"))


def test_readme_has_examples() -> None:
    assert BLOCKS, "README.md has no ```python block"


@pytest.mark.parametrize(
    ("start", "source"), [pytest.param(start, source, id=name) for name, start, source in BLOCKS]
)
def test_block_runs(
    start: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)  # a reader's default, not this suite's
    # Blank lines before it make a traceback point at the README's own lines.
    code = compile("\n" * (start - 1) + source, str(README), "exec")
    exec(code, {"__name__": "__main__"})
