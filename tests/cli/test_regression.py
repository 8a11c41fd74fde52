# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command with covariates: numbers, files, engines and mistakes."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyro_hypergeo import (
    FisherHypergeometric,
    StratifiedTable,
    fit_regression,
)
from pyro_hypergeo.cli import main
from pyro_hypergeo.cli.regression_posterior import (
    laplace_coefficients,
    sample_coefficients,
    settled_coefficients,
)
from pyro_hypergeo.infer.regression.likelihood import TableLikelihood
from pyro_hypergeo.ops.fisher.law import FISHER

# Matched sets: who of each became a case?
SETS = """\
set,clinic,case,age,dose,arm
a,n,1,61,2.5,new
a,n,0,52,1.5,old
a,n,0,47,0.5,old
b,n,0,38,3,new
b,n,1,55,1,old
b,n,0,41,0,old
c,m,1,70,2,new
c,m,1,66,0.5,old
c,m,0,69,1,new
c,m,0,50,2.5,old
d,m,0,58,1.5,new
d,m,1,49,3,old
d,m,0,44,2,new
"""
AGE = [61, 52, 47, 38, 55, 41, 70, 66, 69, 50, 58, 49, 44]
DOSE = [2.5, 1.5, 0.5, 3, 1, 0, 2, 0.5, 1, 2.5, 1.5, 3, 2]
CASE = [1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0]
STRATA = list("aaabbbccccddd")
CLINIC = list("nnnnnnmmmmmmm")
NEW = [1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1]
USUAL = ["--drawn", "case", "--stratum", "set"]


@pytest.fixture
def sets(tmp_path: Path) -> str:
    return written(tmp_path, SETS)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sets.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def numbers(tmp_path: Path, *argv: str) -> dict[str, Any]:
    path = tmp_path / "out.json"
    assert main([*argv, "--json", str(path)]) == 0
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def mistake(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that the command says after a mistake."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *notes, line = captured.err.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert line.startswith("error: ")
    return line


def test_prints_and_writes_the_fit(
    sets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = numbers(tmp_path, sets, *USUAL, "--covariates", "age,dose")
    fit = fit_regression(torch.tensor([AGE, DOSE]).T, CASE, strata=STRATA, names=["age", "dose"])
    captured = capsys.readouterr()
    assert str(fit) in captured.out
    assert captured.err == f"note: {sets}:1: columns not used: clinic, arm\n"
    assert out["covariates"] == ["age", "dose"] and out["engine"] is None
    assert (out["rows"], out["strata"], out["elements"], out["drawn"]) == (13, 4, 13, 5)
    mle = out["mle"]
    assert list(mle["coefficients"].values()) == fit.coefficients.tolist()
    assert list(mle["se"].values()) == fit.standard_errors.tolist()
    assert mle["factors"]["age"] == math.exp(fit.coefficients[0])
    assert mle["p_values"]["dose"] == float(fit.p_values[1])
    assert list(mle["intervals"]["age"].values()) == fit.confidence_intervals()[0].tolist()
    assert mle["covariance"] == fit.covariance.tolist()
    assert mle["log_likelihood"] == fit.log_likelihood
    assert mle["dispersion"] == fit.dispersion
    for name in ("likelihood_ratio", "wald", "score"):
        assert tuple(mle[name].values()) == tuple(getattr(fit, name)())
    assert "posterior" not in out


def test_options_reach_the_fit(tmp_path: Path) -> None:
    # Sizes, an offset that forbids a row, Wallenius' law, a ridge, clusters of strata.
    size = [3, 1, 2, 1, 4, 1, 2, 2, 1, 1, 2, 3, 1]
    offset = ["0.5"] * 12 + ["-inf"]
    lines = SETS.splitlines()
    wide = [lines[0] + ",n,known"]
    wide += [f"{x},{n},{o}" for x, n, o in zip(lines[1:], size, offset, strict=True)]
    path = written(tmp_path, "\n".join(wide))
    argv = [path, "--outcome", "case", "--stratum", "set", "--covariates", "age", "--size", "n"]
    argv += ["--offset", "known", "--law", "wallenius", "--ridge", "0.1"]
    counts = [n * case for n, case in zip(size, CASE, strict=True)]
    fit = fit_regression(
        AGE,
        counts,
        strata=STRATA,
        group_sizes=size,
        offset=[float(x) for x in offset],
        law="wallenius",
        ridge=0.1,
    )
    plain = numbers(tmp_path, *argv)["mle"]
    assert plain["coefficients"]["age"] == pytest.approx(float(fit.coefficients[0]), rel=1e-12)
    assert plain["ridge"] == 0.1 and plain["se_from"] == "information"
    for option, cluster in ((["--robust"], None), (["--robust", "clinic"], CLINIC)):
        out = numbers(tmp_path, *argv, *option)["mle"]
        expected = float(fit.robust(cluster).standard_errors[0])
        assert out["se"]["age"] == pytest.approx(expected, rel=1e-12)
        assert out["se_from"] == "clustered"


def test_strata_is_another_name_of_stratum(sets: str, tmp_path: Path) -> None:
    argv = [sets, "--drawn", "case", "--covariates", "age"]
    assert numbers(tmp_path, *argv, "--strata", "set") == numbers(
        tmp_path, *argv, "--stratum", "set"
    )


def test_default_names_of_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "stratum,drawn,left,x\na,2,1,5\na,0,4,1\na,1,1,2\n")
    out = numbers(tmp_path, path, "--covariates", "x")
    fit = fit_regression([5, 1, 2], [2, 0, 1], group_sizes=[3, 4, 2])
    assert out["mle"]["log_likelihood"] == fit.log_likelihood


def test_formula_against_columns_by_hand(sets: str, tmp_path: Path) -> None:
    out = numbers(tmp_path, sets, "--strata", "set", "--formula", "case ~ dose + C(arm)")
    assert out["covariates"] == ["dose", "C(arm)[T.old]"]
    old = [1 - new for new in NEW]
    fit = fit_regression(torch.tensor([DOSE, old]).T, CASE, strata=STRATA)
    assert list(out["mle"]["coefficients"].values()) == pytest.approx(
        fit.coefficients.tolist(), rel=1e-12
    )


def test_without_an_intercept_categories_are_as_with_one(sets: str, tmp_path: Path) -> None:
    argv = [sets, "--strata", "set", "--formula"]
    with_one, without = (
        numbers(tmp_path, *argv, formula)
        for formula in ("case ~ arm + dose", "case ~ 0 + arm + dose")
    )
    assert with_one == without


def test_transforms_and_categories_of_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "drawn,size,No. x,y\n1,3,1,2.5\n2,4,2,1\n2,3,3,4\n1,5,1,3\n0,2,2,9\n")
    argv = [path, "--ridge", "0.1", "--formula"]
    out = numbers(tmp_path, *argv, "drawn ~ log(y) + C(`No. x`) + poly(y, 2)")
    assert out["covariates"] == [
        "log(y)",
        "C(`No. x`)[T.2]",
        "C(`No. x`)[T.3]",
        "poly(y, 2)[1]",
        "poly(y, 2)[2]",
    ]


def test_laplace_against_the_density_of_the_model() -> None:
    table = StratifiedTable(torch.tensor([AGE, DOSE]).T, CASE, strata=STRATA)
    likelihood = TableLikelihood(table, FISHER)
    posterior = laplace_coefficients(likelihood, 0.7)

    def joint(beta: torch.Tensor) -> torch.Tensor:
        prior = torch.distributions.Normal(0.0, 0.7 / likelihood.scale).log_prob(beta).sum()
        for batch in table.batches:
            urn = FisherHypergeometric(
                batch.total_count, batch.group_sizes, log_weights=batch.log_weights(beta)
            )
            prior = prior + urn.log_prob(batch.counts).sum()
        return prior

    mode = posterior.median.clone().requires_grad_()
    (slope,) = torch.autograd.grad(joint(mode), mode)
    assert (slope * posterior.sd).abs().max() < 1e-6
    covariance = torch.linalg.inv(-torch.autograd.functional.hessian(joint, mode.detach()))
    torch.testing.assert_close(posterior.sd, covariance.diagonal().sqrt(), rtol=1e-6, atol=0)
    # The prior is on scaled coefficients, and the evidence is that of any scale.
    volume = 0.5 * (torch.logdet(covariance) + 2 * math.log(2 * math.pi))
    assert posterior.log_evidence == pytest.approx(float(joint(mode.detach()) + volume), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_draws_against_quadrature(law: str, tmp_path: Path) -> None:
    out = numbers(
        tmp_path,
        written(tmp_path, SETS),
        *[*USUAL, "--covariates", "age", "--engine", "nuts", "--law", law, "--samples", "400"],
    )
    assert out["engine"] == "nuts"
    posterior = out["posterior"]
    assert posterior["r_hat"] < 1.03 and posterior["divergences"] == 0
    likelihood = _likelihood(law)
    grid = torch.linspace(-6, 8, 1401)
    value = torch.stack([likelihood.at(x.reshape(1)).value for x in grid]) - grid.square() / 18
    weight = torch.softmax(value, 0)
    mean = weight @ grid
    sd = (weight @ (grid - mean).square()).sqrt() / likelihood.scale
    q05, median, q95 = (
        grid[torch.searchsorted(weight.cumsum(0), q)] / likelihood.scale for q in (0.05, 0.5, 0.95)
    )
    found = posterior["coefficients"]["age"]
    assert found["sd"] == pytest.approx(float(sd), rel=0.15)
    for name, wanted in (("q05", q05), ("median", median), ("q95", q95)):
        assert found[name] == pytest.approx(float(wanted), abs=0.25 * float(sd))


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_variational_normal_against_quadrature(law: str) -> None:
    likelihood = _likelihood(law)
    posterior = settled_coefficients(likelihood, 3.0, max_steps=50, seed=0)
    assert "settled after" in posterior.how()
    # At the closest normal law, the mean gradient is 0 and the mean curvature its precision.
    location, sd = posterior.median * likelihood.scale, posterior.sd * likelihood.scale
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    terms = [likelihood.at(location + float(x) * sd) for x in points]
    gradient = sum(w * t.gradient for w, t in zip(weights, terms, strict=True)) - location / 9
    curvature = sum(w * t.information for w, t in zip(weights, terms, strict=True)) + 1 / 9
    assert float((gradient * sd).abs()) < 0.02
    assert float(curvature) == pytest.approx(float(sd**-2), rel=0.05)


def test_variational_steps_that_do_not_settle(
    sets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [sets, *USUAL, "--covariates", "age", "--engine", "svi", "--steps", "1"]
    assert main(argv) == 0
    assert "has NOT settled after 1 step (" in capsys.readouterr().out


def _likelihood(law: str) -> TableLikelihood:
    fit = fit_regression(AGE, CASE, strata=STRATA, law=law)
    return fit.likelihood


def test_same_seed_same_draws() -> None:
    likelihood = _likelihood("fisher")
    state = torch.get_rng_state()
    one, two, other = (
        sample_coefficients(likelihood, 3.0, samples=10, chains=1, seed=seed).median
        for seed in (1, 1, 2)
    )
    assert one.equal(two) and not one.equal(other)
    assert torch.get_rng_state().equal(state)


def test_engine_says_how_it_went(
    sets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = numbers(tmp_path, sets, *USUAL, "--covariates", "age", "--engine", "laplace")
    assert out["engine"] == "laplace"
    assert set(out["posterior"]["coefficients"]["age"]) == {"median", "sd", "q05", "q95"}
    text = capsys.readouterr().out
    assert "Laplace approximation" in text and "Hypergeometric regression under" in text
    argv = [sets, *USUAL, "--covariates", "age", "--engine", "nuts", "--samples", "4"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert "NUTS: 2 chains of 4 draws" in captured.out
    assert "warning: NUTS has not converged" in captured.err


def test_estimate_that_is_not_finite(
    sets: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [sets, *USUAL, "--formula", "case ~ age + C(arm)"]
    line = mistake(capsys, *argv)
    assert "sets.csv: The likelihood grows without end" in line
    # An engine has a prior, so its posterior exists.
    plot = tmp_path / "plot.png"
    out = numbers(tmp_path, *argv, "--engine", "laplace", "--plot", str(plot))
    assert out["mle"] is None and out["posterior"]["coefficients"]["age"]["sd"] > 0
    assert "no maximum-likelihood estimate. The likelihood grows" in capsys.readouterr().out
    assert plot.stat().st_size > 0


@pytest.mark.parametrize("engine", [[], ["--engine", "laplace"]])
@pytest.mark.parametrize("end", ["png", "svg"])
def test_plot(engine: list[str], end: str, sets: str, tmp_path: Path) -> None:
    path = tmp_path / f"plot.{end}"
    argv = [sets, *USUAL, "--covariates", "age,dose", *engine, "--plot", str(path)]
    assert main(argv) == 0
    if end == "svg":
        text = path.read_text(encoding="utf-8")
        assert "dose" in text and ("posterior median" in text) == bool(engine)
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


BAD = {
    ("--covariates", "age,doze", *USUAL): "no column 'doze' in the header 'set,clinic,case,age,"
    "dose,arm'; is it 'dose'?",
    ("--covariates", "age,arm", *USUAL): ":2: arm is 'new', not a number; if it is a category, "
    "write --formula 'C(arm)'",
    ("--covariates", "age"): "no column 'drawn' in the header 'set,clinic,case,age,dose,arm'; name "
    "the column of the counts by --drawn COL, or one of yes and no by --outcome COL",
    ("--covariates", "age", "--drawn", "case"): "the column 'set' seems to name the strata; use it "
    "by --stratum set, or leave it out by --ignore set",
    ("--covariates", "age,age", *USUAL): "age is there twice",
    ("--covariates", "case", *USUAL): "the column 'case' cannot be two things at once",
    ("--covariates", "age", "--formula", "case ~ age"): "not allowed with argument",
    ("--covariates", "age", "--group", "arm", *USUAL): "--group and --covariates exclude",
    ("--covariates", "age", "--check", "x.png", *USUAL): "--check and --covariates exclude",
    ("--covariates", "age", "--engine", "nuts", "--ridge", "1", *USUAL): "--ridge and --engine",
    ("--covariates", "age", "--ridge", "-1", *USUAL): "a number that is not negative, got '-1'",
    ("--covariates", "age", "--ignore", "set", "--drawn", "case", "--robust"): "at least two",
    ("--covariates", "age", "--robust", "age", *USUAL): "but stratum 'a' is in",
    ("--offset", "age", *USUAL): "--offset needs --covariates or --formula",
    ("--formula", "case ~ dose + clinic", "--strata", "set"): "sets.csv: ",
    ("--formula", "case ~ age", "--drawn", "age"): "two columns of counts",
}


@pytest.mark.parametrize("argv", BAD)
def test_mistakes(argv: tuple[str, ...], sets: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert BAD[argv] in mistake(capsys, sets, *argv)


BAD_CELLS = {
    "drawn,x\n1,3\n0,NA\n": ":3: the x is missing ('NA'); fill it in, or leave such rows out",
    "drawn,x\n1,3\n0,\n": ":3: the x is missing; fill it in",
    "drawn,x\n1,3\n,2\n": ":3: the drawn is missing",
    "drawn,x\n1,3\n2,1\n": ":3: drawn is 2, more than the size 1 of a row; is there a column of",
    "drawn,size,x\n1,3,2\n4,3,1\n": ":3: drawn is 4, more than the size 3",
    "drawn,x\nyes,3\nno,1\n": ":2: drawn is 'yes', not an integer; for yes and no write --outcome",
    "drawn,x\n1,inf\n0,1\n": ":2: x is 'inf', not a number",
    "drawn,x\n1,1e400\n0,1\n": ":2: x is 1e400, not finite",
    "drawn,x\n1,1\n1,2\n": "nothing or everything is drawn",
    "drawn,x\n": ":1: no rows below the header",
    "drawn,x,x\n1,2,3\n": ":1: two columns 'x' in the header 'drawn,x,x'",
    "stratum,drawn,x\n,1,2\n": ":2: the stratum is empty",
}


@pytest.mark.parametrize("text", BAD_CELLS)
def test_mistakes_in_cells(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, text)
    line = mistake(capsys, path, "--covariates", "x")
    assert line.startswith(f"error: {path}") and BAD_CELLS[text] in line


def test_row_that_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "drawn,x,o\n0,1,-inf\n1,2,-inf\n0,3,0\n")
    line = mistake(capsys, path, "--covariates", "x", "--offset", "o")
    assert f"{path}:3: 1 drawn, but o is -inf, so the weight is 0" in line


def test_decimal_commas(tmp_path: Path) -> None:
    comma = "drawn;x\n1;2,5\n0;1,25\n1;0,5\n0;3\n"
    one = numbers(tmp_path, written(tmp_path, comma), "--covariates", "x")
    two = numbers(tmp_path, written(tmp_path, comma.replace(",", ".")), "--covariates", "x")
    assert one == two


def test_table_behind_robust(sets: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "--covariates", "size", "--robust", sets)
    assert "write the table before --robust" in line


def test_formula_without_its_library(
    sets: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "formulaic", None)
    line = mistake(capsys, sets, "--strata", "set", "--formula", "case ~ age")
    assert line == 'error: --formula needs formulaic: pip install "pyro-hypergeo[formula]"'
