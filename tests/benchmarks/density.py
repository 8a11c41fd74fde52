# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: `log_prob` and its gradient, for few and for many elements."""

from collections.abc import Callable

import torch
from torch.distributions import Multinomial

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.timing import interleaved


def _step(batch: int, groups: int, elements: float) -> Callable[[], None]:
    sizes = torch.full((batch, groups), float(elements // groups))
    total = (sizes.sum(-1) / 3).floor()
    start = 0.5 * torch.randn(batch, groups)
    counts = FisherHypergeometric(total, sizes, log_weights=start).sample()

    def step() -> None:
        log_weights = start.clone().requires_grad_()
        urn = FisherHypergeometric(total, sizes, log_weights=log_weights)
        urn.log_prob(counts).sum().backward()

    return step


def _multinomial_step(batch: int, groups: int) -> Callable[[], None]:
    start = torch.randn(batch, groups)
    counts = Multinomial(100, logits=start).sample()

    def step() -> None:
        logits = start.clone().requires_grad_()
        Multinomial(100, logits=logits).log_prob(counts).sum().backward()

    return step


def run() -> None:
    """Cost of log_prob forward and backward."""
    print("log_prob forward + backward, batch 64 x 10 groups, by number of elements an urn")
    sizes = (1e3, 1e5, 1e8)
    times = interleaved([_step(64, 10, elements) for elements in sizes])
    for elements, time in zip(sizes, times, strict=True):
        print(
            f"  {elements:8.0e} elements {time:7.2f} ms   ratio to the first {time / times[0]:.2f}"
        )
    print("log_prob forward + backward, batch 512 x 10 groups, over torch's Multinomial")
    ours, theirs = interleaved([_step(512, 10, 300), _multinomial_step(512, 10)])
    print(f"  {ours:.2f} ms over {theirs:.2f} ms   ratio {ours / theirs:.1f}")
