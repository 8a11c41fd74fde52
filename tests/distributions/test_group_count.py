# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distribution of a single count: both tails, quantiles and moments."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from scipy.stats import hypergeom, nchypergeom_fisher
from torch.utils._python_dispatch import TorchDispatchMode

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
    few = small.marginal(0)
    for value in (few.icdf(0.3), few.log_prob(3), few.mean, few.variance, few.entropy(), few.probs):
        assert value.dtype == torch.float32
    # Tails are in float64, whatever the weights: in float32, those below 1e-45 are 0.
    for value in (few.cdf(3), few.sf(3), few.logcdf(3), few.logsf(3), few.logits):
        assert value.dtype == torch.float64
    assert (
        few.expand((4,)).mean.dtype == pickle.loads(pickle.dumps(few)).mean.dtype == torch.float32
    )


def marked(total: int, one: int, rest: int, dtype: torch.dtype = torch.float64) -> GroupCount:
    return FisherHypergeometric(total, [one, rest], torch.ones(2, dtype=dtype)).marginal(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tails_are_exact_in_both_ends(dtype: torch.dtype) -> None:
    # Sums of exact fractions, rounded once.
    few = marked(300, 50, 1550, dtype)
    assert few.logcdf(40).item() == pytest.approx(-7.565148879228446e-23, rel=1e-12)
    assert few.sf(40).item() == pytest.approx(7.565148879228446e-23, rel=1e-12)
    assert marked(215, 1000, 9000, dtype).sf(107).item() == pytest.approx(
        5.390805908200747e-52, rel=1e-12
    )
    far = marked(50_000, 10**6, 9 * 10**6, dtype)
    assert far.logsf(10_000).item() == pytest.approx(-2239.7712499204, abs=1e-10)
    assert far.logcdf(10_000).item() == far.sf(10_000).item() == 0


def test_tails_of_lists_are_exact_in_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float32)
    few = FisherHypergeometric(215, [1000, 9000], weights=[1.0, 1.0]).marginal(0)
    assert few.sf(107).item() == pytest.approx(5.390805908200747e-52, rel=1e-12)


def test_logarithms_of_tails_outside_of_the_support() -> None:
    few = marked(8, 5, 4)  # 4 or 5 of the first group
    k = torch.tensor([-1.0, 3.0, 3.9, 4.0, 4.5, 5.0, 100.0])
    log_odds = torch.tensor([4 / 9, 5 / 9]).log()
    never, always = torch.tensor(-math.inf), torch.tensor(0.0)
    expected = [never, never, never, *[log_odds[1]] * 2, always, always]
    torch.testing.assert_close(few.logcdf(k), torch.stack(expected), rtol=1e-14, atol=1e-14)
    expected = [always, always, always, *[log_odds[0]] * 2, never, never]
    torch.testing.assert_close(few.logsf(k), torch.stack(expected), rtol=1e-14, atol=1e-14)


def test_logarithms_of_tails_are_differentiable() -> None:
    theta = torch.tensor([0.3, -0.2, 0.4], requires_grad=True)
    k = torch.tensor([0.0, 2.0, 3.0, 6.0])

    def tails(theta: torch.Tensor) -> torch.Tensor:
        few = FisherHypergeometric(9, [6, 3, 2], log_weights=theta).marginal(0)  # 4, 5 or 6
        logs = torch.stack([few.logcdf(k + 1.5), few.logsf(k)])
        return torch.where(logs > -math.inf, logs, 0.0)

    assert torch.autograd.gradcheck(tails, theta)
    (gradient,) = torch.autograd.grad(tails(theta).sum(), theta)
    assert gradient.isfinite().all()


def test_log_prob_takes_what_cdf_takes() -> None:
    law = count()
    assert law.log_prob(4) == law.log_prob(4.0) == law.log_prob(torch.tensor(4))
    assert law.log_prob(4).item() == pytest.approx(reference.logpmf(4), rel=1e-12)
    values = torch.arange(15.0).reshape(3, 5)
    torch.testing.assert_close(law.log_prob(values).exp().flatten(), law.probs)
    for wrong in (-1, 15, 2.5):
        with pytest.raises(ValueError, match="support"):
            law.log_prob(wrong)
    open_ = FisherHypergeometric(TOTAL, SIZES, [ODDS, 1.0], validate_args=False).marginal(0)
    assert (open_.log_prob(torch.tensor([-1.0, 15.0, 2.5])) == -math.inf).all()


def test_probabilities_make_the_same_count() -> None:
    probs = torch.tensor([0.25, 0.75])
    for law in (GroupCount(probs), GroupCount(logits=probs.log())):
        assert law.cdf(0).item() == pytest.approx(0.25, rel=1e-14)
    with pytest.raises(ValueError, match="exactly one of `probs` and `logits`, but got neither"):
        GroupCount()


@pytest.mark.parametrize("law", [FisherHypergeometric, WalleniusHypergeometric])
def test_marginal_of_a_batch_with_different_supports(law: Any) -> None:
    sizes, totals = [6, 3, 2], [1, 5, 9, 11]
    batch = law(torch.tensor(totals), sizes, weights=[1.0, 2.0, 0.5]).marginal(0)
    for row, total in enumerate(totals):
        alone = law(total, sizes, weights=[1.0, 2.0, 0.5]).marginal(0)
        torch.testing.assert_close(batch.logits[row], alone.logits, rtol=1e-11, atol=1e-11)


class Written(TorchDispatchMode):
    """Counts the numbers that operations write."""

    numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        self.numbers += out.numel() if torch.is_tensor(out) else 0
        return out


@pytest.mark.parametrize("rest", [[300_000], [300_000, 5]])
def test_a_marginal_costs_its_support(rest: list[int]) -> None:
    size, total = 200_000, 50  # 51 possible counts of 200,001
    urn = FisherHypergeometric(total, [size, *rest], torch.ones(1 + len(rest)))
    with Written() as written:
        marginal = urn.marginal(0)
    assert written.numbers < size
    expected = hypergeom(size + sum(rest), size, total)
    assert marginal.sf(45).item() == pytest.approx(expected.sf(45), rel=1e-9)
    assert (marginal.logits[51:] == -math.inf).all()


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


LAWS = [FisherHypergeometric, WalleniusHypergeometric]


def late(law: Any) -> tuple[GroupCount, GroupCount]:
    """Counts that cannot be small; and the same law with a table that begins at 0."""
    urn = law(torch.tensor([9, 12]), [8, 3, 2], weights=[1.0, 2.0, 0.5])  # from 4, from 7
    marginal = urn.marginal(0)
    return marginal, GroupCount(logits=marginal.logits)


@pytest.mark.parametrize("law", LAWS)
def test_a_table_that_begins_late_changes_no_answer(law: Any) -> None:
    ours, plain = late(law)
    close = torch.testing.assert_close
    assert ours.logits.shape == ours.param_shape == (2, 9)
    assert ours.probs.shape == (2, 9)
    assert (ours.probs[0, :4] == 0).all()
    k = torch.arange(-1.0, 12.0).unsqueeze(-1)
    for side in ("cdf", "sf", "logcdf", "logsf"):
        close(getattr(ours, side)(k), getattr(plain, side)(k))
        one_each = torch.tensor([5.0, 8.0])
        close(getattr(ours, side)(one_each), getattr(plain, side)(one_each))
    counts = torch.arange(9.0).unsqueeze(-1)
    close(ours.log_prob(counts), plain.log_prob(counts))
    q = torch.tensor([0.0, 1e-6, 0.3, 0.9, 1.0]).unsqueeze(-1)
    assert torch.equal(ours.icdf(q), plain.icdf(q))
    for name in ("mean", "variance", "mode"):
        close(getattr(ours, name), getattr(plain, name))
    close(ours.entropy(), plain.entropy())
    assert torch.equal(ours.enumerate_support(), plain.enumerate_support())
    listed = ours.enumerate_support(expand=False)
    close(ours.log_prob(listed), plain.log_prob(counts))
    draws = ours.sample(torch.Size([1000]))
    assert draws.dtype == torch.long
    assert (ours.log_prob(draws) > -math.inf).all()
    assert draws.double().mean(0).sub(ours.mean).abs().max() < 0.2


@pytest.mark.parametrize("law", LAWS)
def test_copies_of_a_table_that_begins_late(law: Any) -> None:
    ours, plain = late(law)
    for copied in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        assert torch.equal(copied.logits, plain.logits)
        assert torch.equal(copied.sf(5.0), ours.sf(5.0))
    wide = ours.expand((3, 2))
    assert wide.logits.shape == (3, 2, 9)
    assert torch.equal(wide.sf(5.0), ours.sf(5.0).expand(3, 2))
    assert torch.equal(wide.log_prob(torch.tensor(7)), ours.log_prob(torch.tensor(7)).expand(3, 2))
    assert wide.sample().shape == (3, 2)


def test_tables_that_are_none() -> None:
    first, logits = torch.tensor(2.0), torch.tensor([0.0, -math.inf])
    assert GroupCount(logits=logits, first=first, largest=5).mean == 2
    with pytest.raises(ValueError, match="`first` and `largest` together"):
        GroupCount(logits=logits, first=first)
    with pytest.raises(ValueError, match="has no sum"):
        GroupCount(logits=logits * math.nan, first=first, largest=5, validate_args=True)
