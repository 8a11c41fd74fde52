# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions by races against all orders of Plackett and Luce, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import (
    wallenius_mean_field,
    wallenius_partition_log_prob,
    wallenius_partition_mean,
    wallenius_partition_sample,
)
from tests import partition_oracle as oracle

SIZES = [[2, 2, 2], [1, 2, 3], [3, 0, 3], [6, 0, 0], [0, 0, 6], [0, 5, 1], [1, 1, 4]]
WEIGHTS = [Fraction(x) for x in ("1", "2", "1/2", "5", "1/3", "3")]
TABLE = [[w, 1 / w + 1, Fraction(1, 7 - i)] for i, w in enumerate(WEIGHTS)]


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def logs(weights: list[Fraction] | list[list[Fraction]]) -> Tensor:
    rows = [w if isinstance(w, list) else [w] for w in weights]
    return torch.tensor([[float(x) for x in row] for row in rows]).log()


@pytest.mark.parametrize("sizes", SIZES)
def test_shared_scores_are_the_sum_over_all_orders(sizes: list[int]) -> None:
    truth = oracle.as_tensor(oracle.race_of_all(sizes, WEIGHTS), 3)
    every = oracle.every_partition(6, 3)
    for shared in (logs(WEIGHTS), logs(WEIGHTS).expand(6, 3)):
        probs = wallenius_partition_log_prob(every, shared, torch.tensor(sizes)).exp()
        close(probs, truth)
    mean = wallenius_partition_mean(logs(WEIGHTS), torch.tensor(sizes))
    close(mean, torch.einsum("i,iek->ek", truth, every))


@pytest.mark.parametrize("sizes", SIZES)
def test_own_scores_are_a_draft(sizes: list[int]) -> None:
    truth = oracle.as_tensor(oracle.draft(sizes, TABLE), 3)
    every, scores = oracle.every_partition(6, 3), logs(TABLE)
    close(wallenius_partition_log_prob(every, scores, torch.tensor(sizes)).exp(), truth)
    # Wherever Python must not look at values, another way is taken.
    mapped = torch.vmap(lambda y: wallenius_partition_log_prob(y, scores, torch.tensor(sizes)))
    close(mapped(every).exp(), truth)


def test_shifts_of_columns_change_nothing() -> None:
    every, scores = oracle.partitions_of([1, 2, 3]), torch.randn(6, 3)
    a, b = (
        wallenius_partition_log_prob(every, s, torch.tensor([1, 2, 3]))
        for s in (scores, scores + torch.tensor([3.0, -50.0, 700.0]))
    )
    close(a, b)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("sizes", [[2, 2, 2], [3, 0, 3], [1, 4, 1]])
def test_draws_have_the_law(sizes: list[int], columns: int) -> None:
    scores = torch.randn(6, columns)
    draws = wallenius_partition_sample(scores, torch.tensor(sizes), torch.Size([200_000]))
    probs = wallenius_partition_log_prob(
        oracle.partitions_of(sizes), scores, torch.tensor(sizes)
    ).exp()
    found = oracle.number(draws).bincount(minlength=729)
    found = found[oracle.number(oracle.partitions_of(sizes))]
    assert found.sum() == 200_000
    assert stats.chisquare(found.numpy(), 200_000 * probs.numpy()).pvalue > 1e-3


def test_batches_broadcast() -> None:
    scores, sizes = torch.randn(4, 1, 6, 1), torch.tensor([[2, 2, 2], [0, 1, 5], [6, 0, 0]])
    draws = wallenius_partition_sample(scores, sizes, torch.Size([5]))
    oracle.same_in_a_batch(draws, wallenius_partition_log_prob, scores, sizes)
    assert wallenius_partition_mean(scores, sizes).shape == (4, 3, 6, 3)


def test_dtype_follows_the_scores() -> None:
    scores, sizes = torch.randn(5, 2).float(), torch.tensor([2, 3])
    draw = wallenius_partition_sample(scores, sizes)
    assert draw.dtype == torch.float32
    assert wallenius_partition_log_prob(draw, scores, sizes).dtype == torch.float32
    assert wallenius_partition_mean(scores[:, :1], sizes).dtype == torch.float32
    assert wallenius_mean_field(scores, sizes).dtype == torch.float32


@pytest.mark.parametrize("sizes", [[2, 2, 2], [1, 0, 5], [0, 6, 0], [5, 1, 0]])
@pytest.mark.parametrize("columns", [1, 3])
def test_gradients(sizes: list[int], columns: int) -> None:
    scores = torch.randn(6, columns, requires_grad=True)
    every, n = oracle.partitions_of(sizes)[:8], torch.tensor(sizes)
    assert gradcheck(lambda s: wallenius_partition_log_prob(every, s, n), (scores,))
    assert gradcheck(lambda s: wallenius_mean_field(s, n), (scores,))
    if columns == 1:
        assert gradcheck(lambda s: wallenius_partition_mean(s, n), (scores,))


def test_second_derivatives() -> None:
    scores = torch.randn(4, 3, requires_grad=True)
    every, n = oracle.partitions_of([1, 2, 1]), torch.tensor([1, 2, 1])
    assert gradgradcheck(lambda s: wallenius_partition_log_prob(every, s, n), (scores,))


def test_matrices_that_are_no_partitions_of_these_sizes() -> None:
    scores = torch.randn(3, 2, requires_grad=True)
    matrices = torch.tensor(
        [
            [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]],
            [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]],
            [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]],
            [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
            [[2.0, -1.0], [0.0, 1.0], [0.0, 1.0]],
        ]
    )
    found = wallenius_partition_log_prob(matrices, scores, torch.tensor([2, 1]))
    assert (found > -torch.inf).tolist() == [True, False, False, False, False]
    found[0].backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_scores_of_zero() -> None:
    scores = torch.randn(5, 3)
    scores[0, 0] = scores[3, 1] = -torch.inf
    scores.requires_grad_()
    sizes = torch.tensor([1, 2, 2])
    every = oracle.every_partition(5, 3)
    log_probs = wallenius_partition_log_prob(every, scores, sizes)
    close(log_probs.exp().sum(), torch.tensor(1.0))
    impossible = (every[:, 0, 0] == 1) | (every[:, 3, 1] == 1)
    assert (log_probs[impossible] == -torch.inf).all()
    (gradient,) = torch.autograd.grad(log_probs[log_probs > -torch.inf].sum(), scores)
    assert gradient.isfinite().all() and gradient[0, 0] == gradient[3, 1] == 0
    draws = wallenius_partition_sample(scores, sizes, torch.Size([1000]))
    assert not draws.requires_grad
    assert (wallenius_partition_log_prob(draws, scores, sizes) > -torch.inf).all()
    field = wallenius_mean_field(scores, sizes)
    assert field[0, 0] == field[3, 1] == 0
    close(field.sum(0), sizes.double())


def test_a_draft_that_is_stuck_is_no_draw() -> None:
    scores = torch.zeros(2, 2)
    scores[0, 0] = scores[1, 0] = -torch.inf
    assert wallenius_partition_sample(scores, torch.tensor([1, 1])).isnan().all()
    assert wallenius_partition_sample(torch.zeros(2, 2), torch.tensor([1, 2])).isnan().all()
    assert (
        wallenius_partition_sample(torch.full((2, 1), torch.nan), torch.tensor([1, 1]))
        .isnan()
        .all()
    )


@pytest.mark.parametrize("sizes", SIZES)
def test_mean_field_is_near_to_the_mean(sizes: list[int]) -> None:
    every, n = oracle.partitions_of(sizes), torch.tensor(sizes)
    for scores in (logs(TABLE), logs(WEIGHTS)):
        field = wallenius_mean_field(scores, n)
        close(field.sum(0), n.double())
        close(field.sum(1), torch.ones(6))
        probs = wallenius_partition_log_prob(every, scores, n).exp()
        mean = torch.einsum("i,iek->ek", probs, every)
        assert (field - mean).abs().max() < 0.09


@pytest.mark.parametrize("spread", [30.0, 1000.0, 1e6])
@pytest.mark.parametrize("columns", [1, 4])
def test_mean_field_for_scores_of_any_range(spread: float, columns: int) -> None:
    for sizes in ([2, 0, 3, 1], [1, 1, 27, 1], [10, 9, 11, 0]):
        n = torch.tensor(sizes)
        scores = spread * torch.randn(sum(sizes), columns)
        scores.requires_grad_()
        field = wallenius_mean_field(scores, n)
        close(field.sum(0), n.double(), 1e-9)
        close(field.sum(1), torch.ones(sum(sizes)), 1e-9)
        (gradient,) = torch.autograd.grad((field * torch.randn_like(field)).sum(), scores)
        assert gradient.isfinite().all()
        # What is far apart goes in the order of the race.
        if columns == 1 and spread > 1e5:
            order = scores.detach()[:, 0].argsort(descending=True)
            place = torch.repeat_interleave(torch.arange(4), n)
            assert (field[order].argmax(-1) == place).all()


def test_many_elements_have_finite_results() -> None:
    scores = 3 * torch.randn(300, 10, requires_grad=True)
    sizes = torch.tensor([1, 0, 100, 50, 49, 20, 30, 20, 29, 1])
    draws = wallenius_partition_sample(scores, sizes, torch.Size([4]))
    log_probs = wallenius_partition_log_prob(draws, scores, sizes)
    mapped = torch.vmap(lambda y: wallenius_partition_log_prob(y, scores, sizes))(draws)
    torch.testing.assert_close(mapped, log_probs, rtol=1e-11, atol=1e-11)
    assert log_probs.isfinite().all()
