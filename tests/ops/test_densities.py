# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What the log-probability of Fisher's law and that of Wallenius' law have in common."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, vmap

from pyro_hypergeo.ops import enumerate_counts, log_prob, wallenius_log_prob
from tests.ops.fixture import PLAIN, WIDE

COUNTS = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)

pytestmark = pytest.mark.parametrize("law", [log_prob, wallenius_log_prob])


@pytest.mark.parametrize(
    "counts",
    [[0, 2, 3, 0], [2, 2, 3, 0], [-1, 4, 3, 0], [5, 0, 1, 0], [1, 2, 2, 1], [0, 7, -1, 0]],
)
def test_impossible_counts(law, counts):
    log_weights, sizes, total = PLAIN.tensors
    log_weights.requires_grad_()
    value = law(torch.tensor(counts), log_weights, sizes, total)
    assert value == -math.inf
    (gradient,) = torch.autograd.grad(value, log_weights)
    assert (gradient == 0).all()


@pytest.mark.parametrize("total", [-1.0, 13.0])
def test_impossible_totals(law, total):
    log_weights = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    sizes = torch.tensor([3.0, 4.0, 5.0])
    for counts in (torch.zeros(3), sizes, torch.tensor([total, 0.0, 0.0])):
        value = law(counts, log_weights, sizes, torch.tensor(total))
        assert value == -math.inf
        (gradient,) = torch.autograd.grad(value, log_weights)
        assert (gradient == 0).all()


@pytest.mark.parametrize(
    ("urn", "counts"), [(PLAIN, COUNTS), (WIDE, torch.tensor([1.0, 2.0, 8.0]).double())]
)
def test_gradients(law, urn, counts):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()

    def value(theta):
        return law(counts, theta, sizes, total)

    assert gradcheck(value, log_weights, check_forward_ad=True)
    assert gradgradcheck(value, log_weights)
    # Only ratios of weights matter.
    (gradient,) = torch.autograd.grad(value(log_weights), log_weights)
    assert gradient.sum().abs() < 1e-12


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients_in_the_counts(law, urn):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    counts = (sizes * total / sizes.sum()).requires_grad_()

    def value(x, theta):
        return law(x[..., :3], theta[..., :3], sizes[:3], total)

    assert gradcheck(value, (counts, log_weights), check_forward_ad=True)
    assert gradgradcheck(value, (counts, log_weights))


def test_gradient_in_the_counts_at_every_count_is_that_nearby(law):
    log_weights, sizes, total = torch.tensor([0.3, -0.5, 1.1]), torch.tensor([3, 2, 2.0]), 4.0
    support = enumerate_counts([3, 2, 2], 4).double()

    def gradient(counts):
        x = counts.clone().requires_grad_()
        value = law(x, log_weights.double(), sizes.double(), torch.tensor(total))
        return torch.autograd.grad(value.sum(), x)[0]

    # Counts of 0 and whole groups are corners. There the formula is smooth, but a clamp is not.
    nearby = support + 1e-6 * (sizes * total / sizes.sum() - support)
    torch.testing.assert_close(gradient(support), gradient(nearby), rtol=0, atol=2e-5)


def test_zero_weight(law):
    sizes, total = torch.tensor([3.0, 4.0, 5.0]), torch.tensor(6.0)
    log_weights = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    value = law(torch.tensor([2.0, 0.0, 4.0]), log_weights, sizes, total)
    without = law(torch.tensor([2.0, 4.0]), torch.tensor([0.5, 1.0]), sizes[[0, 2]], total)
    torch.testing.assert_close(value, without, rtol=1e-14, atol=0)
    (gradient,) = torch.autograd.grad(value, log_weights, create_graph=True)
    assert gradient.isfinite().all()
    assert gradient[1] == 0
    (second,) = torch.autograd.grad(gradient[0], log_weights)
    assert second.isfinite().all()
    assert second[1] == 0
    assert law(torch.tensor([2.0, 1.0, 3.0]), log_weights, sizes, total) == -math.inf
    # All that can be drawn is drawn.
    everything = torch.tensor([3.0, 0.0, 5.0])
    assert law(everything, log_weights, sizes, torch.tensor(8.0)) == 0


def test_certain_draws(law):
    sizes = torch.tensor([3.0, 0.0, 5.0])
    log_weights = torch.tensor([0.5, 9.0, 1.0], requires_grad=True)
    for counts in (torch.zeros(3), sizes):
        value = law(counts, log_weights, sizes, counts.sum())
        assert value == 0
        (gradient,) = torch.autograd.grad(value, log_weights)
        assert (gradient == 0).all()
        wrong = counts + torch.tensor([1.0, 0.0, -1.0])
        assert law(wrong, log_weights, sizes, counts.sum()) == -math.inf
    for total in torch.arange(8.0):
        one = law(total.unsqueeze(-1), torch.tensor([2.0]), torch.tensor([7.0]), total)
        assert one.abs() <= 1e-13


def test_broadcasting(law):
    log_weights, sizes, total = PLAIN.tensors
    counts = enumerate_counts(PLAIN.sizes, PLAIN.total).double()
    assert law(counts, log_weights, sizes, total).shape == (len(counts),)
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    table = law(counts, many, sizes, total)
    assert table.shape == (2, len(counts))
    torch.testing.assert_close(table[1, 3], law(counts[3], -log_weights, sizes, total))
    totals = torch.arange(-1.0, 18.0)
    one = law(COUNTS, log_weights, sizes, totals)
    assert one.isfinite().tolist() == (totals == 6).tolist()
    assert law(counts[:0], log_weights, sizes, total).shape == (0,)


def test_dtypes_and_flags(law):
    log_weights, sizes, total = PLAIN.tensors
    value = law(COUNTS.float(), log_weights.float(), sizes.long(), total.long())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), law(COUNTS, *PLAIN.tensors), rtol=1e-6, atol=0)
    assert law(COUNTS.long(), log_weights, sizes, total).dtype == torch.float64
    assert not value.requires_grad
    for tensor in (COUNTS, log_weights, sizes, total):
        assert not tensor.requires_grad


def test_vmap(law):
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1).roll(-1)])

    def value(theta):
        return law(COUNTS, theta, sizes, total)

    leaf = many.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(value(leaf).sum(), leaf)
    torch.testing.assert_close(vmap(value)(many), value(many))
    torch.testing.assert_close(vmap(grad(value))(many), slopes)
    counts = enumerate_counts(PLAIN.sizes, PLAIN.total).double()
    over_counts = vmap(law, (0, None, None, None))(counts, *PLAIN.tensors)
    torch.testing.assert_close(over_counts, law(counts, *PLAIN.tensors))


# While torch traces, the nodes of Wallenius' rule become constants, and it warns of this.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace(law):
    log_weights, sizes, total = PLAIN.tensors
    traced = torch.jit.trace(law, (COUNTS, -log_weights, sizes + 2, total))
    given = COUNTS, log_weights, sizes, total
    torch.testing.assert_close(traced(*given), law(*given))
    assert traced(COUNTS + 9, log_weights, sizes, total) == -math.inf
