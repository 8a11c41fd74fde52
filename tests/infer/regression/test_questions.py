# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Questions to a fit: tests, intervals, robust errors, predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, compare_laws, fit_regression, ops
from tests.infer.regression.test_fit import LAWS, long_table


def normal_equations(design: Tensor, counts: Tensor, strata: Tensor, sizes: Tensor, law: str):  # type: ignore[no-untyped-def]
    return fit_regression(design, counts, strata=strata, group_sizes=sizes, law=law)


@pytest.mark.parametrize("law", LAWS)
def test_global_tests_and_contrasts(law: str) -> None:
    design, counts, strata, sizes = long_table([9, 14, 6, 20], p=3, size=3)
    fit = normal_equations(design, counts, strata, sizes, law)
    smaller = normal_equations(design[:, :2], counts, strata, sizes, law)
    ratio = fit.likelihood_ratio(smaller)
    assert ratio.degrees_of_freedom == 1
    assert ratio.statistic == pytest.approx(2 * (fit.log_likelihood - smaller.log_likelihood))
    assert ratio.p_value == pytest.approx(stats.chi2.sf(ratio.statistic, 1), rel=1e-10)
    assert fit.likelihood_ratio().degrees_of_freedom == 3
    one = fit.wald({"x2": 1.0})
    assert one.statistic == pytest.approx(fit.z_values[1].item() ** 2)
    assert one.p_value == pytest.approx(fit.p_values[1].item())
    assert fit.wald([[1, 0, 0], [0, 1, -1]]).degrees_of_freedom == 2
    # All three are close to each other.
    tests = [fit.likelihood_ratio(), fit.wald(), fit.score()]
    assert max(t.statistic for t in tests) < 2 * min(t.statistic for t in tests)
    with pytest.raises(ValueError, match="unknown|name covariates"):
        fit.wald({"x9": 1.0})
    with pytest.raises(ValueError, match="`contrast` of shape"):
        fit.wald([1.0, 2.0])
    with pytest.raises(ValueError, match="fewer covariates"):
        smaller.likelihood_ratio(fit)
    with pytest.raises(ValueError, match="same rows"):
        fit.likelihood_ratio(normal_equations(design[:9], counts[:9], strata[:9], sizes[:9], law))


@pytest.mark.parametrize("law", LAWS)
def test_intervals(law: str) -> None:
    design, counts, strata, sizes = long_table([9, 14, 6, 20], p=2, size=3)
    scaled = design * torch.tensor([1.0, 100.0])
    fit = normal_equations(scaled, counts, strata, sizes, law)
    wald = fit.confidence_intervals(0.9)
    reach = stats.norm.ppf(0.95) * fit.standard_errors
    torch.testing.assert_close(
        wald, torch.stack([fit.coefficients - reach, fit.coefficients + reach], -1)
    )
    profile = fit.confidence_intervals(0.9, profile=True)
    assert ((profile - wald).abs() < 0.3 * reach.unsqueeze(-1)).all()
    # At an end of the interval, the other coefficient is fitted with this one held by the offset.
    for j, end in ((0, 0), (1, 1)):
        held = fit_regression(
            scaled[:, [1 - j]],
            counts,
            strata=strata,
            group_sizes=sizes,
            law=law,
            offset=scaled[:, j] * profile[j, end],
        )
        lost = 2 * (fit.log_likelihood - held.log_likelihood)
        assert lost == pytest.approx(stats.chi2.ppf(0.9, 1), rel=1e-6)
    with pytest.raises(ValueError, match="`level`"):
        fit.confidence_intervals(1.5)


@pytest.mark.parametrize("law", LAWS)
def test_score_tests_are_those_of_one_more_covariate(law: str) -> None:
    design, counts, strata, sizes = long_table([9, 14, 6, 20, 6], p=2, size=3)
    fit = normal_equations(design, counts, strata, sizes, law)
    candidates = torch.cat([torch.randn(len(counts), 3), (torch.rand(len(counts), 2) < 0.3)], -1)
    dense = fit.score_tests(candidates)
    for other in (sparse.csr_matrix(candidates.numpy()), sparse.csc_array(candidates.numpy())):
        torch.testing.assert_close(fit.score_tests(other).z_values, dense.z_values)
    for k in range(5):
        both = torch.cat([design, candidates[:, k : k + 1]], -1)
        larger = normal_equations(both, counts, strata, sizes, law)
        # Rao's test with the fitted coefficients: a score at the smaller maximum.
        at = larger.likelihood.at(
            torch.cat([fit.coefficients, torch.zeros(1)]) * larger.likelihood.scale
        )
        rao = at.gradient @ torch.linalg.solve(at.information, at.gradient)
        assert dense.z_values[k].square().item() == pytest.approx(rao.item(), rel=1e-7)
        assert dense.p_values[k].item() == pytest.approx(stats.chi2.sf(rao.item(), 1), rel=1e-6)
    own = fit.score_tests(design)
    assert own.z_values.isnan().all()
    with pytest.raises(ValueError, match="one row for each"):
        fit.score_tests(candidates[:5])
    candidates[5, 1] = math.nan
    for wrong in (candidates, sparse.csr_matrix(candidates.numpy())):
        with pytest.raises(ValueError, match="`candidates` to be finite.*nan in row 5, column 1"):
            fit.score_tests(wrong)


def categories(
    rng: np.random.Generator, genes: int, number: int, share: float
) -> sparse.csr_matrix:
    places = rng.choice(genes * number, int(share * genes * number), replace=True)
    return sparse.csr_matrix((np.ones(len(places)), np.divmod(places, number)), (genes, number)) > 0


def test_score_tests_are_uniform_if_nothing_is_there() -> None:
    torch.manual_seed(1)
    genes = 20_000
    length = torch.randn(genes, 3)
    counts = ops.sample(
        length @ torch.tensor([0.6, 0.2, 0.1]), torch.ones(genes), torch.tensor(2e3)
    )
    rng = np.random.default_rng(0)
    member = categories(rng, genes, 5000, 0.01)
    p = fit_regression(length, counts).score_tests(member).p_values
    assert 0.04 < (p < 0.05).double().mean() < 0.06
    assert stats.kstest(p.numpy(), "uniform").statistic < 0.03
    # Long genes are drawn more often. So categories of long genes seem enriched if that is ignored.
    kept = rng.random(genes) < torch.sigmoid(3 * length[:, 0] - 1).numpy()
    of_long = sparse.diags(kept.astype(float)) @ member
    ignored = fit_regression(torch.randn(genes), counts).score_tests(of_long)
    assert (ignored.p_values < 0.05).double().mean() > 0.2


def test_robust_errors() -> None:
    design, counts, strata, sizes = long_table([9, 14, 6, 20, 11, 7], p=2, size=3)
    fit = normal_equations(design, counts, strata, sizes, "fisher")
    robust = fit.robust()
    torch.testing.assert_close(robust.coefficients, fit.coefficients)
    assert "sandwich" in str(robust)
    own = fit.robust(cluster=strata)
    torch.testing.assert_close(own.covariance, robust.covariance)
    pairs = fit.robust(cluster=strata // 2)
    assert (pairs.standard_errors != robust.standard_errors).all()
    with pytest.raises(ValueError, match="same for all rows of a stratum"):
        fit.robust(cluster=torch.arange(len(counts)))
    with pytest.raises(ValueError, match="at least two clusters.*dispersion"):
        fit.robust(cluster=torch.zeros(len(counts)))
    two = fit.robust(cluster=strata // 3)  # a covariance of rank 1
    assert two.standard_errors.isfinite().all()
    assert math.isnan(two.wald().p_value)
    assert two.wald({"x1": 1.0}).p_value == pytest.approx(two.p_values[0].item())
    assert "Wald: not defined" in str(two)
    alone = fit_regression(design[:9], counts[:9], group_sizes=sizes[:9])
    with pytest.raises(ValueError, match="In a single urn"):
        alone.robust()


@pytest.mark.parametrize("law", LAWS)
def test_predictions_and_simulations(law: str) -> None:
    design, counts, strata, sizes = long_table([5, 7, 5, 4], p=2, size=3)
    fit = normal_equations(design, counts, strata, sizes, law)
    mean = fit.predict()
    for s in range(4):
        assert mean[strata == s].sum().item() == pytest.approx(counts[strata == s].sum().item())
    simulated = fit.simulate(4000)
    assert simulated.shape == (4000, len(counts))
    for s in range(4):
        assert (simulated[:, strata == s].sum(-1) == counts[strata == s].sum()).all()
    error = (simulated.mean(0) - mean) / (simulated.std(0).clamp(min=1e-3) / math.sqrt(4000))
    assert error.abs().max() < 4.5
    totals = [counts[strata == s].sum().item() for s in range(4)]
    again = fit.predict(design, total_count=totals, strata=strata, group_sizes=sizes)
    torch.testing.assert_close(again, mean)
    assert fit.predict([[0.0, 0.0], [1.0, 0.0]], total_count=1).sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="`total_count`"):
        fit.predict(design)
    with pytest.raises(ValueError, match="`total_count`.*3"):
        fit.predict([[0.0, 0.0], [1.0, 0.0]], total_count=3)
    with pytest.raises(ValueError, match="2 covariates"):
        fit.predict([[0.0], [1.0]], total_count=1)
    if law == "fisher":
        score = (counts - mean) @ design
        assert score.abs().max() < 1e-8


def test_dispersion_is_one_if_the_model_holds_and_larger_if_counts_clump() -> None:
    torch.manual_seed(0)
    design, sizes = torch.randn(400, 1), torch.full((400,), 40.0)
    theta = 0.5 * design[:, 0]
    counts = ops.sample(theta, sizes, torch.tensor(4000.0))
    assert 0.8 < fit_regression(design, counts, group_sizes=sizes).dispersion < 1.2
    clumped = ops.sample(theta + torch.randn(400), sizes, torch.tensor(4000.0))
    assert fit_regression(design, clumped, group_sizes=sizes).dispersion > 3


def test_permuted_labels_keep_their_level_where_errors_do_not() -> None:
    # A network of 12 nodes that are more and less active: a random label seems to matter.
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(12, 1)

    def number_of(label: np.ndarray) -> Tensor:
        return torch.from_numpy((label[first] + label[second]).astype(float)).unsqueeze(-1)

    wrong, small = 0, []
    for _ in range(40):
        activity = torch.from_numpy(rng.normal(size=12))
        theta = activity[first] + activity[second]
        counts = ops.sample(theta, torch.full((66,), 90.0), torch.tensor(1500.0))
        label = rng.permutation(np.repeat([0, 1], 6))
        fit = fit_regression(number_of(label), counts, group_sizes=torch.full((66,), 90.0))
        wrong += int(fit.p_values < 0.05)
        p = fit.permutation_test(lambda g, label=label: number_of(g.permutation(label)), number=99)
        small.append(p.item())
    assert wrong > 8
    assert sum(p <= 0.05 for p in small) <= 6
    with pytest.raises(ValueError, match="`permute` to return a design of shape"):
        fit.permutation_test(lambda g: torch.zeros(3, 1), number=9)
    with pytest.raises(ValueError, match="finite design"):
        fit.permutation_test(lambda g: torch.full((66, 1), math.nan), number=9)


def test_pairs_are_logistic_regression_of_differences() -> None:
    torch.manual_seed(0)
    case, control = torch.randn(500, 2) + torch.tensor([0.5, 0.0]), torch.randn(500, 2)
    rows = torch.stack([case, control], 1).reshape(-1, 2)
    fit = fit_regression(rows, [1, 0] * 500, strata=np.repeat(np.arange(500), 2))
    beta = torch.zeros(2)
    difference = case - control
    for _ in range(30):
        p = torch.sigmoid(difference @ beta)
        information = (difference * (p * (1 - p)).unsqueeze(-1)).mT @ difference
        beta = beta + torch.linalg.solve(information, (1 - p) @ difference)
    torch.testing.assert_close(fit.coefficients, beta, rtol=1e-9, atol=0)
    torch.testing.assert_close(fit.covariance, torch.linalg.inv(information), rtol=1e-7, atol=0)


def test_compare_laws_takes_a_design() -> None:
    torch.manual_seed(0)
    design, sizes = torch.randn(60, 1), torch.full((60,), 3.0)
    urn = FisherHypergeometric(70, sizes, log_weights=1.5 * design[:, 0])
    comparison = compare_laws(sizes, urn.sample(), design=design)
    assert comparison.fisher.names == ("x1",)
    assert comparison.log_ratio == pytest.approx(
        comparison.wallenius.log_likelihood - comparison.fisher.log_likelihood
    )
    assert "log-likelihood" in str(comparison)


def test_a_data_frame_gives_names() -> None:
    pandas = pytest.importorskip("pandas")
    design, counts, strata, sizes = long_table([9, 14, 6], p=2)
    frame = pandas.DataFrame(design.numpy(), columns=["age", "dose"])
    frame["case"], frame["set"] = counts.numpy(), [f"set {s}" for s in strata]
    fit = fit_regression(frame[["age", "dose"]], frame["case"], strata=frame["set"])
    assert fit.names == ("age", "dose")
    assert fit_regression(frame["age"], frame["case"]).names == ("age",)
    plain = fit_regression(design, counts, strata=strata)
    torch.testing.assert_close(fit.coefficients, plain.coefficients)
    frame.loc[4, "dose"] = np.nan
    with pytest.raises(ValueError, match="nan in row 4, covariate 'dose'"):
        fit_regression(frame[["age", "dose"]], frame["case"])
