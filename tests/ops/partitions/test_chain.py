# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions by a chain of subsets against lists of all subsets."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import (
    fisher_partition_log_prob,
    fisher_partition_mean,
    fisher_partition_sample,
    log_elementary_symmetric,
)
from tests import partition_oracle as oracle

SIZES = [[2, 2, 2], [3, 2, 1], [1, 2, 3], [3, 0, 3], [6, 0, 0], [0, 5, 1], [1, 1, 4], [0, 0, 6]]


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("spread", [1.0, 3.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_probabilities_are_those_of_the_chain(sizes: list[int], spread: float) -> None:
    scores, every = spread * torch.randn(6, 3), oracle.every_partition(6, 3)
    truth = oracle.as_tensor(oracle.chain(sizes, scores.numpy()), 3)
    found = fisher_partition_log_prob(every, scores, torch.tensor(sizes)).exp()
    close(found.sum(), torch.tensor(1.0))
    close(found, truth, 1e-10)  # the tilt of the truth is found to 1e-12 or so
    mapped = torch.vmap(lambda y: fisher_partition_log_prob(y, scores, torch.tensor(sizes)))
    close(mapped(every).exp(), found)


@pytest.mark.parametrize("sizes", [[4, 2], [1, 5], [3, 3], [0, 6], [6, 0]])
def test_two_groups_are_the_conditional_bernoulli_law(sizes: list[int]) -> None:
    scores, every = 2 * torch.randn(6, 2), oracle.partitions_of(sizes)
    n = torch.tensor(sizes)
    odds = scores[:, 0] - scores[:, 1]
    truth = (every[..., 0] * odds).sum(-1) - log_elementary_symmetric(odds, sizes[0])
    close(fisher_partition_log_prob(every, scores, n), truth)
    close(fisher_partition_log_prob(every, scores, n), oracle.order_free(scores, every))
    mean = torch.einsum("i,iek->ek", truth.exp(), every)
    close(fisher_partition_mean(scores, n), mean)


@pytest.mark.parametrize("sizes", [[2, 2, 2], [3, 2, 1], [3, 0, 3]])
def test_shifts_of_rows_and_columns_change_nothing(sizes: list[int]) -> None:
    scores, n, every = torch.randn(6, 3), torch.tensor(sizes), oracle.partitions_of(sizes)
    expected = fisher_partition_log_prob(every, scores, n)
    moved = scores + 10 * torch.randn(6, 1) + torch.tensor([-20.0, 3.0, 50.0])
    close(fisher_partition_log_prob(every, moved, n), expected)
    equal = fisher_partition_log_prob(every, 10 * torch.randn(6, 1) + torch.randn(3), n)
    close(equal.exp(), torch.full_like(equal, 1 / len(every)))


def test_names_of_groups_of_different_sizes_do_not_matter() -> None:
    scores, every, n = torch.randn(6, 3), oracle.partitions_of([3, 1, 2]), torch.tensor([3, 1, 2])
    expected = fisher_partition_log_prob(every, scores, n)
    for names in ([1, 2, 0], [2, 1, 0], [0, 2, 1]):
        found = fisher_partition_log_prob(every[..., names], scores[:, names], n[names])
        close(found, expected)


@pytest.mark.parametrize("sizes, spread", [([2, 2, 2], 1.0), ([2, 2, 2], 3.0), ([3, 3, 2], 3.0)])
def test_near_to_the_law_without_an_order(sizes: list[int], spread: float) -> None:
    divergences = [divergence(sizes, spread * torch.randn(sum(sizes), 3)) for _ in range(10)]
    assert torch.stack(divergences).amin() > 0
    assert torch.stack(divergences).amax() < 0.15


@pytest.mark.parametrize("sizes, spread", [([2, 2, 2, 2], 1.0), ([4, 2, 1, 1], 3.0)])
def test_near_to_the_law_without_an_order_for_four_groups(sizes: list[int], spread: float) -> None:
    divergences = [divergence(sizes, spread * torch.randn(8, 4)) for _ in range(5)]
    assert torch.stack(divergences).amax() < 0.15


@pytest.mark.slow
def test_near_to_the_law_without_an_order_for_ten_elements() -> None:
    for spread in (1.0, 3.0):
        divergences = [divergence([4, 3, 3], spread * torch.randn(10, 3)) for _ in range(5)]
        assert torch.stack(divergences).amax() < 0.15


def divergence(sizes: list[int], scores: Tensor) -> Tensor:
    every = oracle.partitions_of(sizes)
    truth = oracle.order_free(scores, every)
    log_probs = fisher_partition_log_prob(every, scores, torch.tensor(sizes))
    return (truth.exp() * (truth - log_probs)).sum()


@pytest.mark.parametrize(
    "sizes, number",
    [([3, 1, 2], 20_000), ([3, 0, 3], 20_000), ([2, 2, 2], 200_000)],
)
def test_draws_have_the_law(sizes: list[int], number: int) -> None:
    scores, n = 1.5 * torch.randn(6, 3), torch.tensor(sizes)
    every = oracle.partitions_of(sizes)
    draws = fisher_partition_sample(scores, n, torch.Size([number]))
    probs = fisher_partition_log_prob(every, scores, n).exp()
    found = oracle.number(draws).bincount(minlength=729)[oracle.number(every)]
    assert found.sum() == number
    # Rare ones together: the statistic needs a few of each.
    rare = probs * number < 5
    found = torch.cat([found[~rare], found[rare].sum(0, keepdim=True)])
    probs = torch.cat([probs[~rare], probs[rare].sum(0, keepdim=True)])
    keep = probs > 0
    assert stats.chisquare(found[keep].numpy(), number * probs[keep].numpy()).pvalue > 1e-3


def test_draws_of_many_elements_have_the_mean_of_the_first_group() -> None:
    scores, sizes = torch.randn(60, 2), torch.tensor([20, 40])
    draws = fisher_partition_sample(scores, sizes, torch.Size([4000]))
    mean = fisher_partition_mean(scores, sizes)
    score = (draws.mean(0) - mean) / (mean * (1 - mean) / 4000).sqrt()
    assert score[:, 0].abs().max() < 4.5


def test_batches_broadcast() -> None:
    scores, sizes = torch.randn(4, 1, 6, 3), torch.tensor([[2, 2, 2], [5, 1, 0], [0, 6, 0]])
    draws = fisher_partition_sample(scores, sizes, torch.Size([5]))
    oracle.same_in_a_batch(draws, fisher_partition_log_prob, scores, sizes)
    two = fisher_partition_mean(scores[..., :2], torch.tensor([[2, 4], [4, 2], [0, 6]]))
    assert two.shape == (4, 3, 6, 2)
    close(two.sum(-2)[0, 1], torch.tensor([4.0, 2.0]))


def test_dtype_follows_the_scores() -> None:
    scores, sizes = torch.randn(5, 2).float(), torch.tensor([2, 3])
    draw = fisher_partition_sample(scores, sizes)
    assert draw.dtype == torch.float32 and not draw.requires_grad
    assert fisher_partition_log_prob(draw, scores, sizes).dtype == torch.float32
    assert fisher_partition_mean(scores, sizes).dtype == torch.float32


@pytest.mark.parametrize("sizes", [[2, 2, 2], [3, 1, 2], [1, 0, 5], [0, 6, 0], [5, 1, 0]])
def test_gradients(sizes: list[int]) -> None:
    scores = torch.randn(6, 3, requires_grad=True)
    every, n = oracle.partitions_of(sizes)[:8], torch.tensor(sizes)
    assert gradcheck(lambda s: fisher_partition_log_prob(every, s, n), (scores,))


def test_second_derivatives_and_those_of_the_mean() -> None:
    scores = torch.randn(4, 3, requires_grad=True)
    every, n = oracle.partitions_of([1, 2, 1])[:5], torch.tensor([1, 2, 1])
    assert gradgradcheck(lambda s: fisher_partition_log_prob(every, s, n), (scores,))
    two = torch.randn(4, 2, requires_grad=True)
    assert gradcheck(lambda s: fisher_partition_mean(s, torch.tensor([3, 1])), (two,))


def test_matrices_that_are_no_partitions_of_these_sizes() -> None:
    scores = torch.randn(3, 2, requires_grad=True)
    matrices = torch.tensor(
        [
            [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]],
            [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]],
            [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]],
            [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
        ]
    )
    found = fisher_partition_log_prob(matrices, scores, torch.tensor([2, 1]))
    assert (found > -torch.inf).tolist() == [True, False, False, False]
    found.sum().backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_scores_of_minus_infinity() -> None:
    scores = torch.randn(6, 3)
    scores[0, 0] = scores[3, 1] = scores[4, 2] = -torch.inf
    scores[5, :2] = -torch.inf  # only in the last group
    scores[1, 1:] = -torch.inf  # only in the first group
    sizes, every = torch.tensor([1, 2, 3]), oracle.every_partition(6, 3)
    scores.requires_grad_()
    log_probs = fisher_partition_log_prob(every, scores, sizes)
    close(log_probs.exp().sum(), torch.tensor(1.0))
    possible = log_probs > -torch.inf
    assert (every[possible][:, 1, 0] == 1).all() and (every[possible][:, 5, 2] == 1).all()
    assert 1 < possible.sum() < 10
    (gradient,) = torch.autograd.grad(log_probs[possible].exp().square().sum(), scores)
    assert gradient.isfinite().all()
    draws = fisher_partition_sample(scores, sizes, torch.Size([5000]))
    found = oracle.number(draws).bincount(minlength=729)
    assert (found[~possible] == 0).all()
    expected = 5000 * log_probs.detach().exp()
    assert (found - expected).abs().max() < 200


def test_a_chain_that_is_stuck_is_no_draw() -> None:
    scores = torch.zeros(2, 2)
    scores[0, 0] = scores[1, 0] = -torch.inf
    assert fisher_partition_sample(scores, torch.tensor([1, 1])).isnan().all()
    assert fisher_partition_sample(torch.zeros(3, 3), torch.tensor([1, 2, 2])).isnan().all()
    assert (
        fisher_partition_sample(torch.full((2, 2), torch.nan), torch.tensor([1, 1])).isnan().all()
    )


def test_large_scores_and_many_elements() -> None:
    for spread in (1.0, 30.0):
        scores = (spread * torch.randn(200, 8)).requires_grad_()
        sizes = torch.tensor([1, 0, 100, 10, 49, 20, 19, 1])
        draws = fisher_partition_sample(scores, sizes, torch.Size([4]))
        log_probs = fisher_partition_log_prob(draws, scores, sizes)
        assert log_probs.isfinite().all()
        (gradient,) = torch.autograd.grad(log_probs.sum(), scores)
        assert gradient.isfinite().all()
