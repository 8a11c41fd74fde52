# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

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
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved
from tests.gradients import (
    URNS,
    Error,
    Function,
    Urn,
    describe,
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
    """Of `expectation`, by sampling."""
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


def gradients(seconds: float) -> list[Row]:
    """Bias / noise of the gradient of one draw, over the norm of the true gradient (enumerated)."""
    rows = []
    for urn in URNS:
        repetitions = max(4, 8_000 // len(truth(urn, lambda x: x[..., 0]).counts))
        for name, f in functions(urn).items():
            errors = {
                "score function": score_function(urn, f),
                "mean": error(urn, f, ops.mean_gradient),
                "affine": error(urn, f, ops.affine_gradient),
                "implicit": error(urn, f, ops.implicit_gradient),
                "gumbel, temperature 1": error(urn, f, _gumbel, repetitions),
                # Unbiased by construction: the bias of a sample is its sampling error.
                "expectation": _pair_error(urn, f)._replace(bias=0.0),
            }
            rows.append({**describe(urn), "function": name, **errors})
    return rows


def costs(seconds: float) -> list[Row]:
    """rsample + log_prob + backward, in ms, and the peak of memory in MB."""
    rows = []
    for groups, size, total in ((3, 200, 180), (10, 256, 256), (50, 100, 500)):
        for batch in (64, 512):
            steps = [_step(name, batch, groups, size, total) for name in ESTIMATORS]
            times = interleaved(steps, seconds)
            cells = {
                f"{name}, ms / MB": [time, _peak_megabytes(step)]
                for name, time, step in zip(ESTIMATORS, times, steps, strict=True)
            }
            rows.append({"groups": groups, "size": size, "n": total, "batch": batch, **cells})
    return rows
