# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command with covariates: weights that depend on the columns of a long table."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import datasets
from ..distributions.laws import LAWS
from ..infer import NoFiniteEstimateError, RegressionFit, StratifiedTable, fit_regression
from ..infer.regression.likelihood import TableLikelihood
from ..tables import LongTable, ReadOptions, TableError, read_long
from .errors import CommandError
from .extras import require
from .formula import Formula, design_of, parse_formula
from .outputs import check_outputs, save_json, writing
from .regression_plot import save_regression_plot
from .regression_posterior import (
    CoefficientsPosterior,
    laplace_coefficients,
    sample_coefficients,
    settled_coefficients,
)
from .regression_report import RegressionReport, as_json, as_text
from .streams import say
from .table import table_options


class _Problem(NamedTuple):
    """The arguments of a regression."""

    design: Tensor
    names: list[str]
    offset: Tensor | None
    cluster: list[str] | None
    rows: LongTable

    @property
    def table(self) -> dict[str, Any]:
        """The arguments that say what the rows are."""
        return {
            "design": self.design,
            "counts": self.rows.counts,
            "strata": self.rows.strata,
            "group_sizes": self.rows.sizes,
            "offset": self.offset,
            "names": self.names,
        }


def is_regression(options: argparse.Namespace) -> bool:
    """Whether the options ask for a regression.

    :raises CommandError: if they only make sense for one, but there are no covariates.
    """
    if options.covariates is not None or options.formula is not None:
        return True
    for name in ("offset", "ridge", "robust"):
        if getattr(options, name) is not None:
            raise CommandError(f"--{name} needs --covariates or --formula")
    return False


def run_regression(options: argparse.Namespace) -> None:
    """Read a long table, fit the coefficients, and write the report.

    :raises CommandError: after a mistake of the user.
    """
    _check_options(options)
    problem = _read(options)
    for note in problem.rows.notes:
        say(f"note: {note}", sys.stderr)
    check_outputs(options)
    report = _report(options, problem)
    say(as_text(report), sys.stdout)
    with writing():
        if options.json is not None:
            save_json(as_json(report), options.json)
        if options.plot is not None:
            save_regression_plot(report, options.plot)
    if report.posterior is not None and report.posterior.warning():
        say(f"warning: {report.posterior.warning()}", sys.stderr)


def _check_options(options: argparse.Namespace) -> None:
    what = "--covariates" if options.formula is None else "--formula"
    for name in ("group", "sum", "keep_totals", "reference", "check", "netcdf"):
        if getattr(options, name):
            raise CommandError(f"--{name.replace('_', '-')} and {what} exclude each other")
    if options.engine is not None:
        for name in ("ridge", "robust"):
            if getattr(options, name) is not None:
                raise CommandError(
                    f"--{name} and --engine exclude each other: an engine has the prior of "
                    "--prior-scale, and its own standard deviations"
                )
    table_was_given = options.table != datasets.path("titanic.csv")
    if options.robust and not table_was_given and Path(options.robust).is_file():
        raise CommandError(f"--robust {options.robust}: write the table before --robust")
    if options.formula is not None:
        require("--formula", "formulaic", "formula")


def _read(options: argparse.Namespace) -> _Problem:
    reading = table_options(options)
    formula = None
    if options.formula is not None:
        formula = parse_formula(options.formula)
        reading = _with_counts(reading, formula)
        covariates = formula.columns
    else:
        covariates = _covariates(options.covariates)
    others = [name for name in (options.offset, options.robust) if name]
    try:
        rows = read_long(options.table, reading, [*covariates, *others])
        if formula is not None:
            design, names = design_of(formula, rows)
        else:
            design, names = _columns(rows, covariates)
        offset = None if options.offset is None else _offset(rows, options.offset)
        cluster = rows.labels(options.robust) if options.robust else None
    except TableError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{options.table}: {error.strerror or error}") from None
    return _Problem(design, names, offset, cluster, rows)


def _covariates(text: str) -> list[str]:
    names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not names or not all(names):
        raise CommandError(f"--covariates {text!r}: expected names of columns, such as age,dose")
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f"--covariates {text!r}: {name} is there twice")
    return names


def _with_counts(reading: ReadOptions, formula: Formula) -> ReadOptions:
    """The options of the table, where the left side of a formula names the counts."""
    if formula.counts is None or formula.counts == reading.outcome:
        return reading
    for name in ("drawn", "outcome"):
        given = getattr(reading, name)
        if given is not None and given != formula.counts:
            raise CommandError(
                f"--formula {formula.text!r} and --{name} {given}: two columns of counts"
            )
    return reading._replace(drawn=formula.counts)


def _columns(rows: LongTable, names: list[str]) -> tuple[Tensor, list[str]]:
    titles = [rows.title(name) for name in names]
    columns = [
        rows.numbers(name, f"; if it is a category, write --formula '{_category(title)}'")
        for name, title in zip(names, titles, strict=True)
    ]
    return torch.stack(columns, -1), titles


def _category(title: str) -> str:
    return f"C({title})" if title.isidentifier() else f"C(`{title}`)"


def _offset(rows: LongTable, name: str) -> Tensor:
    offset = rows.numbers(name, minus_infinity=True)
    never = (offset == -torch.inf) & (rows.counts > 0)
    if never.any():
        row = int(never.nonzero()[0])
        where = rows.records.at(rows.records.rows[row][0])
        raise CommandError(
            f"{where}{int(rows.counts[row])} drawn, but {rows.title(name)} is -inf, so the weight "
            "is 0"
        )
    return offset


def _report(options: argparse.Namespace, problem: _Problem) -> RegressionReport:
    rows, fit, why_not = problem.rows, None, ""
    try:
        fit = _fit(options, problem)
        table = fit.table
        if options.robust is not None:
            fit = fit.robust(problem.cluster)
    except NoFiniteEstimateError as error:
        if options.engine is None:
            raise CommandError(_said(rows, error)) from None
        table, why_not = StratifiedTable(**problem.table), str(error)
    except torch.linalg.LinAlgError:
        raise CommandError(
            f"{rows.records.label}: the covariates cannot be told apart within strata; leave some "
            "out, or give a --ridge"
        ) from None
    except ValueError as error:
        raise CommandError(_said(rows, error)) from None
    law = LAWS[options.law].law
    what = options.covariates if options.formula is None else options.formula
    return RegressionReport(
        f"{rows.records.name}: {what}",
        options.law,
        f"{law.title} law, with a normal prior of standard deviation {options.prior_scale:g} on "
        "coefficients of standardised covariates",
        table,
        fit,
        why_not,
        _posterior(options, table),
        rows.notes,
    )


def _said(rows: LongTable, error: ValueError) -> str:
    return f"{rows.records.label}: {error}"


def _fit(options: argparse.Namespace, problem: _Problem) -> RegressionFit:
    return fit_regression(**problem.table, law=options.law, ridge=options.ridge or 0.0)


def _posterior(options: argparse.Namespace, table: StratifiedTable) -> CoefficientsPosterior | None:
    if options.engine is None:
        return None
    likelihood = TableLikelihood(table, LAWS[options.law].law)
    if options.engine == "laplace":
        return laplace_coefficients(likelihood, options.prior_scale)
    if options.engine == "svi":
        return settled_coefficients(
            likelihood, options.prior_scale, max_steps=options.steps, seed=options.seed
        )
    return sample_coefficients(
        likelihood,
        options.prior_scale,
        samples=options.samples,
        chains=options.chains,
        seed=options.seed,
    )
