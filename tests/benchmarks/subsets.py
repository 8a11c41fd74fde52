# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: inclusion probabilities of random subsets."""

import torch

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved


def subsets(seconds: float) -> list[Row]:
    """Inclusion probabilities of a 50-subset of 1000: the mean, all sizes 1."""
    rows = []
    for batch in (1, 64):
        log_weights = torch.randn(batch, 1000)

        def inclusion(log_weights: torch.Tensor = log_weights) -> object:
            return FisherHypergeometric(50, [1] * 1000, log_weights=log_weights).mean

        (time,) = interleaved([inclusion], seconds)
        rows.append({"batch": batch, "ms": time})
    return rows
