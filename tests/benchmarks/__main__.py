# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Ratios of times measured side by side in one run, on one thread: `make bench`."""

import torch

from tests.benchmarks import chain, density, gradients, sampling, subsets


def main() -> None:
    """Prints every table."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    for table in (density, sampling, subsets, chain, gradients):
        table.run()
        print()


main()
