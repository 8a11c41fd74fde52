# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command from its arguments to its outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import pyro_hypergeo
from pyro_hypergeo import datasets
from pyro_hypergeo.cli.main import main

ROOT = Path(pyro_hypergeo.__file__).parents[1]

# Conditional maximum likelihood in 40-digit arithmetic, relative to third class.
TITANIC_MLE = {
    "1st": (1.6563945054466844, 0.1677080162156793),
    "2nd": (0.7046549831624582, 0.1736745860674701),
    "3rd": (0.0, 0.0),
    "Crew": (0.7765795840355066, 0.14224698996869176),
}
Z95 = 1.6448536269514722
TITANIC_LOG_LIKELIHOODS = (-98.45933527950206, -45.48203017610331)  # equal weights, at the fit

NEVER = "group,size,drawn,stratum\nA,10,4,x\nB,10,0,x\nC,20,9,x\nA,5,5,y\nC,8,2,y\nD,0,0,y\n"


def numbers(tmp_path: Path, *argv: str) -> dict[str, Any]:
    """What the command writes with --json."""
    path = tmp_path / "out.json"
    assert main([*argv, "--json", str(path)]) == 0
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.slow
def test_titanic_against_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = numbers(tmp_path, "--reference", "3rd")
    assert list(out) == [
        "groups",
        "notes",
        "reference",
        "law",
        "engine",
        "mle",
        "goodness_of_fit",
        "posterior",
    ]
    assert out["notes"] == []
    assert out["law"] == "fisher"
    assert out["engine"] == "svi"
    assert out["groups"] == list(TITANIC_MLE)
    assert out["reference"] == "3rd"
    equal, fitted = TITANIC_LOG_LIKELIHOODS
    assert out["mle"]["log_likelihood"] == pytest.approx(fitted, abs=1e-9)
    for name, (log_weight, se) in TITANIC_MLE.items():
        assert out["mle"]["log_weights"][name] == pytest.approx(log_weight, abs=1e-9)
        assert out["mle"]["se"][name] == pytest.approx(se, abs=1e-9)
        posterior = out["posterior"]["log_weights"][name]
        # The data outweigh the prior, so posterior and likelihood nearly agree.
        assert posterior["median"] == pytest.approx(log_weight, abs=0.05 * se)
        assert posterior["sd"] == pytest.approx(se, rel=0.05)
        assert posterior["q05"] == pytest.approx(posterior["median"] - Z95 * posterior["sd"])
        assert posterior["q95"] == pytest.approx(posterior["median"] + Z95 * posterior["sd"])
    captured = capsys.readouterr()
    assert "4 groups in 2 strata, 2201 elements, 711 of them drawn" in captured.out
    assert f"{fitted:.3f} at the maximum-likelihood weights" in captured.out
    assert f"{equal:.3f} at equal weights" in captured.out
    assert "1st: each element counts 5.2" in captured.out
    assert "settled after" in captured.out
    assert captured.err == ""


def test_largest_group_is_the_reference(tmp_path: Path) -> None:
    assert numbers(tmp_path, "--steps", "1")["reference"] == "Crew"


def test_same_seed_same_numbers(tmp_path: Path) -> None:
    first = numbers(tmp_path, "--steps", "20", "--seed", "3")
    torch.rand(1)
    assert numbers(tmp_path, "--steps", "20", "--seed", "3") == first
    assert numbers(tmp_path, "--steps", "20", "--seed", "4") != first


def test_says_that_it_has_not_settled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--steps", "1"]) == 0
    assert "has NOT settled after 1 step (" in capsys.readouterr().out


@pytest.mark.slow
def test_estimate_that_is_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "never.csv"
    table.write_text(NEVER, encoding="utf-8")
    out = numbers(tmp_path, str(table))
    assert out["reference"] == "C"
    assert out["mle"]["log_likelihood"] is None
    for name in ("B", "D"):
        assert out["mle"]["log_weights"][name] is None
        assert out["mle"]["se"][name] is None
    # B is never drawn, so the estimates of A and C are the same without B.
    without = tmp_path / "without.csv"
    without.write_text("\n".join(x for x in NEVER.splitlines() if x[0] not in "BD"))
    expected = numbers(tmp_path, str(without))["mle"]
    for kind in ("log_weights", "se"):
        assert out["mle"][kind]["A"] == pytest.approx(expected[kind]["A"], rel=1e-9)
        assert out["mle"][kind]["C"] == 0
    posterior = out["posterior"]["log_weights"]
    assert posterior["B"]["q95"] < 0
    # D has no elements, so its posterior is its prior.
    assert posterior["D"]["q05"] < 0 < posterior["D"]["q95"]
    text = capsys.readouterr().out
    assert "since B was never drawn; D has no elements" in text
    assert "not finite" in text


def test_reference_that_was_never_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "never.csv"
    table.write_text("group,size,drawn\na,10,0\nb,5,3\nc,7,2\n", encoding="utf-8")
    out = numbers(tmp_path, str(table), "--steps", "5")
    assert out["reference"] == "a"
    assert out["mle"]["log_weights"] == {"a": 0, "b": None, "c": None}
    assert "since a was never drawn." in capsys.readouterr().out


def test_groups_that_no_stratum_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "apart.csv"
    table.write_text("group,size,drawn,stratum\na,5,2,x\nb,5,3,x\nc,7,3,y\nd,4,2,y\n")
    out = numbers(tmp_path, str(table), "--steps", "5", "--reference", "a")
    assert out["mle"]["log_weights"]["b"] is not None
    assert out["mle"]["log_weights"]["c"] is None
    assert "no stratum bounds the weight of c relative to a" in capsys.readouterr().out


def test_group_of_one_kind_only_bounded_by_the_prior(tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text("group,size,drawn\na,5,5\nb,9,2\n")
    out = numbers(tmp_path, str(table), "--steps", "5")
    assert out["mle"]["log_weights"] == {"a": None, "b": 0}


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("weights.png", b"\x89PNG\r\n\x1a\n"),
        ("weights.pdf", b"%PDF-"),
        ("weights.svg", b"<?xml"),
        ("WEIGHTS.SVG", b"<?xml"),
    ],
)
def test_plot_has_the_format_of_its_name(tmp_path: Path, name: str, start: bytes) -> None:
    table = tmp_path / "odd.csv"
    table.write_text("group,size,drawn\n$a_b$,5,5\n^c,9,2\n")
    plot = tmp_path / name
    assert main([str(table), "--steps", "5", "--plot", str(plot)]) == 0
    content = plot.read_bytes()
    assert content.startswith(start)
    assert len(content) > 5000


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"pyro_hypergeo {pyro_hypergeo.__version__}\n"


def test_plot_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = tmp_path / "weights.png"
    assert main(["--plot", str(plot)]) == 2
    assert capsys.readouterr().err == (
        'error: --plot needs matplotlib: pip install "pyro-hypergeo[plot]"\n'
    )
    assert not plot.exists()


@pytest.mark.slow
def test_as_a_module(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    result = subprocess.run(
        [sys.executable, "-m", "pyro_hypergeo", datasets.path("titanic.csv"), "--json", path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(path.read_text(encoding="utf-8"))["groups"] == list(TITANIC_MLE)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--prior-scale" in capsys.readouterr().out


@pytest.mark.slow
def test_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from pyro_hypergeo.cli import main; main([]); "
        "slow = {'scipy.stats', 'torch._dynamo', 'matplotlib', 'pandas', 'xarray'}; "
        "sys.exit(' '.join(slow & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
