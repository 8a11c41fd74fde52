# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sums over labellings with known counts: against lists, permanents and long floats."""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pyro_hypergeo.ops import assignment_marginals, log_assignments
from tests.ops.partitions import brute


def value_and_gradient(scores: Tensor, sizes: Tensor, **options: object) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    value = log_assignments(scores, sizes, **options)
    return value.detach(), torch.autograd.grad(value.sum(), scores)[0]


def random_counts(elements: int, groups: int) -> Tensor:
    return torch.bincount(torch.randint(0, groups, (elements,)), minlength=groups)


SHAPES = [(0, 1), (0, 3), (1, 2), (3, 1), (5, 2), (4, 3), (6, 3), (8, 3), (5, 4), (7, 4), (8, 4)]


@pytest.mark.parametrize("elements, groups", SHAPES)
@pytest.mark.parametrize("spread", [0.5, 30.0, 1000.0])
@pytest.mark.parametrize("ruled_out", [0.0, 0.3])
def test_equals_the_list_of_all_labellings(
    elements: int, groups: int, spread: float, ruled_out: float
) -> None:
    for _ in range(2):
        scores = spread * torch.randn(elements, groups)
        scores[torch.rand(elements, groups) < ruled_out] = -math.inf
        sizes = random_counts(elements, groups)
        truth, marginals = brute.listed(scores, sizes.tolist())
        value, gradient = value_and_gradient(scores, sizes)
        tolerance = 1e-12 * max(1.0, spread / 10)  # of scores that are rounded themselves
        assert_close(value, torch.tensor(truth), rtol=1e-13, atol=tolerance)
        assert_close(gradient, marginals, rtol=0, atol=tolerance)
        assert_close(assignment_marginals(scores, sizes), marginals, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_permanents_of_zeros_and_ones(size: int) -> None:
    columns = list(itertools.permutations(range(size)))
    for density in (0.3, 0.6, 1.0):
        matrix = (torch.rand(size, size) < density).long()
        rows = matrix.tolist()
        permanent = sum(all(rows[e][z[e]] for e in range(size)) for z in columns)
        value = log_assignments(matrix.double().log(), torch.ones(size))
        assert_close(value.exp(), torch.tensor(float(permanent)), rtol=1e-12, atol=0)


def test_only_one_labelling_is_possible() -> None:
    size = 12
    shuffled = torch.randperm(size)
    scores = torch.full((size, size), -math.inf)
    scores[torch.arange(size), shuffled] = 100 * torch.randn(size)
    value, gradient = value_and_gradient(scores, torch.ones(size))
    assert_close(value, scores.amax(-1).sum())
    assert_close(gradient, torch.nn.functional.one_hot(shuffled).double())
    # A triangle leaves one labelling too, but no row shows it.
    triangle = torch.where(torch.ones(size, size).tril() > 0, torch.randn(size, size), -math.inf)
    value, gradient = value_and_gradient(triangle, torch.ones(size))
    assert_close(value, triangle.diagonal().sum(), rtol=1e-12, atol=1e-12)
    assert_close(gradient, torch.eye(size), rtol=0, atol=1e-12)


def wanted_by_all(spread: float) -> Tensor:
    return torch.tensor([spread, 0.0, -spread]) + torch.randn(40, 3)


def far_first_far_last(spread: float) -> Tensor:
    """Tables of the first half would underflow if they were not shifted."""
    half = torch.tensor([[spread, 0.0, 0.0]] * 20 + [[-spread, 0.0, 0.0]] * 20)
    return half + torch.randn(40, 3)


def dear_chain(spread: float) -> Tensor:
    scores = torch.full((40, 3), -math.inf)
    e = torch.arange(40)
    scores[e, e % 3] = 0.0
    scores[e, (e + 1) % 3] = spread * (0.5 + torch.rand(40))
    return scores


def heavy_tails(spread: float) -> Tensor:
    return spread * torch.tan(math.pi * (torch.rand(40, 3) - 0.5))


def two_values(spread: float) -> Tensor:
    return spread * (torch.rand(40, 3) < 0.5).double()


EXTREMES = [wanted_by_all, far_first_far_last, dear_chain, heavy_tails, two_values]


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("spread", [10.0, 1000.0, 1e5])
@pytest.mark.parametrize("sizes", [[14, 13, 13], [1, 2, 37]])
def test_scores_of_any_range(kind: object, spread: float, sizes: list[int]) -> None:
    scores = kind(spread)
    truth = brute.exact(scores, sizes)
    value, gradient = value_and_gradient(scores, torch.tensor(sizes))
    mapped = torch.func.vmap(log_assignments)(scores[None], torch.tensor([sizes]))[0]
    if mpmath.isinf(truth):
        assert value == mapped == -math.inf
        assert (gradient == 0).all()
        return
    largest = scores[scores.isfinite()].abs().sum().item()
    assert abs(float(mpmath.mpf(value.item()) - truth)) <= 1e-15 * largest + 1e-12
    assert_close(mapped, value, rtol=0, atol=1e-15 * largest + 1e-12)
    # The law of one element's label, from the sums without it.
    for e in (39,):
        others = torch.cat([scores[:e], scores[e + 1 :]])
        for k in range(3):
            less = [n - (j == k) for j, n in enumerate(sizes)]
            if min(less) < 0 or scores[e, k] == -math.inf:
                assert gradient[e, k] == 0
                continue
            share = mpmath.exp(brute.exact(others, less) + scores[e, k].item() - truth)
            assert abs(float(share) - gradient[e, k].item()) <= 1e-15 * largest + 1e-12
    assert_close(gradient.sum(-1), torch.ones(40), rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_gradcheck(groups: int) -> None:
    scores = torch.randn(2, 4, groups, requires_grad=True)
    sizes = torch.stack([random_counts(4, groups) for _ in range(2)])
    assert torch.autograd.gradcheck(lambda s: log_assignments(s, sizes), scores)
    if groups == 2:
        assert torch.autograd.gradgradcheck(lambda s: log_assignments(s, sizes), scores)


def test_a_second_derivative_is_refused() -> None:
    scores = torch.randn(4, 3, requires_grad=True)
    value = log_assignments(scores, torch.tensor([2, 1, 1]))
    (gradient,) = torch.autograd.grad(value, scores, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiated once only"):
        # The other term has a second derivative; without a word, this one would be lost.
        torch.autograd.grad((gradient.square() + scores.pow(3)).sum(), scores)
    with pytest.raises(NotImplementedError, match="differentiated once only"):
        assignment_marginals(scores, torch.tensor([2, 1, 1])).sum().backward()


def test_impossible_counts() -> None:
    for groups in (1, 2, 3):
        scores = torch.randn(5, groups)
        good = random_counts(5, groups).double()
        bad = [good + 1, good - 1, good + 0.5, good * math.nan, -good]
        for sizes in bad:
            value, gradient = value_and_gradient(scores, sizes)
            assert value == -math.inf
            assert (gradient == 0).all()
            assert (assignment_marginals(scores, sizes) == 0).all()
    nowhere = scores.clone()
    nowhere[2] = -math.inf
    value, gradient = value_and_gradient(nowhere, good)
    assert value == -math.inf and (gradient == 0).all()
    # Each element has a label, but too few can have the first one.
    scarce = scores.clone()
    scarce[1:, 0] = -math.inf
    value, gradient = value_and_gradient(scarce, torch.tensor([2, 2, 1]))
    assert value == -math.inf and (gradient == 0).all()


def test_nan_is_not_hidden() -> None:
    for groups in (2, 3):
        scores = torch.randn(5, groups)
        scores[1, 1] = math.nan
        sizes = torch.ones(groups)
        sizes[0] += 5 - groups
        assert log_assignments(scores, sizes).isnan()


def test_no_batch_and_no_element() -> None:
    for groups in (1, 2, 3):
        value, gradient = value_and_gradient(torch.randn(0, 4, groups), torch.zeros(0, groups))
        assert value.shape == (0,) and gradient.shape == (0, 4, groups)
        empty, one = torch.zeros(groups), torch.eye(groups)[0]
        value, _ = value_and_gradient(torch.randn(2, 0, groups), torch.stack([empty, one]))
        assert value.tolist() == [0.0, -math.inf]


def test_dtype_follows_the_scores() -> None:
    scores = torch.randn(4, 3, dtype=torch.float32)
    sizes = torch.tensor([1, 2, 1])
    assert log_assignments(scores, sizes).dtype == torch.float32
    assert assignment_marginals(scores, sizes).dtype == torch.float32


def test_a_large_bag_sums_to_one_over_all_counts() -> None:
    probs = torch.randn(12, 3).log_softmax(-1)
    counts = [(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)]
    total = log_assignments(probs, torch.tensor(counts)).logsumexp(0)
    assert_close(total, torch.tensor(0.0), rtol=0, atol=1e-13)
