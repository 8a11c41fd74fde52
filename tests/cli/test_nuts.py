# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine `nuts`, its diagnostics and its warnings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import datasets, fit_weights
from pyro_hypergeo.cli.convergence import rank_r_hat
from pyro_hypergeo.cli.estimate import estimate
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.model import laplace
from pyro_hypergeo.cli.nuts import SampledPosterior, sample_posterior
from pyro_hypergeo.cli.report import as_json, as_text, make_report
from pyro_hypergeo.cli.svi import infer_posterior
from pyro_hypergeo.cli.table import Table, read_table
from pyro_hypergeo.ops.zero_sum import zero_sum_vector

SCALE, REFERENCE = 3.0, 2
OTHERS = [0, 1, 3]


def titanic() -> Table:
    return read_table(datasets.path("titanic.csv"))


@pytest.fixture(scope="module")
def sampled() -> SampledPosterior:
    return sample_posterior(titanic(), SCALE, reference=REFERENCE, samples=800, chains=2, seed=0)


def independent(chains: int = 2, samples: int = 500, divergences: int = 0) -> SampledPosterior:
    """Draws that have converged: they come from the posterior itself."""
    draws = zero_sum_vector(torch.randn(chains, samples, 3))
    diverging = torch.zeros(chains, samples, dtype=torch.bool)
    diverging[0, :divergences] = True
    return SampledPosterior(draws, diverging, 200, REFERENCE)


@pytest.mark.slow
def test_titanic_has_converged(sampled: SampledPosterior) -> None:
    assert sampled.log_weights.shape == (2, 800, 4)
    assert sampled.warmup == 100
    torch.testing.assert_close(sampled.log_weights.sum(-1), torch.zeros(2, 800))
    assert sampled.divergences == 0
    assert sampled.r_hat < 1.01
    assert sampled.effective_samples > 400
    assert sampled.warning() == ""


def agree(got: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> None:
    """Medians to a tenth of a standard deviation and standard deviations to a tenth."""
    (median, sd), (wanted_median, wanted_sd) = got, wanted
    assert ((median - wanted_median) / wanted_sd)[OTHERS].abs().max() < 0.1
    assert (sd / wanted_sd - 1)[OTHERS].abs().max() < 0.1
    assert median[REFERENCE] == sd[REFERENCE] == 0


@pytest.mark.slow
def test_titanic_agrees_with_the_other_engine(sampled: SampledPosterior) -> None:
    svi = infer_posterior(titanic(), SCALE, reference=REFERENCE, max_steps=2000, seed=0)
    agree(sampled.relative_to(REFERENCE), svi.relative_to(REFERENCE))
    sd = svi.relative_to(REFERENCE)[1]
    for got, wanted in zip(sampled.interval(REFERENCE), svi.interval(REFERENCE), strict=True):
        assert ((got - wanted) / sd)[OTHERS].abs().max() < 0.2


@pytest.mark.slow
def test_titanic_agrees_with_the_laplace_approximations(sampled: SampledPosterior) -> None:
    table = titanic()
    mode, factor = laplace(table, SCALE)
    theta, rows = zero_sum_vector(mode), zero_sum_vector(factor.mT).mT
    of_prior = theta - theta[REFERENCE], (rows - rows[REFERENCE]).norm(dim=-1)
    agree(sampled.relative_to(REFERENCE), of_prior)
    fit = fit_weights(table.sizes, table.counts, reference=REFERENCE)
    agree(sampled.relative_to(REFERENCE), (fit.log_weights, fit.standard_errors))


@pytest.mark.slow
def test_report_of_draws(sampled: SampledPosterior) -> None:
    table = titanic()
    report = make_report(table, REFERENCE, sampled, estimate(table, REFERENCE))
    out = as_json(report)
    assert out["engine"] == "nuts"
    posterior = out["posterior"]
    assert (posterior["chains"], posterior["samples"], posterior["warmup"]) == (2, 800, 100)
    assert posterior["divergences"] == 0
    assert posterior["r_hat"] == sampled.r_hat
    relative = (sampled.log_weights - sampled.log_weights[..., [2]]).flatten(0, 1)
    first = posterior["log_weights"]["1st"]
    assert first["q05"] == relative[:, 0].quantile(0.05).item()
    assert first["q95"] == relative[:, 0].quantile(0.95).item()
    text = as_text(report)
    assert "NUTS: 2 chains of 800 draws after 100 of warmup" in text
    assert f"r_hat {sampled.r_hat:.4f}, 0 divergences" in text


@pytest.mark.slow
def test_too_few_draws_end_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, path = tmp_path / "two.csv", tmp_path / "out.json"
    table.write_text("group,size,drawn\na,50,15\nb,90,20\n")
    argv = [str(table), "--engine", "nuts", "--samples", "4", "--chains", "1", "--json", str(path)]
    state = torch.get_rng_state(), torch.get_num_threads()
    assert main(argv) == 0
    assert torch.equal(torch.get_rng_state(), state[0]) and torch.get_num_threads() == state[1]
    captured = capsys.readouterr()
    warning = captured.err.strip().splitlines()[-1]
    assert warning.startswith("warning: NUTS has not converged: r_hat is ")
    assert warning.endswith("not below 1.01; give it more by --samples")
    assert "NUTS: 1 chain of 4 draws after 100 of warmup" in captured.out
    first: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert first["engine"] == "nuts" and first["posterior"]["chains"] == 1
    assert main(argv) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == first


def test_warnings() -> None:
    assert independent().warning() == ""
    assert "there are 2 divergences; give" in independent(divergences=2).warning()
    apart = independent()
    apart.log_weights[0] += zero_sum_vector(torch.tensor([1.0, 0.0, 0.0]))
    assert "r_hat is 1." in apart.warning()
    still = independent()
    still.log_weights[:] = 0
    assert "r_hat is nan" in still.warning()
    assert still.diagnostics()["r_hat"] is None
    assert still.diagnostics()["effective_samples"] is None


def test_only_a_difference_has_not_converged() -> None:
    # Two entries are nearly equal. Their small difference is another in each chain.
    common = torch.randn(2, 500)
    gap = 0.01 * torch.randn(2, 500) + torch.tensor([[0.0], [0.02]])
    draws = torch.stack([common + gap, common - gap, torch.randn(2, 500)], -1)
    posterior = SampledPosterior(draws, torch.zeros(2, 500, dtype=torch.bool), 200, reference=1)
    assert rank_r_hat(draws).max() < 1.01
    assert posterior.r_hat > 1.1


def test_r_hat_sees_place_width_and_heavy_tails() -> None:
    draws = torch.randn(4, 1000, 3)
    assert rank_r_hat(draws).max() < 1.01
    moved, wide = draws.clone(), draws.clone()
    moved[0, :, 1] += 1
    wide[0, :, 1] *= 3
    for wrong in (moved, wide):
        r_hat = rank_r_hat(wrong)
        assert r_hat[1] > 1.05 and r_hat[[0, 2]].max() < 1.01
    # A monotone map does not change ranks, even if it makes the tails heavy.
    torch.testing.assert_close(rank_r_hat(moved.pow(9))[1], rank_r_hat(moved)[1], atol=0.1, rtol=0)
    drift = draws + torch.linspace(-1, 1, 1000).unsqueeze(-1)
    assert rank_r_hat(drift).min() > 1.05
