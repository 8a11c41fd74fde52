# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' straight-through draws: exact values, gradients, and a guide."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometricStraightThrough,
    WalleniusHypergeometric,
    WalleniusHypergeometricStraightThrough,
    ops,
)
from tests.gradients import Urn, error, functions, score_function

ESTIMATORS = ["affine", "mean"]
every = pytest.mark.parametrize("estimator", ESTIMATORS)
SIZES, TOTAL = [5, 3, 2], 4
URN = Urn([5, 6, 7], 8, [1.0, 2.0, 3.0])


def make(log_weights: Tensor, **kwargs: Any) -> WalleniusHypergeometricStraightThrough:
    return WalleniusHypergeometricStraightThrough(TOTAL, SIZES, log_weights=log_weights, **kwargs)


def theta(*shape: int) -> Tensor:
    return torch.randn(*shape, 3).requires_grad_()


def test_class() -> None:
    assert issubclass(WalleniusHypergeometricStraightThrough, WalleniusHypergeometric)
    assert WalleniusHypergeometricStraightThrough.has_rsample
    assert not WalleniusHypergeometricStraightThrough.has_enumerate_support


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sample_shape", [(), (4, 1)])
def test_draws_are_exact_and_carry_a_gradient(
    estimator: str, dtype: torch.dtype, sample_shape: Any
) -> None:
    log_weights = torch.randn(2, 3, dtype=dtype).requires_grad_()
    d = make(log_weights, estimator=estimator)
    x = d.rsample(torch.Size(sample_shape))
    assert x.shape == (*sample_shape, 2, 3)
    assert x.dtype == dtype and x.requires_grad
    assert d.support.check(x).all() and torch.equal(x, x.round())
    d.log_prob(x).sum().backward()
    assert log_weights.grad is not None and log_weights.grad.isfinite().all()
    assert not d.sample(torch.Size(sample_shape)).requires_grad
    assert not make(log_weights.detach(), estimator=estimator).rsample().requires_grad


@pytest.mark.slow
def test_bias_and_noise() -> None:
    affine, mean = (
        {
            name: error(URN, f, gradient, law=WalleniusHypergeometric)
            for name, f in functions(URN).items()
        }
        for gradient in (ops.wallenius_affine_gradient, ops.wallenius_mean_gradient)
    )
    assert mean["linear"].bias < 1e-9 and mean["linear"].noise < 1e-9
    for name in ("linear", "quadratic", "product"):
        assert affine[name].bias < 1e-9
    for name, f in functions(URN).items():
        score = score_function(URN, f, WalleniusHypergeometric)
        assert score.bias < 1e-9
        assert affine[name].noise < 0.8 * score.noise
        assert affine[name].bias < 0.05 and mean[name].bias < 0.2


@every
@pytest.mark.parametrize(
    "log_weights, sizes, total",
    [
        ([0.3, -torch.inf, 1.0], SIZES, 4),
        ([0.3, -torch.inf, 1.0], SIZES, 7),
        ([0.3, 0.0, 1.0], SIZES, 0),
        ([0.3, 0.0, 1.0], SIZES, 10),
        ([0.3, 0.0, 1.0], SIZES, 9),
        ([0.3, 0.0, 1.0], [5, 0, 3], 4),
        ([0.0, 30.0, -40.0], SIZES, 4),
        ([0.0], [7], 3),
    ],
)
def test_edges(estimator: str, log_weights: list[float], sizes: list[int], total: int) -> None:
    leaf = torch.tensor(log_weights, requires_grad=True)
    d = WalleniusHypergeometricStraightThrough(total, sizes, log_weights=leaf, estimator=estimator)
    x = d.rsample((20,))
    assert d.support.check(x).all()
    x.square().sum().backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()
    assert leaf.grad.sum().abs() < 1e-8


@every
def test_expand_and_copies(estimator: str) -> None:
    log_weights = theta()
    d = make(log_weights, estimator=estimator)
    new = d.expand([4, 2])
    assert type(new) is WalleniusHypergeometricStraightThrough
    assert new.estimator == estimator
    x = new.rsample((3,))
    assert x.shape == (3, 4, 2, 3)
    x.pow(2).sum().backward()
    assert log_weights.grad is not None and log_weights.grad.abs().max() > 0
    for duplicate in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        assert duplicate.estimator == estimator
        assert duplicate.rsample().requires_grad


def test_gradient_reaches_weights_as_well_as_their_logarithms() -> None:
    weights = torch.tensor([1.0, 2.0, 0.0], requires_grad=True)
    d = WalleniusHypergeometricStraightThrough(TOTAL, [5, 3, 2], weights)
    d.rsample((50,)).pow(2).sum().backward()
    assert weights.grad is not None and weights.grad.isfinite().all()
    assert weights.grad[0] != 0 and weights.grad[2] == 0


def test_does_not_enumerate() -> None:
    d = make(theta())
    with pytest.raises(NotImplementedError, match="WalleniusHypergeometric is the same law"):
        d.enumerate_support()
    exact = WalleniusHypergeometric(TOTAL, SIZES, log_weights=d.log_weights)
    assert d.entropy() == exact.entropy()


def test_bad_estimator() -> None:
    with pytest.raises(ValueError, match="`estimator` to be one of 'affine', 'mean', but got 'no'"):
        make(theta(), estimator="no")


@pytest.mark.slow
@every
def test_svi_under_a_plate(estimator: str) -> None:
    data = torch.tensor([[2.2, 0.8, 1.1], [3.1, 0.2, 0.9]])

    def model(data: Tensor) -> None:
        with pyro.plate("bags", len(data)):
            prior = WalleniusHypergeometric(TOTAL, SIZES, weights=[1.0, 2.0, 1.0])
            x = pyro.sample("x", prior)
            pyro.sample("y", dist.Normal(x, 0.5).to_event(1), obs=data)

    start = torch.tensor([-1.0, 1.0, 0.0])  # far from the data

    def guide(data: Tensor) -> None:
        log_weights = pyro.param("log_weights", lambda: start.expand(len(data), 3).clone())
        with pyro.plate("bags", len(data)):
            pyro.sample("x", make(log_weights, estimator=estimator))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.2}), Trace_ELBO())
    losses = [svi.step(data) for _ in range(60)]
    assert sum(losses[-20:]) / 20 < 0.6 * sum(losses[:5]) / 5


@every
def test_vmap(estimator: str) -> None:
    def loss(log_weights: Tensor) -> Tensor:
        return make(log_weights, estimator=estimator, validate_args=False).rsample().pow(2).sum()

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")(torch.randn(4, 3))
    assert gradients.shape == (4, 3)
    assert gradients.isfinite().all() and gradients.abs().max() > 0
    assert gradients.sum(-1).abs().max() < 1e-8


@every
def test_the_integral_over_time_is_set_up_once(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyro_hypergeo.ops.wallenius.state as module

    taken = []
    snapshots = module.snapshots

    def counted(urn: Any) -> Any:
        taken.append(urn)
        return snapshots(urn)

    monkeypatch.setattr(module, "snapshots", counted)
    d = make(theta(), estimator=estimator)
    d.rsample((5,)).sum().backward()
    _ = d.mean
    assert len(taken) == 1


def test_no_temperature() -> None:
    with pytest.raises(ValueError, match="no `temperature`, since no estimator of Wallenius' law"):
        make(theta(), temperature=0.5)


def test_no_movement_is_worked_out_where_no_gradient_is_wanted() -> None:
    d = make(theta().detach())
    assert not d.rsample().requires_grad
    assert not {"mean", "covariance"} & set(vars(d.state))


@pytest.mark.parametrize(
    "law", [FisherHypergeometricStraightThrough, WalleniusHypergeometricStraightThrough]
)
def test_nearly_certain_draws_have_gradients_of_about_zero(law: Any) -> None:
    log_weights = torch.tensor([0.0, -30.0, -60.0], requires_grad=True)
    x = law(9, [5, 3, 4], log_weights=log_weights).rsample((20,))
    assert torch.equal(x, torch.tensor([5.0, 3.0, 1.0]).expand(20, 3))
    x.square().sum().backward()
    assert log_weights.grad is not None
    assert log_weights.grad.abs().max() < 1e-9


@pytest.mark.parametrize("scale", [10.0, 50.0, 150.0])
def test_sharp_scores_have_finite_gradients(scale: float) -> None:
    sizes = torch.randint(1, 9, (240, 5)).double()
    total = torch.floor(1 + torch.rand(240) * (sizes.sum(-1) - 1))
    log_weights = (scale * torch.randn(240, 5)).requires_grad_()
    x = WalleniusHypergeometricStraightThrough(total, sizes, log_weights=log_weights).rsample()
    (x * torch.arange(1.0, 6.0)).square().sum().backward()
    assert log_weights.grad is not None
    assert log_weights.grad.abs().max() < 1e5
    assert log_weights.grad.abs().max() > 1
