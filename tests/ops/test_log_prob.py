# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

import math

import hypothesis
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, vmap

from pyro_hypergeo.ops import covariance, log_prob, mean
from tests.ops.fixture import PLAIN, RECORDS, WIDE, name_of, urns

COUNTS = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_reference(record):
    ours = log_prob(record.counts, record.log_weights, record.sizes, record.total).item()
    assert abs(ours - record.log_prob) <= record.log_prob_tolerance


@hypothesis.given(urns(max_groups=4, max_size=6))
def test_every_count_of_any_urn(urn):
    counts, probs = urn.pmf()
    ours = log_prob(counts, *urn.tensors)
    normal = probs > 1e-290
    torch.testing.assert_close(ours[normal], probs[normal].log(), rtol=1e-11, atol=1e-11)
    assert (ours[~normal] < -600).all()
    assert ours.exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "counts",
    [[0, 2, 3, 0], [2, 2, 3, 0], [-1, 4, 3, 0], [5, 0, 1, 0], [1, 2, 2, 1], [0, 7, -1, 0]],
)
def test_impossible_counts(counts):
    log_weights, sizes, total = PLAIN.tensors
    log_weights.requires_grad_()
    value = log_prob(torch.tensor(counts), log_weights, sizes, total)
    assert value == -math.inf
    (gradient,) = torch.autograd.grad(value, log_weights)
    assert (gradient == 0).all()


@pytest.mark.parametrize("total", [-1.0, 13.0])
def test_impossible_totals(total):
    log_weights = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    sizes = torch.tensor([3.0, 4.0, 5.0])
    for counts in (torch.zeros(3), sizes, torch.tensor([total, 0.0, 0.0])):
        value = log_prob(counts, log_weights, sizes, torch.tensor(total))
        assert value == -math.inf
        (gradient,) = torch.autograd.grad(value, log_weights)
        assert (gradient == 0).all()


@pytest.mark.parametrize(
    ("urn", "counts"), [(PLAIN, COUNTS), (WIDE, torch.tensor([1.0, 2.0, 8.0]).double())]
)
def test_gradients(urn, counts):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()

    def value(theta):
        return log_prob(counts, theta, sizes, total)

    assert gradcheck(value, log_weights, check_forward_ad=True)
    assert gradgradcheck(value, log_weights)
    (gradient,) = torch.autograd.grad(value(log_weights), log_weights)
    torch.testing.assert_close(gradient, counts - mean(*urn.tensors), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients_in_the_counts(urn):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    counts = (sizes * total / sizes.sum()).requires_grad_()

    def value(x, theta):
        return log_prob(x[..., :3], theta[..., :3], sizes[:3], total)

    assert gradcheck(value, (counts, log_weights), check_forward_ad=True)
    assert gradgradcheck(value, (counts, log_weights))


def test_zero_weight():
    sizes, total = torch.tensor([3.0, 4.0, 5.0]), torch.tensor(6.0)
    log_weights = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    value = log_prob(torch.tensor([2.0, 0.0, 4.0]), log_weights, sizes, total)
    without = log_prob(torch.tensor([2.0, 4.0]), torch.tensor([0.5, 1.0]), sizes[[0, 2]], total)
    torch.testing.assert_close(value, without, rtol=1e-14, atol=0)
    (gradient,) = torch.autograd.grad(value, log_weights, create_graph=True)
    assert gradient.isfinite().all()
    assert gradient[1] == 0
    (second,) = torch.autograd.grad(gradient[0], log_weights)
    assert second.isfinite().all()
    assert second[1] == 0
    assert log_prob(torch.tensor([2.0, 1.0, 3.0]), log_weights, sizes, total) == -math.inf


def test_certain_draws():
    sizes = torch.tensor([3.0, 0.0, 5.0])
    log_weights = torch.tensor([0.5, 9.0, 1.0], requires_grad=True)
    for counts in (torch.zeros(3), sizes):
        value = log_prob(counts, log_weights, sizes, counts.sum())
        assert value == 0
        (gradient,) = torch.autograd.grad(value, log_weights)
        assert (gradient == 0).all()
        wrong = counts + torch.tensor([1.0, 0.0, -1.0])
        assert log_prob(wrong, log_weights, sizes, counts.sum()) == -math.inf
    for total in torch.arange(8.0):
        one = log_prob(total.unsqueeze(-1), torch.tensor([2.0]), torch.tensor([7.0]), total)
        assert one.abs() <= 1e-13


def test_broadcasting():
    log_weights, sizes, total = PLAIN.tensors
    counts, probs = PLAIN.pmf()
    assert log_prob(counts, log_weights, sizes, total).shape == probs.shape
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    table = log_prob(counts, many, sizes, total)
    assert table.shape == (2, len(counts))
    torch.testing.assert_close(table[1, 3], log_prob(counts[3], -log_weights, sizes, total))
    totals = torch.arange(-1.0, 18.0)
    one = log_prob(COUNTS, log_weights, sizes, totals)
    assert one.isfinite().tolist() == (totals == 6).tolist()
    assert log_prob(counts[:0], log_weights, sizes, total).shape == (0,)


def test_dtypes_and_flags():
    log_weights, sizes, total = PLAIN.tensors
    value = log_prob(COUNTS.float(), log_weights.float(), sizes.long(), total.long())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), log_prob(COUNTS, *PLAIN.tensors), rtol=1e-6, atol=0)
    assert log_prob(COUNTS.long(), log_weights, sizes, total).dtype == torch.float64
    assert not value.requires_grad
    for tensor in (COUNTS, log_weights, sizes, total):
        assert not tensor.requires_grad


def test_transforms():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1).roll(-1)])

    def value(theta):
        return log_prob(COUNTS, theta, sizes, total)

    torch.testing.assert_close(vmap(value)(many), value(many))
    torch.testing.assert_close(vmap(grad(value))(many), COUNTS - mean(many, sizes, total))
    expected = -covariance(log_weights, sizes, total)
    torch.testing.assert_close(hessian(value)(log_weights), expected)
    torch.testing.assert_close(vmap(hessian(value))(many), -covariance(many, sizes, total))
    counts, _ = PLAIN.pmf()
    over_counts = vmap(log_prob, (0, None, None, None))(counts, *PLAIN.tensors)
    torch.testing.assert_close(over_counts, log_prob(counts, *PLAIN.tensors))


def test_trace():
    log_weights, sizes, total = PLAIN.tensors
    example = COUNTS, -log_weights, sizes + 2, total
    traced = torch.jit.trace(log_prob, example)
    given = COUNTS, log_weights, sizes, total
    torch.testing.assert_close(traced(*given), log_prob(*given))
    assert traced(COUNTS + 9, log_weights, sizes, total) == -math.inf


# torch.compile instantiates torch.autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compile():
    log_weights, sizes, total = PLAIN.tensors
    compiled = torch.compile(log_prob, fullgraph=True, backend="eager")
    log_weights.requires_grad_()
    value = compiled(COUNTS, log_weights, sizes, total)
    torch.testing.assert_close(value, log_prob(COUNTS, *PLAIN.tensors))
    (gradient,) = torch.autograd.grad(value, log_weights)
    torch.testing.assert_close(gradient, COUNTS - mean(*PLAIN.tensors))
