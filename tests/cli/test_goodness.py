# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What the command says about the fit, and the option `--check`."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from pyro_hypergeo import FisherHypergeometric, datasets, fit_weights
from pyro_hypergeo.cli import check
from pyro_hypergeo.cli.check import PosteriorCheck, check_posterior, save_check
from pyro_hypergeo.cli.estimate import estimate
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.svi import NormalPosterior
from pyro_hypergeo.cli.table import Table, read_table
from pyro_hypergeo.infer import maximum

SMALL = "group,size,drawn,stratum\na,6,4,x\nb,5,2,x\na,4,1,y\nb,7,3,y\n"


def run(tmp_path: Path, *options: object) -> dict[str, Any]:
    file = tmp_path / "numbers.json"
    assert main([*map(str, options), "--steps", "3", "--json", str(file)]) == 0
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def small(tmp_path: Path, text: str = SMALL) -> Path:
    path = tmp_path / "small.csv"
    path.write_text(text, encoding="utf-8")
    return path


def known(table: Table, theta: list[float]) -> NormalPosterior:
    """A posterior of one point."""
    location = torch.tensor(theta) - sum(theta) / len(theta)
    return NormalPosterior(location, torch.zeros(len(theta), len(theta) - 1), 0.0, 1, True)


@pytest.mark.parametrize(
    ("law", "statistic", "scale"), [("fisher", 60.68, 4.5), ("wallenius", 34.35, 3.4)]
)
def test_titanic(
    law: str, statistic: float, scale: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(tmp_path, "--law", law, "--reference", "3rd")
    goodness = found["goodness_of_fit"]
    assert goodness["statistic"] == pytest.approx(statistic, abs=0.005)
    assert goodness["degrees_of_freedom"] == 3
    assert goodness["refuted"] is True
    assert goodness["scale"] == pytest.approx(scale, abs=0.05)
    for name, error in found["mle"]["se"].items():
        assert goodness["scaled_se"][name] == pytest.approx(error * goodness["scale"])
    text = capsys.readouterr().out
    assert f"Fit: X2 {goodness['statistic']:.4g} on 3 degrees of freedom, p = " in text
    assert f"do not fit; the intervals are about {scale} times too narrow" in text
    assert "likelihood ratio against weights of each stratum" in text


def test_small_counts_are_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goodness = run(tmp_path, small(tmp_path))["goodness_of_fit"]
    fit = fit_weights([[6, 5], [4, 7]], [[4, 2], [1, 3]])
    assert goodness["p_simulated"] == fit.goodness_of_fit(10_000).p_simulated
    assert 0 < goodness["p_simulated_se"] < 0.01
    assert goodness["refuted"] is False
    text = capsys.readouterr().out
    assert "by simulation p = " in text
    assert "the same weights in all strata fit" in text


def test_one_stratum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goodness = run(tmp_path, small(tmp_path, "group,size,drawn\na,6,4\nb,5,2\n"))["goodness_of_fit"]
    assert (goodness["degrees_of_freedom"], goodness["p_value"]) == (0, None)
    assert "Fit: nothing to test" in capsys.readouterr().out


def test_groups_without_estimate_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never = SMALL + "never,5,0,x\nnever,3,0,y\n"
    goodness = run(tmp_path, small(tmp_path, never), "--reference", "a")["goodness_of_fit"]
    assert goodness["groups"] == ["a", "b"]
    expected = fit_weights([[6, 5], [4, 7]], [[4, 2], [1, 3]]).goodness_of_fit().statistic
    assert goodness["statistic"] == pytest.approx(expected)
    assert "Fit (a, b alone): X2" in capsys.readouterr().out
    found = run(tmp_path, small(tmp_path, never), "--reference", "never")
    assert found["goodness_of_fit"] is None
    assert "Fit" not in capsys.readouterr().out


def test_plot_says_that_the_model_is_refuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []

    def save(figure: Figure, *_: object, **__: object) -> None:
        titles.append(figure.axes[0].get_title())

    monkeypatch.setattr(Figure, "savefig", save)
    run(tmp_path, "--plot", tmp_path / "a.png")
    run(tmp_path, small(tmp_path), "--plot", tmp_path / "b.png")
    assert "do not fit:\nthe intervals are about 4.5 times too narrow" in titles[0]
    assert titles[1] == "Weights of the groups in small.csv"


@pytest.mark.parametrize("engine", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_check(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "check.png"
    options = ["--engine", engine, "--samples", "60", "--chains", "1", "--check", picture]
    found = run(tmp_path, *options)["posterior_check"]
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert found["p_value"] == 0
    assert found["tables"] == (1000 if engine == "svi" else 60)
    bound = "0.001" if engine == "svi" else "0.017"
    assert f"Posterior predictive check: p < {bound}; 0 of" in capsys.readouterr().out
    found = run(tmp_path, small(tmp_path), *options)["posterior_check"]
    assert 0.05 < found["p_value"] < 0.95
    assert f"p = {found['p_value']:.3f} (s.e. " in capsys.readouterr().out


def test_check_against_a_known_law() -> None:
    table = read_table(datasets.path("titanic.csv"))
    theta = [0.3, -0.2, 0.1, 0.0]
    found = check_posterior(table, known(table, theta), seed=3)
    urns = FisherHypergeometric(table.counts.sum(-1), table.sizes, log_weights=torch.tensor(theta))
    # The counts are from the law, and each statistic has the mean 2 strata x 3.
    z = (found.counts.mean(0) - urns.mean) / (urns.variance / 1000).sqrt()
    assert z.abs().max() < 4
    assert abs(found.drawn.mean() - 6) < 4 * (12 / 1000) ** 0.5
    inverse = torch.linalg.pinv(urns.covariance_matrix, hermitian=True, rtol=1e-10)
    for statistic, counts in [
        (found.observed[0], table.counts),
        (found.observed[999], table.counts),
        (found.drawn[7], found.counts[7]),
    ]:
        rest = counts - urns.mean
        truth = torch.einsum("si,sij,sj->", rest, inverse, rest)
        torch.testing.assert_close(statistic, truth, rtol=1e-6, atol=0)


def test_check_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_table(datasets.path("titanic.csv"))
    monkeypatch.setattr(maximum, "_CELLS", 50)  # three draws at once, strata one after the other
    monkeypatch.setattr(check, "_MOST_TABLES", 100)
    found = check_posterior(table, known(table, [0.3, -0.2, 0.1, 0.0]))
    assert found.counts.shape == (100, 2, 4)
    assert (found.counts.sum(-1) == table.counts.sum(-1)).all()
    assert (found.counts <= table.sizes).all()
    assert found.observed.std() < 1e-9 * found.observed.mean()


def test_p_value_counts_ties() -> None:
    one = torch.ones(4)
    found = PosteriorCheck(one, one + torch.tensor([0, -1e-12, 1, -1]), torch.zeros(4, 1, 2))
    assert found.p_value == 0.75
    assert found.standard_error == pytest.approx((0.75 * 0.25 / 4) ** 0.5)


def test_picture_of_many_cells_shows_the_furthest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    sizes = torch.full((15, 3), 8.0)
    sizes[0, 2] = 0
    counts = torch.full((15, 3), 4.0)
    counts[0] = torch.tensor([7.0, 1, 0])
    table = Table("many", ["a$", "b", "c"], sizes, counts)
    save_check(check_posterior(table, known(table, [0.0, 0.0, 0.0])), table, tmp_path / "c.png")
    names = [label.get_text() for label in figures[0].axes[1].get_yticklabels()]
    assert len(names) == 20
    assert names[:2] == [r"a\$, stratum 1", "b, stratum 1"]
    assert "c, stratum 1" not in names


def test_bad_name_of_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "check.pdf"]) == 2
    assert "--check check.pdf: expected a name that ends in .png" in capsys.readouterr().err


def test_check_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--check", str(tmp_path / "check.png")]) == 2
    assert "--check needs matplotlib" in capsys.readouterr().err


def test_large_tables_are_simulated_less(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(
        "t", ["a", "b"], torch.tensor([[6.0, 5], [4, 7]]), torch.tensor([[4.0, 2], [1, 3]])
    )
    monkeypatch.setattr("pyro_hypergeo.cli.estimate._MAX_CELLS", 4 * 2000)
    goodness = estimate(table, 0).goodness
    assert goodness is not None
    expected = fit_weights(table.sizes, table.counts).goodness_of_fit(2000).p_simulated
    assert goodness.p_simulated == expected
    monkeypatch.setattr("pyro_hypergeo.cli.estimate._MAX_CELLS", 4 * 999)
    goodness = estimate(table, 0).goodness
    assert goodness is not None
    assert goodness.p_simulated is None
    assert "a simulated p-value is safer" in str(goodness)
