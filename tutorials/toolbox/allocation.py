# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Learning through counts: one loss for each method, and Adam for many runs at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    RelaxedFisherHypergeometric,
    expectation,
)


def estimate(
    method: str, f: Callable[[Tensor], Tensor], law: FisherHypergeometric, draws: int
) -> Tensor:
    """An estimate of E f(x) for each urn of the batch, with the gradient of the method.

    f maps counts (..., batch, G) to values (..., batch). It gets so many draws. "no draws" puts the
    mean of the law into f, and "equal shares" does so without learning the weights.
    """
    urn = {"total_count": law.total_count, "group_sizes": law.group_sizes}
    weights = law.log_weights
    if method == "equal shares":
        return f(law.mean.detach().unsqueeze(0)).squeeze(0)
    if method == "no draws":
        return f(law.mean.unsqueeze(0)).squeeze(0)
    if method == "expectation":
        return expectation(f, law, (draws // 2,)).mean(0)
    if method == "score function":
        x = law.sample((draws,))
        values = f(x)
        fixed = values.detach()
        others = (fixed.sum(0) - fixed) / (draws - 1)  # the other draws are the baseline
        score = ((fixed - others) * law.log_prob(x)).mean(0)
        return values.mean(0) + score - score.detach()
    if method == "relaxed":
        return f(
            RelaxedFisherHypergeometric(0.5, **urn, log_weights=weights).rsample((draws,))
        ).mean(0)
    if method == "independent":
        # Each unit chooses its group alone: categoricals with a straight-through Gumbel-softmax.
        units = weights.unsqueeze(-2).expand(
            draws, *weights.shape[:-1], int(law.total_count.max()), -1
        )
        return f(torch.nn.functional.gumbel_softmax(units, hard=True).sum(-2)).mean(0)
    straight = FisherHypergeometricStraightThrough(**urn, log_weights=weights, estimator=method)
    return f(straight.rsample((draws,))).mean(0)


class Clock:
    """CPU seconds inside of its `with` blocks."""

    seconds = 0.0

    def __enter__(self) -> None:
        self.begin = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self.begin


class LogWeights:
    """Log-weights of many runs at once, each with its own learning rate.

    The steps of Adam do not depend on the scale of a loss. So a run learns at its own rate if its
    parameter is multiplied by it.
    """

    def __init__(self, rates: list[float], seeds: int, groups: int) -> None:
        self.rates = torch.tensor(rates).repeat_interleave(seeds)[:, None]
        self.raw = torch.zeros(len(self.rates), groups, requires_grad=True)

    def __call__(self) -> Tensor:
        return self.raw * self.rates


def best_rate(curve: Tensor, rates: int) -> tuple[int, Tensor]:
    """Of losses (times, rates x seeds): the rate with the lowest end, and its (times, seeds)."""
    by_rate = curve.reshape(len(curve), rates, -1)
    best = int(by_rate[-3:].mean((0, 2)).argmin())
    return best, by_rate[:, best]


def largest_remainders(mean: Tensor) -> Tensor:
    """Real counts (..., G) that sum to an integer, rounded to integers with the same sum."""
    low = mean.floor()
    left = (mean.sum(-1, keepdim=True) - low.sum(-1, keepdim=True)).round()
    rank = (low - mean).argsort(-1).argsort(-1)
    return low + (rank < left)


def minimise(f: Callable[[Tensor], Tensor], parameter: Tensor) -> None:
    """Put the place of the minimum of a smooth f into the parameter."""
    optimiser = torch.optim.LBFGS([parameter], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = f(parameter)
        value.backward()
        return value

    optimiser.step(closure)


class FallingAdam:
    """Adam whose learning rates fall in a line to a hundredth, in so many steps."""

    def __init__(self, parameters: Any, rate: float, steps: int) -> None:
        self.adam = torch.optim.Adam(parameters, lr=rate)
        self.fall = torch.optim.lr_scheduler.LinearLR(self.adam, 1.0, 0.01, steps)

    def descend(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.fall.step()
