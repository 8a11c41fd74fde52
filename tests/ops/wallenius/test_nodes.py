# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The nodes of Wallenius' integrals: few where Python may look at values, else many."""

import math
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from pyro_hypergeo.ops import (
    wallenius_covariance,
    wallenius_log_prob,
    wallenius_mean,
)
from pyro_hypergeo.ops.urn import make_urn
from pyro_hypergeo.ops.wallenius import clocks, density, mixture, quick_ring, rings
from tests import wallenius_oracle
from tests.benchmarks.work import work


def some_urns(seed: int, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Random urns: up to 40 groups and 10^6 elements, weights over up to 100 decades."""
    torch.manual_seed(seed)
    urns = []
    while len(urns) < count:
        groups = int(2 ** (5 * torch.rand(()).item() + 0.5))
        sizes = torch.ceil(torch.rand(groups) * 10 ** (6 * torch.rand(()).item()))
        theta = torch.randn(groups) * 10 ** (3 * torch.rand(()).item() - 1)
        everything = sizes.sum().item()
        kind = len(urns) % 4
        rare = math.floor(everything ** torch.rand(()).item())
        inside = math.floor((sizes * (torch.rand(groups) < 0.5)).sum().item())
        total = [math.floor(torch.rand(()).item() * everything), rare, everything - rare, inside]
        if 0 < total[kind] < everything:
            urns.append((theta, sizes, torch.tensor(float(total[kind]))))
    return urns


def traced(function: Any, *args: Tensor) -> Tensor:
    """The function where Python must not look at values."""
    result: Tensor = vmap(function)(*(x.unsqueeze(0) for x in args))[0]
    return result


@pytest.mark.parametrize("seed", range(4))
def test_moments_do_not_depend_on_the_nodes(seed: int) -> None:
    for theta, sizes, total in some_urns(seed, 12):
        few, many = (f(theta, sizes, total) for f in (wallenius_mean, _traced_mean))
        assert (few - many).abs().max() < 1e-11 * total
        few, many = (f(theta, sizes, total) for f in (wallenius_covariance, _traced_covariance))
        torch.testing.assert_close(few, many, rtol=0, atol=1e-9 * many.abs().max().item() + 1e-11)


def _traced_mean(*urn: Tensor) -> Tensor:
    return traced(wallenius_mean, *urn)


def _traced_covariance(*urn: Tensor) -> Tensor:
    return traced(wallenius_covariance, *urn)


@pytest.mark.parametrize("seed", range(4))
def test_log_prob_does_not_depend_on_the_nodes(seed: int) -> None:
    for theta, sizes, total in some_urns(seed, 20):
        share = -torch.expm1(-torch.rand(()) * torch.exp(theta - theta.median()))
        for x in (
            torch.binomial(sizes, share.clamp(max=1)),
            torch.floor(sizes * total / sizes.sum()).clamp(min=torch.eye(len(sizes))[0]),
        ):
            few = wallenius_log_prob(x, theta, sizes, x.sum())
            many = traced(wallenius_log_prob, x, theta, sizes, x.sum())
            torch.testing.assert_close(few, many, rtol=5e-12, atol=5e-12)


@pytest.mark.parametrize("gap", [0.0, 3.0, 9.053849406200561, 20.0, 300.0])
def test_mean_of_one_of_two_elements(gap: float) -> None:
    # The time of the second ring is that of the light element: a long slope and a wall.
    urn = torch.tensor([0.0, gap]), torch.ones(2), torch.tensor(1.0)
    truth = urn[0].softmax(-1)
    torch.testing.assert_close(wallenius_mean(*urn), truth, rtol=0, atol=1e-14)
    torch.testing.assert_close(_traced_mean(*urn), truth, rtol=0, atol=1e-11)


def test_mean_of_weights_over_many_decades() -> None:
    theta = [-13.086838209179605, 11.201001616061562, 29.31634062634608, 1.8502314405311286]
    sizes = [1, 2, 2, 1]
    law = wallenius_oracle.pmf([Fraction(math.exp(t)) for t in theta], sizes, 5)
    truth = torch.tensor([float(sum(x[i] * p for x, p in law.items())) for i in range(4)])
    urn = torch.tensor(theta), torch.tensor(sizes).double(), torch.tensor(5.0)
    torch.testing.assert_close(wallenius_mean(*urn), truth, rtol=0, atol=1e-13)
    torch.testing.assert_close(_traced_mean(*urn), truth, rtol=0, atol=1e-11)


BELL = (torch.linspace(-1, 1, 5), torch.full((5,), 300.0), torch.tensor(600.0))
SLOPE = (torch.tensor([0.0, 9.0, 4.0]), torch.tensor([2.0, 1.0, 3.0]), torch.tensor(2.0))


@pytest.mark.parametrize("urn", [BELL, SLOPE])
def test_nodes_that_miss_a_part_are_replaced(
    urn: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    mean, covariance = wallenius_mean(*urn), wallenius_covariance(*urn)
    seen = []
    whole = mixture._is_whole

    def seeing(*args: Any) -> bool:
        seen.append(whole(*args))
        return seen[-1]

    monkeypatch.setattr(mixture, "_is_whole", seeing)
    monkeypatch.setattr(rings, "_STEP", 1.9)
    monkeypatch.setattr(quick_ring, "_SKEWED", 0.0)
    torch.testing.assert_close(wallenius_mean(*urn), mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(wallenius_covariance(*urn), covariance, rtol=1e-10, atol=1e-12)
    assert seen[0] is False and len(seen) >= 4


def test_a_bell_has_few_nodes() -> None:
    at = mixture.snapshots(make_urn(*BELL))
    assert at.sine.shape == (16, 8)
    assert mixture.snapshots(make_urn(*SLOPE)).sine.shape[-1] == 3
    torch.testing.assert_close(wallenius_mean(*BELL), _traced_mean(*BELL), rtol=1e-13, atol=0)


@pytest.mark.parametrize("moment", [wallenius_mean, wallenius_covariance])
def test_gradients_where_the_nodes_are_few(moment: Any) -> None:
    theta, sizes, total = BELL
    few = torch.autograd.functional.jacobian(lambda t: moment(t, sizes, total), theta)
    many = jacrev(lambda t: moment(t, sizes, total))(theta)
    torch.testing.assert_close(few, many, rtol=1e-10, atol=1e-9)


def test_a_wall_far_below_the_peak_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    theta, sizes, x = [0.0, 9.0, 0.5], [4, 100_000, 3], [1, 100_000, 0]
    truth = float(wallenius_oracle.log_prob(x, list(map(mpmath.mpf, theta)), sizes))
    urn = (torch.tensor(x), torch.tensor(theta), torch.tensor(sizes), torch.tensor(sum(x)))
    assert wallenius_log_prob(*urn).item() == pytest.approx(truth, rel=1e-12)
    asked = []

    def trusting(*_: Tensor) -> bool:
        asked.append(True)
        return False

    monkeypatch.setattr(density, "rule_fails", trusting)
    wrong = wallenius_log_prob(*urn).item()
    assert asked and wrong != pytest.approx(truth, rel=1e-10)


def test_equal_steps_that_are_too_long_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    theta, sizes = torch.linspace(-1, 1, 5), torch.full((5,), 20.0)
    x = torch.tensor([2.0, 3.0, 6.0, 8.0, 9.0])
    right = wallenius_log_prob(x, theta, sizes, x.sum())
    monkeypatch.setattr(clocks, "_STEP", 1.7)
    torch.testing.assert_close(
        wallenius_log_prob(x, theta, sizes, x.sum()), right, rtol=1e-12, atol=0
    )
    monkeypatch.setattr(density, "rule_fails", lambda *_: False)
    assert (wallenius_log_prob(x, theta, sizes, x.sum()) - right).abs() > 1e-9


def test_no_urn_at_all() -> None:
    theta, sizes = torch.zeros(0, 3, requires_grad=True), torch.ones(3)
    x, total = torch.zeros(0, 3), torch.tensor(1.0)
    for result in (
        wallenius_log_prob(x, theta, sizes, total),
        wallenius_mean(theta, sizes, total),
        wallenius_covariance(theta, sizes, total),
    ):
        assert result.shape[0] == 0
        (slope,) = torch.autograd.grad(result.sum(), theta)
        assert slope.shape == (0, 3)


def test_stored_gradients_are_those_of_the_formula() -> None:
    theta = torch.tensor([0.3, -2.0, 5.0, 0.0], requires_grad=True)
    x = torch.tensor([3.0, 0.0, 5.0, 12.5], requires_grad=True)
    value = wallenius_log_prob(x, theta, torch.tensor([6.0, 8.0, 5.0, 40.0]), x.detach().sum())
    stored = torch.autograd.grad(value, (x, theta), retain_graph=True)
    formula = torch.autograd.grad(value, (x, theta), create_graph=True)
    for a, b in zip(stored, formula, strict=True):
        assert b.requires_grad and not a.requires_grad
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    # Weights have no unit.
    assert stored[1].sum().abs() < 1e-13


def test_what_the_law_costs() -> None:
    """Operations and numbers do not depend on the machine."""
    theta = torch.randn(2, 4, requires_grad=True)
    sizes, total = torch.full((4,), 500.0), torch.tensor(700.0)
    x = torch.tensor([[100.0, 200.0, 150.0, 250.0]])

    def log_prob() -> None:
        wallenius_log_prob(x, theta, sizes, total).sum().backward()

    cost = work(log_prob)
    assert cost.operations <= 600 and cost.numbers <= 8 * 1200
    cost = work(lambda: wallenius_mean(theta.detach(), sizes, total))
    assert cost.operations <= 700 and cost.numbers <= 8 * 7000


def test_ends_behind_a_slope_are_not_over_a_wall() -> None:
    # All elements of all groups but the lightest are drawn, as good as surely.
    theta = [219.2978906245046, 0.16434859466520388, 111.18683335095551, -6.6214395562418185]
    theta += [-131.70336072952685, -6.428579506305585, -181.88513031711418, 203.34413784234675]
    theta += [101.93505028979963, -8.980490711631942, -65.28328327927291, -50.34435442046683]
    theta += [188.70988643149738, 111.24775585495844, -284.42490102663413, 288.1599588873252]
    theta += [-39.26890113428454]
    sizes = torch.tensor([3.0, 11, 4, 1, 2, 7, 9, 7, 6, 7, 11, 4, 7, 4, 14, 4, 13])
    x = torch.where(torch.tensor(theta) < -100, 0.0, sizes)
    assert wallenius_log_prob(x, torch.tensor(theta), sizes, x.sum()).abs() < 1e-12
