# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Soft counts: their support, their law as the temperature falls, and their gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from scipy import stats
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, RelaxedFisherHypergeometric
from pyro_hypergeo.distributions import hypergeometric_soft_counts

SIZES, TOTAL = [5, 3, 2], 4


def make(log_weights: Tensor, temperature: Any = 0.5, **kwargs: Any) -> RelaxedFisherHypergeometric:
    return RelaxedFisherHypergeometric(temperature, TOTAL, SIZES, log_weights=log_weights, **kwargs)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_counts_are_in_the_support(temperature: float, dtype: torch.dtype) -> None:
    for sizes, total in [([5, 3, 2], 4), ([50, 0, 7, 30], 60), ([1] * 8, 3), ([9], 4), ([4, 2], 6)]:
        log_weights = (2 * torch.randn(6, len(sizes))).to(dtype)
        d = RelaxedFisherHypergeometric(temperature, total, sizes, log_weights=log_weights)
        x = d.rsample((20,))
        assert x.shape == (20, 6, len(sizes)) and x.dtype == dtype
        assert (x >= 0).all() and (x <= torch.tensor(sizes)).all()
        eps = 8 * torch.finfo(dtype).eps * total
        assert (x.sum(-1) - total).abs().max() <= eps
        assert d.support.check(x).all()
        assert (d.log_prob(x) > -torch.inf).all()


def test_certain_counts() -> None:
    for sizes, total, expected in [
        ([4, 2, 3], 0, [0, 0, 0]),
        ([4, 2, 3], 9, [4, 2, 3]),
        ([4, 0, 0], 2, [2, 0, 0]),
    ]:
        theta = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
        x = RelaxedFisherHypergeometric(1.0, total, sizes, log_weights=theta).rsample()
        torch.testing.assert_close(x.detach(), torch.tensor(expected).double())
        x[0].backward()
        assert torch.equal(theta.grad, torch.zeros(3))


def test_cold_draws_have_the_exact_law() -> None:
    weights = torch.tensor([1.0, 2.0, 4.0])
    x = RelaxedFisherHypergeometric(1e-6, TOTAL, SIZES, weights).rsample((20_000,))
    exact = FisherHypergeometric(TOTAL, SIZES, weights)
    support = exact.enumerate_support()
    observed = (x.round().unsqueeze(1) == support).all(-1).sum(0)
    expected = 20_000 * exact.log_prob(support).exp()
    assert observed.sum() == 20_000
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3
    # The law itself, not of rounded draws: nearly all are next to integers.
    assert ((x - x.round()).abs() < 0.05).double().mean() > 0.99
    exact_draws = exact.sample((20_000,))
    jitter = 0.5 * torch.rand(2, 20_000)
    for i in range(3):
        hidden = stats.ks_2samp(
            (x[:, i].round() + jitter[0]).numpy(), (exact_draws[:, i] + jitter[1]).numpy()
        )
        assert hidden.pvalue > 1e-3


@pytest.mark.slow
def test_distance_to_the_exact_law_falls_with_the_temperature() -> None:
    weights = torch.tensor([1.0, 3.0, 1.0])
    exact = FisherHypergeometric(60, [40, 40, 40], weights).sample((20_000,))
    distances = []
    for temperature in (2.0, 0.3, 0.01):
        x = RelaxedFisherHypergeometric(temperature, 60, [40, 40, 40], weights).rsample((20_000,))
        distances.append(stats.ks_2samp(x[:, 0].numpy(), exact[:, 0].numpy()).statistic)
    assert distances[0] > distances[1] > distances[2]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_gradient_is_that_of_the_draw(temperature: float) -> None:
    theta = torch.tensor([0.3, -0.5, 1.1])

    def draw(theta: Tensor, temperature: Tensor) -> Tensor:
        torch.manual_seed(4)
        return make(theta, temperature).rsample((10,))

    tau = torch.tensor(temperature)
    exact = torch.autograd.functional.jacobian(draw, (theta, tau))
    step = 1e-6
    for j in range(3):
        move = step * torch.eye(3)[j]
        numeric = (draw(theta + move, tau) - draw(theta - move, tau)) / (2 * step)
        torch.testing.assert_close(exact[0][..., j], numeric, rtol=1e-5, atol=1e-6)
    numeric = (draw(theta, tau + step) - draw(theta, tau - step)) / (2 * step)
    torch.testing.assert_close(exact[1], numeric, rtol=1e-5, atol=1e-6)
    assert exact[0].abs().max() > 0.01 and exact[1].abs().max() > 0.01


def test_log_prob_extends_the_pmf() -> None:
    theta = torch.tensor([0.3, -0.5, 1.1], requires_grad=True)
    exact = FisherHypergeometric(TOTAL, SIZES, log_weights=theta)
    support = exact.enumerate_support()
    torch.testing.assert_close(make(theta).log_prob(support), exact.log_prob(support))
    x = torch.tensor([1.5, 1.5, 1.0], requires_grad=True)
    m = torch.tensor([5.0, 3.0, 2.0])
    gammas = torch.lgamma(m + 1) - torch.lgamma(x + 1) - torch.lgamma(m - x + 1)
    expected = (gammas + x * theta).sum() - exact.log_partition
    result = make(theta).log_prob(x)
    torch.testing.assert_close(result, expected)
    for parameter in (x, theta):
        (a,), (b,) = (
            torch.autograd.grad(y, parameter, retain_graph=True) for y in (result, expected)
        )
        torch.testing.assert_close(a, b)


def test_temperature_can_be_annealed_in_place_and_batched() -> None:
    temperature = torch.tensor(5.0)
    d = make(torch.zeros(3), temperature)
    warm = d.rsample((500,))
    temperature.fill_(1e-3)
    cold = d.rsample((500,))
    assert (warm - warm.round()).abs().mean() > 0.1 > (cold - cold.round()).abs().mean()
    batched = make(torch.zeros(3), torch.tensor([1e-3, 5.0]))
    assert batched.batch_shape == (2,)
    far = (x := batched.rsample((500,))) - x.round()
    assert far[:, 0].abs().mean() < 0.1 < far[:, 1].abs().mean()


def test_shapes_expand_and_copies() -> None:
    d = make(torch.randn(2, 3))
    assert (d.batch_shape, d.event_shape) == ((2,), (3,))
    shapes = RelaxedFisherHypergeometric.infer_shapes((4, 1), (), (3,), log_weights=(2, 3))
    assert shapes == ((4, 2), (3,))
    new = d.expand([4, 2])
    assert new.rsample((5,)).shape == (5, 4, 2, 3)
    assert new.log_prob(new.rsample()).shape == (4, 2)
    assert torch.equal(new.weights[0], d.weights) and torch.equal(new.log_weights[1], d.log_weights)
    for other in (copy.deepcopy(new), pickle.loads(pickle.dumps(new))):
        assert other.rsample().shape == (4, 2, 3)
    assert d.has_rsample and not d.has_enumerate_support
    assert not d.support.is_discrete and d.support.event_dim == 1


@pytest.mark.parametrize(
    "args, message",
    [
        ((0.0, 4, [5, 3, 2], [1.0, 1, 1]), "`temperature` .* finite and above 0, but found 0"),
        ((torch.ones(2), torch.ones(3), [5, 3], [1.0, 1]), r"`temperature` .*\(3,\).*\(2,\)"),
        ((1.0, 11, [5, 3, 2], [1.0, 1, 1]), "`total_count`"),
    ],
)
def test_bad_arguments(args: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelaxedFisherHypergeometric(*args)


def test_support_rejects() -> None:
    d = make(torch.zeros(3))
    for wrong in ([2.0, 1.5, 0.6], [-0.1, 2.1, 2.0], [0.5, 1.4, 2.1], [torch.nan, 1.0, 1.0]):
        with pytest.raises(ValueError, match="within the support"):
            d.log_prob(torch.tensor(wrong))
    assert repr(hypergeometric_soft_counts(torch.ones(2), torch.ones(()))) == (
        "HypergeometricSoftCounts()"
    )


@pytest.mark.slow
def test_vmap_and_svi_under_a_plate() -> None:
    gradients = torch.func.vmap(
        torch.func.grad(lambda t: make(t, validate_args=False).rsample().square().sum()),
        randomness="different",
    )(torch.randn(4, 3))
    assert gradients.isfinite().all() and gradients.abs().max() > 0

    data = torch.tensor([[2.2, 0.8, 1.0], [3.1, 0.0, 0.9]])

    def model() -> None:
        with pyro.plate("bags", 2):
            x = pyro.sample("x", make(torch.zeros(3)))
            pyro.sample("y", dist.Normal(x, 0.3).to_event(1), obs=data)

    def guide() -> None:
        log_weights = pyro.param("log_weights", lambda: torch.zeros(2, 3))
        with pyro.plate("bags", 2):
            pyro.sample("x", make(log_weights))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    losses = [svi.step() for _ in range(100)]
    assert sum(losses[-20:]) < sum(losses[:20])


@pytest.mark.slow
def test_compile(compiled: Any) -> None:
    theta = torch.randn(2, 3).requires_grad_()
    x = compiled(lambda t: make(t, validate_args=False).rsample((5,)))(theta)
    torch.testing.assert_close(x.sum(-1), torch.full((5, 2), 4.0))
    x.square().sum().backward()
    assert theta.grad is not None and theta.grad.isfinite().all() and (theta.grad != 0).any()
