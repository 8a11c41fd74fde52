# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Formulas such as ``drawn ~ age + C(group)``: what they may say, and their columns."""

from __future__ import annotations

import keyword
import re
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..tables import LongTable
from .errors import CommandError

# formulaic runs what stands in a formula as Python code. So a formula may hold these words only.
_FUNCTIONS = {
    "C", "I", "abs", "bs", "cc", "center", "cr", "cs", "exp", "log", "log10", "log1p", "log2",
    "poly", "scale", "sqrt", "standardize", "contr.helmert", "contr.poly", "contr.sum",
    "contr.treatment", "Treatment",
}  # fmt: skip
_MORE = {"abs": np.abs, "log1p": np.log1p, "sqrt": np.sqrt}  # that formulaic does not have
_CONSTANTS = {"True", "False", "None"}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<quoted>`[^`]+`)
    |(?P<text>'[^'\\]*'|"[^"\\]*")
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.]))
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign>\*\*|[-+*/:^(),=\[\]~])
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_NO_OPERATOR = {
    "offset": "write --offset COL instead",
    "strata": "write --stratum COL instead",
    "strat": "write --stratum COL instead",
    "cluster": "write --robust COL instead",
}


class Formula(NamedTuple):
    """A formula that is safe to run."""

    text: str
    counts: str | None  # the column left of the tilde
    right: str
    columns: list[str]  # that the right side needs, in order


def parse_formula(text: str) -> Formula:
    """Check a formula, and find its columns.

    It may hold names of columns, numbers, texts, operators and a few functions, and nothing else.

    :raises CommandError: if it holds anything else.
    """
    left, tilde, right = text.rpartition("~")
    if "~" in left:
        raise _wrong(text, "there are two tildes")
    counts = None
    if tilde and left.strip():
        kinds = _tokens(left, text)
        if len(kinds) != 1 or kinds[0][0] not in ("name", "quoted"):
            raise _wrong(text, "expected one column of counts on the left, such as drawn ~ age")
        counts = kinds[0][1].strip("`")
    tokens = _tokens(right, text)
    # A further term follows, which would hide this mistake.
    if tokens and tokens[-1][0] == "sign" and tokens[-1][1] not in ")]":
        raise _wrong(text, f"it ends with {tokens[-1][1]}")
    columns = _columns(tokens, text)
    if not columns:
        raise _wrong(text, "there is no covariate in it")
    return Formula(text, counts, right.strip(), columns)


def _tokens(part: str, text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    part = part.rstrip()
    while at < len(part):
        match = _TOKEN.match(part, at)
        if match is None or match.lastgroup is None:
            raise _wrong(
                text,
                f"{part[at:].strip()[0]!r} is not allowed; expected columns, numbers, operators "
                "and functions",
            )
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _columns(tokens: list[tuple[str, str]], text: str) -> list[str]:
    columns: dict[str, None] = {}
    ends = [*tokens, ("", "")][1:]
    depth = 0
    for (kind, token), (next_kind, after) in zip(tokens, ends, strict=True):
        depth += {"(": 1, ")": -1}.get(token, 0) if kind == "sign" else 0
        called = after == "(" and next_kind == "sign"
        # A call of a result, a prefix of a text, and two things without an operator between them.
        if (kind != "sign" or token in ")]") and (
            next_kind in ("name", "number", "text", "quoted")
            or (called and kind != "name")
            or after == "["
        ):
            raise _wrong(text, f"expected an operator between {token} and {after}")
        if kind == "quoted":
            columns[token.strip("`")] = None
        if kind != "name":
            continue
        if called:
            _check_function(token, text)
        elif after == "=" and depth:
            continue
        elif "." in token and token in _FUNCTIONS:
            continue
        elif keyword.iskeyword(token) and token not in _CONSTANTS:
            raise _wrong(text, f"{token!r} is not allowed")
        elif token not in _CONSTANTS:
            if "." in token:
                raise _wrong(text, f"put the name of the column into backticks: `{token}`")
            columns[token] = None
    return list(columns)


def _check_function(name: str, text: str) -> None:
    if name in _FUNCTIONS:
        return
    known = ", ".join(sorted(_FUNCTIONS))
    hint = _NO_OPERATOR.get(name, f"there are {known}; compute others beforehand")
    raise _wrong(text, f"no function {name!r} here; {hint}")


def _wrong(text: str, why: str) -> CommandError:
    return CommandError(f"--formula {text!r}: {why}")


def design_of(formula: Formula, table: LongTable) -> tuple[Tensor, list[str]]:
    """The covariates of a formula, (rows, p), and their names.

    There is no intercept: what all elements of a stratum share has no effect. But categories get
    the columns that they have beside an intercept.

    :raises CommandError: if the formula cannot be computed.
    :raises TableError: if a cell is missing.
    """
    # These imports are slow.
    import formulaic
    import pandas
    from formulaic.errors import FormulaicError, FormulaicWarning

    cells = {name: table.cells(name) for name in formula.columns}
    # Older versions of formulaic take texts as categories only if they are objects.
    columns = {
        name: x.numpy() if isinstance(x, Tensor) else pandas.Series(x, dtype=object)
        for name, x in cells.items()
    }
    frame = pandas.DataFrame(columns)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            # Levels that leave out a category of the table.
            warnings.simplefilter("error", FormulaicWarning)
            # A formula that takes the intercept out gets it back. Nothing of the caller is visible.
            matrix = formulaic.Formula(f"{formula.right} + 1").get_model_matrix(
                frame, context=_MORE, na_action="raise", output="pandas"
            )
    except (FormulaicError, FormulaicWarning, ValueError, TypeError) as error:
        # Marks of colour are for a terminal.
        first = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().splitlines()[:1]
        raise _wrong(formula.text, *first or ["it cannot be computed"]) from None
    # A category that is a whole number needs no decimal point.
    names = [re.sub(r"(?<=[\[.])(-?\d+)\.0\]", r"\1]", str(name)) for name in matrix.columns]
    design = torch.from_numpy(matrix.to_numpy(dtype=np.float64, copy=True))
    kept = [at for at, name in enumerate(names) if name != "Intercept"]
    if not kept:
        raise _wrong(formula.text, "there is no covariate in it")
    design, names = design[:, kept], [names[at] for at in kept]
    if not design.isfinite().all():
        row, column = (~design.isfinite()).nonzero()[0].tolist()
        raise CommandError(
            f"{table.records.at(table.records.rows[row][0])}{names[column]} is "
            f"{float(design[row, column])}"
        )
    return design, names
