# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command: it reads the options, checks them, infers, and writes the report."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__, datasets
from ..distributions.laws import LAWS
from .check import check_posterior, save_check
from .engine import Posterior
from .errors import CommandError
from .estimate import estimate
from .extras import require
from .laplace import laplace_posterior
from .netcdf import require_arviz, save_netcdf
from .nuts import MIN_SAMPLES, sample_posterior
from .plot import PLOT_FORMATS, save_plot
from .report import as_json, as_text, make_report
from .streams import flush, say
from .svi import infer_posterior
from .table import Table, add_table_options, read_table, table_options

_DESCRIPTION = """\
How much does an element of each group count when some are drawn?

Learns the weights of groups from how many elements of each were drawn, without replacement, out
of one urn or of several (strata) with the same weights, by Bayesian inference and by maximum
likelihood under Fisher's or Wallenius' noncentral hypergeometric distribution.
"""

_EPILOG = """\
TABLE.csv has a header with the columns group, size (elements of the group), drawn (how many of
them were drawn) and, if there are several urns, stratum; one row a group and stratum. Options name
other columns. The separator is a comma, a semicolon or a tab, the file may be compressed by gzip,
and - is standard input. Without TABLE.csv, the passengers and crew of the Titanic are taken: groups
are classes, strata are the sexes, and the drawn are those who survived.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; those of the process if not given.
    :return: the exit status: 0, or 2 after a mistake. One line on standard error then says what is
        wrong.
    """
    try:
        _run(_parser().parse_args(argv))
    except CommandError as error:
        say(f"error: {' '.join(str(error).splitlines())}", sys.stderr)
        return 2
    finally:
        flush()
    return 0


def _run(options: argparse.Namespace) -> None:
    table = read_table(options.table, table_options(options))
    for note in table.notes:
        say(f"note: {note}", sys.stderr)
    reference = _reference(table, options.reference)
    if options.plot is not None:
        if options.plot.suffix.lower() not in PLOT_FORMATS:
            raise CommandError(
                f"--plot {options.plot}: expected a name that ends in .png, .pdf or .svg"
            )
        require("--plot", "matplotlib", "plot")
    if options.check is not None:
        if options.check.suffix.lower() != ".png":
            raise CommandError(f"--check {options.check}: expected a name that ends in .png")
        require("--check", "matplotlib", "plot")
    if options.netcdf is not None:
        require_arviz()
    for option in ("plot", "check", "json", "netcdf"):
        if getattr(options, option) is not None:
            _check_writable(f"--{option}", getattr(options, option))
    posterior = _infer(options, table, reference)
    check = None
    if options.check is not None:
        check = check_posterior(table, posterior, options.law, options.seed)
    report = make_report(
        table,
        reference,
        posterior,
        estimate(table, reference, options.law),
        options.law,
        check,
    )
    say(as_text(report), sys.stdout)
    try:
        if options.json is not None:
            text = json.dumps(as_json(report), indent=2, allow_nan=False, ensure_ascii=False)
            options.json.write_text(text + "\n", encoding="utf-8")
        if options.plot is not None:
            save_plot(report, options.plot)
        if check is not None:
            save_check(check, table, options.check)
        if options.netcdf is not None:
            save_netcdf(report, posterior.draws(options.samples, options.seed), options.netcdf)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    if posterior.warning():
        say(f"warning: {posterior.warning()}", sys.stderr)


def _infer(options: argparse.Namespace, table: Table, reference: int) -> Posterior:
    if options.engine == "laplace":
        return laplace_posterior(table, options.prior_scale, options.law)
    if options.engine == "nuts":
        return sample_posterior(
            table,
            options.prior_scale,
            reference=reference,
            samples=options.samples,
            chains=options.chains,
            seed=options.seed,
            law=options.law,
        )
    return infer_posterior(
        table,
        options.prior_scale,
        reference=reference,
        max_steps=options.steps,
        seed=options.seed,
        law=options.law,
    )


def _reference(table: Table, name: str | None) -> int:
    if name is None:
        return table.default_reference
    if name.strip() not in table.groups:
        groups = ", ".join(table.groups)
        raise CommandError(f"--reference: no group {name!r} in {table.name}; there are: {groups}")
    return table.groups.index(name.strip())


def _check_writable(option: str, path: Path) -> None:
    # Try to open the file. Permissions alone do not tell: the disk may be full, the mount may be
    # read-only, or the user may be root.
    try:
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} {path}: {getattr(error, 'strerror', error)}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def _name() -> str:
    script = Path(sys.argv[0]).stem
    return script if script == "pyro-hypergeo" else "python -m pyro_hypergeo"


def _parser() -> argparse.ArgumentParser:
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
        default="svi",
        help="variational inference, fast; Hamiltonian Monte Carlo, exact; or the normal "
        "distribution at the mode, for large tables (%(default)s)",
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
        help="standard deviation of the zero-sum normal prior on the log-weights (%(default)s)",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        type=Path,
        help="draw weights and intervals there; .pdf and .svg too",
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


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"expected a number from 1e-6 to 1e6, got {text!r}")
    return value
