# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Bias and noise of gradient estimators against enumeration, for tests and benchmarks.

Nothing is sampled: an estimator is evaluated at every count vector of the support, and its mean
and variance are sums over the exact law. If an estimator draws random numbers of its own, the
result is averaged over repetitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric

Function: TypeAlias = Callable[[Tensor], Tensor]
Estimator: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Law: TypeAlias = type[FisherHypergeometric] | type[WalleniusHypergeometric]


class Urn(NamedTuple):
    group_sizes: list[int]
    total_count: int
    weights: list[float]


class Error(NamedTuple):
    """Bias and noise of an estimator's gradient, divided by the norm of the true gradient."""

    bias: float
    noise: float  # standard deviation of a single draw's gradient


URNS = [
    Urn([5, 6, 7], 8, [1.0, 2.0, 3.0]),
    Urn([16, 36, 24, 12], 44, [1.0, 2.0, 0.5, 3.0]),
    Urn([50, 60, 70], 80, [1.0, 2.0, 3.0]),
]


def describe(urn: Urn) -> dict[str, str | int]:
    """The urn in the columns of a table."""
    sizes, weights = (", ".join(f"{x:g}" for x in xs) for xs in (urn.group_sizes, urn.weights))
    return {"sizes": sizes, "n": urn.total_count, "weights": weights}


def functions(urn: Urn) -> dict[str, Function]:
    """Five functions, on the scale of the standard deviations of the counts."""
    groups, size = len(urn.group_sizes), sum(urn.group_sizes) / len(urn.group_sizes)
    generator = torch.Generator().manual_seed(1)
    slopes, bias, out = (torch.randn(n, generator=generator) for n in (groups, 16, 16))
    into = torch.randn(groups, 16, generator=generator) / math.sqrt(groups)
    target = urn.total_count / groups + size / 3 * torch.linspace(-1, 1, groups)
    return {
        "linear": lambda x: (slopes * x).sum(-1),
        "quadratic": lambda x: (x - target).square().sum(-1),
        "sine": lambda x: torch.sin(2 * math.pi * x / size).sum(-1),
        "product": lambda x: x[..., 0] * x[..., 1],
        "MLP": lambda x: torch.tanh(4 * x / size @ into + bias) @ out,
    }


class Truth(NamedTuple):
    counts: Tensor  # (S, G)
    probs: Tensor  # (S,)
    gradient: Tensor  # (G,)
    scores: Tensor  # (S, G), the gradients of log p(x)


def truth(urn: Urn, f: Function, law: Law = FisherHypergeometric) -> Truth:
    """The exact gradient of E f(x) in the log-weights."""
    one = law(urn.total_count, urn.group_sizes, weights=urn.weights)
    one.max_enumeration = 10_000_000
    counts = one.enumerate_support()
    log_weights = torch.tensor(urn.weights).log().expand(counts.shape).clone().requires_grad_()
    log_probs = law(urn.total_count, urn.group_sizes, log_weights=log_weights).log_prob(counts)
    (scores,) = torch.autograd.grad(log_probs.sum(), log_weights)
    probs = log_probs.detach().exp()
    return Truth(counts, probs, (probs * f(counts)) @ scores, scores)


def measure(exact: Truth, gradients: Tensor) -> Error:
    """The error of an estimator's gradients, (repetitions, S, G), at each count vector."""
    repetitions = gradients.shape[0]
    probs = exact.probs / repetitions
    average = torch.einsum("s,rsg->g", probs, gradients)
    deviation = (gradients - average).square().sum(-1)
    bias = (average - exact.gradient).square().sum()
    if repetitions > 1:  # the estimator's own random numbers leave a sampling error
        bias = bias - repetitions * probs.square() @ gradients.var(0).sum(-1)
    scale = exact.gradient.norm()
    return Error(
        float(bias.clamp(min=0).sqrt() / scale),
        float(torch.einsum("s,rs->", probs, deviation).sqrt() / scale),
    )


def score_function(urn: Urn, f: Function, law: Law = FisherHypergeometric) -> Error:
    """The score-function estimator with the mean of f as baseline."""
    exact = truth(urn, f, law)
    values = f(exact.counts)
    advantage = values - exact.probs @ values
    return measure(exact, (advantage.unsqueeze(-1) * exact.scores).unsqueeze(0))


def error(
    urn: Urn,
    f: Function,
    estimator: Estimator,
    repetitions: int = 1,
    law: Law = FisherHypergeometric,
) -> Error:
    """The error of one of the estimators in `ops`."""
    exact = truth(urn, f, law)
    shape = (repetitions, *exact.counts.shape)
    log_weights = torch.tensor(urn.weights).log().expand(shape).clone().requires_grad_()
    sizes, total = torch.tensor(urn.group_sizes).double(), torch.tensor(float(urn.total_count))
    counts = estimator(exact.counts.expand(shape), log_weights, sizes, total)
    (gradients,) = torch.autograd.grad(f(counts).sum(), log_weights)
    return measure(exact, gradients)
