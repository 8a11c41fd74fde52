# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What a fit answers: names, fitted counts, residuals, intervals and the summary."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2, nchypergeom_fisher, nchypergeom_wallenius

from pyro_hypergeo import (
    FisherHypergeometric,
    NoFiniteEstimateError,
    WalleniusHypergeometric,
    fit_weights,
)

SIZES, DRAWN = [[30, 25, 9], [12, 40, 20]], [[22, 9, 3], [9, 11, 12]]
NAMES = ["red", "green", "blue"]


def test_names_of_groups_and_reference() -> None:
    fit = fit_weights(SIZES, DRAWN, groups=NAMES, reference="green")
    assert fit.groups == ("red", "green", "blue")
    assert fit.reference == 1
    assert fit.log_weights[1] == 0
    torch.testing.assert_close(fit.log_weights, fit_weights(SIZES, DRAWN, reference=1).log_weights)
    for last in (-1, np.int64(2), torch.tensor(2)):
        assert fit_weights(SIZES, DRAWN, reference=last).reference == 2


@pytest.mark.parametrize(
    ("groups", "reference", "message"),
    [
        (["a", "b"], None, "`groups` to have 3 names.*got 2"),
        (["a", "b", "a"], None, "`groups` to be different names, but 'a' is repeated"),
        ("abc", None, "`groups` to be 3 texts, but got 'abc'"),
        ([1, 2, 3], None, "`groups` to be 3 texts"),
        (NAMES, "grey", "`reference` to be one of .'red', 'green', 'blue'., but got 'grey'"),
        (None, "red", "`reference` to be one of"),
        (None, 1.5, "`reference` to be an index or a name, but got 1.5"),
        (None, True, "`reference` to be an index or a name, but got True"),
    ],
)
def test_bad_names(groups, reference, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        fit_weights(SIZES, DRAWN, groups=groups, reference=reference)


def test_one_group_has_no_weight() -> None:
    with pytest.raises(ValueError, match=r"at least two groups.*got \(2, 1\)"):
        fit_weights([[5], [4]], [[2], [1]])


def test_names_in_the_error() -> None:
    with pytest.raises(NoFiniteEstimateError, match="group green was never drawn"):
        fit_weights([5, 5, 5], [2, 0, 1], groups=NAMES)


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_fitted_counts_and_residuals(law: str) -> None:
    fit = fit_weights(SIZES, DRAWN, law=law)
    cls = FisherHypergeometric if law == "fisher" else WalleniusHypergeometric
    x = torch.tensor(DRAWN)
    urns = cls(x.sum(-1), torch.tensor(SIZES), log_weights=fit.log_weights)
    torch.testing.assert_close(fit.fitted_counts, urns.mean)
    torch.testing.assert_close(fit.residuals, (x - urns.mean) / urns.variance.sqrt())


def test_residual_of_a_certain_cell_is_zero() -> None:
    fit = fit_weights([*SIZES, [3, 0, 2]], [*DRAWN, [3, 0, 2]])
    assert (fit.residuals[2] == 0).all()
    assert fit.fitted_counts[2].tolist() == [3, 0, 2]


def test_walds_intervals() -> None:
    fit = fit_weights(SIZES, DRAWN, reference=0)
    found = fit.confidence_intervals(0.9)
    reach = 1.6448536269514722 * fit.standard_errors
    torch.testing.assert_close(found[:, 0], fit.log_weights - reach)
    torch.testing.assert_close(found[:, 1], fit.log_weights + reach)


@pytest.mark.parametrize(
    ("law", "scipy_law"),
    [("fisher", nchypergeom_fisher), ("wallenius", nchypergeom_wallenius)],
)
def test_profile_interval_of_two_groups_against_scipy(law, scipy_law) -> None:  # type: ignore[no-untyped-def]
    sizes, drawn = [[10, 20], [30, 10]], [[6, 4], [20, 4]]

    def log_likelihood(theta: float) -> float:
        # Old versions of scipy warn of probabilities that are 0.
        with np.errstate(divide="ignore"):
            return sum(
                scipy_law.logpmf(x[0], sum(m), m[0], sum(x), np.exp(theta))
                for m, x in zip(sizes, drawn, strict=True)
            )

    best = minimize_scalar(lambda t: -log_likelihood(t), bracket=(0, 2), tol=1e-10)
    half = chi2.isf(0.1, 1) / 2
    truth = [
        brentq(lambda t: log_likelihood(t) + best.fun + half, *ends, xtol=1e-10)
        for ends in ((best.x - 5, best.x), (best.x, best.x + 5))
    ]
    fit = fit_weights(sizes, drawn, law=law, groups=["a", "b"], reference="b")
    assert fit.profile_interval([1, -1], 0.9) == pytest.approx(truth, abs=1e-6)
    assert fit.profile_interval({"a": 1.0, "b": -1.0}, 0.9) == pytest.approx(truth, abs=1e-6)
    assert fit.confidence_intervals(0.9, profile=True)[0].tolist() == pytest.approx(truth, abs=1e-6)
    assert fit.confidence_intervals(0.9, profile=True)[1].tolist() == [0, 0]


@pytest.mark.slow
def test_profile_interval_against_a_grid() -> None:
    fit = fit_weights(SIZES, DRAWN, reference=0)
    low, high = fit.profile_interval([-1, 0.25, 0.75])
    # All log-weights (0, a, b) on a fine grid whose likelihood is high enough.
    a, b = (fit.log_weights[i] + torch.linspace(-3, 3, 301) for i in (1, 2))
    theta = torch.stack([torch.zeros(301, 301), *torch.meshgrid(a, b, indexing="ij")], -1)
    x = torch.tensor(DRAWN)
    urns = FisherHypergeometric(x.sum(-1), torch.tensor(SIZES), log_weights=theta.unsqueeze(-2))
    near = 2 * (fit.log_likelihood - urns.log_prob(x).sum(-1)) <= chi2.isf(0.05, 1)
    inside = (0.25 * theta[..., 1] + 0.75 * theta[..., 2])[near]
    assert low == pytest.approx(inside.min().item(), abs=0.02)
    assert high == pytest.approx(inside.max().item(), abs=0.02)
    assert low < inside.min()
    assert high > inside.max()


def test_profile_and_wald_agree_for_large_counts() -> None:
    sizes, drawn = (1000 * torch.tensor(table) for table in (SIZES, DRAWN))
    fit = fit_weights(sizes, drawn)
    profile, wald = fit.confidence_intervals(profile=True), fit.confidence_intervals()
    assert ((profile - wald).abs() < 0.01 * fit.standard_errors.unsqueeze(-1)).all()


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        ([1, -1], r"`contrast` of shape \(3,\), but got \(2,\)"),
        ([1, 1, 1], "`contrast` to sum to 0.*sum 3"),
        ([0, 0, 0], "`contrast` to sum to 0 and not to be 0"),
        ([1, float("nan"), -1], "`contrast`.*nan at index"),
        ({"red": 1, "grey": -1}, "`contrast` to name groups of.*'grey'"),
    ],
)
def test_bad_contrast(contrast, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        fit_weights(SIZES, DRAWN, groups=NAMES).profile_interval(contrast)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_bad_level(level: float) -> None:
    fit = fit_weights(SIZES, DRAWN)
    for call in (fit.confidence_intervals, lambda x: fit.profile_interval([1, -1, 0], x)):
        with pytest.raises(ValueError, match=f"`level` between 0 and 1, but got {level}"):
            call(level)


def test_summary() -> None:
    text = str(fit_weights(SIZES, DRAWN, groups=NAMES, reference="red", law="wallenius"))
    assert "Wallenius' law, 2 strata, relative to red" in text
    assert [line.split()[0] for line in text.splitlines()[2:5]] == NAMES
    assert "relative to their mean" in str(fit_weights(SIZES, DRAWN))
    fit = fit_weights(SIZES, DRAWN, groups=NAMES, reference="red")
    low, high = fit.confidence_intervals()[1].exp().tolist()
    assert f"{fit.log_weights[1]:.3f}  {fit.standard_errors[1]:.3f}" in str(fit)
    assert f"{low:.3f} to {high:.3f}" in str(fit)


def test_columns_of_a_data_frame_are_the_names() -> None:
    sizes = pd.DataFrame([[10, 20], [30, 10]], columns=["red", "blue"])
    drawn = pd.DataFrame([[6, 4], [20, 4]], columns=["red", "blue"])
    fit = fit_weights(sizes, drawn, reference="blue")
    assert fit.groups == ("red", "blue")
    assert fit.log_weights[1] == 0
    plain = fit_weights(sizes.to_numpy(), drawn.to_numpy(), reference=1)
    assert plain.groups == ("0", "1")
    assert (plain.log_weights == fit.log_weights).all()
