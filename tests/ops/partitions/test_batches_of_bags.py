# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Bags with different counts and elements in one call; limits; traced, compiled, mapped calls."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pyro_hypergeo import ops
from pyro_hypergeo.ops import assignment_marginals, log_assignments
from pyro_hypergeo.ops.partitions import label_problem, label_tables

SIZES = torch.tensor([[2, 2, 1], [0, 3, 2], [5, 0, 0], [1, 1, 3]])


def one_by_one(scores: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    pairs = list(zip(scores, sizes, strict=True))
    values = [log_assignments(s, n) for s, n in pairs]
    return torch.stack(values), torch.stack([assignment_marginals(s, n) for s, n in pairs])


def gradient(function: Any, scores: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    value = function(scores, *arguments)
    return value.detach(), torch.autograd.grad(value.sum(), scores)[0]


def many_bags() -> tuple[Tensor, Tensor]:
    sizes = [torch.bincount(torch.randint(0, 6, (8,)), minlength=6) for _ in range(40)]
    return torch.randn(40, 8, 6), torch.stack(sizes)


def test_bags_with_different_counts() -> None:
    scores, sizes = many_bags()
    values, marginals = one_by_one(scores, sizes)
    value, grad = gradient(log_assignments, scores, sizes)
    assert_close(value, values)
    assert_close(grad, marginals)
    assert_close(assignment_marginals(scores, sizes), marginals)


def test_tables_that_waste_much_are_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, sizes = many_bags()
    limits = sizes.double().sort(-1, descending=True).values
    needed = sum(math.prod(n + 1 for n in row[1:]) for row in limits.long().tolist())
    for waste, numbers in [(0, 2**17), (500, 2**17), (500, 64)]:
        monkeypatch.setattr(label_problem, "_WASTE", waste)
        monkeypatch.setattr(label_problem, "_NUMBERS", numbers)
        chunks = list(label_problem.chunks_of(limits, 10**6))
        rows = torch.cat([chunk.rows for chunk in chunks])
        assert sorted(rows.tolist()) == list(range(40))
        used = sum(chunk.states * len(chunk.rows) for chunk in chunks)
        assert needed <= used <= needed + waste * len(chunks)
        assert all(len(c.rows) == 1 or c.states * len(c.rows) <= numbers for c in chunks)
        assert_close(gradient(log_assignments, scores, sizes)[1], one_by_one(scores, sizes)[1])


@pytest.mark.parametrize("elements", [1, 2, 5, 11])
def test_backward_pass_with_few_tables(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randn(3, elements, 3)
    sizes = torch.stack([torch.bincount(torch.arange(elements) % 3, minlength=3)] * 3)
    _, all_kept = gradient(log_assignments, scores, sizes)
    made = []
    after = label_tables.Tables.after
    monkeypatch.setattr(label_tables, "_KEPT", 0)
    monkeypatch.setattr(label_tables.Tables, "after", lambda *args: made.append(0) or after(*args))
    assert_close(assignment_marginals(scores, sizes), all_kept, rtol=0, atol=1e-14)
    assert elements <= len(made) < 2 * elements + 1


def test_batch_shapes_broadcast() -> None:
    scores, sizes = torch.randn(2, 1, 4, 3), torch.tensor([[2, 1, 1], [4, 0, 0], [0, 2, 2]])
    value, grad = gradient(log_assignments, scores, sizes)
    assert value.shape == (2, 3)
    assert grad.shape == scores.shape
    assert assignment_marginals(scores, sizes).shape == (2, 3, 4, 3)
    assert_close(value[1, 2], log_assignments(scores[1, 0], sizes[2]))
    assert_close(grad[1, 0], assignment_marginals(scores[1, 0], sizes).sum(0))


@pytest.mark.parametrize("groups", [2, 3])
def test_absent_elements(groups: int) -> None:
    scores = torch.randn(4, 5, groups)
    present = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0] * 5]).bool()
    sizes = torch.tensor([[2, 1, 1], [0, 2, 2], [5, 0, 0], [0, 0, 0]])
    if groups == 2:
        sizes = torch.stack([sizes[:, 0], sizes[:, 1:].sum(-1)], -1)
    scores[~present] = math.nan  # nobody reads them
    value, grad = gradient(lambda s, n: log_assignments(s, n, present=present), scores, sizes)
    marginals = assignment_marginals(scores, sizes, present=present)
    for bag, there in enumerate(present):
        assert_close(value[bag], log_assignments(scores[bag, there], sizes[bag]))
        alone = assignment_marginals(scores[bag, there], sizes[bag])
        for result in (grad, marginals):
            assert_close(result[bag, there], alone)
            assert (result[bag, ~there] == 0).all()


def states_of(scores: Tensor, sizes: Tensor) -> int:
    """The number of a table, from the message that refuses it."""
    with pytest.raises(ValueError, match="max_states") as error:
        log_assignments(scores, sizes, max_states=0)
    return int(str(error.value).partition("needs ")[2].partition(":")[0])


def test_size_of_the_table() -> None:
    scores = torch.randn(12, 4)
    assert states_of(scores, torch.tensor([2, 5, 3, 2])) == 3 * 4 * 3
    assert states_of(scores, torch.tensor([0, 7, 5, 0])) == 6
    # A column of its own makes absent elements out of rows: it costs nothing.
    scores[6:, :3], scores[:6, 3] = -math.inf, -math.inf
    assert states_of(scores, torch.tensor([2, 2, 2, 6])) == 9
    value, grad = gradient(log_assignments, scores, torch.tensor([2, 2, 2, 6]))
    alone = log_assignments(scores[:6, :3], torch.tensor([2, 2, 2]))
    assert_close(value, alone + scores[6:, 3].sum())
    assert_close(grad[6:], torch.eye(4)[[3] * 6])


def test_a_table_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 16777216: .* Use fewer groups or smaller bags"):
        log_assignments(torch.zeros(25, 25), torch.ones(25))
    with pytest.raises(ValueError, match="`max_states` = 100 numbers"):
        assignment_marginals(torch.zeros(30, 3), torch.full((3,), 10), max_states=100)


def test_shapes_that_do_not_fit() -> None:
    scores = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"`log_scores` of shape \(..., N, K\).*\(3,\)"):
        log_assignments(scores[0], torch.ones(3))
    with pytest.raises(ValueError, match=r"one size for each of the 3 groups.*\(2,\)"):
        log_assignments(scores, torch.ones(2))
    with pytest.raises(ValueError, match=r"`present` to say for each of the 4.*\(3,\)"):
        log_assignments(scores, torch.ones(3), present=torch.ones(3))
    with pytest.raises(ValueError, match=r"broadcast, .*`sizes` of shape \(5, 3\).* \(5,\)"):
        log_assignments(scores.expand(2, 4, 3), torch.ones(5, 3))


def evidence(scores: Tensor, sizes: Tensor) -> Tensor:
    weights = 0.3 * sizes
    return ops.log_label_evidence(scores, weights, sizes + 1, torch.full_like(sizes[..., 0], 5))


@pytest.mark.parametrize("function", [log_assignments, evidence])
def test_mapped(function: Any) -> None:
    scores = torch.randn(4, 5, 3)
    value, grad = gradient(function, scores, SIZES)
    vmap, jvp = torch.func.vmap, torch.func.jvp
    assert_close(vmap(function)(scores, SIZES), value)
    assert_close(vmap(function, in_dims=(2, 0))(scores.movedim(0, 2), SIZES), value)
    assert_close(vmap(torch.func.grad(function))(scores, SIZES), grad)
    direction = torch.randn_like(scores)
    along = (grad * direction).sum((-2, -1))
    assert_close(jvp(lambda s: function(s, SIZES), (scores,), (direction,))[1], along)
    mapped = vmap(lambda s, n, d: jvp(lambda x: function(x, n), (s,), (d,))[1])
    assert_close(mapped(scores, SIZES, direction), along)
    with pytest.raises(NotImplementedError, match="differentiated once only"):
        torch.func.hessian(lambda s: function(s, SIZES[0]))(scores[0])


@pytest.mark.parametrize("function", [log_assignments, evidence])
def test_traced(function: Any) -> None:
    scores, other = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    traced = torch.jit.trace(function, (scores, SIZES), check_trace=False)
    for again in (SIZES.flip(0),):
        for got, expected in zip(
            gradient(traced, other, again), gradient(function, other, again), strict=True
        ):
            assert_close(got, expected)
    few = torch.tensor([[5, 0, 0]] * 4)
    small = torch.jit.trace(function, (scores, few), check_trace=False)
    assert_close(small(scores, few), function(scores, few))
    assert small(scores, SIZES).isnan().all()


# torch.compile instantiates torch.autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize(
    "function", [log_assignments, pytest.param(evidence, marks=pytest.mark.slow)]
)
def test_compiled(function: Any) -> None:
    scores = torch.randn(4, 5, 3)
    compiled = torch.compile(function, backend="eager")
    for got, expected in zip(
        gradient(compiled, scores, SIZES), gradient(function, scores, SIZES), strict=True
    ):
        assert_close(got, expected)
