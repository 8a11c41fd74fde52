# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's law at the extremes, against exact values: sharp weights, huge urns, near ties."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from pyro_hypergeo.ops import covariance, log_marginal, log_marginals, log_partition, mode, variance
from tests import oracle
from tests.ops.fixture import Urn

# Sharp weights: the draw is nearly certain, and variances go down to 1e-200.
SHARP = [
    Urn([-33.14, 50.88], [1, 1], 1),
    Urn([-1.03, -89.16], [2, 1], 2),
    Urn([106.16, -0.35], [5, 1], 5),
    Urn([68.68, -7.99], [2, 5], 2),
    Urn([-113.3, -116.15, 125.87], [2, 2, 5], 5),
    Urn([126.18, 108.93, -154.98, -40.64], [20, 2, 8, 8], 22),
    Urn([30.18, -13.93, -64.13], [2, 1, 20], 2),
    Urn([0.0, -30.0, -60.0], [5, 3, 4], 9),
    Urn([0.0, 4.0, -3.0], [5, 3, 4], 9),  # an ordinary one
]


@pytest.mark.parametrize("urn", SHARP, ids=str)
def test_variances_of_nearly_certain_draws(urn: Urn) -> None:
    weights = [math.exp(theta) for theta in urn.log_weights]
    law = oracle.pmf(weights, urn.sizes, urn.total)
    means = [sum(x[i] * p for x, p in law.items()) for i in range(len(weights))]
    squares = [sum((x[i] - mu) ** 2 * p for x, p in law.items()) for i, mu in enumerate(means)]
    expected = torch.tensor([float(square) for square in squares])
    found = variance(*urn.tensors)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    matrix = covariance(*urn.tensors)
    torch.testing.assert_close(matrix.diagonal(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("sizes", "weights", "total", "expected"),
    [
        ([8, 1], [1e12, 1e-12], 8, 8e-24),
        # The weights are denormal: 1 and 4503599627370496 times the smallest float.
        ([1, 1], [5e-324, 2.2250738585072014e-308], 1, 2.0**52 / (1 + 2.0**52) ** 2),
    ],
)
def test_two_groups_have_equal_variances(
    sizes: list[int], weights: list[float], total: int, expected: float
) -> None:
    theta = torch.tensor([math.log(w) for w in weights])
    urn = (theta, torch.tensor(sizes).double(), torch.tensor(total).double())
    for found in (variance(*urn), covariance(*urn).diagonal()):
        torch.testing.assert_close(found, torch.full((2,), expected), rtol=1e-10, atol=0)


def test_no_variance_is_negative() -> None:
    sizes = torch.randint(0, 20, (500, 4)).double()
    total = torch.floor(torch.rand(500) * (sizes.sum(-1) + 1))
    for scale in (1.0, 30.0, 300.0):
        found = variance(scale * torch.randn(500, 4), sizes, total)
        assert (found >= 0).all() and (found > 0).any()


HUGE = 2**45


def of_what_is_left(weights: list[float], sizes: list[int], left: int, j: int) -> Fraction:
    """The weight of all draws of three groups that leave `left` elements, j of the second."""
    return sum(
        (
            math.prod(
                math.comb(m, y) / Fraction(w) ** y
                for m, w, y in zip(sizes, weights, (a, j, left - j - a), strict=True)
            )
            for a in range(left - j + 1)
        ),
        start=Fraction(0),
    )


def log_of(x: Fraction) -> float:
    return math.log(x.numerator) - math.log(x.denominator) if x else -math.inf


def test_normaliser_of_huge_urns_nearly_emptied() -> None:
    sizes, left = [HUGE, 0, HUGE, 0, 7], 6
    total = torch.tensor(float(sum(sizes) - left))
    found = log_partition(torch.zeros(5), torch.tensor(sizes).double(), total)
    assert found.item() == pytest.approx(184.72937062253519, rel=1e-13)
    assert found.item() == pytest.approx(math.log(math.comb(sum(sizes), left)), rel=1e-13)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]])
@pytest.mark.parametrize("left", [1, 6, 40])
def test_marginals_of_huge_urns_nearly_emptied(weights: list[float], left: int) -> None:
    sizes = [HUGE, 7, HUGE]
    ways = [of_what_is_left(weights, sizes, left, j) for j in range(min(7, left) + 1)]
    logs = [log_of(way / sum(ways)) for way in ways] + [-math.inf] * (7 - min(7, left))
    expected = torch.tensor(logs).flip(0)
    total = torch.tensor(float(sum(sizes) - left))
    urn = (torch.tensor(weights).log(), torch.tensor(sizes).double(), total)
    one = log_marginal(*urn, 1)
    torch.testing.assert_close(one, expected, rtol=1e-13, atol=1e-12)
    both = log_marginals(*urn, max_size=7)[1]
    torch.testing.assert_close(both, expected, rtol=1e-13, atol=1e-12)


def gain(size: int, count: int, weight: float) -> Fraction:
    """The factor by which one more element changes the probability."""
    return Fraction(size - count, count + 1) * Fraction(weight)


def test_mode_at_a_near_tie_in_large_groups() -> None:
    sizes = torch.tensor([2147483649.0, 2147483648.0])
    found = mode(torch.zeros(2), sizes, torch.tensor(2.0**32))
    assert found.tolist() == [2.0**31, 2.0**31]


@pytest.mark.parametrize("power", [20, 32, 38])
def test_mode_of_large_groups_admits_no_exchange(power: int) -> None:
    for row in range(40):
        weights = [1.0, [1.0, 0.5, 3.0][row % 3], 2.0]
        sizes = [2**power + int(torch.randint(5, ())) for _ in weights]
        total = int(torch.rand(()) * sum(sizes)) if row % 2 else sum(sizes) - 1 - row
        theta = torch.tensor(weights).log()
        x = mode(theta, torch.tensor(sizes).double(), torch.tensor(total).double())
        counts = [int(count) for count in x]
        assert sum(counts) == total
        groups = list(zip(sizes, counts, weights, strict=True))
        best = max(gain(m, k, w) for m, k, w in groups)
        worst = min(gain(m, k - 1, w) for m, k, w in groups if k > 0)
        # Only what the rounding of the logarithms hides may be better.
        assert float(best / worst) <= 1 + 1e-14
