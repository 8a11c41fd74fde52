# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-partition function and the moments under Fisher's law against the oracle."""

import math

import hypothesis
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from pyro_hypergeo import ops
from pyro_hypergeo.ops import FISHER, WALLENIUS, covariance, log_partition, mean, variance
from pyro_hypergeo.ops.fisher.state import solve_fisher
from pyro_hypergeo.ops.saddlepoint import lattice
from tests import oracle
from tests.ops.fixture import PLAIN, RECORDS, WIDE, Urn, name_of, urns


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_reference(record):
    urn = record.log_weights, record.sizes, record.total
    expected = torch.tensor(record.log_partition)
    torch.testing.assert_close(log_partition(*urn), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(mean(*urn), record.mean, rtol=1e-11, atol=0)
    torch.testing.assert_close(variance(*urn), record.variance, rtol=1e-8, atol=0)
    if record.covariance is not None:
        torch.testing.assert_close(covariance(*urn), record.covariance, rtol=1e-8, atol=0)


@hypothesis.given(urns())
def test_any_urn(urn):
    expected = float(oracle.log_partition(urn.log_weights, urn.sizes, urn.total))
    # Where a draw weighs about 1 its logarithm is a difference of larger numbers.
    terms = sum(
        m * abs(t) for m, t in zip(urn.sizes, urn.log_weights, strict=True) if t > -math.inf
    )
    ours = log_partition(*urn.tensors).item()
    assert ours == pytest.approx(expected, rel=1e-12, abs=1e-15 * (1 + terms))
    exact = torch.tensor([float(v) for v in oracle.mean(*urn)])
    torch.testing.assert_close(mean(*urn.tensors), exact, rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("log_weights", "sizes", "total"),
    [
        ([134.0, 168.0, -130.0], [1, 1, 5], 2),
        ([60.0, 0.0], [40, 30], 40),
        ([90.0, 20.0, -50.0, -50.5], [3, 4, 6, 2], 7),
    ],
)
def test_groups_that_are_hardly_drawn(log_weights, sizes, total):
    """Nearly all of the law is one draw. Yet the other groups' means keep all digits."""
    urn = Urn(log_weights, sizes, total)
    exact = torch.tensor([float(v) for v in oracle.mean(*urn)])
    torch.testing.assert_close(mean(*urn.tensors), exact, rtol=1e-11, atol=0)


@hypothesis.given(urns(max_groups=4, max_size=8))
def test_second_moments_of_any_urn(urn):
    exact = torch.tensor([[float(v) for v in row] for row in oracle.covariance(*urn)])
    # Relative to the variances, because a covariance may be very small.
    sd = exact.diagonal().sqrt()
    error = (covariance(*urn.tensors) - exact).abs()
    assert (error <= 1e-8 * torch.maximum(exact.abs(), 1e-4 * sd.outer(sd))).all()
    torch.testing.assert_close(variance(*urn.tensors), exact.diagonal(), rtol=1e-8, atol=0)


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients(urn):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()

    def value(theta):
        return log_partition(theta, sizes, total)

    assert gradcheck(value, log_weights, check_forward_ad=True)
    assert gradgradcheck(value, log_weights)
    assert gradcheck(lambda theta: mean(theta, sizes, total), log_weights, check_forward_ad=True)
    (gradient,) = torch.autograd.grad(value(log_weights), log_weights)
    torch.testing.assert_close(gradient, mean(*urn.tensors), rtol=1e-13, atol=0)


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_derivatives_up_to_the_third_are_cumulants(urn):
    log_weights, sizes, total = urn.tensors

    def jacobian(f):
        return lambda theta: torch.autograd.functional.jacobian(f, theta, create_graph=True)

    counts, probs = urn.pmf()
    away = counts - probs @ counts
    second = torch.einsum("s,si,sj->ij", probs, away, away)
    third = torch.einsum("s,si,sj,sk->ijk", probs, away, away, away)
    by_mean = jacobian(jacobian(lambda theta: mean(theta, sizes, total)))(log_weights)
    by_covariance = jacobian(lambda theta: covariance(theta, sizes, total))(log_weights)
    by_value = jacobian(jacobian(lambda theta: log_partition(theta, sizes, total)))(log_weights)
    torch.testing.assert_close(by_value, second, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(by_covariance, third, rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(by_mean, third, rtol=1e-8, atol=1e-14)
    own = jacobian(lambda theta: variance(theta, sizes, total))(log_weights)
    torch.testing.assert_close(own, third.diagonal(dim1=0, dim2=1).mT, rtol=1e-8, atol=1e-14)


def test_zero_weight_is_an_empty_group():
    sizes, total = torch.tensor([3.0, 4.0, 5.0]), torch.tensor(6.0)
    theta = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    without = torch.tensor([0.5, 1.0], requires_grad=True)
    value = log_partition(theta, sizes, total)
    other = log_partition(without, sizes[[0, 2]], total)
    torch.testing.assert_close(value, other, rtol=1e-15, atol=0)
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    (expected,) = torch.autograd.grad(other, without)
    assert gradient[1] == 0
    torch.testing.assert_close(gradient[[0, 2]], expected, rtol=1e-15, atol=0)
    for output in (
        gradient[0],
        covariance(theta, sizes, total).sum(),
        mean(theta, sizes, total)[2],
    ):
        (further,) = torch.autograd.grad(output, theta, retain_graph=True)
        assert further.isfinite().all()
        assert further[1] == 0
    assert (covariance(theta, sizes, total)[1] == 0).all()


@pytest.mark.parametrize("sizes", [[3.0, 4.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
def test_nothing_or_everything_drawn(sizes):
    sizes = torch.tensor(sizes)
    for total in (torch.tensor(0.0), sizes.sum()):
        theta = torch.tensor([0.5, -1.0, 70.0], requires_grad=True)
        drawn = sizes if total > 0 else torch.zeros(3)
        value = log_partition(theta, sizes, total)
        torch.testing.assert_close(value, (drawn * theta).sum())
        (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
        assert (gradient == drawn).all()
        assert (mean(theta, sizes, total) == drawn).all()
        assert (covariance(theta, sizes, total) == 0).all()
        assert (variance(theta, sizes, total) == 0).all()


def test_one_group():
    sizes = torch.tensor([8.0])
    for total in torch.arange(9.0):
        theta = torch.tensor([1.25], requires_grad=True)
        value = log_partition(theta, sizes, total)
        exact = math.log(math.comb(8, int(total))) + 1.25 * total
        torch.testing.assert_close(value, exact.squeeze(), rtol=1e-13, atol=1e-14)
        (gradient,) = torch.autograd.grad(value, theta)
        torch.testing.assert_close(gradient, total.unsqueeze(0), rtol=1e-14, atol=0)
        assert variance(theta, sizes, total).abs() <= 1e-14


@pytest.mark.parametrize("total", [-1.0, 13.0, 10.0])
def test_impossible_totals(total):
    theta = torch.tensor([0.5, -math.inf, 1.0], requires_grad=True)
    value = log_partition(theta, torch.tensor([3.0, 4.0, 5.0]), torch.tensor(total))
    assert value == -math.inf
    (gradient,) = torch.autograd.grad(value, theta)
    assert (gradient == 0).all()


def test_gauge_and_complement():
    log_weights, sizes, total = PLAIN.tensors
    shifted = log_partition(log_weights + 3, sizes, total)
    torch.testing.assert_close(shifted, log_partition(*PLAIN.tensors) + 3 * total)
    # To draw n is to leave N - n, with inverse weights.
    left = log_partition(-log_weights, sizes, sizes.sum() - total) + (log_weights * sizes).sum()
    torch.testing.assert_close(left, log_partition(*PLAIN.tensors))
    torch.testing.assert_close(
        covariance(*PLAIN.tensors).sum(-1), torch.zeros(4), rtol=0, atol=1e-14
    )


def test_broadcasting():
    log_weights, sizes, _ = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, 0 * log_weights]).unsqueeze(1)
    totals = torch.arange(-1.0, 18.0)
    value = log_partition(many, sizes, totals)
    assert value.shape == (3, 19)
    assert mean(many, sizes, totals).shape == variance(many, sizes, totals).shape == (3, 19, 4)
    assert covariance(many, sizes, totals).shape == (3, 19, 4, 4)
    for i in range(3):
        for j in range(19):
            one = many[i, 0], sizes, totals[j]
            torch.testing.assert_close(log_partition(*one), value[i, j])
            torch.testing.assert_close(mean(*one), mean(many, sizes, totals)[i, j])
            torch.testing.assert_close(covariance(*one), covariance(many, sizes, totals)[i, j])
    assert log_partition(log_weights, sizes.expand(2, 5, 4), totals[:5]).shape == (2, 5)
    assert log_partition(many[:0], sizes, totals).shape == (0, 19)


def test_dtypes_and_flags():
    log_weights, sizes, total = PLAIN.tensors
    exact = log_partition(log_weights.float().double(), sizes, total)
    for function in (log_partition, mean, variance, covariance):
        theta = log_weights.float().requires_grad_()
        result = function(theta, sizes.long(), total.long())
        assert result.dtype == torch.float32
        (gradient,) = torch.autograd.grad(result.sum(), theta)
        assert gradient.dtype == torch.float32
    assert log_partition(log_weights.float(), sizes.float(), total.float()) == exact.float()
    counts = sizes.requires_grad_(), total.requires_grad_()
    assert not log_partition(log_weights, *counts).requires_grad
    assert not log_weights.requires_grad
    assert sizes.requires_grad and total.requires_grad


def test_transforms():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1)])

    def value(theta):
        return log_partition(theta, sizes, total)

    torch.testing.assert_close(vmap(value)(many), value(many))
    torch.testing.assert_close(vmap(grad(value))(many), mean(many, sizes, total))
    expected = covariance(log_weights, sizes, total)
    for second in (hessian(value), jacrev(grad(value)), jacrev(jacrev(value)), jacfwd(grad(value))):
        torch.testing.assert_close(second(log_weights), expected)
    torch.testing.assert_close(vmap(hessian(value))(many), covariance(many, sizes, total))
    totals = torch.arange(17.0)
    over_totals = vmap(log_partition, (None, None, 0))(log_weights, sizes, totals)
    torch.testing.assert_close(over_totals, log_partition(log_weights, sizes, totals))
    _, along = torch.func.jvp(value, (log_weights,), (sizes,))
    torch.testing.assert_close(along, mean(log_weights, sizes, total) @ sizes)


def test_trace():
    log_weights, sizes, total = PLAIN.tensors
    example = log_weights + 1, sizes + 3, total + 2
    for function in (log_partition, mean, covariance):
        traced = torch.jit.trace(function, example)
        torch.testing.assert_close(traced(*PLAIN.tensors), function(*PLAIN.tensors))
    # An edge takes the same path as any other total.
    traced = torch.jit.trace(log_partition, example)
    assert traced(log_weights, sizes, torch.tensor(0.0)) == 0
    assert traced(log_weights, sizes, torch.tensor(99.0)) == -math.inf


def test_the_sum_of_covariances_is_that_of_a_batch():
    sizes = torch.tensor([[3.0, 4.0, 5.0], [9.0, 0.0, 2.0], [2.0, 2.0, 2.0], [7.0, 1.0, 1.0]])
    total = torch.tensor([6.0, 5.0, 6.0, 1.0])
    theta = torch.tensor([[0.5, -30.0, 1.0], [0.0, 2.0, -1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 1.0]])
    state = solve_fisher(theta, sizes, total)
    both = FISHER.covariance(state), FISHER.summed_covariance(state)
    torch.testing.assert_close(both[1], both[0].sum(0), rtol=1e-13, atol=1e-15)
    theta.requires_grad_()  # then nothing is done in place
    again = FISHER.covariance(solve_fisher(theta, sizes, total)).detach()
    torch.testing.assert_close(again, both[0], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("law", [FISHER, WALLENIUS])
def test_likelihood_of_log_weights_of_each_stratum(law):
    sizes = torch.tensor([[3.0, 4.0, 5.0], [9.0, 1.0, 2.0]])
    counts = torch.tensor([[2.0, 1.0, 3.0], [4.0, 1.0, 0.0]])
    theta = torch.tensor([[0.5, -1.0, 0.2], [0.0, 2.0, -1.0]])

    def value(shift):
        return law.log_prob(law.solve(theta + shift, sizes, counts.sum(-1)), counts).sum()

    known = law.log_likelihood(theta, sizes, counts)
    zero = torch.zeros(3)
    torch.testing.assert_close(known.value, value(zero))
    torch.testing.assert_close(known.gradient, torch.autograd.functional.jacobian(value, zero))
    hessian = torch.autograd.functional.hessian(value, zero)
    torch.testing.assert_close(known.information, -hessian, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("estimator", ["mean", "affine"])
@pytest.mark.parametrize("total", [2.0, 60.0])  # a sum that varies little, and one that varies much
def test_tables_kept_for_the_backward_pass_change_nothing(estimator, total, monkeypatch):
    sizes, theta = torch.tensor([30.0, 40.0, 50.0]), torch.randn(2, 3, requires_grad=True)
    counts, move = (
        ops.sample(theta, sizes, torch.tensor(total), torch.Size([4])),
        ops.estimators(FISHER)[estimator],
    )

    def slope(**options):
        state = solve_fisher(theta, sizes, torch.tensor(total))
        moved = move(counts, FISHER, state, ops.Bounds(sizes, torch.tensor(total)), None)
        moved = (counts + moved - moved.detach()).square().sum()
        return torch.autograd.grad(moved, theta, **options)[0]

    kept = slope()
    monkeypatch.setattr(lattice, "_KEPT", 0)
    torch.testing.assert_close(slope(), kept, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope(create_graph=True).detach(), kept, rtol=1e-12, atol=1e-12)
