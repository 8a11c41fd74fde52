# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Pearson's statistic, its p-values, the likelihood ratio, and the scale of the intervals."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mpmath import matrix
from scipy.stats import chi2, nchypergeom_fisher

from pyro_hypergeo import (
    FisherHypergeometric,
    WalleniusHypergeometric,
    compare_laws,
    fit_weights,
)
from pyro_hypergeo.infer import maximum
from pyro_hypergeo.infer.pearson import pearson
from pyro_hypergeo.ops import FISHER
from tests import oracle, wallenius_oracle

TITANIC = json.loads((Path(__file__).parents[1] / "data" / "titanic.json").read_text())
SIZES = [TITANIC["by_sex_class"][sex]["m"] for sex in ("Male", "Female")]
SAVED = [TITANIC["by_sex_class"][sex]["x"] for sex in ("Male", "Female")]
NAMES = ["1st", "2nd", "3rd", "Crew"]


def chi_squared_of(rest: list, covariance: list) -> float:
    """r' Sigma^+ r in 50 digits: without the last group, the covariance has an inverse."""
    inner = matrix([row[:-1] for row in covariance[:-1]])
    r = matrix(rest[:-1])
    return float((r.T * (inner**-1) * r)[0])


def test_titanic_against_exact_arithmetic() -> None:
    fit = fit_weights(SIZES, SAVED, groups=NAMES, reference="3rd")
    theta = fit.log_weights.tolist()
    truth = 0.0
    for m, x in zip(SIZES, SAVED, strict=True):
        mean = oracle.mean(theta, m, sum(x))
        rest = [k - mu for k, mu in zip(x, mean, strict=True)]
        truth += chi_squared_of(rest, oracle.covariance(theta, m, sum(x)))
    found = fit.goodness_of_fit()
    assert found.statistic == pytest.approx(truth, rel=1e-9)
    assert found.statistic == pytest.approx(60.68, abs=0.005)
    assert found.degrees_of_freedom == 3
    assert found.p_value == pytest.approx(chi2.sf(truth, 3), rel=1e-6)
    assert found.scale == pytest.approx((truth / 3) ** 0.5)
    torch.testing.assert_close(found.scaled_standard_errors, fit.standard_errors * found.scale)
    assert found.refuted
    assert "do not fit; the intervals are about 4.5 times too narrow" in str(found)
    assert "X2 60.68 on 3 degrees of freedom, p = 4.21e-13" in str(found)


def test_titanic_under_wallenius_law() -> None:
    found = fit_weights(SIZES, SAVED, law="wallenius").goodness_of_fit()
    assert found.statistic == pytest.approx(34.35, abs=0.005)
    assert found.degrees_of_freedom == 3


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_statistic_against_enumeration(law: str) -> None:
    sizes, counts = [[3, 2, 2], [2, 4, 1], [2, 0, 3]], [[2, 1, 0], [1, 1, 1], [1, 0, 1]]
    fit = fit_weights(sizes, counts, law=law)
    weights = fit.log_weights.exp().tolist()
    truth = 0.0
    for m, x in zip(sizes, counts, strict=True):
        pmf = (oracle if law == "fisher" else wallenius_oracle).pmf(weights, m, sum(x))
        support = np.array(list(pmf), dtype=float)
        p = np.array([float(value) for value in pmf.values()])
        rest = np.array(x) - p @ support
        away = support - p @ support
        truth += rest @ np.linalg.pinv((p[:, None] * away).T @ away, rcond=1e-10) @ rest
    found = fit.goodness_of_fit()
    assert found.statistic == pytest.approx(truth, rel=1e-7)
    assert found.degrees_of_freedom == 2 + 2 + 1 - 2


def test_statistic_does_not_depend_on_reference_and_order() -> None:
    base = fit_weights(SIZES, SAVED).goodness_of_fit().statistic
    order = [2, 0, 3, 1]
    sizes, saved = torch.tensor(SIZES)[:, order], torch.tensor(SAVED)[:, order]
    assert fit_weights(sizes, saved, reference=1).goodness_of_fit().statistic == pytest.approx(base)


def test_strata_without_choice_add_nothing() -> None:
    base = fit_weights(SIZES, SAVED).goodness_of_fit()
    sizes = [*SIZES, [3, 4, 5, 6], [3, 4, 5, 6], [0, 0, 9, 0]]
    saved = [*SAVED, [0, 0, 0, 0], [3, 4, 5, 6], [0, 0, 4, 0]]
    found = fit_weights(sizes, saved).goodness_of_fit()
    assert found.statistic == pytest.approx(base.statistic)
    assert found.degrees_of_freedom == 3
    assert found.likelihood_ratio[:2] == pytest.approx(base.likelihood_ratio[:2])
    assert found.smallest_mean == pytest.approx(base.smallest_mean)


def test_one_stratum_has_nothing_to_test() -> None:
    found = fit_weights([9, 8, 7], [3, 4, 2]).goodness_of_fit(simulations=10)
    assert found.degrees_of_freedom == 0
    assert found.statistic == pytest.approx(0, abs=1e-12)
    assert (found.p_value, found.p_simulated, found.scale) == (None, None, 1.0)
    assert not found.refuted
    assert "nothing to test" in str(found)


def test_likelihood_ratio() -> None:
    fit = fit_weights(SIZES, SAVED)
    alone = sum(fit_weights(m, x).log_likelihood for m, x in zip(SIZES, SAVED, strict=True))
    ratio = fit.goodness_of_fit().likelihood_ratio
    assert ratio is not None
    assert ratio.statistic == pytest.approx(2 * (alone - fit.log_likelihood).item())
    assert ratio.degrees_of_freedom == 3
    assert ratio.p_value == pytest.approx(chi2.sf(ratio.statistic, 3))


def test_no_likelihood_ratio_says_why() -> None:
    found = fit_weights([[5, 5], [5, 5]], [[5, 2], [1, 3]]).goodness_of_fit()
    assert found.likelihood_ratio is None
    assert found.why_no_ratio == "stratum 0 alone has no finite estimate"
    assert "none, since stratum 0 alone has no finite estimate" in str(found)
    assert found.small_counts


def test_simulated_p_value_against_enumeration() -> None:
    sizes, counts = [[6, 5], [4, 7], [3, 3]], [[4, 2], [1, 3], [2, 0]]
    fit = fit_weights(sizes, counts, reference=1)
    weight = fit.log_weights[0].exp().item()
    laws = [
        nchypergeom_fisher(sum(m), m[0], sum(x), weight) for m, x in zip(sizes, counts, strict=True)
    ]
    variance = np.array([law.var() for law in laws])

    def statistic(x: tuple[int, ...]) -> float:
        rest = np.array(x) - np.array([law.mean() for law in laws])
        # What the best shift of the log-weight removes: rest has the slope -variance in it.
        return (rest**2 / variance).sum() - rest.sum() ** 2 / variance.sum()

    observed = statistic(tuple(x[0] for x in counts))
    assert fit.goodness_of_fit().statistic == pytest.approx(observed, rel=1e-6)
    exact = 0.0
    for x in itertools.product(*(range(7) for _ in laws)):
        if statistic(x) >= observed - 1e-9:
            exact += np.prod([law.pmf(k) for law, k in zip(laws, x, strict=True)])
    found = fit.goodness_of_fit(simulations=20_000, seed=1)
    assert 0.05 < exact < 0.95
    assert abs(found.p_simulated - exact) < 4 * found.p_simulated_error
    assert found.p_simulated_error == pytest.approx((exact * (1 - exact) / 20_000) ** 0.5, rel=0.1)
    assert fit.goodness_of_fit(simulations=20_000, seed=1).p_simulated == found.p_simulated


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_simulation_agrees_with_chi_squared_for_large_counts(law: str) -> None:
    sizes = torch.tensor([[300, 200, 250], [150, 400, 100], [220, 90, 310]])
    theta = torch.tensor([0.0, 0.7, -0.5])
    cls = FisherHypergeometric if law == "fisher" else WalleniusHypergeometric
    counts = cls(torch.tensor([300, 350, 200]), sizes, log_weights=theta).sample()
    found = fit_weights(sizes, counts, law=law).goodness_of_fit(simulations=4000)
    assert found.degrees_of_freedom == 4
    assert not found.small_counts
    assert not found.refuted
    assert abs(found.p_simulated - found.p_value) < 4 * found.p_simulated_error + 0.01


@pytest.mark.slow
def test_p_values_are_uniform_if_the_model_is_true() -> None:
    sizes, theta = torch.tensor([[30.0, 20, 25], [15, 40, 10]]), torch.tensor([0.0, 0.7, -0.5])
    urns = FisherHypergeometric(torch.tensor([30, 25]), sizes, log_weights=theta)
    p = [fit_weights(sizes, x).goodness_of_fit().p_value for x in urns.sample((200,))]
    shares = np.histogram(p, bins=5, range=(0, 1))[0] / len(p)
    assert np.abs(shares - 0.2).max() < 4 * (0.2 * 0.8 / len(p)) ** 0.5


def test_random_numbers_elsewhere_do_not_change() -> None:
    fit = fit_weights([[6, 5], [4, 7]], [[4, 2], [1, 3]])
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fit.goodness_of_fit(simulations=50)
    assert torch.equal(torch.rand(2), expected)


def test_nearly_certain_draws() -> None:
    theta = torch.tensor([0.0, -30.0, -60.0])
    sizes = torch.tensor([[5.0, 3.0, 4.0]])
    likely, unlikely = torch.tensor([[5.0, 3.0, 1.0]]), torch.tensor([[4.0, 3.0, 2.0]])
    assert pearson(FISHER, theta, sizes, likely) < 1e-6
    # The odds of this draw are about e^-60.
    assert pearson(FISHER, theta, sizes, unlikely) > 1e12
    # Two pairs of groups, of which one is always drawn and the other never.
    theta = torch.tensor([50.0, 50.5, 0.0, 0.2])
    sizes = torch.tensor([[6.0, 6.0, 5.0, 5.0]])
    found = pearson(FISHER, theta, sizes, torch.tensor([[6.0, 6.0, 2.0, 1.0]]))
    pair = nchypergeom_fisher(10, 5, 3, np.exp(-0.2))
    assert found.item() == pytest.approx((2 - pair.mean()) ** 2 / pair.var(), rel=1e-6)


def test_strata_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = torch.randint(3, 9, (30, 5)).double()
    counts = (sizes / 2).floor() + (torch.rand(30, 5) < 0.5)
    whole = fit_weights(sizes, counts)
    seen = []
    plain = FISHER.log_likelihood

    def recorded(theta, sizes, counts):  # type: ignore[no-untyped-def]
        seen.append(len(sizes))
        return plain(theta, sizes, counts)

    monkeypatch.setattr(maximum, "_CELLS", 20 * 100)
    monkeypatch.setattr(FISHER, "log_likelihood", recorded, raising=False)
    parts = fit_weights(sizes, counts)
    assert set(seen) == {4, 2}  # 20 / 5 strata at once
    torch.testing.assert_close(parts.log_weights, whole.log_weights)
    torch.testing.assert_close(parts.covariance, whole.covariance)
    monkeypatch.setattr(maximum, "_CELLS", 100)  # 100 / 25 strata at once
    a, b = whole.goodness_of_fit(), parts.goodness_of_fit()
    assert a.statistic == pytest.approx(b.statistic)


@pytest.mark.parametrize("simulations", [-1, 0.5])
def test_bad_simulations(simulations: float) -> None:
    with pytest.raises(ValueError, match=f"`simulations`.*{simulations}"):
        fit_weights([9, 8], [3, 4]).goodness_of_fit(simulations)


def test_compare_laws_says_when_both_are_refuted() -> None:
    assert "60.68 under Fisher's law and 34.35 under Wallenius'" in str(compare_laws(SIZES, SAVED))
    assert "Neither" not in str(compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]]))


def test_both_ways_to_whiten_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = torch.tensor([[5.0, 3, 0, 4], [2, 0, 7, 1], [0, 0, 3, 0]])
    counts = torch.tensor([[4.0, 1, 0, 1], [0, 0, 3, 1], [0, 0, 1, 0]])
    theta = torch.tensor([0.3, -0.2, 0.1, 0.0])
    fast = pearson(FISHER, theta, sizes, counts)
    monkeypatch.setattr("pyro_hypergeo.infer.pearson._SMALL_ROOT", 10)
    torch.testing.assert_close(pearson(FISHER, theta, sizes, counts), fast, rtol=1e-10, atol=0)
