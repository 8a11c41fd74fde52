# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Ratios of times measured side by side in one run, on one thread: `make bench`.

`python -m tests.benchmarks chain density --seconds 1` runs two of the tables only, and quickly.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import inspect
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import (
    chain,
    density,
    gradients,
    partition_gradients,
    partitions,
    regression,
    sampling,
    subsets,
    wallenius,
)
from tests.benchmarks.tables import Row, plain

# Seconds for each comparison -> rows. The docstring is the table's title.
TABLES: dict[str, Callable[[float], list[Row]]] = {
    "density": density.density,
    "sampling": sampling.sampling,
    "subsets": subsets.subsets,
    "chain": chain.chain,
    "assignments": partitions.assignments,
    "wallenius": wallenius.wallenius,
    "wallenius-gradients": wallenius.wallenius_gradients,
    "regression": regression.regression,
    "gradients": gradients.gradients,
    "costs": gradients.costs,
    "partition-gradients": partition_gradients.partition_gradients,
    "partition-costs": partition_gradients.partition_costs,
}


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("numpy", "pyro-ppl", "torch")},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TABLES)}; all if not given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each comparison (3)")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.names) - set(TABLES))
    if unknown:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    result: dict[str, Any] = {"machine": machine(), "seconds": options.seconds, "tables": {}}
    for name in options.names or TABLES:
        torch.manual_seed(0)  # so that a table alone is the same as among all
        title = " ".join((inspect.getdoc(TABLES[name]) or name).split())
        rows = TABLES[name](options.seconds)
        print(f"{name}: {title}\n{plain(rows)}\n", flush=True)
        result["tables"][name] = {"title": title, "rows": rows}
        if options.json:  # after every table: a run that is stopped keeps what it has
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
