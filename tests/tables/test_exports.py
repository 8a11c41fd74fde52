# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tables as ordinary programs write them, each read to the same counts."""

import gzip
import io
from pathlib import Path

import pytest
import torch

from pyro_hypergeo import Table, TableError, read_table

PLAIN = "group,size,drawn,stratum\nred,61,12,x\nblue,40,20,x\nred,30,3,y\nblue,25,9,y\n"
SIZES, COUNTS = [[61, 40], [30, 25]], [[12, 20], [3, 9]]


def table_of(content: bytes, folder: Path, name: str = "table.csv", **options: object) -> Table:
    path = folder / name
    path.write_bytes(content)
    return read_table(path, **options)  # type: ignore[arg-type]


def with_separator(separator: str) -> str:
    return PLAIN.replace(",", separator)


ELEMENTS = "id\tgroup\toutcome\n" + "".join(
    f"{at}\t{group}\t{outcome}\n"
    for at, (group, outcome) in enumerate(
        [("red", "1")] * 3 + [("red", "0")] * 4 + [("blue", "yes")] * 2 + [("blue", "No")]
    )
)

# name: (content, name of the file, notes)
EXPORTS = {
    "plain": (PLAIN.encode(), "table.csv", []),
    "Excel, semicolons with BOM": (
        b"\xef\xbb\xbf" + with_separator(";").replace("\n", "\r\n").encode(), "table.csv", [],
    ),
    "Excel, a line that names the separator": (
        b"sep=;\r\n" + with_separator(";").encode(), "table.csv", [],
    ),
    "another separator that the file names": (
        b"sep=|\r\n" + with_separator("|").encode(), "table.csv", [],
    ),
    "Excel, Unicode text": (
        with_separator("\t").replace("\n", "\r\n").encode("utf-16"), "table.txt", [],
    ),
    "UTF-16, big end first": (
        b"\xfe\xff" + with_separator("\t").encode("utf-16-be"), "table.txt", [],
    ),
    "UTF-16 without a mark": (
        with_separator("\t").encode("utf-16-le"), "table.txt", [":1: every second byte is 0"],
    ),
    "UTF-32": (PLAIN.encode("utf-32"), "table.txt", []),
    "R, write.csv": (
        b'"","group","size","drawn","stratum"\n"1","red",61,12,"x"\n"2","blue",40,20,"x"\n'
        b'"3","red",30,3,"y"\n"4","blue",25,9,"y"\n',
        "table.csv",
        [":1: column not used: one without a name"],
    ),
    "R, write.table with tabs and row names": (
        b'"group"\t"size"\t"drawn"\t"stratum"\n"1"\t"red"\t61\t12\t"x"\n"2"\t"blue"\t40\t20\t"x"\n'
        b'"3"\t"red"\t30\t3\t"y"\n"4"\t"blue"\t25\t9\t"y"\n',
        "table.tsv",
        [":1: column not used: one without a name"],
    ),
    "CRLF": (PLAIN.replace("\n", "\r\n").encode(), "table.csv", []),
    "CR": (PLAIN.replace("\n", "\r").encode(), "table.csv", []),
    "no line end at the end": (PLAIN.strip().encode(), "table.csv", []),
    "gzip": (gzip.compress(PLAIN.encode()), "table.csv.gz", []),
    "gzip without its suffix": (gzip.compress(PLAIN.encode()), "table.csv", []),
    "titles": (
        b"Survey of 2024, all sites\n\nDrawn by size\n" + PLAIN.encode(), "table.csv",
        [":1: 2 rows above the header left out"],
    ),
    "comments": (
        b"# made by a script, drawn\n#\n" + PLAIN.encode() + b"# the end\n", "table.csv",
        [":8: a comment below the header left out"],
    ),
    "a row that is commented out": (
        PLAIN.replace("blue,40", "#green,9,3,x\nblue,40").encode(), "table.csv",
        [":3: a comment below the header left out"],
    ),
    "header that is a comment": (b"#" + PLAIN.encode(), "table.csv", []),
    "upper case": (
        PLAIN.replace("group,size,drawn,stratum", "Group,SIZE,Drawn,Stratum").encode(),
        "table.csv", [],
    ),
    "strata": (PLAIN.replace("stratum", "strata").encode(), "table.csv", []),
    "decimal point": (
        PLAIN.replace("61,12", "61.0,12.00").replace("25", "2.5e1").encode(), "table.csv", [],
    ),
    "decimal comma": (
        with_separator(";").replace("61;12", "61,0;12,00").encode(), "table.csv", [],
    ),
    "a separator at the end of each row": (
        PLAIN.replace("x\n", "x,\n").replace("y\n", "y,,\n").encode(), "table.csv", [],
    ),
    "a separator at the end of each line": (PLAIN.replace("\n", ",\n").encode(), "table.csv", []),
    "blank lines and fields": (
        b"\n,,,\n" + PLAIN.replace(",", " , ").replace("\n", "\n\n").encode(), "table.csv", [],
    ),
    "rows of NA": (
        PLAIN.replace("blue,40", "green,NA,3,x\nwhite,5,n/a,y\ngrey,,,x\nblue,40").encode(),
        "table.csv",
        [":3: no number in lines 3, 4 and 5; left out"],
    ),
    "other columns": (
        b"colour code,group,size,drawn,stratum,remark\n7,red,61,12,x,\n8,blue,40,20,x,ok\n"
        b"7,red,30,3,y,\n8,blue,25,9,y,\n",
        "table.csv",
        [":1: columns not used: colour code, remark"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_export_gives_the_same_counts(name: str, tmp_path: Path) -> None:
    content, file, notes = EXPORTS[name]
    table = table_of(content, tmp_path, file)
    assert table.groups == ["red", "blue"]
    assert table.strata == ("x", "y")
    assert table.sizes.tolist() == SIZES
    assert table.counts.tolist() == COUNTS
    assert table.sizes.dtype == table.counts.dtype == torch.float64
    assert table.name == file
    assert len(table.notes) == len(notes)
    for note, says in zip(table.notes, notes, strict=True):
        assert note.startswith(f"{tmp_path / file}{says}")


def test_groups_that_look_like_comments(tmp_path: Path) -> None:
    table = table_of(b"group,size,drawn\n#1,9,3\n#2,8,2\n# the end\n", tmp_path)
    assert table.groups == ["#1", "#2"]
    assert len(table.notes) == 1


def test_cp1252(tmp_path: Path) -> None:
    table = table_of("group,size,drawn\nrot,5,2\ngrün,7,3\n".encode("cp1252"), tmp_path)
    assert table.groups == ["rot", "grün"]
    (note,) = table.notes
    assert "table.csv:3: byte 0xfc is not UTF-8; read as cp1252 (Windows)" in note


THOUSANDS = {
    "a comma in quotes": '"61,000"',
    "several commas in quotes": '"1,061,000"',
    "a space": "61 000",
    "a narrow space": "61\u202f000",
    "a space that does not break": "61\u00a0000",
    "an apostrophe": "61'000",
    "another apostrophe": "61’000",
    "points": "1.061.000",
    "a power of ten, as R writes it": "6.1e+04",
}


@pytest.mark.parametrize("name", THOUSANDS)
def test_thousands(name: str, tmp_path: Path) -> None:
    text = THOUSANDS[name]
    table = table_of(f"group,size,drawn\na,{text},300\nb,4000,70\n".encode(), tmp_path)
    assert table.sizes.tolist() == [
        [1_061_000 if text.strip('"')[:2] in ("1,", "1.") else 61_000, 4000]
    ]
    assert table.counts.tolist() == [[300, 70]]


@pytest.mark.parametrize(
    ("text", "separator"),
    [("61.000", ","), ("61.000", ";"), ("61,000", ";"), ("61,000", "\t"), ("6.123", ",")],
)
def test_thousands_that_may_be_a_fraction(text: str, separator: str, tmp_path: Path) -> None:
    content = "group|size|drawn\na|70000|300\n\nb|%s|6\n".replace("|", separator) % text
    with pytest.raises(TableError) as caught:
        table_of(content.encode(), tmp_path)
    joined, point = text.replace(",", "").replace(".", ""), text.replace(",", ".")
    assert str(caught.value) == (
        f"{tmp_path / 'table.csv'}:4: size is {text!r}, which may be {joined} or {point}; "
        "write it without a mark for thousands"
    )


@pytest.mark.parametrize("text", ["2.4", "0.07", "1e-3", ".5", "6.1234"])
def test_amounts_are_no_counts(text: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as caught:
        table_of(f"group,size,drawn\na,9,{text}\nb,8,2\n".encode(), tmp_path)
    assert f":2: drawn is '{text}', not an integer" in str(caught.value)
    assert "Amounts, such as weights, areas or shares, are no counts" in str(caught.value)


def test_one_row_an_element(tmp_path: Path) -> None:
    table = table_of(ELEMENTS.encode(), tmp_path)
    assert table.groups == ["red", "blue"]
    assert table.sizes.tolist() == [[7, 3]]
    assert table.counts.tolist() == [[3, 2]]
    assert "column not used: id" in table.notes[0]


def test_one_row_an_element_by_option(tmp_path: Path) -> None:
    content = ELEMENTS.replace("outcome", "survived").replace("group", "class") + "9\tred\tNA\n"
    table = table_of(content.encode(), tmp_path, group="class", outcome="Survived", ignore="id")
    assert table.sizes.tolist() == [[7, 3]]
    assert table.counts.tolist() == [[3, 2]]
    (note,) = table.notes
    assert "no number in line 12; left out" in note


def test_rows_that_stand_for_several_elements(tmp_path: Path) -> None:
    content = b"Class,Sex,Survived,Freq\n1st,M,No,118\n3rd,M,No,422\n1st,M,Yes,62\n3rd,M,Yes,88\n"
    names = {"group": "Class", "stratum": "Sex", "outcome": "Survived", "size": "Freq"}
    table = table_of(content, tmp_path, **names)
    assert table.sizes.tolist() == [[180, 510]]
    assert table.counts.tolist() == [[62, 88]]
    # Without a word about it, a size is not taken for such a number.
    with pytest.raises(TableError, match="no column 'drawn' in the header 'group,outcome,size'"):
        table_of(b"group,outcome,size\na,0,3\na,1,3\n", tmp_path)


def test_wrong_outcome(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=":3: outcome is '2'; expected 0 or 1, yes or no, true"):
        table_of(b"group,outcome\na,1\nb,2\n", tmp_path)


@pytest.mark.parametrize("options", [{}, {"left": "left"}, {"left": "LEFT"}])
def test_drawn_and_left(options: dict[str, str], tmp_path: Path) -> None:
    table = table_of(b"group,drawn,left\nred,12,49\nblue,20,20\n", tmp_path, **options)
    assert table.sizes.tolist() == [[61, 40]]
    assert table.counts.tolist() == [[12, 20]]


def test_every_column_by_option(tmp_path: Path) -> None:
    content = b"Class;n;saved;sex;age\nA;9;4;m;old\nB;8;2;m;old\nA;7;3;m;new\nB;6;1;m;new\n"
    table = table_of(
        content + b"A;5;2;f;old\nB;4;1;f;old\n", tmp_path,
        group="class", size="n", drawn="saved", stratum=["sex", "age"],
    )  # fmt: skip
    assert table.strata == ("m, old", "m, new", "f, old")
    assert table.sizes.tolist() == [[9, 8], [7, 6], [5, 4]]
    assert table.counts.tolist() == [[4, 2], [3, 1], [2, 1]]
    assert table.notes == ()


def test_strata_of_several_columns_are_not_mixed_up(tmp_path: Path) -> None:
    content = 'group,size,drawn,u,v\na,9,4,"x, y",z\nb,8,3,"x, y",z\na,7,2,x,"y, z"\nb,6,1,x,"y, z"'
    table = table_of(content.encode(), tmp_path, stratum=["u", "v"])
    assert table.sizes.tolist() == [[9, 8], [7, 6]]


def test_rows_of_one_cell_are_summed_on_request_only(tmp_path: Path) -> None:
    content = b"group,size,drawn\na,9,4\nb,8,2\na,7,3\n"
    table = table_of(content, tmp_path, sum_rows=True)
    assert table.sizes.tolist() == [[16, 8]]
    assert table.counts.tolist() == [[7, 2]]
    with pytest.raises(TableError, match=":4: group 'a' is already on line 2; sum_rows=True adds"):
        table_of(content, tmp_path)


def test_a_note_names_the_first_of_the_rows_that_were_summed(tmp_path: Path) -> None:
    content = b"group,size,drawn,stratum\nc,9,4,y\na,8,2,x\nb,7,3,x\nc,1,1,y\n"
    (note,) = table_of(content, tmp_path, sum_rows=True).notes
    assert "left out (line 2)" in note


def test_line_numbers_below_a_named_separator(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=":5: size is 'x', not an integer"):
        table_of(b"\n\nsep=;\ngroup;size;drawn\na;x;1\nb;2;1\n", tmp_path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(PLAIN.encode("utf-16")))
    monkeypatch.setattr("sys.stdin", stdin)
    table = read_table("-")
    assert table.sizes.tolist() == SIZES
    assert table.name == "standard input"


@pytest.mark.parametrize("file", [io.StringIO(PLAIN), io.BytesIO(PLAIN.encode())])
def test_open_file(file: io.StringIO | io.BytesIO) -> None:
    assert read_table(file).sizes.tolist() == SIZES


def test_source_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"`source` to be a path, '-' or an open file, but got 3"):
        read_table(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        read_table("no such file.csv")


NO_TEXT = {
    "workbook": (b"PK\x03\x04 and more", "a workbook or an archive, not text"),
    "old workbook": (b"\xd0\xcf\x11\xe0 and more", "a workbook or an archive, not text"),
    "damaged gzip": (gzip.compress(PLAIN.encode())[:30], "a damaged gzip file"),
    "bytes 0": (b"group,size,drawn\na\0b,5,2\nc,6,3\n", ":2: not text: there is a byte 0"),
    "marked as UTF-8": (
        b"\xef\xbb\xbfgroup,size,drawn\na\xe9,5,2\n",
        ":2: not UTF-8, though marked",
    ),
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_no_text(name: str, tmp_path: Path) -> None:
    content, says = NO_TEXT[name]
    with pytest.raises(TableError) as caught:
        table_of(content, tmp_path)
    assert says in str(caught.value)


def test_a_field_without_end(tmp_path: Path) -> None:
    content = 'group,size,drawn\na,5,2\nb,"' + "6,3\n" * 50_000
    with pytest.raises(TableError, match=r"table\.csv:3: not CSV: field larger than"):
        table_of(content.encode(), tmp_path)
