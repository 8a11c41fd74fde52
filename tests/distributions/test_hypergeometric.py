# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The univariate hypergeometric distribution, compared with scipy and with exact fractions."""

from __future__ import annotations

import copy
import math
import pickle
from fractions import Fraction
from typing import Any

import mpmath
import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from scipy.stats import chisquare, hypergeom
from torch import Tensor

from pyro_hypergeo import Hypergeometric, MultivariateHypergeometric

# Drawn, marked, population: also nothing drawn, nothing marked, everything of either, no element.
URNS = [(13, 4, 52), (30, 40, 60), (0, 3, 5), (5, 3, 5), (3, 0, 5), (3, 5, 5), (0, 0, 0), (1, 1, 2)]
urns = pytest.mark.parametrize("urn", URNS)


def of_scipy(urn: tuple[int, int, int]) -> Any:
    drawn, marked, population = urn
    return hypergeom(population, marked, drawn)


def counts_of(urn: tuple[int, int, int]) -> list[int]:
    drawn, marked, population = urn
    return list(range(max(0, drawn + marked - population), min(drawn, marked) + 1))


def exact(urn: tuple[int, int, int], x: int) -> Fraction:
    drawn, marked, population = urn
    ways = math.comb(marked, x) * math.comb(population - marked, drawn - x)
    return Fraction(ways, math.comb(population, drawn))


def log_of(probability: Fraction) -> float:
    return float(mpmath.log(mpmath.mpf(probability.numerator) / probability.denominator))


@urns
def test_probabilities_tails_and_moments(urn: tuple[int, int, int]) -> None:
    d, counts = Hypergeometric(*urn), counts_of(urn)
    assert torch.equal(d.enumerate_support(), torch.tensor(counts).double())
    k = torch.tensor(counts).double()
    probs = [exact(urn, x) for x in counts]
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(d.log_prob(k), torch.tensor([*map(log_of, probs)]), **close)
    for i, x in enumerate(counts):
        below, above = sum(probs[: i + 1]), sum(probs[i + 1 :])
        assert d.cdf(x).item() == pytest.approx(float(below), rel=1e-12)
        assert d.sf(x).item() == pytest.approx(float(above), rel=1e-12)
        assert d.logcdf(x + 0.5).item() == pytest.approx(log_of(below), rel=1e-12)
    assert d.cdf(counts[0] - 1) == 0 and d.sf(counts[-1] + 3) == 0
    assert d.sf(-1) == d.cdf(10**6) == 1
    mean = sum(x * p for x, p in zip(counts, probs, strict=True))
    variance = sum((x - mean) ** 2 * p for x, p in zip(counts, probs, strict=True))
    assert d.mean.item() == pytest.approx(float(mean), rel=1e-13)
    assert d.variance.item() == pytest.approx(float(variance), rel=1e-13)
    assert probs[counts.index(int(d.mode))] == max(probs)
    entropy = -sum(float(p) * math.log(p) for p in probs)
    assert d.entropy().item() == pytest.approx(entropy, rel=1e-10, abs=1e-13)


@urns
def test_quantiles(urn: tuple[int, int, int]) -> None:
    d = Hypergeometric(*urn)
    q = torch.tensor([1e-9, 0.01, 0.3, 0.5, 0.9, 0.999999])
    expected = torch.from_numpy(of_scipy(urn).ppf(q)).nan_to_num(0)  # no elements: scipy has nan
    assert torch.equal(d.icdf(q), expected)
    k = torch.tensor(counts_of(urn)).double()
    assert torch.equal(d.icdf(d.cdf(k)), k)
    with pytest.raises(ValueError, match="probabilities between 0 and 1, but found 1.5"):
        d.icdf(1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_tails(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    far = Hypergeometric(50_000, 10**6, 10**7)
    assert far.logsf(10_000).item() == pytest.approx(-2239.7712499204, abs=1e-10)
    assert Hypergeometric(300, 50, 1600).logcdf(40).item() == pytest.approx(
        -7.565148879228446e-23, rel=1e-12
    )
    few = Hypergeometric(215, 1000, 10_000)
    assert few.sf(107).item() == pytest.approx(5.390805908200747e-52, rel=1e-12)
    assert few.logsf(107).item() == pytest.approx(hypergeom(10_000, 1000, 215).logsf(107), rel=1e-9)
    assert few.cdf(0).item() == pytest.approx(hypergeom(10_000, 1000, 215).cdf(0), rel=1e-9)


def test_batches_are_their_entries() -> None:
    drawn, marked = torch.tensor([3, 20, 45]), torch.tensor([[10], [40]])
    d = Hypergeometric(drawn, marked, 50)
    assert d.batch_shape == (2, 3) and d.event_shape == ()
    k = torch.tensor([1.0, 12.0, 36.0])
    for row in range(2):
        for column in range(3):
            one = Hypergeometric(int(drawn[column]), int(marked[row]), 50)
            for quantity in ("mean", "variance", "mode"):
                assert getattr(d, quantity)[row, column] == getattr(one, quantity)
            for method in ("cdf", "sf", "logcdf", "logsf"):
                both = getattr(d, method)(k)[row, column], getattr(one, method)(k[column])
                torch.testing.assert_close(*both, rtol=1e-12, atol=0)
            assert d.icdf(0.3)[row, column] == one.icdf(0.3)
    copies = [d.expand((4, 2, 3)), pickle.loads(pickle.dumps(d)), copy.deepcopy(d)]
    for new in copies:
        assert new.cdf(k).shape == new.batch_shape
        assert (new.cdf(k) == d.cdf(k)).all() and (new.mean == d.mean).all()
    assert d.expand((4, 2, 3)).sample((5,)).shape == (5, 4, 2, 3)
    with pytest.raises(NotImplementedError, match="differ within a batch"):
        d.enumerate_support()
    shapes = Hypergeometric.infer_shapes(total_count=(3,), marked=(2, 1))
    assert shapes == (d.batch_shape, d.event_shape)


def test_draws() -> None:
    d = Hypergeometric(8, 10, 30)
    x = d.sample((20_000,))
    assert d.support.check(x).all()
    seen = torch.bincount(x.long(), minlength=9)
    expected = 20_000 * d.log_prob(torch.arange(9.0)).exp()
    few = expected < 5
    seen, expected = (torch.cat([z[~few], z[few].sum()[None]]) for z in (seen.double(), expected))
    assert chisquare(seen.numpy(), expected.numpy()).pvalue > 1e-3


def test_dtypes() -> None:
    torch.set_default_dtype(torch.float32)
    numbers = Hypergeometric(5, 4, 20)
    doubles = Hypergeometric(torch.tensor(5.0).double(), 4, 20)
    large = Hypergeometric(5, 4, 2**24 + 1)
    for d, dtype in ((numbers, torch.float32), (doubles, torch.float64), (large, torch.float64)):
        for value in (d.sample(), d.log_prob(1), d.mean, d.variance, d.mode, d.icdf(0.5)):
            assert value.dtype == dtype
        for value in (d.cdf(1), d.sf(1), d.logcdf(1), d.logsf(1)):
            assert value.dtype == torch.float64
    assert large.mean.item() == pytest.approx(20 / (2**24 + 1), rel=1e-14)


def test_is_one_count_of_two() -> None:
    d, urn = Hypergeometric(6, 7, 16), MultivariateHypergeometric(6, [7, 9])
    x = torch.arange(7.0)
    torch.testing.assert_close(d.log_prob(x), urn.log_prob(torch.stack([x, 6 - x], -1)))
    torch.testing.assert_close(d.cdf(x), urn.marginal(0).cdf(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 6, 4), r"`total_count` of shape \(\) to be at most the `population` 4, but found 5"),
        ((2, 6, 4), r"`marked` of shape \(\) to be at most the `population` 4, but found 6"),
        ((2, 6, -4), "`population` .* not negative, but found -4"),
        ((2.5, 6, 8), "`total_count` .* integers .* but found 2.5"),
        ((torch.ones(2), torch.ones(3), 4), r"broadcast, but got shapes \(2,\), \(3,\), \(\)"),
        ((1, 1, torch.tensor(2.0**25).float()), "`population` .* at most 16777216"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hypergeometric(*arguments)


def test_wrong_values() -> None:
    d = Hypergeometric(13, 4, 52)
    with pytest.raises(ValueError, match="integers from 0 to 4 .* but found 5"):
        d.log_prob(5)
    with pytest.raises(ValueError, match=r"but found 2.5 at index \(1,\)"):
        d.log_prob(torch.tensor([2.0, 2.5]))
    with pytest.raises(ValueError, match=r"shape \(2,\) to broadcast with the batch shape \(3,\)"):
        d.expand((3,)).log_prob(torch.ones(2))
    assert Hypergeometric(13, 4, 52, validate_args=False).log_prob(5) == -math.inf


def test_enumeration_in_a_model() -> None:
    seen, noise = torch.tensor([1.2, 3.1]), 0.7

    @config_enumerate
    def model() -> None:
        with pyro.plate("bags", 2):
            x = pyro.sample("x", Hypergeometric(5, 6, 14))
            pyro.sample("seen", pyro.distributions.Normal(x, noise), obs=seen)

    evidence = -TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)

    def of(y: Tensor) -> float:
        terms = [
            float(exact((5, 6, 14), x))
            * torch.distributions.Normal(float(x), noise).log_prob(y).exp()
            for x in counts_of((5, 6, 14))
        ]
        return math.log(sum(terms))

    assert evidence == pytest.approx(of(seen[0]) + of(seen[1]), rel=1e-12)


def test_observation_under_an_enumerated_number_of_marked() -> None:
    """A capture and recapture: the number of marked elements is latent."""

    @config_enumerate
    def model() -> None:
        marked = pyro.sample("marked", pyro.distributions.Binomial(20, 0.3))
        pyro.sample("seen", Hypergeometric(5, marked, 20), obs=torch.tensor(3.0))

    evidence = -TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None)
    # 5 of 20 elements, each marked with probability 0.3.
    assert evidence == pytest.approx(math.log(math.comb(5, 3) * 0.3**3 * 0.7**2), rel=1e-12)
