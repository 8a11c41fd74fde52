# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The options of the command."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NoReturn

from .. import __version__, datasets
from ..distributions.laws import LAWS
from .errors import CommandError
from .nuts import MIN_SAMPLES
from .table import add_table_options

_DESCRIPTION = """\
How much does an element of each group count when some are drawn?

Learns the weights of groups from how many elements of each were drawn, without replacement, out
of one urn or of several (strata) with the same weights, by Bayesian inference and by maximum
likelihood under Fisher's or Wallenius' noncentral hypergeometric distribution. The weights may
depend on covariates instead (see "regression" below).
"""

_EPILOG = """\
TABLE.csv has a header with the columns group, size (elements of the group), drawn (how many of
them were drawn) and, if there are several urns, stratum; one row a group and stratum. Options name
other columns. The separator is a comma, a semicolon or a tab, the file may be compressed by gzip,
and - is standard input. Without TABLE.csv, the passengers and crew of the Titanic are taken: groups
are classes, strata are the sexes, and the drawn are those who survived.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def _name() -> str:
    script = Path(sys.argv[0]).stem
    return script if script == "pyro-hypergeo" else "python -m pyro_hypergeo"


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command; it raises :class:`CommandError` after a mistake."""
    parser = _Parser(
        prog=_name(),
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pyro_hypergeo {__version__}")
    parser.add_argument(
        "table",
        metavar="TABLE.csv",
        nargs="?",
        type=Path,
        default=datasets.path("titanic.csv"),
        help="the table, or - for standard input; the Titanic's if not given",
    )
    add_table_options(parser)
    add_regression_options(parser)
    parser.add_argument(
        "--reference",
        metavar="GROUP",
        help="the group whose weight is 1; if not given, the largest of those that strata compare",
    )
    parser.add_argument(
        "--law",
        choices=sorted(LAWS),
        default="fisher",
        help=_law_help(),
    )
    parser.add_argument(
        "--engine",
        choices=["svi", "nuts", "laplace"],
        help="variational inference, fast; Hamiltonian Monte Carlo, exact; or the normal "
        "distribution at the mode, for large tables (svi; none if there are covariates)",
    )
    parser.add_argument(
        "--steps",
        metavar="N",
        type=_positive_integer,
        default=100,
        help="most steps of variational inference, which stops when settled (%(default)s)",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=_samples,
        default=1000,
        help="draws of each chain of nuts after its warmup, or of svi for --netcdf (%(default)s)",
    )
    parser.add_argument(
        "--chains",
        metavar="N",
        type=_positive_integer,
        default=2,
        help="chains of nuts, one after the other (%(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="S", type=_seed, default=0, help="of the random numbers (%(default)s)"
    )
    parser.add_argument(
        "--prior-scale",
        metavar="X",
        type=_positive_number,
        default=3.0,
        help="standard deviation of the zero-sum normal prior on the log-weights, or of the normal "
        "prior on the coefficients of standardised covariates (%(default)s)",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        type=Path,
        help="draw weights, or coefficients, and intervals there; .pdf and .svg too",
    )
    parser.add_argument(
        "--check",
        metavar="FILE.png",
        type=Path,
        help="compare the table with tables drawn from the posterior, and draw that there",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers there")
    parser.add_argument(
        "--netcdf", metavar="FILE", type=Path, help="write posterior draws there, for ArviZ"
    )
    return parser


def _law_help() -> str:
    stories = "; ".join(f"{name}: {cls.law.story}" for name, cls in sorted(LAWS.items()))
    return f"{stories} (%(default)s)"


def add_regression_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that make weights depend on covariates."""
    options = parser.add_argument_group(
        "regression",
        "With covariates, each row is one element, or --size elements. The logarithm of their\n"
        "weight is a sum of covariates times coefficients.",
    )
    which = options.add_mutually_exclusive_group()
    which.add_argument("--covariates", metavar="A,B", help="columns of numbers")
    which.add_argument(
        "--formula",
        metavar="'DRAWN ~ A + C(B)'",
        help="covariates as a formula; C makes categories of numbers",
    )
    options.add_argument("--offset", metavar="COL", help="column of known parts of the log-weights")
    options.add_argument(
        "--ridge",
        metavar="X",
        type=_number_from_0,
        help="penalty X/2 times the sum of squared coefficients (0)",
    )
    options.add_argument(
        "--robust",
        metavar="COL",
        nargs="?",
        const="",
        help="standard errors from the scores of strata, or of the clusters in this column",
    )


def _positive_integer(text: str) -> int:
    return _integer(text, at_least=1)


def _samples(text: str) -> int:
    return _integer(text, at_least=MIN_SAMPLES)


def _integer(text: str, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = at_least - 1
    if value < at_least:
        raise argparse.ArgumentTypeError(
            f"expected an integer of at least {at_least}, got {text!r}"
        )
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to 2^63 - 1, got {text!r}")
    return value


def _number(text: str) -> float:
    """The number, or NaN if the text is none: NaN is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _number_from_0(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number that is not negative, got {text!r}")
    return value


def _positive_number(text: str) -> float:
    value = _number(text)
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected a number from 1e-6 to 1e6, got {text!r}")
    return value
