# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood weights under Wallenius' law, and the comparison of both laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import nchypergeom_wallenius

from pyro_hypergeo import (
    NoFiniteEstimateError,
    WalleniusHypergeometric,
    compare_laws,
    fit_weights,
)
from pyro_hypergeo.ops import WALLENIUS

SIZES = torch.tensor([[30, 25], [12, 40], [8, 9]])
DRAWN = torch.tensor([[22, 9], [9, 11], [3, 2]])


def test_two_groups_against_scipy() -> None:
    def loss(theta: float) -> float:
        return -sum(
            nchypergeom_wallenius.logpmf(
                int(x[0]), int(m.sum()), int(m[0]), int(x.sum()), torch.tensor(theta).exp().item()
            )
            for m, x in zip(SIZES, DRAWN, strict=True)
        )

    best = minimize_scalar(loss, bracket=(0.0, 2.0), tol=1e-9)
    fit = fit_weights(SIZES, DRAWN, reference=1, law="wallenius")
    assert fit.law == "wallenius"
    assert fit.log_weights[1] == 0
    assert fit.log_weights[0].item() == pytest.approx(best.x, abs=1e-5)
    assert fit.log_likelihood.item() == pytest.approx(-best.fun, rel=1e-8)
    assert fit.log_likelihood_equal.item() == pytest.approx(-loss(0.0), rel=1e-8)
    step = 1e-3
    curvature = (loss(best.x + step) - 2 * best.fun + loss(best.x - step)) / step**2
    assert fit.standard_errors[0].item() == pytest.approx(curvature**-0.5, rel=1e-4)


@given(
    theta=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    drawn=st.lists(st.integers(0, 6), min_size=3, max_size=3),
)
@settings(max_examples=50)
def test_log_likelihood_is_concave(theta: list[float], drawn: list[int]) -> None:
    sizes, counts = torch.tensor([[8.0, 6.0, 7.0]]), torch.tensor([drawn]).double()
    known = WALLENIUS.log_likelihood(torch.tensor(theta), sizes, counts)
    assert torch.linalg.eigvalsh(known.information).min() > -1e-10
    # The reference does not change the fit.
    assert known.gradient.sum().abs() < 1e-10
    assert known.information.sum(-1).abs().max() < 1e-9


def test_weights_that_made_the_counts_are_found() -> None:
    torch.manual_seed(0)
    theta = torch.tensor([0.0, 0.7, -1.1, 0.4])
    sizes = torch.randint(5, 60, (40, 4)).double()
    totals = (sizes.sum(-1) * torch.rand(40)).round()
    counts = WalleniusHypergeometric(totals, sizes, log_weights=theta).sample()
    fit = fit_weights(sizes, counts, reference=0, law="wallenius")
    z = (fit.log_weights - theta)[1:] / fit.standard_errors[1:]
    assert z.abs().max() < 3
    assert fit.standard_errors[1:].max() < 0.15
    # And the comparison finds the other law.
    comparison = compare_laws(sizes, counts, reference=0)
    assert comparison.better == "wallenius"
    assert comparison.log_ratio > 5
    assert "e^" in str(comparison)
    assert "under Wallenius'" in str(comparison)


def test_groups_drawn_wholly_or_never() -> None:
    with pytest.raises(NoFiniteEstimateError, match="group 1 was never drawn"):
        fit_weights([[5, 3, 4]], [[2, 0, 1]], law="wallenius")
    with pytest.raises(NoFiniteEstimateError, match="group 1 was drawn wholly"):
        fit_weights([[5, 3, 4]], [[2, 3, 1]], law="wallenius")


def test_laws_have_names() -> None:
    with pytest.raises(
        ValueError, match=r"\['fisher', 'wallenius'\] or a `Law`, but got 'chesson'"
    ):
        fit_weights(SIZES, DRAWN, law="chesson")


def test_one_stratum_cannot_tell_the_laws_apart() -> None:
    comparison = compare_laws([20, 30], [12, 9])
    assert abs(comparison.log_ratio) < 0.1
    assert [fit.law for fit in comparison] == ["fisher", "wallenius"]
    assert comparison.fisher.log_weights[0] > comparison.wallenius.log_weights[0] > 0
