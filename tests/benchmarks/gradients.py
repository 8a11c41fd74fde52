# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: bias, noise, time and memory of gradients through counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    expectation,
    ops,
)
from tests.benchmarks.timing import interleaved
from tests.gradients import (
    URNS,
    Error,
    Function,
    Urn,
    error,
    functions,
    measure,
    score_function,
    truth,
)

ESTIMATORS = ("affine", "mean", "implicit", "gumbel")
_PAIRS = 200_000


def _gumbel(*args: Tensor) -> Tensor:
    return ops.gumbel_gradient(*args, torch.tensor(1.0))


def _pair_error(urn: Urn, f: Function) -> Error:
    """The error of `expectation`, by sampling. It has no bias: what is shown is sampling error."""
    theta = torch.tensor(urn.weights).log().expand(_PAIRS, -1).clone().requires_grad_()
    law = FisherHypergeometric(urn.total_count, urn.group_sizes, log_weights=theta)
    (gradients,) = torch.autograd.grad(expectation(f, law).sum(), theta)
    exact = truth(urn, f)
    even = exact._replace(probs=torch.full((_PAIRS,), 1 / _PAIRS))
    return measure(even, gradients.unsqueeze(0))


def _step(estimator: str, batch: int, groups: int, size: int, total: int) -> Callable[[], None]:
    start = 0.5 * torch.randn(batch, groups)

    def step() -> None:
        log_weights = start.clone().requires_grad_()
        urn = FisherHypergeometricStraightThrough(
            total, [size] * groups, log_weights=log_weights, estimator=estimator
        )
        x = urn.rsample()
        (urn.log_prob(x) + x.square().sum(-1)).sum().backward()

    return step


def _peak_megabytes(step: Callable[[], None]) -> float:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    held = most = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 1e6


def run() -> None:
    """Bias, noise, time and memory of gradients through counts."""
    print("bias / noise of a draw's gradient over the norm of the true gradient (enumerated);")
    print(f"pairs: bias within the sampling error of {_PAIRS} pairs; gumbel at temperature 1")
    names = ("score", "mean", "affine", "implicit", "gumbel", "pairs")
    for urn in URNS:
        print(f"  sizes {urn.group_sizes}, n = {urn.total_count}, weights {urn.weights}")
        print("    " + " " * 10 + "".join(f"{name:>15s}" for name in names))
        repetitions = max(4, 8_000 // len(truth(urn, lambda x: x[..., 0]).counts))
        for name, f in functions(urn).items():
            errors = [
                score_function(urn, f),
                error(urn, f, ops.mean_gradient),
                error(urn, f, ops.affine_gradient),
                error(urn, f, ops.implicit_gradient),
                error(urn, f, _gumbel, repetitions),
                _pair_error(urn, f),
            ]
            row = "".join(f"   {e.bias:.3f} / {e.noise:4.2f}" for e in errors)
            print(f"    {name:10s}{row}")
    print("rsample + log_prob + backward, ms (and peak MB)")
    for groups, size, total in ((3, 200, 180), (10, 256, 256), (50, 100, 500)):
        for batch in (64, 512):
            steps = [_step(name, batch, groups, size, total) for name in ESTIMATORS]
            times = interleaved(steps, seconds=4.0)
            row = "".join(
                f"   {name} {time:7.1f} ({_peak_megabytes(step):5.0f})"
                for name, time, step in zip(ESTIMATORS, times, steps, strict=True)
            )
            print(f"  {groups:2d} x {size}, n = {total}, batch {batch:3d}{row}")
