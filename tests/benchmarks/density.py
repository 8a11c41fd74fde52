# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: `log_prob` and its gradient, for few and for many elements."""

from collections.abc import Callable

import torch
from torch.distributions import Multinomial

from pyro_hypergeo import FisherHypergeometric
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved


def _step(batch: int, groups: int, elements: int) -> Callable[[], None]:
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


def _row(urns: str, elements: int, time: float, than: str, other: float) -> Row:
    return {
        "urns": urns,
        "elements in each": elements,
        "ms": time,
        "compared with": than,
        "ratio": time / other,
    }


def density(seconds: float) -> list[Row]:
    """log_prob forward and backward."""
    sizes = (10**3, 10**5, 10**8)
    times = interleaved([_step(64, 10, elements) for elements in sizes], seconds)
    rows = [
        _row("64 x 10 groups", elements, time, "1,000 elements", times[0])
        for elements, time in zip(sizes, times, strict=True)
    ]
    for batch, groups in ((2, 4), (512, 10)):
        steps = [_step(batch, groups, 300), _multinomial_step(batch, groups)]
        ours, theirs = interleaved(steps, seconds)
        urns = f"{batch} x {groups} groups"
        rows.append(_row(urns, 300, ours, "torch's Multinomial", theirs))
    return rows
