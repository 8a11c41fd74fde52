# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Runs the benchmarks on one thread: `make bench`. Ratios are measured side by side in one run.

`python -m tests.benchmarks chain density` runs only two of the tables.
"""

import sys

import torch

from tests.benchmarks import chain, density, gradients, sampling, subsets, wallenius


def main() -> None:
    """Prints every table."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    tables = {
        "density": density,
        "sampling": sampling,
        "subsets": subsets,
        "chain": chain,
        "wallenius": wallenius,
        "gradients": gradients,
    }
    for name in sys.argv[1:] or tables:
        tables[name].run()
        print()


main()
