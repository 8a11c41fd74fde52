# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Binomial coefficients and probabilities against long arithmetic."""

import math

import hypothesis
import hypothesis.strategies as st
import mpmath
import pytest
import torch

from pyro_hypergeo.ops.binomial import (
    log1p_exp,
    log_binomial_coefficient,
    log_binomial_pmf,
    log_tilted_pmf,
    stirling_gap,
)


def exact_coefficient(n: float, k: float) -> mpmath.mpf:
    with mpmath.workdps(40):
        n, k = mpmath.mpf(n), mpmath.mpf(k)
        return mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)


def exact_pmf(k: float, n: float, log_odds: float) -> float:
    with mpmath.workdps(40):
        u = mpmath.mpf(log_odds)
        return float(exact_coefficient(n, k) + k * u - n * mpmath.log1p(mpmath.exp(u)))


sizes = st.one_of(st.integers(0, 40), st.integers(0, 10**8))


@hypothesis.given(sizes, st.floats(0, 1))
def test_coefficient(n, share):
    k = round(n * share)
    ours = log_binomial_coefficient(torch.tensor(float(n)), torch.tensor(float(k))).item()
    assert ours == pytest.approx(float(exact_coefficient(n, k)), rel=1e-13, abs=1e-14)


def test_coefficients_of_small_numbers():
    for n in range(30):
        k = torch.arange(n + 1.0)
        ours = log_binomial_coefficient(torch.tensor(float(n)), k)
        exact = torch.tensor([math.log(math.comb(n, j)) for j in range(n + 1)])
        torch.testing.assert_close(ours, exact, rtol=1e-14, atol=1e-14)


def test_coefficient_of_real_numbers():
    n, k = torch.tensor(7.5), torch.tensor([0.25, 3.75, 6.0])
    plain = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    torch.testing.assert_close(log_binomial_coefficient(n, k), plain, rtol=1e-13, atol=1e-14)


@hypothesis.given(sizes, st.floats(0, 1), st.floats(-40, 40))
def test_pmf(n, share, log_odds):
    k = round(n * share)
    arguments = (torch.tensor(float(v)) for v in (k, n, log_odds))
    expected = exact_pmf(k, n, log_odds)
    ours = log_binomial_pmf(*arguments).item()
    assert ours == pytest.approx(expected, rel=1e-13, abs=1e-13)


@hypothesis.given(st.integers(1, 10**8), st.floats(-20, 20), st.floats(-8, 8))
def test_pmf_near_its_mean(n, log_odds, deviations):
    p = 1 / (1 + math.exp(-log_odds))
    k = round(n * p + deviations * math.sqrt(n * p * (1 - p)))
    k = min(max(k, 0), n)
    arguments = (torch.tensor(float(v)) for v in (k, n, log_odds))
    # Nothing as large as the logarithms of the factors may cancel; the rounding of the odds stays.
    tolerance = 1e-13 + 2e-16 * abs(k - n * p) * (1 + abs(log_odds))
    assert log_binomial_pmf(*arguments).item() == pytest.approx(
        exact_pmf(k, n, log_odds), rel=1e-13, abs=tolerance
    )


@pytest.mark.parametrize("log_odds", [-800.0, -745.0, -31.0, 31.0, 745.0, 800.0])
def test_pmf_of_odds_beyond_floats(log_odds):
    for k in range(6):
        arguments = (torch.tensor(float(v)) for v in (k, 5, log_odds))
        ours = log_binomial_pmf(*arguments).item()
        assert ours == pytest.approx(exact_pmf(k, 5, log_odds), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("log_odds", [-110.0, -90.0, -79.0, 79.0, 90.0, 110.0])
@pytest.mark.parametrize("k", [0.0, 1.0, 2.0, 500.0, 1000.0])
def test_pmf_of_odds_beyond_float32(k, log_odds):
    arguments = (torch.tensor(v, dtype=torch.float32) for v in (k, 1000.0, log_odds))
    ours = log_binomial_pmf(*arguments).item()
    assert ours == pytest.approx(exact_pmf(k, 1000, log_odds), rel=5e-7, abs=5e-7)


@pytest.mark.parametrize("log_odds", [-34.0, -33.0, -31.0, -29.0, 31.0, 34.0])
@pytest.mark.parametrize("deviations", [-2, 0, 2])
def test_pmf_of_few_among_very_many(deviations, log_odds):
    """The count is near its mean, although its odds are minute: nothing cancels here either."""
    n = 2.0**52
    mean = n * math.exp(-abs(log_odds))
    few = round(mean + deviations * math.sqrt(mean))
    k = few if log_odds < 0 else n - few
    arguments = (torch.tensor(v) for v in (float(k), n, log_odds))
    assert log_binomial_pmf(*arguments).item() == pytest.approx(
        exact_pmf(k, n, log_odds), rel=1e-14, abs=1e-13
    )


@pytest.mark.parametrize("k", [1e-300, 1e-20, 1e-12, 1e-5, 0.1, 1.0, 2.0, 200.0, 250.0, 300.0])
@pytest.mark.parametrize("n", [1e3, 1e8])
def test_pmf_of_counts_far_below_their_mean(n, k):
    """The count may be real, and too small to show in its difference from the mean."""
    for log_odds in (-3.0, 0.0, 2.0, 10.0):
        arguments = (torch.tensor(v) for v in (k, n, log_odds))
        ours = log_binomial_pmf(*arguments).item()
        assert ours == pytest.approx(exact_pmf(k, n, log_odds), rel=2e-15, abs=2e-15)


def test_stirling_series_where_it_begins():
    """At 16, the last term of the series is 1.2e-14, and the next would be 1e-16."""
    z = torch.arange(16.0, 20.0, 0.25)
    with mpmath.workdps(40):
        logs = [(v, mpmath.mpf(v)) for v in z.tolist()]
        exact = [float(mpmath.loggamma(v + 1) - x * mpmath.log(x) + x) for v, x in logs]
    torch.testing.assert_close(stirling_gap(z), torch.tensor(exact), rtol=0, atol=1e-15)


def test_tilted_pmf_has_the_gradient_of_the_plain_formula():
    n, k = torch.tensor(9.0), torch.arange(10.0)
    u = torch.tensor(0.4, requires_grad=True)
    value = log_tilted_pmf(k, n, u)
    torch.testing.assert_close(value, log_binomial_pmf(k, n, u))
    (gradient,) = torch.autograd.grad(value[3], u, create_graph=True)
    torch.testing.assert_close(gradient, 3 - n * torch.sigmoid(u))
    (second,) = torch.autograd.grad(gradient, u)
    torch.testing.assert_close(second, -n * torch.sigmoid(u) * torch.sigmoid(-u))
    beyond = log_tilted_pmf(torch.tensor(12.0), n, u)
    torch.testing.assert_close(beyond, value[9])


@pytest.mark.parametrize("x", [-800.0, -50.0, -1.0, 0.0, 15.0, 25.0, 40.0, 800.0])
def test_log1p_exp_keeps_its_relative_accuracy(x):
    with mpmath.workdps(400):
        expected = float(mpmath.log1p(mpmath.exp(mpmath.mpf(x))))
    ours = log1p_exp(torch.tensor(x)).item()
    assert ours == pytest.approx(expected, rel=1e-15, abs=0)


def test_gradient_of_the_coefficient_at_every_count():
    n, k = torch.tensor(7.0, requires_grad=True), torch.arange(8.0, requires_grad=True)
    by_n, by_k = torch.autograd.grad(log_binomial_coefficient(n, k).sum(), (n, k))
    rest = 7 - k
    slope = torch.digamma(rest + 1) - torch.digamma(k + 1)
    torch.testing.assert_close(by_k, slope)
    own = (torch.digamma(n + 1) - torch.digamma(rest + 1)).sum()
    torch.testing.assert_close(by_n, own)
    inside = torch.tensor([0.3, 2.0, 6.9], requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: log_binomial_coefficient(n.detach(), k), inside)


def test_gradient_of_the_pmf_at_every_count():
    k, log_odds = torch.arange(8.0, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    n = torch.tensor(7.0)
    by_k, by_odds = torch.autograd.grad(log_binomial_pmf(k, n, log_odds).sum(), (k, log_odds))
    slope = torch.digamma(n - k + 1) - torch.digamma(k + 1) + log_odds
    torch.testing.assert_close(by_k, slope)
    torch.testing.assert_close(by_odds, (k - n * torch.sigmoid(log_odds)).sum())
