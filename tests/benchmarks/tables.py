# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tables of the guide from the numbers of `make bench`.

`python -m tests.benchmarks.tables build/bench.json` rewrites what stands between
`<!-- table: NAME -->` and `<!-- end -->` in the pages of tutorials/guide.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

# Column -> a text, a number, or several numbers that share a cell. All rows have the same columns.
Row: TypeAlias = dict[str, Any]

GUIDE = Path(__file__).parents[2] / "tutorials" / "guide"
_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->|(?=<!-- table: )|\Z)", re.S)


def cell(value: Any) -> str:
    """Two significant digits of a measured number; all digits of an integer."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        rounded = float(f"{value:.2g}")
        if abs(value) < 5e-4:
            return "0"
        return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:g}"
    return " / ".join(map(cell, value))


def plain(rows: Sequence[Row]) -> str:
    """For the terminal: aligned columns."""
    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  " + "  ".join(map(str.rjust, line, widths)).rstrip() for line in lines)


def markdown(rows: Sequence[Row]) -> str:
    """For a page."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[cell(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill_in(page: str, result: dict[str, Any]) -> str:
    """The page with every table that the result has; the others stay as they are."""
    machine = result["machine"]
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    where = f"*{machine['cpu']}, {threads}, torch {machine['torch']}, {machine['date']}.*"

    def table(match: re.Match[str]) -> str:
        start, name, _, end = match.groups()
        if not end:
            raise ValueError(f"the table {name!r} has no <!-- end -->")
        if name not in result["tables"]:
            return match[0]
        return f"{start}\n{markdown(result['tables'][name]['rows'])}\n\n{where}\n\n{end}"

    return _TABLE.sub(table, page)


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrite the pages and print which have changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tables", description=__doc__)
    parser.add_argument("json", type=Path, help="what `make bench` has written")
    parser.add_argument("pages", type=Path, nargs="*", help="all of tutorials/guide if not given")
    options = parser.parse_args(argv)
    result = json.loads(options.json.read_text(encoding="utf-8"))
    for path in options.pages or sorted(GUIDE.glob("*.md")):
        old = path.read_text(encoding="utf-8")
        new = fill_in(old, result)
        names = [match[2] for match in _TABLE.finditer(old)]
        missing = [name for name in names if name not in result["tables"]]
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"{path.name}: rewritten, {', '.join(x for x in names if x not in missing)}")
        if missing:
            print(f"{path.name}: not measured, {', '.join(missing)}")


if __name__ == "__main__":
    main()
