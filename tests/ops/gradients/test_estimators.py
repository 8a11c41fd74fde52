# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Estimators of gradients through counts, against enumeration."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, ops
from pyro_hypergeo.ops.fisher.moments import covariance_given
from pyro_hypergeo.ops.fisher.state import saddle_point, solve_fisher
from tests.gradients import URNS, Error, Urn, error, functions

SMALL, MEDIUM, LARGE = URNS
URN_25 = Urn([16, 36, 24], 35, [1.0, 2.0, 0.5])
SUBSET = Urn([1] * 6, 2, [0.1, 1.0, 1.0, 1.5, 2.0, 3.0])
FEW = Urn([3, 3, 3, 3], 2, [0.1, 1.0, 1.0, 1.5])
WITH_EDGES = Urn([4, 0, 5, 3], 5, [1.0, 2.0, 3.0, 0.0])


def gumbel(*args: Tensor) -> Tensor:
    return ops.gumbel_gradient(*args, torch.tensor(1.0))


ESTIMATORS = [ops.mean_gradient, ops.affine_gradient, ops.implicit_gradient, gumbel]
every = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)


def errors(urn: Urn, estimator, repetitions: int = 1) -> dict[str, Error]:
    return {name: error(urn, f, estimator, repetitions) for name, f in functions(urn).items()}


@pytest.mark.parametrize("urn", [*URNS, SUBSET, FEW, WITH_EDGES], ids=str)
def test_mean_is_exact_and_without_noise_for_linear_functions(urn):
    result = errors(urn, ops.mean_gradient)["linear"]
    assert result.bias < 1e-12
    assert result.noise < 1e-12


@pytest.mark.parametrize("urn", [*URNS, SUBSET, FEW, WITH_EDGES], ids=str)
def test_affine_is_exact_for_quadratic_functions(urn):
    generator = torch.Generator().manual_seed(0)
    groups = len(urn.group_sizes)
    form, slope = torch.randn(groups, groups, generator=generator), torch.arange(groups) - 1.0
    result = error(urn, lambda x: ((x @ form) * x).sum(-1) + x @ slope, ops.affine_gradient)
    assert result.bias < 1e-5


def test_implicit_is_exact_for_equal_squares_of_two_groups():
    urn = Urn([7, 9], 6, [1.0, 2.5])
    result = error(urn, lambda x: x.square().sum(-1), ops.implicit_gradient)
    assert result.bias < 1e-8  # the correction does not change a linear slope


def test_implicit_is_of_fourth_order():
    # For f = sin the trapezoidal rule would leave a bias near f''' / 12.
    urn = Urn([60, 50], 40, [1.0, 2.0])
    slow = error(urn, lambda x: torch.sin(x / 2).sum(-1), ops.implicit_gradient)
    assert slow.bias < 2e-3


@pytest.mark.parametrize(
    "estimator, urn, bias, noise",
    [
        (ops.affine_gradient, SMALL, 0.05, 2.5),
        (ops.affine_gradient, MEDIUM, 0.02, 0.8),
        (ops.affine_gradient, LARGE, 0.02, 0.6),
        (ops.implicit_gradient, SMALL, 0.05, 2.5),
        (ops.implicit_gradient, MEDIUM, 0.02, 0.8),
        (ops.implicit_gradient, LARGE, 0.02, 0.6),
        (ops.mean_gradient, SMALL, 0.15, 2.5),
        (ops.mean_gradient, LARGE, 0.03, 0.6),
    ],
)
def test_bias_and_noise_of_five_functions(estimator, urn, bias, noise):
    for name, result in errors(urn, estimator).items():
        assert result.bias <= bias, name
        assert result.noise <= noise, name


@pytest.mark.slow
def test_bias_and_noise_of_gumbel():
    for name, result in errors(URN_25, gumbel, repetitions=40).items():
        assert result.bias <= 0.1, name
        assert result.noise <= 3, name


@every
def test_value_is_that_of_the_counts_in_every_dtype(estimator):
    for dtype in (torch.float32, torch.float64):
        log_weights = (3 * torch.randn(50, 4)).to(dtype).requires_grad_()
        sizes, total = torch.tensor([10.0, 200.0, 3000.0, 5.0]), torch.tensor(1000.0)
        counts = ops.sample(log_weights.detach(), sizes, total)
        carried = estimator(counts, log_weights, sizes, total)
        assert carried.dtype == dtype
        assert carried.requires_grad
        assert torch.equal(carried, counts)


@every
def test_gradients_keep_the_total_and_the_gauge(estimator):
    for urn in (SMALL, SUBSET, WITH_EDGES):
        log_weights = torch.tensor(urn.weights).log().expand(30, -1).clone().requires_grad_()
        sizes, total = torch.tensor(urn.group_sizes).double(), torch.tensor(float(urn.total_count))
        counts = ops.sample(log_weights.detach(), sizes, total)
        carried = estimator(counts, log_weights, sizes, total)
        (of_total,) = torch.autograd.grad(carried.sum(), log_weights, retain_graph=True)
        assert of_total.abs().max() < 1e-9
        slopes = torch.randn(carried.shape)
        (gradient,) = torch.autograd.grad((slopes * carried).sum(), log_weights)
        assert gradient.sum(-1).abs().max() < 1e-9 * (1 + gradient.abs().max())
        assert gradient.abs().max() > 0.01


@every
@pytest.mark.parametrize(
    "sizes, total, log_weights",
    [
        ([4, 2, 3], 0, [0.0, 1.0, 2.0]),
        ([4, 2, 3], 9, [0.0, 1.0, 2.0]),
        ([0, 0, 0], 0, [0.0, 1.0, 2.0]),
        ([5], 3, [0.5]),
        ([4, 0, 0], 2, [0.0, 1.0, 2.0]),
        ([4, 3, 2], 7, [0.0, 1.0, -torch.inf]),
    ],
)
def test_certain_counts_have_gradient_zero(estimator, sizes, total, log_weights):
    theta = torch.tensor(log_weights).requires_grad_()
    m, n = torch.tensor(sizes).double(), torch.tensor(float(total))
    carried = estimator(ops.sample(theta.detach(), m, n), theta, m, n)
    (carried * torch.arange(1.0, 1 + len(sizes))).sum().backward()
    assert theta.grad.abs().max() < 1e-14


@every
def test_gradients_are_finite_at_every_count(estimator):
    for urn in (SMALL, FEW, SUBSET, WITH_EDGES, Urn([40, 60], 50, [1e-6, 1.0])):
        law = FisherHypergeometric(urn.total_count, urn.group_sizes, weights=urn.weights)
        counts = law.enumerate_support()
        counts = counts[law.log_prob(counts) > -torch.inf]
        log_weights = torch.tensor(urn.weights).log().expand_as(counts).clone().requires_grad_()
        sizes, total = law.group_sizes.double(), law.total_count.double()
        carried = estimator(counts, log_weights, sizes, total)
        (gradient,) = torch.autograd.grad(carried.square().sum(), log_weights)
        assert gradient.isfinite().all()
        absent = (sizes == 0) | (log_weights == -torch.inf)
        assert (gradient[absent] == 0).all()


# Without gumbel, which draws random numbers of its own.
@pytest.mark.parametrize("estimator", ESTIMATORS[:-1], ids=lambda e: e.__name__)
def test_draws_of_a_batch_have_the_gradient_of_each(estimator):
    theta = torch.randn(2, 3)
    sizes, total = torch.tensor([[5.0, 6.0, 7.0], [3.0, 9.0, 2.0]]), torch.tensor([8.0, 5.0])
    counts = ops.sample(theta, sizes, total, torch.Size([4]))

    def gradient(counts: Tensor, *parameters: Tensor) -> Tensor:
        log_weights = parameters[0].clone().requires_grad_()
        carried = estimator(counts, log_weights, *parameters[1:])
        return torch.autograd.grad(carried.pow(3).sum(), log_weights)[0]

    together = gradient(counts, theta, sizes, total)
    for b in range(2):
        each = sum(gradient(x, theta[b], sizes[b], total[b]) for x in counts[:, b])
        torch.testing.assert_close(together[b], each)


@pytest.mark.parametrize("few_groups", [0, 100])
def test_two_ways_to_invert_the_covariance(few_groups: int, monkeypatch: pytest.MonkeyPatch):
    module = importlib.import_module("pyro_hypergeo.ops.gradients.fisher_affine")
    monkeypatch.setattr(module, "_FEW_GROUPS", few_groups)
    for groups, size, tolerance in [(2, 1, 1e-10), (5, 4, 1e-10), (10, 1, 1e-4), (40, 20, 1e-7)]:
        log_weights = 2 * torch.randn(100, groups)
        sizes = torch.randint(0, size + 1, (100, groups)).double()
        sizes[:, 0] = 1 + size
        known = solve_fisher(log_weights, sizes, (sizes.sum(-1) * torch.rand(100)).round())
        covariance = covariance_given(known)
        image = covariance @ torch.randn(100, groups, 1)
        back = covariance @ module._inverse_product(image, *saddle_point(known))
        wrong = (back - image).norm(dim=(-2, -1)) / image.norm(dim=(-2, -1)).clamp(min=1e-300)
        assert wrong[known.urn.interior].max() < (1e-10 if few_groups else tolerance)


def implicit_jacobian(counts: Tensor, theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """The movement of "implicit" by its formula, from the table of all counts."""
    marginals = ops.log_marginals(theta, sizes, total).exp()
    cdf, probs = marginals.cumsum(-1), marginals.detach()
    below = torch.nn.functional.pad(cdf[..., :-1], (1, 0))
    k, m = torch.arange(cdf.shape[-1]), sizes.unsqueeze(-1)
    low = (total - sizes.sum() + m).clamp(min=0)
    high = torch.minimum(m, total)
    beside = torch.nn.functional.pad(probs, (1, 1))
    neighbours = torch.minimum(beside[..., 2:], beside[..., :-2])
    strength = (4 * neighbours / probs.clamp(min=1e-13)).clamp(max=1) * ((k > low) & (k < high))
    bent = strength * (cdf + below + below * (k == low + 1) + cdf * (k == high - 1))
    beside = torch.nn.functional.pad(bent, (1, 1))
    second = beside[..., 2:] - 2 * bent + beside[..., :-2]
    flow = (second / 24 - (cdf + below) / 2) / probs.clamp(min=1e-13)
    moved = flow.gather(-1, counts.long().unsqueeze(-1)).squeeze(-1)
    state = solve_fisher(theta.detach(), sizes, total)
    variance = sizes * torch.sigmoid(theta.detach() + state.tilt)
    variance = variance * torch.sigmoid(-theta.detach() - state.tilt)
    return moved - variance / variance.sum() * moved.sum(-1, keepdim=True)


@pytest.mark.parametrize("urn", [*URNS, SUBSET, FEW], ids=str)
def test_implicit_is_its_formula_in_both_modes(urn):
    theta, sizes = torch.tensor(urn.weights).log(), torch.tensor(urn.group_sizes).double()
    total = torch.tensor(float(urn.total_count))
    movement = ops.estimators(ops.FISHER)["implicit"]
    for counts in ops.sample(theta, sizes, total, torch.Size([4])):

        def moved(theta, counts=counts):
            state = ops.FISHER.solve(theta, sizes, total)
            return movement(counts, ops.FISHER, state, ops.Bounds(sizes, total), None)

        def expected(theta, counts=counts):
            return implicit_jacobian(counts, theta, sizes, total)

        wanted = torch.func.jacrev(expected)(theta)
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            torch.testing.assert_close(jacobian(moved)(theta), wanted, rtol=1e-9, atol=1e-10)
        hessian, by_hand = (torch.func.jacrev(torch.func.jacrev(f)) for f in (moved, expected))
        torch.testing.assert_close(hessian(theta), by_hand(theta), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("function", [gumbel, ops.implicit_gradient, None])
def test_transforms_that_underflow_have_a_gradient(function):
    for seed in range(60):
        torch.manual_seed(seed)
        theta, sizes = torch.randn(6, requires_grad=True), torch.randint(1, 300, (6,)).double()
        total = (sizes.sum() * torch.rand(())).round()
        if function is None:
            result = ops.entropy(theta, sizes, total)
        else:
            counts = ops.sample(theta.detach(), sizes, total)
            result = (function(counts, theta, sizes, total) ** 2).sum()
        (slope,) = torch.autograd.grad(result, theta, create_graph=True)
        (second,) = torch.autograd.grad((slope**2).sum(), theta)
        assert slope.isfinite().all() and second.isfinite().all()
