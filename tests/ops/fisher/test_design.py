# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Likelihoods in coefficients against the general version, by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import ops
from pyro_hypergeo.ops import FISHER, WALLENIUS
from pyro_hypergeo.ops.fisher import design as module
from pyro_hypergeo.ops.law import Law, one_draw_terms


def strata(
    number: int, rows: int, size: int, scale: float, p: int = 3
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-weights, sizes (some 0), counts and the design; totals from none to all."""
    design = torch.randn(number, rows, p) + 5
    theta = scale * (design @ torch.randn(p))
    sizes = torch.randint(0, size + 1, (number, rows)).double()
    total = (sizes.sum(-1) * torch.rand(number)).round()
    total[0], total[-1] = 0, sizes[-1].sum()
    return theta, sizes, ops.sample(theta, sizes, total), design


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * (1 + b.abs().max().item()))


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0, 60.0])
@pytest.mark.parametrize(("number", "rows", "size"), [(9, 5, 3), (2, 200, 1), (20, 6, 50)])
def test_closed_form(number: int, rows: int, size: int, scale: float) -> None:
    given = strata(number, rows, size, scale)
    found = FISHER.design_terms(*given)
    close(found, Law.design_terms(FISHER, *given))
    assert found.values[0] == found.values[-1] == 0
    assert (found.scores[[0, -1]] == 0).all()
    assert torch.linalg.eigvalsh(found.information).min() > -1e-9


def test_parts_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    given = strata(3, 101, 9, 1.0)
    whole = FISHER.design_terms(*given)
    monkeypatch.setattr(module, "_CELLS", 500)
    close(FISHER.design_terms(*given), whole)


def test_information_is_that_of_the_covariance() -> None:
    theta, sizes, counts, design = strata(6, 7, 5, 1.0)
    covariance = ops.covariance(theta, sizes, counts.sum(-1))
    expected = torch.einsum("sgp,sgh,shq->pq", design, covariance, design)
    found = FISHER.design_terms(theta, sizes, counts, design).information
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(("law", "scale"), [(FISHER, 2.0), (WALLENIUS, 0.2)])
def test_one_draw(law: Law, scale: float) -> None:
    theta, sizes, _, design = strata(30, 5, 4, scale)
    sizes[:, 0] += 1
    counts = ops.sample(theta, sizes, torch.ones(30))
    found = one_draw_terms(theta, sizes, counts, design)
    close(found, Law.design_terms(law, theta, sizes, counts, design))
