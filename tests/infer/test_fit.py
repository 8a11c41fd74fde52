# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood weights under Fisher's law, and the errors if there are none."""

import json
from pathlib import Path

import pytest
import torch

from pyro_hypergeo import FisherHypergeometric, NoFiniteEstimateError, fit_weights

_TITANIC = json.loads((Path(__file__).parents[1] / "data" / "titanic.json").read_text())


def _layout(name):
    """Sizes, drawn counts and the index of the reference of one layout of the Titanic."""
    if name.startswith("class_one_urn"):
        strata = [_TITANIC["by_class"]]
    elif name.startswith("class_given_sex_age"):
        strata = list(_TITANIC["by_sex_age_class"].values())
    elif name.startswith("class_given_sex"):
        strata = list(_TITANIC["by_sex_class"].values())
    else:
        parts = _TITANIC["by_sex_class"]
        strata = [{key: parts["Male"][key] + parts["Female"][key] for key in ("m", "x")}]
    return [stratum["m"] for stratum in strata], [stratum["x"] for stratum in strata], 2


@pytest.mark.parametrize("name", list(_TITANIC["mle"]))
def test_titanic(name):
    sizes, counts, reference = _layout(name)
    expected = _TITANIC["mle"][name]
    fit = fit_weights(sizes, counts, reference=reference)
    for actual, key in ((fit.log_weights, "beta"), (fit.standard_errors, "se")):
        torch.testing.assert_close(
            actual, torch.tensor(expected[key], dtype=torch.float64), rtol=0, atol=1e-9
        )
    equal, best = expected["mfnch_logpmf"]
    assert fit.log_likelihood.item() == pytest.approx(best, abs=1e-9)
    assert fit.log_likelihood_equal.item() == pytest.approx(equal, abs=1e-9)
    assert fit.iterations <= 8


def test_zero_mean_gauge_is_the_same_fit():
    sizes, counts, reference = _layout("class_given_sex")
    free, fixed = fit_weights(sizes, counts), fit_weights(sizes, counts, reference=reference)
    assert free.log_weights.mean().abs() < 1e-14
    torch.testing.assert_close(free.log_weights - free.log_weights[reference], fixed.log_weights)
    torch.testing.assert_close(free.log_likelihood, fixed.log_likelihood)
    # The covariance of contrasts does not depend on the gauge.
    contrast = torch.eye(4)
    contrast[:, reference] -= 1
    torch.testing.assert_close(contrast @ free.covariance @ contrast.T, fixed.covariance)
    torch.testing.assert_close(fixed.covariance.diagonal().sqrt(), fixed.standard_errors)


def test_likelihood_is_highest_at_the_fit():
    sizes, counts, _ = _layout("class_given_sex_age")
    fit = fit_weights(sizes, counts)
    theta = fit.log_weights.clone().requires_grad_()
    total = torch.tensor(counts).sum(-1)
    urns = FisherHypergeometric(total, torch.tensor(sizes), log_weights=theta)
    value = urns.log_prob(torch.tensor(counts)).sum()
    (gradient,) = torch.autograd.grad(value, theta)
    assert gradient.abs().max() < 1e-9
    torch.testing.assert_close(value, fit.log_likelihood)
    torch.manual_seed(0)
    for _ in range(20):
        other = fit.log_weights + 0.1 * torch.randn(4)
        urns = FisherHypergeometric(total, torch.tensor(sizes), log_weights=other)
        assert urns.log_prob(torch.tensor(counts)).sum() < fit.log_likelihood


@pytest.mark.slow
def test_standard_errors_cover_the_truth():
    torch.manual_seed(1)
    truth = torch.tensor([0.0, 0.7, -0.5])
    sizes = torch.tensor([[30.0, 20, 25], [15, 40, 10]])
    urns = FisherHypergeometric(torch.tensor([30, 25]), sizes, log_weights=truth)
    scores = []
    for counts in urns.sample((200,)):
        fit = fit_weights(sizes, counts, reference=0)
        scores.append(((fit.log_weights - truth) / fit.standard_errors)[1:])
    scores = torch.stack(scores)
    assert scores.mean(0).abs().max() < 4 / 200**0.5
    assert (scores.std(0) - 1).abs().max() < 0.2


def test_one_stratum_may_be_a_vector():
    torch.testing.assert_close(fit_weights([9, 8], [3, 4]).log_weights.sum(), torch.tensor(0.0))
    assert fit_weights([9, 9], [3, 3]).log_weights.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("sizes", "counts", "message", "groups"),
    [
        ([[5, 5, 5]], [[5, 2, 1]], "group 0 was drawn wholly", [[0], [1, 2]]),
        ([[5, 5, 5]], [[0, 2, 1]], "group 0 was never drawn", [[0], [1, 2]]),
        ([[3, 2, 0]], [[1, 1, 0]], "group 2 has no elements", [[0, 1], [2]]),
        # Strata that share no group.
        ([[5, 5, 0, 0], [0, 0, 5, 5]], [[2, 2, 0, 0], [0, 0, 3, 1]], "0, 1", [[0, 1], [2, 3]]),
        # Each group is drawn in part. But larger weights of 2 and 0 never lower the likelihood.
        ([[5, 5, 0], [5, 0, 5]], [[5, 2, 0], [0, 0, 3]], "directions", [[0], [1], [2]]),
        ([[5, 5], [4, 4]], [[5, 5], [0, 0]], "compares", [[0], [1]]),
    ],
)
def test_no_finite_estimate(sizes, counts, message, groups):
    with pytest.raises(NoFiniteEstimateError, match=message) as caught:
        fit_weights(sizes, counts)
    assert sorted(map(sorted, caught.value.groups)) == groups


@pytest.mark.parametrize(
    ("sizes", "counts", "message"),
    [
        ([[5, 5]], [[6, 1]], r"`counts` of shape \(1, 2\).*6 of 5 at index \(0, 0\)"),
        ([[5, 5]], [[-1, 1]], r"`counts`.*-1 at index \(0, 0\)"),
        ([[5, 5.5]], [[1, 1]], r"`group_sizes`.*5.5 at index \(0, 1\)"),
        ([[5, 5, 5]], [[1, 1]], r"same shape.*\(1, 3\) and \(1, 2\)"),
        ([[[5, 5]]], [[[1, 1]]], r"`group_sizes` of shape.*\(1, 1, 2\)"),
        ([], [], "not empty"),
        ([[5, float("nan")]], [[1, 1]], "`group_sizes`.*nan"),
    ],
)
def test_bad_input(sizes, counts, message):
    with pytest.raises(ValueError, match=message):
        fit_weights(sizes, counts)


@pytest.mark.parametrize("reference", [-3, 2])
def test_bad_reference(reference):
    with pytest.raises(ValueError, match=f"`reference` between -2 and 1, but got {reference}"):
        fit_weights([[5, 5]], [[2, 3]], reference=reference)
