# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""`log_prob` under Wallenius' law against rational arithmetic and the stored reference."""

import json
import math
from fractions import Fraction
from pathlib import Path

import hypothesis
import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch.func import hessian, vmap

from pyro_hypergeo.ops import enumerate_counts, log_prob, wallenius_log_prob
from tests import wallenius_oracle
from tests.ops.fixture import PLAIN, WIDE, urns

RECORDS = json.loads((Path(__file__).parents[2] / "data" / "wallenius_reference.json").read_text())
COUNTS = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)


def exact_law(urn):
    """All count vectors and their probabilities, draw by draw in rational numbers."""
    weights = [Fraction(math.exp(t)) if t > -math.inf else 0 for t in urn.log_weights]
    table = wallenius_oracle.pmf(weights, urn.sizes, urn.total)
    counts = enumerate_counts(urn.sizes, urn.total).double()
    keys = [tuple(row) for row in counts.long().tolist()]
    return counts, [table.get(key, Fraction(0)) for key in keys]


def log_of(probability):
    return float(mpmath.log(mpmath.mpf(probability.numerator) / probability.denominator))


def test_oracles_agree():
    counts, probs = exact_law(WIDE)
    for x, probability in list(zip(counts.long().tolist(), probs, strict=True))[::9]:
        theta = [mpmath.log(math.exp(t)) for t in WIDE.log_weights]
        ours = wallenius_oracle.log_prob(x, theta, WIDE.sizes)
        truth = mpmath.log(mpmath.mpf(probability.numerator) / probability.denominator)
        assert abs(ours - truth) < 1e-13 * max(1, abs(truth))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['name']}-{r['log_prob']:.0f}")
def test_reference(record):
    weights = torch.tensor(record["w"] if "w" in record else record["log_w"]).double()
    log_weights = weights.log() if "w" in record else weights
    sizes, total = torch.tensor(record["m"]), torch.tensor(record["n"])
    ours = wallenius_log_prob(torch.tensor(record["x"]), log_weights, sizes, total).item()
    assert abs(ours - record["log_prob"]) <= 1e-12 * max(1, abs(record["log_prob"]))


@hypothesis.settings(max_examples=30)
@hypothesis.given(urns(max_groups=4, max_size=5))
def test_every_count_of_any_urn(urn):
    counts, probs = exact_law(urn)
    ours = wallenius_log_prob(counts, *urn.tensors)
    for value, probability in zip(ours.tolist(), probs, strict=True):
        truth = log_of(probability) if probability else -math.inf
        assert value == pytest.approx(truth, rel=1e-11, abs=1e-11)


def test_tails_where_scipy_has_minus_infinity():
    sizes, total = torch.tensor([1000.0, 1000.0]), torch.tensor(1000.0)
    log_weights = torch.tensor([0.0, 3.0])
    with np.errstate(divide="ignore"):  # scipy 1.10 takes the logarithm of its 0
        theirs = stats.nchypergeom_wallenius(2000, 1000, 1000, math.exp(-3.0)).logpmf(800)
    assert theirs == -math.inf
    ours = wallenius_log_prob(torch.tensor([800.0, 200.0]), log_weights, sizes, total)
    truth = wallenius_oracle.log_prob([800, 200], [0.0, 3.0], [1000, 1000])
    assert ours.item() == pytest.approx(float(truth), rel=1e-13)


@pytest.mark.parametrize(
    ("theta", "sizes", "x", "error"),
    [
        ([-18.21664991647453, 0.0], [2_478_884, 840_378_798], [2_297_157, 0], 1e-9),
        ([-2.803814683260682, 0.0], [6, 543_731_671_317], [0, 299_144_491_959], 1e-4),
    ],
)
def test_ends_where_the_integrand_still_rises_beside_the_peak(theta, sizes, x, error):
    """The found peak may be some of its widths away from the true one, if it is very narrow."""
    truth = float(wallenius_oracle.log_prob(x, theta, sizes))
    counts, m = torch.tensor(x).double(), torch.tensor(sizes).double()
    ours = wallenius_log_prob(counts, torch.tensor(theta), m, counts.sum()).item()
    assert ours == pytest.approx(truth, rel=error)


def test_scipy_for_two_groups():
    x = torch.arange(26.0)
    sizes, total = torch.tensor([30.0, 45.0]), torch.tensor(25.0)
    ours = wallenius_log_prob(torch.stack([x, 25 - x], -1), torch.tensor([0.7, 0.0]), sizes, total)
    theirs = stats.nchypergeom_wallenius(75, 30, 25, math.exp(0.7)).logpmf(x.numpy())
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=1e-9, atol=1e-9)


def test_equal_weights_are_fishers():
    counts = enumerate_counts([4, 7, 5], 6)
    sizes, total = torch.tensor([4.0, 7.0, 5.0]), torch.tensor(6.0)
    for theta in (torch.zeros(3), torch.full((3,), -700.0)):
        ours, theirs = (law(counts, theta, sizes, total) for law in (wallenius_log_prob, log_prob))
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_gradients_are_those_of_long_arithmetic():
    theta, sizes, x = [math.log(1e6), 0.0, 0.3], [100, 5, 7], [99, 1, 2]
    log_weights = torch.tensor(theta, requires_grad=True)
    total = torch.tensor(float(sum(x)))
    value = wallenius_log_prob(torch.tensor(x), log_weights, torch.tensor(sizes), total)
    (gradient,) = torch.autograd.grad(value, log_weights)
    with mpmath.workdps(40):
        for i in range(3):
            step = mpmath.mpf(10) ** -12
            ends = [
                wallenius_oracle.log_prob(
                    x,
                    [t + s * step * (j == i) for j, t in enumerate(map(mpmath.mpf, theta))],
                    sizes,
                )
                for s in (-1, 1)
            ]
            truth = (ends[1] - ends[0]) / (2 * step)
            assert gradient[i].item() == pytest.approx(float(truth), rel=1e-11, abs=1e-11)


def test_gradients_where_a_heavy_group_is_drawn_wholly():
    log_weights = torch.tensor([1500.0, 0.0, -800.0], requires_grad=True)
    x, sizes = torch.tensor([3.0, 4.0, 1.0], requires_grad=True), torch.tensor([3.0, 4.0, 5.0])
    value = wallenius_log_prob(x, log_weights, sizes, torch.tensor(8.0))
    assert value.abs() < 1e-12
    (gradient,) = torch.autograd.grad(value, log_weights, create_graph=True)
    assert gradient.abs().max() < 1e-12
    (second,) = torch.autograd.grad(gradient.square().sum(), log_weights)
    assert second.isfinite().all()


def test_hessian():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1).roll(-1)])

    def value(theta):
        return wallenius_log_prob(COUNTS, theta, sizes, total)

    curvature = hessian(value)(log_weights)
    torch.testing.assert_close(curvature, curvature.mT)
    torch.testing.assert_close(vmap(hessian(value))(many)[0], curvature)


def test_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = torch.tensor([[0.3, -0.5, 1.0], [0.0, 2.0, -1.0]]).requires_grad_()
    sizes, total = torch.tensor([4.0, 3.0, 2.0]), torch.tensor(5.0)
    counts = enumerate_counts([4, 3, 2], 5).double().unsqueeze(1)
    results = []
    for cells in (1, 10, 10**6):
        monkeypatch.setattr("pyro_hypergeo.ops.wallenius.density._CELLS", cells)
        value = wallenius_log_prob(counts, theta, sizes, total)
        assert value.shape == (len(counts), 2)
        (slope,) = torch.autograd.grad((value * torch.arange(2.0)).sum(), theta)
        results.append(torch.cat([value.flatten(), slope.flatten()]))
    for result in results[:2]:
        torch.testing.assert_close(result, results[2], rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize(
    ("log_weight", "sizes", "drawn"),
    [(-22.51570465356605, (251368652, 30191386), 14740367), (-30.0, (10**7, 10**7), 3 * 10**6)],
)
def test_only_the_light_elements_are_drawn(
    log_weight: float, sizes: tuple[int, int], drawn: int
) -> None:
    # Each of the draws takes a light element: a product that needs no integral.
    left = math.exp(log_weight) * (sizes[1] - np.arange(drawn))
    truth = math.fsum(np.log(left / (sizes[0] + left)))
    found = wallenius_log_prob(
        torch.tensor([0.0, float(drawn)]),
        torch.tensor([0.0, log_weight]),
        torch.tensor(sizes),
        torch.tensor(drawn),
    )
    assert found.item() == pytest.approx(truth, rel=1e-11)
