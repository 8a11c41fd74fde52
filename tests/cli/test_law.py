# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The option `--law`."""

import json
from pathlib import Path

import pytest
import torch

from pyro_hypergeo import WalleniusHypergeometric, datasets, fit_weights
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.model import laplace
from pyro_hypergeo.cli.table import read_table
from pyro_hypergeo.ops.zero_sum import zero_sum_vector


def run(tmp_path: Path, *options: str) -> dict:  # type: ignore[type-arg]
    file = tmp_path / "numbers.json"
    assert main([*options, "--json", str(file)]) == 0
    return json.loads(file.read_text())


@pytest.mark.slow
def test_titanic_under_both_laws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_table(datasets.path("titanic.csv"))
    likelihoods = []
    for law in ("fisher", "wallenius"):
        report = run(tmp_path, "--law", law, "--reference", "3rd")
        assert f"Law: {law.capitalize()}'" in capsys.readouterr().out
        assert report["law"] == law
        fit = fit_weights(table.sizes, table.counts, reference=2, law=law)
        for at, name in enumerate(table.groups):
            mle, se = report["mle"]["log_weights"][name], report["mle"]["se"][name]
            assert mle == pytest.approx(fit.log_weights[at].item(), abs=1e-9)
            assert se == pytest.approx(fit.standard_errors[at].item(), abs=1e-9)
            posterior = report["posterior"]["log_weights"][name]
            assert abs(posterior["median"] - mle) < 0.15 * max(se, 1e-12)
            assert posterior["sd"] == pytest.approx(se, rel=0.1)
        likelihoods.append(report["mle"]["log_likelihood"])
        assert likelihoods[-1] == pytest.approx(fit.log_likelihood.item())
    assert likelihoods[1] - likelihoods[0] > 10  # the boats filled one place after the other


def test_mode_and_curvature_of_the_posterior() -> None:
    table, scale = read_table(datasets.path("titanic.csv")), 0.7
    mode, factor = laplace(table, scale, "wallenius")

    def log_density(z: torch.Tensor) -> torch.Tensor:
        urns = WalleniusHypergeometric(
            table.counts.sum(-1), table.sizes, log_weights=zero_sum_vector(z)
        )
        return urns.log_prob(table.counts).sum() - 0.5 * (z / scale).square().sum()

    at = mode.requires_grad_()
    (gradient,) = torch.autograd.grad(log_density(at), at)
    assert gradient.abs().max() < 1e-5
    hessian = torch.autograd.functional.hessian(log_density, mode.detach())
    torch.testing.assert_close(factor @ factor.mT, torch.linalg.inv(-hessian))


@pytest.mark.slow
def test_groups_drawn_wholly(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("group,size,drawn\na,10,4\nb,5,5\nc,20,3\n")
    report = run(tmp_path, str(file), "--law", "wallenius", "--steps", "50")
    assert report["mle"]["log_weights"]["b"] is None
    alone = fit_weights([10, 20], [4, 3], reference=1, law="wallenius")
    expected = alone.log_weights[0].item()
    assert report["mle"]["log_weights"]["a"] == pytest.approx(expected, abs=1e-9)


def test_unknown_law(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--law", "chesson"]) == 2
    assert "--law" in capsys.readouterr().err


@pytest.mark.slow
def test_nuts_and_netcdf(tmp_path: Path) -> None:
    pytest.importorskip("arviz")
    import xarray

    file = tmp_path / "table.csv"
    file.write_text("group,size,drawn\na,10,4\nb,15,5\n")
    saved = tmp_path / "draws.nc"
    report = run(
        tmp_path, str(file), "--law", "wallenius", "--engine", "nuts",
        "--samples", "50", "--chains", "1", "--netcdf", str(saved),
    )  # fmt: skip
    assert report["law"] == "wallenius"
    with xarray.open_datatree(saved, engine="h5netcdf") as tree:
        theta = torch.from_numpy(tree["posterior"]["log_weights"].values)
        stored = torch.from_numpy(tree["log_likelihood"]["drawn"].values).squeeze(-1)
    urns = WalleniusHypergeometric(9, [10, 15], log_weights=theta)
    torch.testing.assert_close(stored, urns.log_prob(torch.tensor([4.0, 5.0])))
