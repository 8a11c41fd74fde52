# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import partition_tilt


def sizes_of(kind: str, elements: int, groups: int) -> Tensor:
    if kind == "equal":
        return torch.full((groups,), elements / groups)
    if kind == "one large":
        return torch.tensor([elements - groups + 1.0] + [1.0] * (groups - 1))
    sizes = torch.bincount(torch.randint(groups - 1, (elements,)), minlength=groups)
    return sizes.double()  # the last group is empty


def expected(log_scores: Tensor, sizes: Tensor) -> Tensor:
    return (log_scores + partition_tilt(log_scores, sizes).unsqueeze(-2)).softmax(-1).sum(-2)


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True)


def of_shares(log_scores: Tensor, shares: Tensor) -> Tensor:
    """Real sizes with the right sum, from free parameters."""
    return partition_tilt(log_scores, log_scores.shape[-2] * shares.softmax(-1))


@pytest.mark.parametrize("kind", ["equal", "one large", "empty"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize(("elements", "groups"), [(6, 3), (10, 10), (1000, 10), (60, 30)])
def test_expected_sizes_are_the_sizes(elements: int, groups: int, scale: float, kind: str) -> None:
    sizes = sizes_of(kind, elements, groups)
    scores = scale * torch.randn(elements, groups)
    found = expected(scores, sizes)
    torch.testing.assert_close(found, sizes, rtol=1e-12, atol=1e-12 * elements)
    b = partition_tilt(scores, sizes)
    assert torch.equal(b == -torch.inf, sizes == 0)
    assert abs(b[sizes > 0].sum()) < 1e-11 * (1 + b[sizes > 0].abs().sum())


def test_two_groups_agree_with_a_root_finder() -> None:
    scores = 2 * torch.randn(9, 2)
    b = partition_tilt(scores, torch.tensor([3.5, 5.5]))
    low, high, difference = -50.0, 50.0, scores[:, 0] - scores[:, 1]
    for _ in range(100):
        middle = 0.5 * (low + high)
        above = torch.sigmoid(difference + middle).sum() > 3.5
        low, high = (low, middle) if above else (middle, high)
    assert (b[0] - b[1]).item() == pytest.approx(low, abs=1e-12)


def test_shifts_of_rows_do_not_matter_and_shifts_of_columns_are_undone() -> None:
    scores, sizes = torch.randn(8, 3), torch.tensor([5.0, 2.0, 1.0])
    b = partition_tilt(scores, sizes)
    columns = torch.tensor([300.0, -100.0, 50.0])
    moved = partition_tilt(scores + 1000 * torch.randn(8, 1) + columns, sizes)
    torch.testing.assert_close(moved, b - columns + columns.mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("sizes", "possible"),
    [
        ([1.0, 2.0, 1.0], True),  # the first element fills the first group: no finite shifts
        ([2.0, 1.0, 1.0], True),
        ([4.0, 0.0, 0.0], True),
        ([0.0, 3.0, 1.0], False),  # the first element can only be in the first group
        ([0.0, 0.0, 4.0], False),
        ([1.0, 1.0, 1.0], False),  # the wrong sum
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_scores_of_minus_infinity(sizes: list[float], possible: bool) -> None:
    no = -torch.inf
    scores = torch.tensor([[0.0, no, no], [0.0, 1.0, 0.0], [1.0, 0.0, no], [0.0, 3.0, 1.0]])
    scores.requires_grad_()
    wanted = torch.tensor(sizes, requires_grad=True)
    b = partition_tilt(scores, wanted)
    assert torch.equal(b == no, wanted == 0)
    assert not b.isnan().any()
    if possible:
        torch.testing.assert_close(expected(scores, wanted), wanted, rtol=0, atol=1e-11)
    kept = torch.where(wanted > 0, b, 0.0)
    for gradient in torch.autograd.grad((kept * torch.arange(3.0)).sum(), (scores, wanted)):
        assert gradient.isfinite().all()


def test_gradients_of_scores_and_sizes() -> None:
    arguments = leaf(2, 5, 3), leaf(2, 3)
    assert gradcheck(of_shares, arguments, check_forward_ad=True)
    assert gradgradcheck(of_shares, arguments)


def test_gradients_with_an_empty_group_and_a_group_that_takes_all() -> None:
    sizes = torch.tensor([[3.0, 0.0, 2.0], [0.0, 5.0, 0.0]])
    present = sizes > 0
    assert gradcheck(lambda s: partition_tilt(s, sizes)[present], leaf(2, 5, 3))


def test_gradients_where_labels_are_nearly_certain() -> None:
    scores = (40 * torch.randn(30, 4)).requires_grad_()
    sizes = torch.tensor([27.0, 1.0, 1.0, 1.0], requires_grad=True)
    b = partition_tilt(scores, sizes)
    gradients = torch.autograd.grad(b[0], (scores, sizes))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0].abs().max() < 2


def test_batches_broadcast_and_each_entry_is_solved_alone() -> None:
    scores = torch.randn(3, 1, 6, 3) * torch.tensor([0.1, 1.0, 10.0]).reshape(3, 1, 1, 1)
    sizes = torch.tensor([[4.0, 1.0, 1.0], [2.0, 0.0, 4.0]])
    together = partition_tilt(scores, sizes)
    assert together.shape == (3, 2, 3)
    for i in range(3):
        for j in range(2):
            alone = partition_tilt(scores[i, 0], sizes[j])
            torch.testing.assert_close(together[i, j], alone, rtol=1e-9, atol=1e-9)


def test_nothing_to_do() -> None:
    assert partition_tilt(torch.zeros(0, 6, 3), torch.zeros(0, 3)).shape == (0, 3)
    assert partition_tilt(torch.zeros(0, 3), torch.zeros(3)).tolist() == [-torch.inf] * 3
    assert partition_tilt(torch.randn(4, 1), torch.tensor([4.0])).tolist() == [0.0]


def test_dtype_follows_the_scores() -> None:
    scores = torch.randn(6, 3, dtype=torch.float32)
    b = partition_tilt(scores, torch.tensor([1, 2, 3]))
    assert b.dtype == torch.float32
    torch.testing.assert_close(b, partition_tilt(scores.double(), torch.tensor([1, 2, 3])).float())


def test_vmap_and_its_derivatives() -> None:
    scores, shares = leaf(3, 6, 3), leaf(3, 3)
    wanted = of_shares(scores, shares)
    torch.testing.assert_close(torch.func.vmap(of_shares)(scores, shares), wanted)
    mapped = torch.func.vmap(torch.func.jacrev(of_shares))(scores, shares)
    torch.testing.assert_close(
        mapped, torch.func.vmap(torch.func.jacfwd(of_shares))(scores, shares)
    )


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_trace_serves_other_scores_and_sizes(scale: float) -> None:
    of_trace = torch.jit.trace(of_shares, (leaf(2, 6, 3), leaf(2, 3)), check_trace=False)
    scores, shares = (scale * torch.randn(2, 6, 3)).requires_grad_(), leaf(2, 3)
    found, wanted = of_trace(scores, shares), of_shares(scores, shares)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    pick = torch.randn(2, 3)
    gradients = [torch.autograd.grad((x * pick).sum(), (scores, shares)) for x in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9)


# torch.compile instantiates torch.autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
def test_compiled_code_agrees() -> None:
    compiled = torch.compile(of_shares, fullgraph=True, backend="eager")
    scores, shares = leaf(6, 3), leaf(3)
    found, wanted = compiled(scores, shares), of_shares(scores, shares)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad(x[0], (scores, shares)) for x in (found, wanted)]
    torch.testing.assert_close(*gradients)
