# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What must not change the fit, what it is a special case of, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    StratifiedTable,
    WalleniusHypergeometric,
    fit_regression,
    fit_weights,
    ops,
)

LAWS = ["fisher", "wallenius"]


def long_table(
    lengths: list[int], p: int = 2, size: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Design, counts, strata and sizes; the totals are about a third."""
    torch.manual_seed(seed)
    strata = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    design, sizes = torch.randn(len(strata), p), torch.randint(1, size + 1, (len(strata),)).double()
    theta, counts = design @ torch.linspace(0.8, -0.5, p), torch.zeros(len(strata))
    for s in range(len(lengths)):
        rows = strata == s
        total = (sizes[rows].sum() / 3).round()
        counts[rows] = ops.sample(theta[rows], sizes[rows], total)
    return design, counts, strata, sizes


def same(a: Any, b: Any, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(a.coefficients, b.coefficients, rtol=rtol, atol=1e-10)
    torch.testing.assert_close(a.standard_errors, b.standard_errors, rtol=rtol, atol=1e-10)
    assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=rtol)
    assert a.log_likelihood_null == pytest.approx(b.log_likelihood_null, rel=rtol)


@pytest.mark.parametrize("law", LAWS)
def test_is_the_maximum_of_the_distributions(law: str) -> None:
    design, counts, strata, sizes = long_table([6, 9, 4, 7], size=4)
    fit = fit_regression(design, counts, strata=strata, group_sizes=sizes, law=law)
    beta = fit.coefficients.clone().requires_grad_()
    urn = {"fisher": FisherHypergeometric, "wallenius": WalleniusHypergeometric}[law]
    value = torch.zeros(())
    for s in range(4):
        rows = strata == s
        drawn = counts[rows]
        one = urn(drawn.sum(), sizes[rows], log_weights=design[rows] @ beta)
        value = value + one.log_prob(drawn)
    assert value.item() == pytest.approx(fit.log_likelihood, rel=1e-12)
    (slope,) = torch.autograd.grad(value, beta, create_graph=True)
    assert slope.abs().max() < 1e-9
    hessian = [torch.autograd.grad(s, beta, retain_graph=True)[0] for s in slope]
    torch.testing.assert_close(torch.linalg.inv(-torch.stack(hessian)), fit.covariance)


@pytest.mark.parametrize("law", LAWS)
def test_one_hot_columns_are_fit_weights(law: str) -> None:
    sizes = [[10, 20, 15], [30, 10, 5], [7, 9, 11]]
    counts = [[6, 4, 5], [20, 4, 1], [2, 5, 3]]
    weights = fit_weights(sizes, counts, reference=0, law=law)
    fit = fit_regression(
        torch.eye(3)[:, 1:].repeat(3, 1),
        np.ravel(counts),
        strata=np.repeat(["a", "b", "c"], 3),
        group_sizes=np.ravel(sizes),
        law=law,
    )
    torch.testing.assert_close(fit.coefficients, weights.log_weights[1:])
    torch.testing.assert_close(fit.covariance, weights.covariance[1:, 1:])
    assert fit.log_likelihood == pytest.approx(weights.log_likelihood.item(), abs=1e-11)
    assert fit.log_likelihood_null == pytest.approx(weights.log_likelihood_equal.item(), abs=1e-11)


@pytest.mark.parametrize("law", LAWS)
def test_rows_in_any_order_and_columns_in_any_unit(law: str) -> None:
    design, counts, strata, sizes = long_table([5, 12, 3, 30, 8], size=3)
    options = {"strata": strata, "group_sizes": sizes}
    fit = fit_regression(design, counts, law=law, **options)
    order = torch.randperm(len(counts))
    mixed = {name: value[order] for name, value in options.items()}
    same(fit_regression(design[order], counts[order], law=law, **mixed), fit)
    moved = fit_regression(design * torch.tensor([1e-6, 1e3]) + 1e4, counts, law=law, **options)
    factor = torch.tensor([1e6, 1e-3])
    torch.testing.assert_close(moved.coefficients, fit.coefficients * factor, rtol=1e-6, atol=0)
    constant = torch.randn(5)[strata]
    same(fit_regression(design, counts, law=law, offset=constant, **options), fit)


@pytest.mark.parametrize("law", LAWS)
def test_equal_rows_become_one(law: str) -> None:
    torch.manual_seed(0)
    design = torch.randint(0, 2, (60, 3)).double()
    strata = torch.arange(60) % 4
    counts = (torch.rand(60) < 0.4).double()
    table = StratifiedTable(design, counts, strata=strata)
    assert sum(int((batch.group_sizes > 0).sum()) for batch in table.batches) <= 4 * 8
    fit = fit_regression(design, counts, strata=strata, law=law)
    beta = fit.coefficients
    urn = {"fisher": FisherHypergeometric, "wallenius": WalleniusHypergeometric}[law]
    value = 0.0
    for s in range(4):
        x = counts[strata == s]
        theta = design[strata == s] @ beta
        value += urn(x.sum(), torch.ones(15), log_weights=theta).log_prob(x).item()
    assert fit.log_likelihood == pytest.approx(value, rel=1e-11)


def test_offset_moves_the_coefficients_and_minus_infinity_leaves_a_row_out() -> None:
    design, counts, strata, _ = long_table([9, 14, 6], p=1)
    fit = fit_regression(design, counts, strata=strata)
    moved = fit_regression(design, counts, strata=strata, offset=0.7 * design[:, 0])
    assert moved.coefficients.item() == pytest.approx(fit.coefficients.item() - 0.7, rel=1e-9)
    assert moved.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
    never = torch.zeros(len(counts))
    row = int((counts == 0).nonzero()[0])
    never[row] = -torch.inf
    kept = torch.arange(len(counts)) != row
    less = fit_regression(design[kept], counts[kept], strata=strata[kept])
    same(fit_regression(design, counts, strata=strata, offset=never), less)
    never[counts > 0] = -torch.inf
    with pytest.raises(ValueError, match="`counts` to be 0 where the `offset` is -inf"):
        fit_regression(design, counts, strata=strata, offset=never)


def test_strata_that_say_nothing_are_left_out() -> None:
    design, counts, strata, _ = long_table([9, 14, 6])
    fit = fit_regression(design, counts, strata=strata)
    more = torch.cat([design, torch.randn(5, 2)])
    labels = [*strata.tolist(), "none", "none", "all", "all", "one"]
    drawn = [*counts.tolist(), 0, 0, 1, 1, 1]
    larger = fit_regression(more, drawn, strata=labels)
    same(larger, fit)
    assert (larger.strata, larger.strata_dropped, larger.rows) == (3, 3, len(drawn))
    assert "3 strata (3 left out" in str(larger)
    with pytest.raises(ValueError, match="nothing or everything is drawn"):
        fit_regression([1.0, 2.0], [1, 1])


def test_a_fit_can_be_copied() -> None:
    design, counts, strata, _ = long_table([9, 14, 6])
    fit = fit_regression(design, counts, strata=strata)
    for other in (copy.deepcopy(fit), pickle.loads(pickle.dumps(fit))):
        assert str(other) == str(fit)
        assert other.score() == fit.score()


def test_float32_tensors_and_gradients_of_the_caller() -> None:
    design, counts, strata, _ = long_table([9, 14, 6])
    leaf = design.float().requires_grad_()
    fit = fit_regression(leaf, counts.int(), strata=strata.tolist())
    assert fit.coefficients.dtype == torch.float64
    assert leaf.requires_grad
    assert leaf.grad is None


BAD: list[tuple[dict[str, Any], str]] = [
    ({"counts": [0, 1, 2, 0]}, "at most the `group_sizes` .1 for each row.*found 2 of 1 in row 2"),
    ({"counts": [0, 0.5, 1, 0]}, "`counts`.*integers.*0.5"),
    ({"counts": [0, -1, 1, 0]}, "`counts`.*-1"),
    ({"counts": [0, 1, 1]}, r"`counts` of shape \(4,\).*\(3,\)"),
    ({"design": [[1.0], [float("nan")], [2.0], [0.0]]}, "finite.*nan in row 1, covariate 'x1'"),
    ({"design": [[1.0], [float("inf")], [2.0], [0.0]]}, "finite.*inf in row 1"),
    ({"design": [[[1.0]]]}, "`design` of shape"),
    ({"strata": ["a", "b"]}, "`strata` to be 4 labels"),
    ({"strata": ["a", None, "a", "b"]}, "row 1 has none"),
    ({"strata": [["a"], ["b"], ["c"], ["d"]]}, "`strata` to be labels"),
    ({"offset": [0, float("nan"), 0, 0]}, "`offset`.*nan"),
    ({"offset": [0, float("inf"), 0, 0]}, "`offset`.*inf"),
    ({"names": ["a", "b"]}, "`names` to be 1 different names"),
    ({"names": "a"}, "`names`.*texts"),
    ({"ridge": -1}, "`ridge`.*-1"),
    ({"law": "normal"}, "law"),
    ({"group_sizes": [1, 1, 1, 0]}, "at most the `group_sizes`"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"design": [[1.0], [3.0], [2.0], [0.0]], "counts": [0, 1, 0, 1]}
    fit_regression(**given)
    given |= changes
    with pytest.raises(ValueError, match=message):
        fit_regression(**given)
