# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Conditional logistic regression and Cox regression with exact ties, against R's survival."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import RegressionFit, fit_regression

DATA = Path(__file__).parents[2] / "data"
KNOWN = json.loads((DATA / "survival_reference.json").read_text())


def columns(name: str, *names: str) -> list[Tensor]:
    with (DATA / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [torch.tensor([float(row[name]) for row in rows]) for name in names]


def close(fit: RegressionFit, name: str) -> None:
    known, p = KNOWN[name], len(fit.coefficients)
    expected = torch.tensor(known["coefficients"])
    assert ((fit.coefficients - expected) / fit.standard_errors).abs().max() < 1e-8
    variance = torch.tensor(known["variance"]).reshape(p, p)
    torch.testing.assert_close(fit.covariance, variance, rtol=1e-8, atol=0)
    null, at = known["log_likelihood"]
    assert fit.log_likelihood == pytest.approx(at, rel=1e-10)
    assert fit.log_likelihood_null == pytest.approx(null, rel=1e-10)


def test_a_hundred_cases_of_two_hundred() -> None:
    case, *x = columns("clogit.csv", "case", "x1", "x2", "x3")
    close(fit_regression(torch.stack(x, -1), case), "clogit")


def test_each_event_time_is_a_stratum() -> None:
    time, status, *z = columns("ties.csv", "time", "status", "z1", "z2")
    covariates = torch.stack(z, -1)
    design, counts, strata = [], [], []
    for when in time[status == 1].unique():
        at_risk = time >= when
        design.append(covariates[at_risk])
        counts.append(((time == when) & (status == 1))[at_risk].double())
        strata += [float(when)] * int(at_risk.sum())
    assert max(float(x.sum()) for x in counts) > 10  # many ties
    close(fit_regression(torch.cat(design), torch.cat(counts), strata=strata), "ties")
