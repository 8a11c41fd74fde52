# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Formulas: which are refused, since they would run as Python code, and which are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_hypergeo.cli import main
from pyro_hypergeo.cli.errors import CommandError
from pyro_hypergeo.cli.formula import parse_formula


@pytest.mark.parametrize(
    ("text", "counts", "columns"),
    [
        ("drawn ~ age + C(group)", "drawn", ["age", "group"]),
        ("age*dose - 1", None, ["age", "dose"]),
        ("~ (age + dose)**2", None, ["age", "dose"]),
        ("`No. drawn` ~ log(`a b`):x / y", "No. drawn", ["a b", "x", "y"]),
        ("d ~ C(g, contr.treatment(base='b')) + bs(x, df=4)", "d", ["g", "x"]),
        ("d ~ C(g, levels=[1, 2.5e1], spans_intercept=False)", "d", ["g"]),
        ("d ~ I(größe**2) + 0", "d", ["größe"]),
    ],
)
def test_columns(text: str, counts: str | None, columns: list[str]) -> None:
    formula = parse_formula(text)
    assert (formula.counts, formula.columns) == (counts, columns)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("d ~ {x + 1}", "'{' is not allowed"),
        ("d ~ x.__class__", "put the name of the column into backticks"),
        ("d ~ (x).real", "'.' is not allowed"),
        ("d ~ 'a'.join(x)", "'.' is not allowed"),
        ("d ~ open('file')", "no function 'open' here"),
        ("d ~ np.load(x)", "no function 'np.load' here"),
        ("d ~ (log)(x)", "expected an operator between ) and ("),
        ("d ~ log(x)(y)", "expected an operator between ) and ("),
        ("d ~ `open`('x')", "expected an operator between `open` and ("),
        ("d ~ I([x][0])", "expected an operator between ] and ["),
        ("d ~ I(lambda: x)", "'lambda' is not allowed"),
        ("d ~ I(x if y else z)", "expected an operator between x and if"),
        ("d ~ f'{x}'", "expected an operator between f and '{x}'"),
        ("d ~ x @ y", "'@' is not allowed"),
        ("d ~ x | y", "'|' is not allowed"),
        ("d ~ I(x := 1) ; y", "';' is not allowed"),
        ("d ~ x\\", "'\\\\' is not allowed"),
        ("d ~ x +", "it ends with +"),
        ("d ~ 1", "there is no covariate in it"),
        ("", "there is no covariate in it"),
        ("a ~ b ~ c", "two tildes"),
        ("log(d) ~ x", "expected one column of counts on the left"),
        ("d ~ x + offset(n)", "write --offset COL instead"),
        ("d ~ x + strata(s)", "write --stratum COL instead"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(CommandError) as error:
        parse_formula(text)
    assert why in str(error.value)


@given(st.text(alphabet="xd~+-*/()[]{}'\"`.,=:;@!% 1e\\\nlogC_", max_size=20))
def test_any_text_is_a_formula_or_one_mistake(text: str) -> None:
    try:
        formula = parse_formula(text)
    except CommandError:
        return
    assert formula.columns and not set(formula.right) & set("{};@!%\\")


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("drawn ~ log(x - 2)", ":3: log(x - 2) is -inf"),
        ("drawn ~ log(g)", "Unable to evaluate factor `log(g)`"),
        ("drawn ~ 2*x", "Numeric literals"),
        ("drawn ~ (x", "Could not find matching"),
        ("drawn ~ x - x", "there is no covariate in it"),
        ("drawn ~ C(g, levels=['a'])", "categories outside"),
        ("drawn ~ h", "no column 'h' in the header 'drawn,x,g,n'"),
        ("drawn ~ n", ":4: the n is missing ('NA')"),
    ],
)
def test_formulas_that_do_not_suit_the_table(
    formula: str, why: str, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/t.csv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("drawn,x,g,n\n1,3,a,x\n0,2,b,y\n1,5,a,NA\n0,4,b,x\n")
    assert main([path, "--formula", formula]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and why in line and "\x1b" not in line
