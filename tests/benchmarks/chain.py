# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: latent counts summed out by `markov_counts` and by `ops.log_evidence`."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO

from pyro_hypergeo import FisherHypergeometric, markov_counts, ops
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved


def chain_step(groups: int, size: int, total: int) -> Callable[[], None]:
    """Forward and backward of TraceEnum_ELBO, counts observed under Gaussian noise."""
    start = 0.5 * torch.randn(groups)
    sizes = [size] * groups
    seen = FisherHypergeometric(total, sizes, log_weights=start).sample() + torch.randn(groups)

    def step() -> None:
        log_weights = start.clone().requires_grad_()

        def model() -> None:
            urn = FisherHypergeometric(total, sizes, log_weights=log_weights)
            for i, x_i in markov_counts("x", urn, infer={"enumerate": "parallel"}):
                pyro.sample(f"y_{i}", dist.Normal(x_i, 1.0), obs=seen[i])

        elbo = TraceEnum_ELBO(max_plate_nesting=0)
        elbo.differentiable_loss(model, lambda: None).backward()

    return step


def evidence_step(groups: int, size: int, total: int) -> Callable[[], None]:
    """The same evidence and gradient as a function of tensors."""
    start = 0.5 * torch.randn(groups)
    sizes = torch.full((groups,), float(size))
    n = torch.tensor(float(total))
    seen = ops.sample(start, sizes, n) + torch.randn(groups)
    tables = dist.Normal(torch.arange(size + 1.0), 1.0).log_prob(seen.unsqueeze(-1))

    def step() -> None:
        log_weights = start.clone().requires_grad_()
        ops.log_evidence(tables, log_weights, sizes, n).backward()

    return step


def chain(seconds: float) -> list[Row]:
    """Latent counts summed out, forward and backward, in ms."""
    rows = []
    for groups, size, total in [(50, 20, 100), (10, 1000, 250), (10, 1000, 500), (10, 1000, 1000)]:
        steps = [chain_step(groups, size, total), evidence_step(groups, size, total)]
        by_chain, by_evidence = interleaved(steps, seconds)
        rows.append(
            {
                "groups": groups,
                "size": size,
                "n": total,
                "markov_counts, ms": by_chain,
                "ops.log_evidence, ms": by_evidence,
            }
        )
    return rows
