# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command: it reads the options, checks them, infers, and writes the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .check import check_posterior, save_check
from .engine import Posterior
from .errors import CommandError
from .estimate import estimate
from .laplace import laplace_posterior
from .netcdf import save_netcdf
from .nuts import sample_posterior
from .options import make_parser
from .outputs import check_outputs, save_json, writing
from .plot import save_plot
from .regression import is_regression, run_regression
from .report import as_json, as_text, make_report
from .streams import flush, say
from .svi import infer_posterior
from .table import Table, read_table, table_options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; those of the process if not given.
    :return: the exit status: 0, or 2 after a mistake. One line on standard error then says what is
        wrong.
    """
    try:
        options = make_parser().parse_args(argv)
        if is_regression(options):
            run_regression(options)
        else:
            _run(options)
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
    check_outputs(options)
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
    with writing():
        if options.json is not None:
            save_json(as_json(report), options.json)
        if options.plot is not None:
            save_plot(report, options.plot)
        if check is not None:
            save_check(check, table, options.check)
        if options.netcdf is not None:
            save_netcdf(report, posterior.draws(options.samples, options.seed), options.netcdf)
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
