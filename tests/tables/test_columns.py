# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What the error for a missing column says."""

from pathlib import Path

import pytest

from pyro_hypergeo import TableError, read_table
from pyro_hypergeo.tables import ReadOptions, read_with

MISSING = {
    "a near miss": (
        "group,size,drawnn\na,1,1\n",
        ":1: no column 'drawn' in the header 'group,size,drawnn'; the separator seems to be a "
        "comma; is it 'drawnn'? Then write drawn='drawnn'",
    ),
    "a word of the name": (
        "group;group size;drawn\na;1;1\n",
        ":1: no column 'size' in the header 'group,group size,drawn'; the separator seems to be a "
        "semicolon; is it 'group size'? Then write size='group size'",
    ),
    "two": (
        "groups\tsize\tDrew\na\t1\t1\n",
        ":1: no column 'group' and no column 'drawn' in the header 'groups,size,Drew'; the "
        "separator seems to be a tab; is it 'groups'? Then write group='groups'; is it 'Drew'? "
        "Then write drawn='Drew'",
    ),
    "no header": (
        "a,10,5\nb,7,5\n",
        ":1: no column 'group' and no column 'size' and no column 'drawn' in the header 'a,10,5'; "
        "the separator seems to be a comma",
    ),
    "a title": (
        "My table\n\ngroup,size\na,1\n",
        ":3: no column 'drawn' in the header 'group,size'; the separator seems to be a comma",
    ),
    "one field": (
        "group|size|drawn\na|1|1\n",
        ":1: no column 'group' and no column 'size' and no column 'drawn' in the header "
        "'group|size|drawn', which is one field; expected a comma, a semicolon or a tab in it",
    ),
    "a wide table": (
        "stratum,red_size,red_drawn,blue_size,blue_drawn\nx,9,3,8,2\n",
        "the table seems to be wide, with a pair of columns for each group. Write one row for each "
        "group and stratum: group,size,drawn,stratum",
    ),
    "a wide table of long names": (
        "dark red size,dark red drawn,light blue size,light blue drawn\n9,3,8,2\n",
        "seems to be wide",
    ),
    "a wide table of long names, the other way": (
        "size dark red,drawn dark red,size light blue,drawn light blue\n9,3,8,2\n",
        "seems to be wide",
    ),
    "a wide table, the other way": ("n red,k red,n blue,k blue\n9,3,8,2\n", "seems to be wide"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_column(name: str, tmp_path: Path) -> None:
    content, says = MISSING[name]
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(caught.value).endswith(says) or "wide" in name and says in str(caught.value)
    assert ("wide" in name) == ("wide" in str(caught.value))


def test_missing_column_of_an_option(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("group,size,drawn,sexes\na,1,1,m\n")
    with pytest.raises(TableError, match="no column 'sex' in the header .*; is it 'sexes'\\?$"):
        read_table(path, stratum="sex")
    with pytest.raises(TableError, match="no column 'n' in the header"):
        read_table(path, size="n")


def test_the_command_spells_options_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("group,size,No. drawn\na,1,1\n")
    with pytest.raises(TableError, match='Then write --drawn "No. drawn"$'):
        read_with(path, ReadOptions(for_command=True))
    path.write_text("group,size,drawn\na,3,1\na,2,1\n")
    with pytest.raises(TableError, match="; --sum adds such rows"):
        read_with(path, ReadOptions(for_command=True))


def test_a_column_that_may_name_the_strata_is_proposed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("group,size,drawn,sex\na,3,1,m\nb,2,1,m\na,5,1,f\n")
    with pytest.raises(
        TableError, match="on line 2; if 'sex' names the strata, write stratum='sex'"
    ):
        read_table(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": "size", "left": "size"}, "^left='size' and size='size' exclude each other$"),
        ({"outcome": "o", "drawn": "d"}, "^outcome='o' and drawn='d' exclude each other$"),
        ({"outcome": "o", "left": "l"}, "^outcome='o' and left='l' exclude each other$"),
        ({"size": "drawn"}, "the column 'drawn' cannot be two things at once"),
        ({"stratum": "group"}, "the column 'group' cannot be two things at once"),
        ({"stratum": ["sex", "Sex"]}, "the column 'sex' cannot be two things at once"),
    ],
)
def test_options_that_contradict_each_other(
    options: dict[str, str], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("group,size,drawn,sex\na,3,1,m\nb,2,1,m\n")
    with pytest.raises(TableError, match=says):
        read_table(path, **options)  # type: ignore[arg-type]
