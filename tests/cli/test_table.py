# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The table that the command reads, and the error for each mistake in it."""

import re
from pathlib import Path

import pytest
import torch

from pyro_hypergeo.cli.errors import CommandError
from pyro_hypergeo.cli.main import main
from pyro_hypergeo.cli.table import read_table

HEAD = "group,size,drawn,stratum\n"

# name: (content, line, what the message says)
WRONG = {
    "empty file": ("", 1, "empty"),
    "blank lines only": ("\n\n", 1, "empty"),
    "header only": (HEAD, 1, "no rows"),
    "missing column": ("group,size\na,1\n", 1, "'drawn'"),
    "semicolons, and one group": ("group;size;drawn\na;2;1\n", 2, "only group 'a' has elements"),
    "a column twice": ("group,size,drawn,size\na,1,1,1\n", 1, "two columns 'size'"),
    "text for a number": (HEAD + "a,5,2,x\nb,many,3,x\n", 3, "size is 'many'"),
    "not an integer": (HEAD + "a,5,2,x\n\nb,7,2.5,x\n", 4, "drawn is '2.5'"),
    "not a plain integer": (HEAD + "a,5,2,x\nb,1_000,2,x\n", 3, "'1_000'"),
    "negative": (HEAD + "a,5,-2,x\nb,7,2,x\n", 2, "'-2', which is negative"),
    "too large": (HEAD + f"a,1{'0' * 5000},2,x\nb,7,2,x\n", 2, "larger than"),
    "more drawn than there are": (HEAD + "a,5,2,x\nb,7,8,x\n", 3, "drawn is 8, more than"),
    "a group twice": (HEAD + "a,5,2,x\nb,7,3,x\na,5,1,x\n", 4, "'a' in stratum 'x' is already"),
    "a group twice in one urn": ("group,size,drawn\na,5,2\na,5,1\n", 3, "'a' is already on line 2"),
    "empty group": (HEAD + "a,5,2,x\n ,7,3,x\n", 3, "group is empty"),
    "empty number": (HEAD + "a,5,2,x\nb,7,,x\n", 3, "drawn is empty"),
    "empty stratum": (HEAD + "a,5,2,x\nb,7,3,\n", 3, "stratum is empty"),
    "too many fields": (HEAD + "a,5,2,x\nb,7,3,x,9\n", 3, "5 fields where the header has 4"),
    "too few fields": (HEAD + "a,5,2\n", 2, "3 fields where the header has 4"),
    "one group": (HEAD + "a,5,2,x\na,7,3,y\n", 2, "only group 'a' has elements"),
    "one group that is not empty": (HEAD + "a,5,2,x\nb,0,0,x\n", 2, "only group 'a' has elements"),
    "all empty": (HEAD + "a,0,0,x\nb,0,0,x\n", 2, "no group has elements"),
    "nothing drawn": (HEAD + "a,5,0,x\nb,7,0,x\n", 2, "nothing is drawn"),
    "everything drawn": (HEAD + "a,5,5,x\nb,7,7,x\n", 2, "everything is drawn"),
    "all or nothing": (HEAD + "a,5,5,x\nb,7,7,x\na,5,0,y\nb,7,0,y\n", 2, "nothing or everything"),
    "line break in a value": ('group,size,drawn\n"a\nb",5,2\nc,x,3\n', 4, "size is 'x'"),
}


def error(argv: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """The only thing the command says, on standard error, before it exits with 2."""
    assert main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", WRONG)
def test_wrong_table_is_named_with_its_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, number, says = WRONG[name]
    table = tmp_path / "table.csv"
    table.write_text(content, encoding="utf-8")
    message = error([table], capsys)
    assert message.startswith(f"error: {table}:{number}: ")
    assert says in message


def test_neither_utf8_nor_cp1252(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"group,size,drawn\na,5,2\nb\x81,7,3\n")
    says = f"{table}:3: not UTF-8, and byte 0x81 is not cp1252 either"
    assert says in error([table], capsys)


def test_no_such_file_and_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in error([tmp_path / "none.csv"], capsys)
    assert "directory" in error([tmp_path], capsys)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--reference", "4th"], "no group '4th' in titanic.csv; there are: 1st, 2nd, 3rd, Crew"),
        *[(["--steps", value], f"--steps: .*'{re.escape(value)}'") for value in ("0", "-3", "1.5")],
        *[(["--prior-scale", value], "--prior-scale: ") for value in ("0", "-1", "nan", "inf")],
        (["--prior-scale", "wide"], "'wide'"),
        (["--seed", "-1"], "--seed: .*'-1'"),
        (
            ["--plot", "weights.jpg"],
            r"weights\.jpg: expected a name that ends in \.png, \.pdf or \.svg",
        ),
        (["--engine", "mcmc"], "--engine: .*'mcmc'"),
        (["--samples", "3"], "--samples: expected an integer of at least 4, got '3'"),
        (["--chains", "0"], "--chains: expected an integer of at least 1, got '0'"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_options(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(says, error(list(argv), capsys))


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_unwritable_output_is_found_before_the_run(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none" / "out.png"
    assert f"{option} {path}: No such file or directory" in error([option, path], capsys)
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert f"{option} {folder}: Is a directory" in error([option, folder], capsys)


def test_a_run_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    plot = tmp_path / "none" / "out.png"
    assert main(["--json", str(path), "--plot", str(plot)]) == 2
    assert not path.exists()


def test_tolerates_what_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(
        b"\xef\xbb\xbf\r\nnote, drawn ,group,size\r\n\r\n"
        b'"two\r\nlines", 4 , a ,+10\r\n,,,\r\n,3, "b, c" ,012\r\n'
    )
    table = read_table(path)
    assert table.groups == ["a", "b, c"]
    assert table.sizes.tolist() == [[10, 12]]
    assert table.counts.tolist() == [[4, 3]]


def test_absent_group_has_size_0(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(HEAD + "b,5,2,y\na,7,3,y\na,4,1,x\nc,6,2,x\n", encoding="utf-8")
    table = read_table(path)
    assert table.groups == ["b", "a", "c"]
    assert torch.equal(table.sizes, torch.tensor([[5.0, 7, 0], [0, 4, 6]]))
    assert torch.equal(table.counts, torch.tensor([[2.0, 3, 0], [0, 1, 2]]))


def test_error_is_one_line_even_if_a_name_is_not(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('group,size,drawn\n"a\nb",5,2\n"a\nb",5,2\n', encoding="utf-8")
    with pytest.raises(CommandError, match=r":4: group 'a\\nb' is already on line 2"):
        read_table(path)
