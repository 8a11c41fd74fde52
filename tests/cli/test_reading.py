# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How the command reads tables: its options, its notes, standard input."""

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyro_hypergeo
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.nuts import sample_posterior
from pyro_hypergeo.cli.table import read_table

ROOT = Path(pyro_hypergeo.__file__).parents[1]
PLAIN = "group,size,drawn,stratum\nred,61,12,x\nblue,40,20,x\nred,30,3,y\nblue,25,9,y\n"


def mle(tmp_path: Path, *argv: str) -> dict[str, float]:
    path = tmp_path / "out.json"
    assert main([*argv, "--steps", "2", "--json", str(path)]) == 0
    weights: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["mle"]["log_weights"]
    return weights


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.csv"
    path.write_text(PLAIN)
    return path


FORMS: dict[str, tuple[bytes, list[str]]] = {
    "semicolons, UTF-16": (PLAIN.replace(",", ";").encode("utf-16"), []),
    "gzip": (gzip.compress(PLAIN.encode()), []),
    "other names": (
        PLAIN.replace("group,size,drawn,stratum", "Class,N,taken,sex").encode(),
        ["--group", "class", "--size", "n", "--drawn", "taken", "--stratum", "sex"],
    ),
    "two columns of strata": (
        b"group,size,drawn,a,b\nred,61,12,x,1\nblue,40,20,x,1\nred,30,3,x,2\nblue,25,9,x,2\n",
        ["--stratum", "a", "--stratum", "b"],
    ),
    "drawn and left": (
        b"group,drawn,rest,stratum\nred,12,49,x\nblue,20,20,x\nred,3,27,y\nblue,9,16,y\n",
        ["--left", "rest"],
    ),
    "several rows of a cell": (
        PLAIN.replace("red,61,12,x", "red,60,11,x\nred,1,1,x").encode(), ["--sum"],
    ),
    "one row an element": (
        b"group,stratum,saved\n" + "".join(
            f"{group},{stratum},{'yes' if at < drawn else 'no'}\n"
            for group, size, drawn, stratum in (
                ("red", 61, 12, "x"), ("blue", 40, 20, "x"),
                ("red", 30, 3, "y"), ("blue", 25, 9, "y"),
            )
            for at in range(size)
        ).encode(),
        ["--outcome", "saved"],
    ),
    "a column that is ignored": (
        PLAIN.replace("stratum\n", "stratum,site\n").replace("x\n", "x,1\n").replace("y\n", "y,2\n")
        .encode(),
        ["--ignore", "site"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_table(
    form: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, options = FORMS[form]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert mle(tmp_path, str(path), *options) == mle(tmp_path, str(plain))
    assert capsys.readouterr().err == ""


def test_standard_input(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    assert mle(tmp_path, "-") == mle(tmp_path, str(plain))
    assert "standard input: 2 groups in 2 strata" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"group,size\n")))
    assert main(["-"]) == 2
    assert capsys.readouterr().err.startswith("error: standard input:1: no column 'drawn' in the")


def test_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(
        "group,size,drawn\nrot,5,2\ngrün,7,3\nblau,NA,3\nTotal,12,5\n".encode("cp1252")
    )
    assert main([str(path), "--steps", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"note: {path}:3: byte 0xfc is not UTF-8; read as cp1252 (Windows)",
        f"note: {path}:4: no number in line 4; left out",
        f"note: {path}:5: group 'Total' is the sum of the others; left out (line 5)",
    ]
    assert "2 groups in 1 stratum, 12 elements, 5 of them drawn" in captured.out


def test_total_that_is_alone_in_its_stratum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(PLAIN + "Total,156,44,all\n")
    assert mle(tmp_path, str(path))["red"] == 0
    captured = capsys.readouterr()
    assert "relative to the reference group red" in captured.out
    assert "group 'Total' is the sum of the others; left out" in captured.err
    path.write_text(PLAIN + "crowd,156,43,z\n")
    assert mle(tmp_path, str(path))["red"] == 0
    assert "group 'crowd' is alone in each stratum" in capsys.readouterr().err
    path.write_text(PLAIN + "Total,156,43,all\n")
    assert main([str(path)]) == 2
    assert "or keep it by --keep-totals" in capsys.readouterr().err


def test_messages_name_options_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(PLAIN.replace("stratum", "matched set"))
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}:1: the column 'matched set' seems to name the strata; use it by "
        '--stratum "matched set", or leave it out by --ignore "matched set"\n'
    )
    assert main([str(path), "--stratum", "matched set", "--steps", "2"]) == 0


# Progress bars, pipes and the console script.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("engine", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_progress_bar_goes_to_a_terminal_only(
    engine: str, stream: Any, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "PYTEST_XDIST_WORKER"):  # under which Pyro shows no bar at all
        monkeypatch.delenv(name, raising=False)
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    options = ["--engine", engine, "--steps", "5", "--samples", "4", "--chains", "1"]
    assert main([str(plain), *options]) == 0
    bar = "SVI:" if engine == "svi" else "Sample:"
    assert (bar in stderr.getvalue()) == (stream is Terminal)
    assert stderr.getvalue().count("\r") == 0 or stream is Terminal


@pytest.mark.slow
def test_sampler_alone_is_quiet_too(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_posterior(read_table(plain), 3.0, reference=0, samples=4, chains=1, seed=0)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--help"]])
def test_a_closed_pipe_is_no_mistake(options: list[str], plain: Path, tmp_path: Path) -> None:
    """As if `| head` had read enough: nothing reads what the command prints."""
    saved = tmp_path / "out.json"
    argv = [sys.executable, "-m", "pyro_hypergeo", plain, "--steps", "2", "--json", saved, *options]
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        argv,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # With a buffer, as users have it, the last words are written when Python ends.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
    )
    os.close(writer)
    assert process.stderr == ""
    assert process.returncode == 0
    if not options:
        assert json.loads(saved.read_text(encoding="utf-8"))["groups"] == ["red", "blue"]


def test_name_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for script, name in (
        ("/usr/bin/pyro-hypergeo", "pyro-hypergeo"),
        ("pyro_hypergeo/__main__.py", "python -m pyro_hypergeo"),
    ):
        monkeypatch.setattr("sys.argv", [script])
        with pytest.raises(SystemExit, match="0"):
            main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: {name} [-h]")
