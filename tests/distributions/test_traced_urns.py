# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Traces of one urn that are run with other urns: right, or NaN; never another number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    Hypergeometric,
    MultivariateHypergeometric,
    RelaxedFisherHypergeometric,
    WalleniusHypergeometric,
    WalleniusHypergeometricStraightThrough,
    ops,
)

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
SIZES, TOTAL = torch.tensor([5.0, 3.0, 2.0]), torch.tensor(4.0)
SMALLER = [([4.0, 3.0, 2.0], 4.0), ([3.0, 3.0, 2.0], 3.0), ([5.0, 3.0, 2.0], 2.0)]
EDGES = [([5.0, 3.0, 2.0], 0.0), ([2.0, 1.0, 1.0], 4.0)]
LARGER_TOTAL = ([5.0, 3.0, 2.0], 6.0)
LARGER = [([9.0, 3.0, 2.0], 4.0), ([9.0, 6.0, 2.0], 12.0), ([9.0, 3.0, 2.0], 2.0)]
LIKELIHOODS = torch.linspace(0.0, 1.0, 30, dtype=torch.float64).reshape(1, 30)
NUMBER = 4000  # draws


def fisher(theta: Tensor, sizes: Tensor, total: Tensor) -> FisherHypergeometric:
    return FisherHypergeometric(total, sizes, log_weights=theta, validate_args=False)


def wallenius(theta: Tensor, sizes: Tensor, total: Tensor) -> WalleniusHypergeometric:
    return WalleniusHypergeometric(total, sizes, log_weights=theta, validate_args=False)


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def traced(function: Function) -> Function:
    example = (leaf(0.3, -0.5, 1.1), SIZES, TOTAL)
    return torch.jit.trace(function, example, check_trace=False)


def run(function: Function, theta: Tensor, urn: tuple[list[float], float]) -> Tensor:
    return function(theta, torch.tensor(urn[0]), torch.tensor(urn[1]))


def is_the_same(of_trace: Function, function: Function, urn: tuple[list[float], float]) -> None:
    theta = leaf(1.0, 0.2, -0.7)
    result, expected = run(of_trace, theta, urn), run(function, theta, urn)
    if result.shape != expected.shape:  # a trace keeps the length of its tables
        assert (result[..., expected.shape[-1] :] == -torch.inf).all()
        result = result[..., : expected.shape[-1]]
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-12, check_dtype=False)
    if expected.requires_grad:
        direction = torch.randn(expected.shape, dtype=torch.float64)
        finite = expected.isfinite()
        found, wanted = (
            torch.autograd.grad(torch.where(finite, y, 0.0), theta, direction)[0]
            for y in (result, expected)
        )
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def is_nan(of_trace: Function, urn: tuple[list[float], float], *, gradient: bool = True) -> None:
    theta = leaf(1.0, 0.2, -0.7)
    result = run(of_trace, theta, urn)
    assert result.isnan().all()
    if result.requires_grad and gradient:
        (slope,) = torch.autograd.grad(result.sum(), theta)
        assert slope.isnan().all()


FREE: dict[str, Function] = {  # no table
    "fisher mean": lambda *urn: fisher(*urn).mean,
    "fisher variance": lambda *urn: fisher(*urn).variance,
    "fisher covariance": lambda *urn: fisher(*urn).covariance_matrix,
    "fisher mode": lambda *urn: fisher(*urn).mode,
    "wallenius mean": lambda *urn: wallenius(*urn).mean,
    "wallenius variance": lambda *urn: wallenius(*urn).variance,
    "wallenius covariance": lambda *urn: wallenius(*urn).covariance_matrix,
}
BY_SIZE: dict[str, Function] = {  # tables as long as the largest size
    "entropy": lambda *urn: fisher(*urn).entropy(),
    "function entropy": lambda *urn: ops.entropy(*urn),
    "marginal": lambda *urn: fisher(*urn).marginal(0).logits,
    "function log_marginal": lambda *urn: ops.log_marginal(*urn, 0),
    "mean of a marginal": lambda *urn: fisher(*urn).marginal(0).mean,
    "log_prob of a marginal": lambda *urn: fisher(*urn).marginal(0).log_prob(3.0),
    "log_prob above the table": lambda *urn: fisher(*urn).marginal(0).log_prob(7.0),
    "cdf of a marginal": lambda *urn: fisher(*urn).marginal(0).cdf(1.0),
    "sf above the table": lambda *urn: fisher(*urn).marginal(0).sf(8.0),
    "quantile of a marginal": lambda *urn: fisher(*urn).marginal(0).icdf(0.5),
    "mode of a marginal": lambda *urn: fisher(*urn).marginal(0).mode,
    "marginals": lambda *urn: fisher(*urn).marginals().logits,
    "function log_marginals": lambda *urn: ops.log_marginals(*urn),
    "central entropy": lambda t, m, n: MultivariateHypergeometric(n.double(), m.double()).entropy(),
}
BY_BOTH: dict[str, Function] = {  # tables as long as the largest total, too
    "evidence": lambda *urn: ops.log_evidence(LIKELIHOODS, *urn),
    "posterior": lambda *urn: ops.posterior_log_marginals(LIKELIHOODS, *urn)[..., :5].exp(),
}
LISTED: dict[str, Function] = {  # for one urn only
    "wallenius entropy": lambda *urn: wallenius(*urn).entropy(),
    "wallenius divergence": lambda t, m, n: kl_divergence(
        wallenius(t, m, n), wallenius(0.5 * t, m, n)
    ),
    "support": lambda *urn: fisher(*urn).enumerate_support(),
}


def named(table: dict[str, Function]) -> Any:
    return pytest.mark.parametrize("function", table.values(), ids=table.keys())


@named(FREE)
def test_without_tables_a_trace_holds_for_every_urn(function: Function) -> None:
    of_trace = traced(function)
    for urn in [*SMALLER, *EDGES, LARGER_TOTAL, *LARGER]:
        is_the_same(of_trace, function, urn)


@named(BY_SIZE)
def test_tables_of_a_trace_do_not_serve_larger_sizes(function: Function) -> None:
    of_trace = traced(function)
    for urn in [*SMALLER, *EDGES, LARGER_TOTAL]:
        is_the_same(of_trace, function, urn)
    for urn in LARGER:
        is_nan(of_trace, urn)


@named(BY_BOTH)
def test_tables_of_a_trace_do_not_serve_larger_totals(function: Function) -> None:
    of_trace = traced(function)
    for urn in [*SMALLER, *EDGES]:
        is_the_same(of_trace, function, urn)
    for urn in [LARGER_TOTAL, *LARGER]:
        is_nan(of_trace, urn)


@named(LISTED)
def test_a_listed_support_serves_one_urn(function: Function) -> None:
    of_trace = traced(function)
    is_the_same(of_trace, function, ([5.0, 3.0, 2.0], 4.0))
    for urn in [*SMALLER, LARGER_TOTAL, *LARGER]:
        is_nan(of_trace, urn)
    for urn in EDGES:  # there, the gradient is 0
        is_nan(of_trace, urn, gradient=False)


def test_wallenius_entropy_of_two_groups() -> None:
    def entropy(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return wallenius(theta[:2], sizes[:2], total).entropy()

    of_trace = traced(entropy)
    for urn in [*SMALLER, LARGER_TOTAL]:
        theta = leaf(1.0, 0.2, -0.7)
        result, expected = run(of_trace, theta, urn), run(entropy, theta, urn)
        torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-12)
        (found,), (wanted,) = (torch.autograd.grad(y, theta) for y in (result, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    for urn in LARGER:
        theta = leaf(1.0, 0.2, -0.7)
        result = run(of_trace, theta, urn)
        assert result.isnan()
        assert torch.autograd.grad(result, theta)[0][:2].isnan().all()


@pytest.mark.parametrize("quantity", ["sf", "icdf", "enumerate_support"])
def test_single_count(quantity: str) -> None:
    def function(total: Tensor, marked: Tensor, population: Tensor) -> Tensor:
        law = Hypergeometric(total, marked, population, validate_args=False)
        if quantity == "enumerate_support":
            return law.enumerate_support()
        return law.sf(2.0) if quantity == "sf" else law.icdf(0.9)

    given = torch.tensor(4.0), torch.tensor(5.0), torch.tensor(20.0)
    of_trace = torch.jit.trace(function, given, check_trace=False)
    torch.testing.assert_close(of_trace(*given), function(*given))
    smaller = torch.tensor(3.0), torch.tensor(5.0), torch.tensor(20.0)
    if quantity == "enumerate_support":
        assert of_trace(*smaller).isnan().all()
    else:
        torch.testing.assert_close(of_trace(*smaller), function(*smaller), rtol=1e-12, atol=0)
    assert of_trace(torch.tensor(9.0), torch.tensor(9.0), torch.tensor(20.0)).isnan().all()


def test_a_divergence_needs_equal_urns_in_a_trace_too() -> None:
    def divergence(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        fixed = torch.tensor([5.0, 3.0, 2.0])  # not SIZES: the trace would take them for its input
        return kl_divergence(fisher(theta, fixed, TOTAL.clone()), fisher(0.5 * theta, sizes, total))

    of_trace = traced(divergence)
    is_the_same(of_trace, divergence, ([5.0, 3.0, 2.0], 4.0))
    is_nan(of_trace, ([5.0, 4.0, 2.0], 4.0))


def straight(cls: Any, estimator: str) -> Function:
    def draw(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        law = cls(total, sizes, log_weights=theta, estimator=estimator, validate_args=False)
        return law.rsample((NUMBER,))

    return draw


def relaxed(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    law = RelaxedFisherHypergeometric(
        torch.tensor(0.5), total, sizes, log_weights=theta, validate_args=False
    )
    return law.rsample((NUMBER,))


DRAWS: dict[str, Function] = {
    "fisher": lambda *urn: fisher(*urn).sample((NUMBER,)),
    "wallenius": lambda *urn: wallenius(*urn).sample((NUMBER,)),
    "relaxed": relaxed,
    "posterior": lambda *urn: ops.posterior_sample(torch.zeros(1, 30), *urn, torch.Size([NUMBER])),
    **{
        f"fisher {name}": straight(FisherHypergeometricStraightThrough, name)
        for name in ("implicit", "gumbel", "affine", "mean")
    },
    **{
        f"wallenius {name}": straight(WalleniusHypergeometricStraightThrough, name)
        for name in ("affine", "mean")
    },
}


@named(DRAWS)
def test_draws_of_a_trace(function: Function) -> None:
    of_trace = traced(function)

    def moments(draw: Function, urn: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        theta = leaf(1.0, 0.2, -0.7)
        x = run(draw, theta, urn).double()
        slope = None
        if x.requires_grad:
            value = (x * x.detach() * torch.tensor([1.0, 2.0, -1.0])).sum(-1).mean()
            (slope,) = torch.autograd.grad(value, theta)
        x = x.detach()
        return x.mean(0), x.var(0), slope

    for urn in [*SMALLER, ([2.0, 1.0, 1.0], 4.0)]:
        mean, variance, slope = moments(of_trace, urn)
        expected, spread, wanted = moments(function, urn)
        error = ((variance + spread) / NUMBER).sqrt() + 1e-9
        assert ((mean - expected).abs() < 5 * error).all()
        if slope is not None and wanted is not None:
            torch.testing.assert_close(slope, wanted, rtol=0.15, atol=0.08)
    for urn in LARGER:
        is_nan(of_trace, urn)
    # Clocks need no table for the total.
    clocks = [draw for name, draw in DRAWS.items() if name.startswith("wallenius")]
    if function not in clocks:
        is_nan(of_trace, LARGER_TOTAL)


@pytest.mark.parametrize("law", [fisher, wallenius])
@pytest.mark.parametrize("quantity", ["mean", "variance", "covariance_matrix"])
def test_weights_need_no_gradient_when_they_are_traced(law: Any, quantity: str) -> None:
    def function(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return getattr(law(theta, sizes, total), quantity)

    example = (torch.zeros(3, dtype=torch.float64), SIZES, TOTAL)
    of_trace = torch.jit.trace(function, example, check_trace=False)
    for urn in [*SMALLER, LARGER_TOTAL]:
        is_the_same(of_trace, function, urn)
