# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: exact draws."""

import numpy as np
import torch

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.timing import interleaved

_DRAWS = 10_000


def run() -> None:
    """Time of exact draws with unequal weights, over numpy's sampler for equal weights."""
    print(f"{_DRAWS} draws from one urn of unequal weights, over numpy's central sampler")
    generator = np.random.default_rng(0)
    for groups, size, total in ((10, 256, 256), (3, 2000, 1800), (50, 100, 500)):
        log_weights = 0.5 * torch.randn(groups)

        def ours(
            groups: int = groups,
            size: int = size,
            total: int = total,
            log_weights: torch.Tensor = log_weights,
        ) -> object:
            return FisherHypergeometric(total, [size] * groups, log_weights=log_weights).sample(
                (_DRAWS,)
            )

        def theirs(groups: int = groups, size: int = size, total: int = total) -> object:
            return generator.multivariate_hypergeometric(
                [size] * groups, total, size=_DRAWS, method="marginals"
            )

        time, other = interleaved([ours, theirs])
        print(
            f"  {groups:3d} groups of {size:4d}, n = {total:4d} {time:8.2f} ms over {other:7.2f} ms"
            f"   ratio {time / other:.2f}"
        )
