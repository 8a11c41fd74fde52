# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The option `--netcdf`: what the file holds, and that ArviZ reads it."""

import sys
from pathlib import Path

import pytest
import torch

from pyro_hypergeo import FisherHypergeometric, datasets
from pyro_hypergeo.cli import netcdf
from pyro_hypergeo.cli.estimate import estimate
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.nuts import SampledPosterior
from pyro_hypergeo.cli.report import make_report
from pyro_hypergeo.cli.table import read_table
from pyro_hypergeo.ops.zero_sum import zero_sum_vector


def sampled() -> SampledPosterior:
    diverging = torch.zeros(2, 5, dtype=torch.bool)
    diverging[1, 3] = True
    return SampledPosterior(zero_sum_vector(torch.randn(2, 5, 3)), diverging, 200, 2)


def test_groups_and_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    table, posterior = read_table(datasets.path("titanic.csv")), sampled()
    report = make_report(table, 2, posterior, estimate(table, 2))
    monkeypatch.setattr(netcdf, "_CELLS", 24)  # three draws at once, so several parts
    groups = netcdf._groups(report, posterior.log_weights)
    assert list(groups) == [
        "posterior",
        "log_likelihood",
        "observed_data",
        "constant_data",
        "sample_stats",
    ]
    for variables in groups.values():
        for dims, value in variables.values():
            assert len(dims) == value.dim()
    _, relative = groups["posterior"]["relative_log_weights"]
    assert not relative[..., 2].any()
    _, log_likelihood = groups["log_likelihood"]["drawn"]
    assert log_likelihood.shape == (2, 5, 2)
    urns = FisherHypergeometric(
        table.counts.sum(-1), table.sizes, log_weights=posterior.log_weights[1, 3]
    )
    torch.testing.assert_close(log_likelihood[1, 3], urns.log_prob(table.counts))


def test_without_arviz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "arviz", None)
    path = tmp_path / "draws.nc"
    assert main(["--netcdf", str(path)]) == 2
    assert capsys.readouterr().err == (
        'error: --netcdf needs arviz: pip install "pyro-hypergeo[arviz]"\n'
    )
    assert not path.exists()


@pytest.mark.filterwarnings("ignore")  # ArviZ announces its next version
@pytest.mark.parametrize("engine", ["svi", "nuts"])
def test_arviz_reads_it(engine: str, tmp_path: Path) -> None:
    arviz = pytest.importorskip("arviz")
    path = tmp_path / "draws.nc"
    argv = ["--engine", engine, "--steps", "5", "--samples", "7", "--netcdf", str(path)]
    assert main(argv) == 0
    data = arviz.from_netcdf(path)
    chains = 2 if engine == "nuts" else 1
    assert data.posterior.sizes == {"chain": chains, "draw": 7, "group": 4}
    assert data.posterior.group.values.tolist() == ["1st", "2nd", "3rd", "Crew"]
    assert abs(data.posterior.log_weights.sum("group")).max() < 1e-12
    assert data.observed_data.drawn.sum() == 711
    assert data.log_likelihood.drawn.dims == ("chain", "draw", "stratum")
    if engine == "nuts":
        assert not data.sample_stats.diverging.any()
    else:
        assert not hasattr(data, "sample_stats")
