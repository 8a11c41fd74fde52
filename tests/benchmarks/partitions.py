# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: sums over hidden labels whose counts are known, or have Fisher's law."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_hypergeo import ops
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved


def known_counts(batch: tuple[int, ...], sizes: list[int]) -> Callable[[], None]:
    """Forward and backward of the sum over labellings with these counts."""
    scores = torch.randn(*batch, sum(sizes), len(sizes))
    counts = torch.tensor(sizes)

    def step() -> None:
        ops.log_assignments(scores.requires_grad_(), counts).sum().backward()

    return step


def fisher_counts(elements: int, group_sizes: list[int]) -> Callable[[], None]:
    """The same where the counts have Fisher's law."""
    likelihoods = torch.randn(elements, len(group_sizes)).requires_grad_()
    log_weights = torch.randn(len(group_sizes)).requires_grad_()
    sizes, total = torch.tensor(group_sizes), torch.tensor(elements)

    def step() -> None:
        ops.log_label_evidence(likelihoods, log_weights, sizes, total).backward()

    return step


def plain_autograd(batch: tuple[int, ...], sizes: list[int]) -> Callable[[], None]:
    """The same table in log space, by torch's own autograd: for the ratio."""
    scores = torch.randn(*batch, sum(sizes), len(sizes)).requires_grad_()
    lengths = [size + 1 for size in sizes[1:]]

    def shifted(table: Tensor, dim: int) -> Tensor:
        first = torch.full_like(table.narrow(dim, 0, 1), -torch.inf)
        return torch.cat([first, table.narrow(dim, 0, table.shape[dim] - 1)], dim)

    def step() -> None:
        table = torch.full((*batch, *lengths), -torch.inf)
        table[(..., *[0] * len(lengths))] = 0.0
        for row in scores.unbind(-2):
            weights = row[(..., *[None] * len(lengths))].unbind(len(batch))
            moved = [shifted(table, len(batch) + k) for k in range(len(lengths))]
            terms = [t + w for t, w in zip([table, *moved], weights, strict=True)]
            # An entry without a labelling must not give NaN.
            table = torch.logsumexp(torch.stack(terms).clamp(min=-1e300), 0)
        table[(..., *sizes[1:])].sum().backward()

    return step


def assignments(seconds: float) -> list[Row]:
    """Hidden labels summed out, forward and backward; and the same table by plain autograd."""
    rows = []
    cases: list[tuple[str, tuple[int, ...], list[int]]] = [
        ("300 in 3 x 100", (), [100] * 3),
        ("64 bags of ten singles", (64,), [1] * 10),
        ("100 in 4 x 25", (), [25] * 4),
        ("16 singles", (), [1] * 16),
    ]
    for name, batch, sizes in cases:
        ours, plain = interleaved(
            [known_counts(batch, sizes), plain_autograd(batch, sizes)], seconds
        )
        rows.append(
            {"elements": name, "ms": ours, "plain autograd, ms": plain, "ratio": plain / ours}
        )
    (fisher,) = interleaved([fisher_counts(60, [80, 70, 60])], seconds)
    rows.append(
        {"elements": "60 by Fisher's law, K = 3", "ms": fisher}
        | dict.fromkeys(("plain autograd, ms", "ratio"), "")
    )
    return rows
