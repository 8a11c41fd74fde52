# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import torch

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved

_DRAWS = 10_000


def sampling(seconds: float) -> list[Row]:
    """10,000 draws from one urn of unequal weights, over numpy's sampler for equal weights."""
    generator = np.random.default_rng(0)
    rows = []
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

        time, other = interleaved([ours, theirs], seconds)
        rows.append(
            {
                "groups": groups,
                "size": size,
                "n": total,
                "ms": time,
                "numpy's, ms": other,
                "ratio": time / other,
            }
        )
    return rows
