# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The README and the guide: their code runs, their links resolve, their output is true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = sorted((ROOT / "tutorials" / "guide").glob("*.md"))
WITH_CODE = [README, *GUIDE]
WITH_LINKS = [
    *WITH_CODE,
    ROOT / "tutorials" / "README.md",
    *sorted((ROOT / ".github").glob("*.md")),
]
MOST_LINES = 150

# [text](target) and ![text](target); the text may run over several lines, as alternative texts do.
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Block(NamedTuple):
    page: Path
    heading: str
    start: int  # number of its first line in the page
    language: str
    source: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, each with the heading above it."""
    blocks: list[Block] = []
    heading, fence, start, source = "top", None, 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if fence is not None and line.strip() == "```":
            blocks.append(Block(page, heading, start, fence, "\n".join(source)))
            fence = None
        elif fence is not None:
            source.append(line)
        elif line.startswith("```"):
            fence, start, source = line[3:].strip(), number + 1, []
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert fence is None, f"{name_of(page)}: the block at line {start} is not closed"
    return blocks


def prose_of(page: Path) -> str:
    """A page without its fenced blocks and without code in backticks."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", text, flags=re.MULTILINE):
        visible = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", visible.lower()).replace(" ", "-")
        anchor, repeated = slug, 0
        while anchor in anchors:
            repeated += 1
            anchor = f"{slug}-{repeated}"
        anchors.add(anchor)
    return anchors


def broken_links(page: Path) -> Iterator[str]:
    """The relative links and images of a page whose file or heading does not exist."""
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{name_of(page)}: no file {path}"
        elif anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
            yield f"{name_of(page)}: no heading #{anchor} in {target.name}"


def shown_output(block: Block) -> str:
    """What a page shows below a Python block: a block of the language `text`, or nothing."""
    after = BLOCKS[BLOCKS.index(block) + 1 :][:1]
    is_output = after and after[0].page == block.page and after[0].language == "text"
    return after[0].source if is_output else ""


def printed(text: str) -> list[str]:
    """The lines of an output, with single spaces and without those that are empty."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def same(shown: str, line: str) -> bool:
    """Whether two lines have the same words, and the same numbers to 2 %."""
    if NUMBER.sub("#", shown) != NUMBER.sub("#", line):
        return False
    pairs = zip(map(float, NUMBER.findall(shown)), map(float, NUMBER.findall(line)), strict=True)
    return all(abs(a - b) <= 0.02 * max(abs(a), 1) for a, b in pairs)


def untrue(shown: str, output: str) -> list[str]:
    """The lines of a page that are not in the output."""
    lines = printed(output)
    return [row for row in printed(shown) if not any(same(row, line) for line in lines)]


BLOCKS = [block for page in WITH_CODE for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", ["README.md", "models.md", "gradients.md", "reference.md"])
def test_page_has_examples(page: str) -> None:
    assert [block for block in PYTHON if block.page.name == page]


@pytest.mark.parametrize("block", PYTHON, ids=lambda b: f"{b.page.stem}:{b.start} {b.heading}")
def test_block_runs_alone(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)  # a reader's default, not this suite's
    # Blank lines before it make a traceback point at the page's own lines.
    code = compile("\n" * (block.start - 1) + block.source, str(block.page), "exec")
    exec(code, {"__name__": "__main__"})
    assert not untrue(shown_output(block), capsys.readouterr().out)


@pytest.mark.parametrize("page", WITH_LINKS, ids=name_of)
def test_links_resolve(page: Path) -> None:
    assert not list(broken_links(page))


def test_links_of_the_readme_work_on_a_package_index() -> None:
    """Where the README is shown alone, only absolute links work; it needs the address for them."""
    if "[project.urls]" in (ROOT / "pyproject.toml").read_text(encoding="utf-8"):
        links = LINK.findall(prose_of(README))
        assert not [link for link in links if not link.startswith(("https://", "#"))]


def test_broken_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# Which law?\n## `code` and more\n## Which law?\n```sh\n# no heading [x](none.md)\n```\n"
        "[good](#which-law) [too](page.md#code-and-more) [second](#which-law-1) [far](https://x)\n"
        "`[not a link](none.md)` ![an image\nof two lines](no.png) [bad](#which) [bad](#no-heading)"
    )
    assert list(broken_links(page)) == [
        "page.md: no file no.png",
        "page.md: no heading #which in page.md",
        "page.md: no heading #no-heading in page.md",
    ]


def test_every_page_of_the_guide_is_listed() -> None:
    index = (ROOT / "tutorials" / "guide" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in GUIDE if page.name != "README.md"]
    assert not [name for name in pages if f"]({name})" not in index]


def test_output_in_the_readme_is_what_the_command_prints() -> None:
    (shown,) = [b.source for b in BLOCKS if b.page == README and b.language == "text"]
    run = [sys.executable, "-m", "pyro_hypergeo"]
    output = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not untrue(shown, output)
