# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: inclusion probabilities of random subsets."""

import torch

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.timing import interleaved


def run() -> None:
    """Cost of the inclusion probabilities of random subsets: all groups of size 1."""
    print("inclusion probabilities of a 50-subset of 1000 (sizes all 1: the mean)")
    for batch in (1, 64):
        log_weights = torch.randn(batch, 1000)

        def inclusion(log_weights: torch.Tensor = log_weights) -> object:
            return FisherHypergeometric(50, [1] * 1000, log_weights=log_weights).mean

        (time,) = interleaved([inclusion])
        print(f"  batch {batch:3d} {time:8.2f} ms")
