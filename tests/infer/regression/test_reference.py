# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Problems with exact answers, from 50-digit and 110-digit arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import NoFiniteEstimateError, RegressionFit, fit_regression

CASES = json.loads((Path(__file__).parents[2] / "data" / "regression.json").read_text())["cases"]
FINITE = [case for case in CASES if case["expected"].get("finite", True)]
INFINITE = [case for case in CASES if not case["expected"].get("finite", True)]


def fit(case: dict[str, Any], law: str | None = None, **options: Any) -> RegressionFit:
    return fit_regression(
        case["design"],
        case["counts"],
        strata=case["strata"],
        group_sizes=case["group_sizes"],
        offset=case["offset"],
        law=law or case["law"],
        **{"ridge": case["ridge"], **options},
    )


def close(found: Tensor | float, expected: Any) -> None:
    found, expected = torch.as_tensor(found), torch.tensor(expected)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", FINITE, ids=lambda case: case["name"])
def test_exact_answers(case: dict[str, Any]) -> None:
    found, expected = fit(case), case["expected"]
    close(found.coefficients, expected["beta"])
    close(found.standard_errors, expected["standard_errors"])
    close(found.covariance, expected["covariance"])
    close(found.log_likelihood, expected["log_likelihood"])
    close(found.log_likelihood_null, expected["log_likelihood_null"])
    assert found.iterations <= 8
    if "robust_standard_errors" in expected:
        close(found.robust().standard_errors, expected["robust_standard_errors"])
    if case["ridge"] == 0:
        close(found.likelihood_ratio().statistic, expected["likelihood_ratio"])
        close(found.wald().statistic, expected["wald"])
        close(found.score().statistic, expected["score"])


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_separated(law: str) -> None:
    (case,) = [case for case in INFINITE if case["name"] == "separated_completely"]
    with pytest.raises(NoFiniteEstimateError, match="grows without end as x1 grows") as error:
        fit(case, law, names=["x1", "x2"])
    assert error.value.direction[0] > 0
    shrunk = fit(case, law, ridge=1e-3)
    assert shrunk.coefficients[0] > 1
    assert shrunk.coefficients.isfinite().all()


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_not_identified(law: str) -> None:
    (case,) = [case for case in INFINITE if case["name"] == "not_identified"]
    with pytest.raises(NoFiniteEstimateError, match="x2.*constant within") as error:
        fit(case, law)
    assert error.value.covariates == ("x2",)
    assert fit(case, law, ridge=1e-3).coefficients[1].abs() < 1e-9
