# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The rule and the tilt where they are worst. A looser constant fails here."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from pyro_hypergeo.ops.saddlepoint import lattice
from pyro_hypergeo.ops.saddlepoint import tilt as tilt_module
from pyro_hypergeo.ops.saddlepoint.derivatives import Derivatives
from pyro_hypergeo.ops.saddlepoint.lattice import (
    enough_nodes,
    lattice_nodes,
    log_lattice_prob,
    place_nodes,
    tilted_groups,
)
from pyro_hypergeo.ops.saddlepoint.tilt import refine_tilt, solve_tilt
from pyro_hypergeo.ops.urn import make_urn

# Standard deviations near 0, near 4 (where all nodes are needed), and large.
SPREADS = [0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 3.4, 3.6, 3.8, 4.0, 4.2, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
SPREADS += [30.0, 1000.0]


def binomial(spread: float, p: float) -> tuple[int, Tensor, float]:
    """One group with this standard deviation: its size, its log-odds, and p as rounded."""
    size = max(1, round(spread**2 / (p * (1 - p))))
    log_odds = torch.tensor([math.log(p / (1 - p))])
    return size, log_odds, float(torch.sigmoid(log_odds))


def log_pmf(size: int, p: float, count: int) -> mpmath.mpf:
    exact = mpmath.mpf(p)
    ways = mpmath.loggamma(size + 1) - mpmath.loggamma(count + 1)
    ways -= mpmath.loggamma(size - count + 1)
    return ways + count * mpmath.log(exact) + (size - count) * mpmath.log1p(-exact)


def near(size: int, p: float) -> list[int]:
    """The totals for which the tilt could have led to this p."""
    low = math.floor(size * p)
    return [n for n in (low, low + 1) if 0 <= n <= size]


@pytest.mark.parametrize("p", [0.5, 0.2, 1e-2, 1e-6])
@pytest.mark.parametrize("spread", SPREADS)
def test_probability_of_the_sum(spread: float, p: float) -> None:
    size, log_odds, p = binomial(spread, p)
    groups = tilted_groups(log_odds, torch.tensor([float(size)]), torch.tensor(0.0))
    with mpmath.workdps(40):
        peak = max(log_pmf(size, p, n) for n in near(size, p))
        for n in near(size, p):
            found = log_lattice_prob(lattice_nodes(groups, torch.tensor(float(n))))
            error = mpmath.exp(found.item() - peak) - mpmath.exp(log_pmf(size, p, n) - peak)
            assert abs(error) < 4e-14


@pytest.mark.parametrize("p", [0.5, 0.2, 1e-2, 1e-6])
@pytest.mark.parametrize("spread", SPREADS)
def test_period(spread: float, p: float) -> None:
    """The rule also counts Pr[S = n + l K]. They are small beside the peak of the law."""
    # With a normal law, two terms 8 standard deviations away: 2 exp(-32) = 2.5e-14. If less than 10
    # standard deviations fit, the margin makes the period longer, and the terms are smaller.
    most = 3e-15 if spread <= 10 else 2.6e-14
    size, log_odds, p = binomial(spread, p)
    period = int(place_nodes(torch.tensor(size * p * (1 - p))).period)
    with mpmath.workdps(40):
        peak = max(log_pmf(size, p, n) for n in near(size, p))
        for n in near(size, p):
            others = [n + sign * k * period for k in (1, 2) for sign in (-1, 1)]
            logs = [log_pmf(size, p, k) for k in others if 0 <= k <= size]
            assert mpmath.fsum(mpmath.exp(x - peak) for x in logs) < most


@pytest.mark.parametrize("p", [0.5, 0.2, 1e-2, 1e-6])
@pytest.mark.parametrize("spread", SPREADS)
def test_number_of_nodes(spread: float, p: float) -> None:
    """What the nodes beyond the last one would add is below the rounding of the sum."""
    size, log_odds, p = binomial(spread, p)
    variance = torch.tensor(size * p * (1 - p))
    at = place_nodes(variance, enough_nodes(variance))
    half, used = (int(at.period) - 1) // 2, int((at.weight > 0).sum())
    with mpmath.workdps(40):
        moduli = []
        for j in range(half + 1):
            haversine = mpmath.sin(mpmath.pi * j / int(at.period)) ** 2
            excess = -4 * mpmath.mpf(p) * (1 - mpmath.mpf(p)) * haversine
            moduli.append(mpmath.exp(size * mpmath.log1p(excess) / 2))
            if j > used and moduli[-1] < 1e-30:
                break
        assert 2 * mpmath.fsum(moduli[used + 1 :]) < 1e-14 * (2 * mpmath.fsum(moduli) - 1)


def distance(theta: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor) -> tuple[Tensor, Tensor]:
    """How far the mean is from the total, in standard deviations; and the standard deviation."""
    # In the order in which nothing cancels: full groups are counted by what they leave.
    u = theta + tilt.unsqueeze(-1)
    full = (u > 0).to(u)
    excess = (sizes * full).sum(-1) - total
    excess = excess + (sizes * torch.sigmoid(-u.abs()) * (1 - 2 * full)).sum(-1)
    spread = (sizes * torch.sigmoid(u) * torch.sigmoid(-u)).sum(-1).sqrt()
    return excess.abs() / spread, spread


@pytest.mark.parametrize(
    ("groups", "scale", "largest"),
    [
        (4, 3.0, 1e8),  # the hardest: sizes differ by far, weights do not
        (3, 20.0, 1e8),
        (10, 10.0, 1e4),
        (2, 300.0, 1e8),  # weights hundreds of e-folds apart
        (30, 300.0, 1e2),
    ],
)
def test_tilt(groups: int, scale: float, largest: float) -> None:
    """The mean of the sum is the total, also where totals end at the borders of groups."""
    shape = (20_000, groups)
    theta = scale * torch.randn(shape)
    sizes = torch.exp(torch.rand(shape) * math.log(largest)).round()
    filled = sizes.gather(-1, theta.argsort(-1, descending=True)).cumsum(-1)
    border = filled.gather(-1, torch.randint(groups, shape[:1]).unsqueeze(-1)).squeeze(-1)
    total = (border + torch.randint(-1, 2, shape[:1])).clamp(min=1)
    total = torch.minimum(total, filled[:, -1] - 1)
    theta, sizes, total = (x[total > 0] for x in (theta, sizes, total))
    tilt = solve_tilt(theta, sizes, total - 0.5)
    away, _ = distance(theta, sizes, total - 0.5, tilt)
    assert away.max() < 1e-6
    away, spread = distance(theta, sizes, total, refine_tilt(theta, sizes, total, tilt))
    # Where two groups are more than 700 e-folds apart, both sides of a plateau underflow, and the
    # tilt stays where it was. There the counts are certain.
    found = (spread > 1e-12) & ((theta.amax(-1) - theta.amin(-1) < 700) | (away < 1e-4))
    assert away[found].max() < 1e-4


def test_gradient_of_the_phases_at_even_odds() -> None:
    # At p = q a minimum of the two would have a gradient of its own: the mean of both, which is 0.
    sizes, t = torch.tensor([4.0, 7.0, 1.0]), torch.tensor([0.3, 1.1, 2.5])
    haversine, sine = torch.sin(0.5 * t).square(), torch.sin(t)
    slopes = []
    for odds in (0.0, -1e-9, 1e-9):
        u = torch.full((3,), odds, requires_grad=True)
        groups = lattice.tilted_groups(u, sizes, torch.tensor(0.0))
        slopes += torch.autograd.grad(lattice.phases(groups, haversine, sine).sum(), u)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-7, atol=0)
    torch.testing.assert_close(slopes[0], slopes[2], rtol=1e-7, atol=0)
    assert (slopes[0].abs() > 0.1).all()


def urn(groups: int, scale: float, size: int, total: int) -> tuple[Tensor, Tensor, Tensor]:
    theta = scale * torch.randn(500, groups, dtype=torch.float64)
    sizes = torch.randint(1, size + 1, (500, groups)).double()
    return theta, sizes, torch.full((500,), float(total))


@pytest.mark.parametrize(
    ("groups", "scale", "size", "total"),
    [(4, 0.0, 9, 2), (4, 1.0, 500, 3), (10, 1.0, 256, 9), (30, 0.5, 10**7, 29), (2, 1.5, 10**4, 1)],
)
def test_two_steps_for_mild_weights(groups: int, scale: float, size: int, total: int) -> None:
    """The tilt from a simple guess, if there is one, is a tenth of a standard deviation away."""
    parameters = make_urn(*urn(groups, scale, size, total))
    assert parameters.ordinary
    steps = 0
    below = parameters.total - (0.5 * parameters.total).clamp(max=0.5)
    for i in range(500):
        one = [x[i : i + 1] for x in (parameters.log_weights, parameters.sizes, below)]
        mild = tilt_module.mild_tilt(*one)
        if mild is not None:
            steps += 1
            assert distance(*one, mild)[0] < 0.1
    assert steps > 400


@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_no_guess_for_weights_that_are_far_apart(scale: float) -> None:
    theta, sizes, total = urn(6, scale, 40, 5)
    mild = [
        tilt_module.mild_tilt(*(x[i : i + 1] for x in (theta, sizes, total))) for i in range(99)
    ]
    for i, found in enumerate(mild):
        if found is not None:
            assert distance(theta[i : i + 1], sizes[i : i + 1], total[i : i + 1], found)[0] < 0.1
    assert sum(found is None for found in mild) > 80


@pytest.mark.parametrize("spread", SPREADS)
def test_nodes_that_are_left_out_add_nothing(spread: float) -> None:
    theta = torch.randn(3, 5, dtype=torch.float64)
    p = torch.sigmoid(theta)
    sizes = torch.ceil(spread**2 / (5 * p * (1 - p)))
    groups = tilted_groups(theta, sizes, torch.zeros(3))
    total = (sizes * p).sum(-1).round()
    some = lattice_nodes(groups, total)
    assert some.real.shape[-1] <= lattice.NODES
    for place in (lambda variance: lattice.NODES, lambda variance: 300):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lattice, "enough_nodes", place)
            every = lattice_nodes(groups, total)
        torch.testing.assert_close(
            log_lattice_prob(some), log_lattice_prob(every), rtol=0, atol=1e-14
        )
        torch.testing.assert_close(
            Derivatives(groups, some).own, Derivatives(groups, every).own, rtol=1e-13, atol=1e-13
        )


def test_most_sums_need_few_nodes() -> None:
    assert enough_nodes(torch.tensor([400.0, 1e9])) <= 13
    assert enough_nodes(torch.tensor([0.0, 1e-6])) <= 6
    assert enough_nodes(torch.tensor([1.0, 400.0])) == lattice.NODES
