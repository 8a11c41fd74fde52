# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Benchmark: gradients through partitions, their bias, their noise and their cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    FisherPartition,
    FisherPartitionStraightThrough,
    WalleniusPartition,
    ops,
    partition_expectation,
)
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved
from tests.gradients import Error
from tests.partition_oracle import every_partition

GROUPS = 3
_PROBLEMS = 5  # of few elements; the table has their means
_CHUNK, _CHUNKS = 10_000, 40  # draws for many elements, all functions at once

# Milliseconds of thomassutter/drpm at commit 2559d38, measured once, on one thread.
DRPM = {(100, 10, 1): 28.0, (100, 10, 16): 800.0, (300, 10, 16): 20_700.0, (1000, 10, 1): 54_000.0}


class Problem(NamedTuple):
    """Parameters of a law of partitions, and functions of partitions."""

    log_weights: Tensor  # (K,)
    log_scores: Tensor  # (N, K)
    functions: dict[str, Callable[[Tensor], Tensor]]

    def repeated(self, number: int) -> tuple[Tensor, Tensor]:
        """The parameters, so that each draw has its own gradient."""
        shapes = (number, GROUPS), (number, *self.log_scores.shape)
        pairs = zip((self.log_weights, self.log_scores), shapes, strict=True)
        weights, scores = (x.expand(shape).clone().requires_grad_() for x, shape in pairs)
        return weights, scores


def problem(elements: int) -> Problem:
    """Four functions that look at who is where, who is together, and what a group holds."""
    log_weights, log_scores = 0.5 * torch.randn(GROUPS), torch.randn(elements, GROUPS)
    slopes, together = torch.randn(elements, GROUPS), torch.randn(elements, elements)
    points, into, out = torch.randn(elements, 2), torch.randn(2, 8), torch.randn(8)

    def scatter(y: Tensor) -> Tensor:
        centre = (y.mT @ points) / y.sum(-2).clamp(min=1).unsqueeze(-1)
        return (y * (points.unsqueeze(-2) - centre.unsqueeze(-3)).square().sum(-1)).sum((-1, -2))

    def network(y: Tensor) -> Tensor:
        return (torch.tanh(y.mT @ points / elements**0.5 @ into) @ out).square().sum(-1)

    functions = {
        "linear": lambda y: (slopes * y).sum((-1, -2)),
        "who is together": lambda y: (together @ y * y).sum((-1, -2)),
        "scatter of clusters": scatter,
        "network on group sums": network,
    }
    return Problem(log_weights, log_scores, functions)


def counts(log_weights: Tensor, elements: int, law: Any = FisherHypergeometric) -> Any:
    return law(elements, [elements] * GROUPS, log_weights=log_weights)


def scores_of(p: Problem, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The log-probability of each partition, and its gradient in weights and scores."""
    weights, scores = p.repeated(len(y))
    log_probs = FisherPartition(counts(weights, y.shape[-2]), scores).log_prob(y)
    return log_probs.detach(), flat(torch.autograd.grad(log_probs.sum(), (weights, scores)))


def flat(gradients: Any) -> list[Tensor]:
    return [gradient.flatten(1) for gradient in gradients]


def enumerated(elements: int) -> Iterator[tuple[str, list[Error]]]:
    """For each function: straight-through and expectation, each of weights and of scores."""
    p, y = problem(elements), every_partition(elements, GROUPS)
    log_probs, scores = scores_of(p, y)
    probs = log_probs.exp()
    weights, log_scores = p.repeated(len(y))
    n = ops.affine_gradient(
        y.sum(-2), weights, torch.full((GROUPS,), float(elements)), torch.tensor(float(elements))
    )
    field = ops.mean_field(log_scores, n)
    for name, f in p.functions.items():
        values = f(y)
        moved = f(y + (field - field.detach())).sum()
        through = flat(torch.autograd.grad(moved, (weights, log_scores), retain_graph=True))
        result = []
        for ours, score in zip(through, scores, strict=True):
            truth = (probs * values) @ score
            average = probs @ ours
            spread = probs @ (ours - average).square().sum(-1)
            # All pairs: half of (f - f') (s - s').
            distance = torch.cdist(score, score).square()
            square = 0.25 * (values.unsqueeze(-1) - values).square() * distance
            pair = probs @ square @ probs - truth.square().sum()
            result += errors(truth, average - truth, spread, pair)
        yield name, result


def sampled(elements: int) -> Iterator[tuple[str, list[Error]]]:
    """The same from draws: the truth is a long-run average of the score function."""
    p = problem(elements)
    names = list(p.functions)
    baseline: dict[str, Tensor] = {}
    truths: dict[str, list[list[Tensor]]] = {name: [[], []] for name in names}
    throughs: dict[str, list[list[Tensor]]] = {name: [[], []] for name in names}
    pairs: dict[str, list[list[Tensor]]] = {name: [[], []] for name in names}
    for chunk in range(_CHUNKS):
        weights, log_scores = p.repeated(_CHUNK)
        sizes = counts(weights, elements, FisherHypergeometricStraightThrough)
        drawn = FisherPartitionStraightThrough(sizes, log_scores).rsample()
        y = drawn.detach()
        _, scores = scores_of(p, y)
        for name, f in p.functions.items():
            values = f(y)
            away = values - baseline.setdefault(name, values.mean())
            moved = f(drawn).sum() if chunk < 2 else None
            through = (
                None
                if moved is None
                else flat(torch.autograd.grad(moved, (weights, log_scores), retain_graph=True))
            )
            for part, score in enumerate(scores):
                # From the first chunk on the baseline is fixed, so it brings no bias.
                if chunk:
                    truths[name][part].append((away.unsqueeze(-1) * score).mean(0))
                if through is not None:
                    throughs[name][part].append(through[part])
                    half = 0.5 * (values[::2] - values[1::2]).unsqueeze(-1)
                    pairs[name][part].append(half * (score[::2] - score[1::2]))
    for name in names:
        result = []
        for part in range(2):
            means = torch.stack(truths[name][part])
            truth, ours = means.mean(0), torch.cat(throughs[name][part])
            bias = ours.mean(0) - truth
            rounding = means.var(0).sum() / len(means) + ours.var(0).sum() / len(ours)
            pair = torch.cat(pairs[name][part]).var(0).sum()
            result += errors(truth, bias, ours.var(0).sum(), pair, float(rounding))
        yield name, result


def errors(
    truth: Tensor, bias: Tensor, spread: Tensor, pair: Tensor, sampling: float = 0.0
) -> list[Error]:
    """Of straight-through draws and of `partition_expectation`, relative to the true gradient."""
    scale = truth.norm()
    off = (bias.square().sum() - sampling).clamp(min=0).sqrt()
    return [
        Error(float(off / scale), float(spread.sqrt() / scale)),
        Error(0.0, float(pair.sqrt() / scale)),
    ]


def partition_gradients(seconds: float) -> list[Row]:
    """Bias / noise of the gradient of one draw, over the norm of the true gradient."""
    columns = [
        f"{part}, {way}"
        for part in ("size weights", "scores")
        for way in ("straight-through", "expectation")
    ]
    order = [2, 3, 0, 1]  # scores first
    rows = []
    few = [dict(enumerated(6)) for _ in range(_PROBLEMS)]
    for elements, tables in ((6, few), (30, [dict(sampled(30))])):
        for name in tables[0]:
            cells = [
                Error(*(statistics.mean(x) for x in zip(*found, strict=True)))
                for found in zip(*(table[name] for table in tables), strict=True)
            ]
            row = {columns[i]: cells[i] for i in order}
            rows.append({"N": elements, "function": name, **row})
    return rows


def _step(law: str, elements: int, groups: int, batch: int) -> Callable[[], None]:
    start = torch.randn(batch, elements, groups), 0.3 * torch.randn(batch, groups)

    def f(y: Tensor) -> Tensor:
        return (y * y.sum(-2, keepdim=True)).sum((-1, -2))

    def step() -> None:
        scores, weights = (x.clone().requires_grad_() for x in start)
        m = [elements] * groups
        if law == "straight-through":
            sizes = FisherHypergeometricStraightThrough(elements, m, log_weights=weights)
            through = FisherPartitionStraightThrough(sizes, scores)
            y = through.rsample()
            (through.log_prob(y) + f(y)).sum().backward()
            return
        plain = FisherHypergeometric(elements, m, log_weights=weights)
        if law == "expectation":
            partition_expectation(f, FisherPartition(plain, scores)).sum().backward()
            return
        race = WalleniusPartition(plain, scores[..., :1])
        race.log_prob(race.sample()).sum().backward()

    return step


def partition_costs(seconds: float) -> list[Row]:
    """A draw, its log_prob and backward, in ms."""
    names = ("straight-through", "expectation", "drpm's law, exactly")
    rows = []
    for size, other in DRPM.items():
        times = interleaved([_step(name, *size) for name in names], seconds)
        cells = dict(zip(names, times, strict=True))
        rows.append({**dict(zip(("N", "K", "batch"), size, strict=True)), **cells, "drpm": other})
    return rows
