# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distribution of a single count: both tails, quantiles and moments."""

from typing import Any

import pytest
import torch
from scipy.stats import hypergeom, nchypergeom_fisher

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric
from pyro_hypergeo.distributions import GroupCount

SIZES, TOTAL, ODDS = (14, 11), 9, 2.5


def count() -> GroupCount:
    return FisherHypergeometric(TOTAL, SIZES, weights=[ODDS, 1.0]).marginal(0)


reference = nchypergeom_fisher(sum(SIZES), SIZES[0], TOTAL, ODDS)


def test_both_tails() -> None:
    k = torch.tensor([-3.0, -0.5, 0, 0.5, 1, 4, 4.9, 5, 9, 10, 14, 15, 200])
    torch.testing.assert_close(count().cdf(k), torch.from_numpy(reference.cdf(k.floor())))
    expected = torch.from_numpy(reference.sf(k.floor()))
    torch.testing.assert_close(count().sf(k), expected, rtol=1e-9, atol=0)
    assert count().cdf(2) + count().sf(2) == pytest.approx(1)


def test_far_tails_keep_their_digits() -> None:
    law = hypergeom(400, 200, 200)
    far = FisherHypergeometric(200, [200, 200], weights=[1.0, 1.0]).marginal(0)
    k = torch.tensor([20.0, 40.0, 60.0])
    torch.testing.assert_close(far.cdf(k), torch.from_numpy(law.cdf(k)), rtol=1e-9, atol=0)
    upper = 199 - k  # by symmetry
    torch.testing.assert_close(far.sf(upper), torch.from_numpy(law.cdf(k)), rtol=1e-9, atol=0)
    assert 0 < far.sf(upper)[0] < 1e-60


def test_quantiles() -> None:
    q = torch.tensor([0.0, 1e-6, 0.1, 0.5, 0.9, 0.999999, 1.0])
    expected = torch.from_numpy(reference.ppf(q)).clamp(min=0)
    assert torch.equal(count().icdf(q), expected)
    # The quantile of a cumulated probability is the count itself.
    k = torch.arange(10.0)
    assert torch.equal(count().icdf(count().cdf(k)), k)


def test_moments_and_batches() -> None:
    mean, variance = reference.stats("mv")
    assert count().mean.item() == pytest.approx(float(mean), rel=1e-12)
    assert count().variance.item() == pytest.approx(float(variance), rel=1e-12)
    batch = FisherHypergeometric(torch.tensor([3, 6]), [5, 3, 2], weights=[1.0, 2.0, 4.0])
    marginal = batch.marginal(1)
    torch.testing.assert_close(marginal.mean, batch.mean[:, 1])
    torch.testing.assert_close(marginal.variance, batch.variance[:, 1])
    k = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]])
    for row in range(3):
        for i in range(2):
            alone = FisherHypergeometric([3, 6][i], [5, 3, 2], [1.0, 2.0, 4.0]).marginal(1)
            assert marginal.cdf(k)[row, i] == pytest.approx(alone.cdf(k[row, i]).item())
            assert marginal.icdf(k / 3)[row, i] == alone.icdf(k[row, i] / 3)
    assert marginal.expand((4, 2)).cdf(k[:1]).shape == (4, 2)
    assert isinstance(marginal.expand((4, 2)), GroupCount)


def test_differentiable_and_of_the_weights_dtype() -> None:
    theta = torch.zeros(2, requires_grad=True)
    FisherHypergeometric(TOTAL, SIZES, log_weights=theta).marginal(0).cdf(4).backward()
    step = 1e-5

    def cdf(shift: float) -> float:
        shifted = torch.tensor([shift, 0.0])
        return float(FisherHypergeometric(TOTAL, SIZES, log_weights=shifted).marginal(0).cdf(4))

    assert theta.grad is not None
    assert theta.grad[0].item() == pytest.approx((cdf(step) - cdf(-step)) / (2 * step), rel=1e-6)
    small = FisherHypergeometric(TOTAL, SIZES, weights=torch.tensor([ODDS, 1.0]).float())
    for value in (small.marginal(0).cdf(3), small.marginal(0).sf(3), small.marginal(0).icdf(0.3)):
        assert value.dtype == torch.float32


def test_quantiles_of_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"probabilities between 0 and 1, but found 1.5"):
        count().icdf(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="but found nan"):
        count().icdf(float("nan"))


@pytest.mark.parametrize("law", [FisherHypergeometric, WalleniusHypergeometric])
@pytest.mark.parametrize("total", [0, 3, 6, 8])
def test_bounds_are_those_of_the_possible_counts(law: Any, total: int) -> None:
    urn = law(total, [5, 3, 2, 0], weights=[1.0, 2.0, 0.0, 3.0])
    support = urn.enumerate_support()
    possible = support[urn.log_prob(support) > -torch.inf]
    assert torch.equal(urn.min_counts, possible.amin(0))
    assert torch.equal(urn.max_counts, possible.amax(0))
