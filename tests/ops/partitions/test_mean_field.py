# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from pyro_hypergeo.ops import mean_field, partition_tilt


def listed_marginals(scores: Tensor, sizes: list[int]) -> Tensor:
    """The probability of each label among all labels with these counts, by listing them."""
    elements, groups = scores.shape
    first = [k for k, size in enumerate(sizes) for _ in range(size)]
    labels = torch.tensor(sorted(set(itertools.permutations(first))))
    one_hot = torch.nn.functional.one_hot(labels, groups).double()
    probs = (one_hot * scores).sum((-1, -2)).softmax(0)
    return (one_hot * probs[:, None, None]).sum(0)


def table_marginals(scores: Tensor, sizes: list[int]) -> Tensor:
    """The same for three groups and many elements, from a table of the counts of the first two."""
    scores = scores.detach().requires_grad_()
    table = torch.full((sizes[0] + 1, sizes[1] + 1), -torch.inf)
    table[0, 0] = 0.0
    for row in scores:
        moved = torch.nn.functional.pad(table, (1, 0, 1, 0), value=-torch.inf)
        ways = [moved[1:, 1:] + row[2], moved[:-1, 1:] + row[0], moved[1:, :-1] + row[1]]
        table = torch.stack(ways).logaddexp(torch.tensor(-1e4)).logsumexp(0)
    return torch.autograd.grad(table[-1, -1], scores)[0]


@pytest.mark.parametrize(
    ("sizes", "largest"), [([2, 2, 2], 0.1), ([4, 2, 1], 0.15), ([1, 1, 1, 1], 0.3)]
)
def test_close_to_the_listed_marginals(sizes: list[int], largest: float) -> None:
    for _ in range(5):
        scores = torch.randn(sum(sizes), len(sizes))
        error = mean_field(scores, torch.tensor(sizes)) - listed_marginals(scores, sizes)
        assert error.abs().max() < largest


def test_closer_with_many_elements() -> None:
    scores, sizes = torch.randn(100, 3), [40, 35, 25]
    exact = table_marginals(scores, sizes)
    torch.testing.assert_close(exact.sum(0), torch.tensor(sizes).double())
    error = mean_field(scores, torch.tensor(sizes)) - exact
    assert 1e-4 < error.abs().max() < 0.01


def test_two_ways_to_the_marginals_agree() -> None:
    scores = torch.randn(6, 3)
    torch.testing.assert_close(
        table_marginals(scores, [3, 2, 1]), listed_marginals(scores, [3, 2, 1])
    )


def test_equal_scores_are_exact() -> None:
    probs = mean_field(torch.zeros(6, 3), torch.tensor([3, 2, 1]))
    torch.testing.assert_close(probs, (torch.tensor([3.0, 2.0, 1.0]) / 6).expand(6, 3))


def test_rows_and_columns_have_the_right_sums_for_real_sizes() -> None:
    sizes = 7 * torch.randn(4, 3).softmax(-1)
    probs = mean_field(3 * torch.randn(4, 7, 3), sizes)
    torch.testing.assert_close(probs.sum(-1), torch.ones(4, 7))
    torch.testing.assert_close(probs.sum(-2), sizes)


def test_empty_groups_have_probability_and_gradient_zero() -> None:
    scores = torch.randn(5, 3, requires_grad=True)
    sizes = torch.tensor([3.0, 0.0, 2.0], requires_grad=True)
    probs = mean_field(scores, sizes)
    assert (probs[:, 1] == 0).all()
    by_score, by_size = torch.autograd.grad((probs * torch.randn(5, 3)).sum(), (scores, sizes))
    assert by_score.isfinite().all() and (by_score[:, 1] == 0).all()
    assert by_size.isfinite().all()


def test_empty_groups_move_with_their_size_from_above() -> None:
    scores, slopes = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    sizes = torch.tensor([[4.0, 0.0, 2.0, 0.0], [6.0, 0.0, 0.0, 0.0]], requires_grad=True)
    direction = torch.tensor([[-0.5, 0.4, -0.2, 0.3], [-1.0, 0.3, 0.5, 0.2]])
    (gradient,) = torch.autograd.grad((mean_field(scores, sizes) * slopes).sum(), sizes)

    def moved(step: float) -> Tensor:
        return (mean_field(scores, (sizes + step * direction).detach()) * slopes).sum((-1, -2))

    forward = (4 * moved(1e-5) - moved(2e-5) - 3 * moved(0.0)) / 2e-5
    torch.testing.assert_close((gradient * direction).sum(-1), forward, rtol=1e-6, atol=1e-7)
    columns = mean_field(scores, sizes).sum(-2)
    (by_column,) = torch.autograd.grad(columns, sizes, torch.ones_like(sizes).cumsum(-1))
    torch.testing.assert_close(by_column - by_column[:, :1], torch.arange(4.0).expand(2, 4))


def test_one_group_takes_all() -> None:
    scores = (1000 * torch.randn(5, 3)).requires_grad_()
    probs = mean_field(scores, torch.tensor([0.0, 5.0, 0.0]))
    assert torch.equal(probs, torch.tensor([0.0, 1.0, 0.0]).expand(5, 3))
    assert (torch.autograd.grad(probs.sum(), scores)[0] == 0).all()


def test_element_without_a_place() -> None:
    scores = torch.tensor([[0.0, -torch.inf], [0.0, 1.0]], requires_grad=True)
    probs = mean_field(scores, torch.tensor([0.0, 2.0]))
    assert probs.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert (torch.autograd.grad(probs.sum(), scores)[0] == 0).all()


def test_gradients() -> None:
    def of_shares(scores: Tensor, shares: Tensor) -> Tensor:
        return mean_field(scores, 5 * shares.softmax(-1))

    scores, shares = torch.randn(2, 5, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    assert gradcheck(of_shares, (scores, shares), check_forward_ad=True)


def test_dtype_follows_the_scores() -> None:
    probs = mean_field(torch.randn(6, 3, dtype=torch.float32), torch.tensor([1, 2, 3]))
    assert probs.dtype == torch.float32


def test_forward_mode_moves_empty_groups_too() -> None:
    scores, sizes = torch.randn(5, 3), torch.tensor([2.0, 3.0, 0.0])
    along = torch.tensor([-0.5, -0.5, 1.0])
    _, found = torch.func.jvp(lambda n: mean_field(scores, n), (sizes,), (along,))
    step = 1e-6
    moved = (mean_field(scores, sizes + step * along) - mean_field(scores, sizes)) / step
    assert_close(found, moved, rtol=1e-4, atol=1e-4)


def test_an_element_without_a_place_moves_nothing() -> None:
    scores = torch.randn(5, 3)
    scores[4, :2] = -torch.inf
    for function in (mean_field, partition_tilt):
        leaf = scores.clone().requires_grad_()
        result = function(leaf, torch.tensor([2, 2, 0]))
        result = torch.where(result.isfinite(), result, 0.0)
        (gradient,) = torch.autograd.grad((result * torch.randn_like(result)).sum(), leaf)
        assert (gradient[4] == 0).all() and gradient.isfinite().all()
