# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's straight-through draws: exact values, and gradients that can be used."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_hypergeo import FisherHypergeometric, FisherHypergeometricStraightThrough

ESTIMATORS = ["affine", "mean", "implicit", "gumbel"]
every = pytest.mark.parametrize("estimator", ESTIMATORS)
SIZES, TOTAL = [5, 3, 2], 4


def make(log_weights: Tensor, **kwargs: Any) -> FisherHypergeometricStraightThrough:
    return FisherHypergeometricStraightThrough(TOTAL, SIZES, log_weights=log_weights, **kwargs)


def theta(*shape: int) -> Tensor:
    return torch.randn(*shape, 3).requires_grad_()


def test_class() -> None:
    assert issubclass(FisherHypergeometricStraightThrough, FisherHypergeometric)
    assert FisherHypergeometricStraightThrough.has_rsample
    assert not FisherHypergeometricStraightThrough.has_enumerate_support


@every
def test_draws_are_those_of_the_exact_law(estimator: str) -> None:
    log_weights = torch.tensor([0.3, -0.5, 1.1], requires_grad=True)
    x = make(log_weights, estimator=estimator).rsample((20_000,)).detach()
    exact = FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights.detach())
    support = exact.enumerate_support()
    expected = 20_000 * exact.log_prob(support).exp()
    observed = (x.unsqueeze(1) == support).all(-1).sum(0)
    assert observed.sum() == 20_000
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sample_shape", [(), (4,), (4, 1)])
def test_shapes_and_integers(estimator: str, dtype: torch.dtype, sample_shape: Any) -> None:
    log_weights = torch.randn(2, 3, dtype=dtype).requires_grad_()
    d = make(log_weights, estimator=estimator)
    x = d.rsample(torch.Size(sample_shape))
    assert x.shape == (*sample_shape, 2, 3)
    assert x.dtype == dtype
    assert x.requires_grad
    assert d.support.check(x).all()
    assert torch.equal(x, x.round())
    d.log_prob(x).sum().backward()
    assert log_weights.grad is not None and log_weights.grad.isfinite().all()
    assert not d.sample(torch.Size(sample_shape)).requires_grad
    assert not make(log_weights.detach(), estimator=estimator).rsample().requires_grad


@every
def test_expand(estimator: str) -> None:
    log_weights = theta()
    d = make(log_weights, estimator=estimator, temperature=0.5)
    new = d.expand([4, 2])
    assert type(new) is FisherHypergeometricStraightThrough
    assert (new.estimator, float(new.temperature)) == (estimator, 0.5)
    x = new.rsample((3,))
    assert x.shape == (3, 4, 2, 3)
    x.pow(2).sum().backward()
    assert log_weights.grad is not None and log_weights.grad.abs().max() > 0
    assert new.to_event(1).rsample().shape == (4, 2, 3)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies(duplicate: Any) -> None:
    d = make(theta(), estimator="implicit", temperature=0.5)
    _ = d.rsample()
    new = duplicate(d)
    assert (new.estimator, float(new.temperature)) == ("implicit", 0.5)
    assert new.rsample().requires_grad


def test_gradient_reaches_weights_as_well_as_their_logarithms() -> None:
    weights = torch.tensor([1.0, 2.0, 0.0], requires_grad=True)
    d = FisherHypergeometricStraightThrough(TOTAL, [5, 3, 2], weights)
    d.rsample((50,)).pow(2).sum().backward()
    assert weights.grad is not None and weights.grad.isfinite().all()
    assert weights.grad[0] != 0 and weights.grad[2] == 0


@every
def test_gradient_through_a_hidden_network(estimator: str) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    x = make(network(torch.randn(6, 5, 4)), estimator=estimator).rsample()
    assert x.shape == (6, 5, 3)
    (x - 1).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0


def test_does_not_enumerate() -> None:
    with pytest.raises(NotImplementedError, match="FisherHypergeometric is the same law"):
        make(theta()).enumerate_support()

    def model() -> None:
        pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, weights=[1.0, 1.0, 1.0]))

    def guide() -> None:
        pyro.sample("x", make(theta()), infer={"enumerate": "parallel"})

    with pytest.raises(NotImplementedError, match="does not enumerate"):
        TraceEnum_ELBO(max_plate_nesting=0).loss(model, guide)


def test_kl_is_that_of_the_exact_law() -> None:
    a, b = theta(), theta()
    exact = [FisherHypergeometric(TOTAL, SIZES, log_weights=x) for x in (a, b)]
    assert kl_divergence(make(a), exact[1]) == kl_divergence(*exact)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"estimator": "best"}, "`estimator` to be one of 'affine', .* but got 'best'"),
        ({"temperature": 0.0}, "`temperature` of shape .* finite and above 0, but found 0"),
        ({"temperature": torch.ones(7)}, r"`temperature` .* batch shape \(2,\), .* \(7,\)"),
        ({"log_weights": torch.full((2, 3), -torch.inf)}, "`log_weights`"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**{"log_weights": theta(2), **kwargs})


def model(data: Tensor) -> None:
    with pyro.plate("bags", len(data)):
        x = pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, weights=[1.0, 1.0, 1.0]))
        pyro.sample("y", dist.Normal(x, 0.5).to_event(1), obs=data)


def guide_with(estimator: str) -> Any:
    def guide(data: Tensor) -> None:
        log_weights = pyro.param("log_weights", lambda: torch.zeros(len(data), 3))
        with pyro.plate("bags", len(data)):
            pyro.sample("x", make(log_weights, estimator=estimator))

    return guide


BIAS = {"affine": 0.0, "mean": 0.2, "implicit": 0.03, "gumbel": 0.25}  # for squares, these urns


@every
def test_gradient_of_the_elbo_is_nearly_that_of_enumeration(estimator: str) -> None:
    data = torch.tensor([[3.8, 0.1, 0.1], [1.0, 1.2, 1.8]])
    prior = FisherHypergeometric(TOTAL, SIZES, weights=[1.0, 1.0, 1.0])
    support = prior.enumerate_support().unsqueeze(1)
    log_weights = torch.tensor([[-0.5, 0.5, 0.2], [0.5, 0.0, -0.5]], requires_grad=True)
    q = FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights)
    likelihood = dist.Normal(support, 0.5).to_event(1).log_prob(data)
    expected = -(q.log_prob(support).exp() * likelihood).sum()
    (of_data,) = torch.autograd.grad(expected, log_weights, retain_graph=True)
    (of_kl,) = torch.autograd.grad(kl_divergence(q, prior).sum(), log_weights)

    pyro.param("log_weights", log_weights.detach().clone())
    # The KL in closed form, so that the error is that of the likelihood alone.
    elbo = TraceMeanField_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=1)
    elbo.loss_and_grads(model, guide_with(estimator), data)
    estimate = pyro.param("log_weights").grad
    error = (estimate - of_data - of_kl).norm() / of_data.norm()
    assert error < BIAS[estimator] + 0.06


@pytest.mark.slow
@every
def test_svi_under_a_plate_and_traced(estimator: str) -> None:
    data = torch.tensor([[2.2, 0.8, 1.1], [3.1, 0.2, 0.9]])
    # One particle has so much noise that some seeds do not show what was learned.
    many = {"num_particles": 10, "vectorize_particles": True, "max_plate_nesting": 1}
    for elbo in (Trace_ELBO(**many), JitTrace_ELBO(ignore_jit_warnings=True, **many)):
        pyro.clear_param_store()
        svi = SVI(model, guide_with(estimator), pyro.optim.Adam({"lr": 0.1}), elbo)
        losses = [svi.step(data) for _ in range(60)]
        assert sum(losses[-20:]) < sum(losses[:20])


@every
def test_vmap(estimator: str) -> None:
    log_weights = torch.randn(4, 3)

    def loss(log_weights: Tensor) -> Tensor:
        return make(log_weights, estimator=estimator, validate_args=False).rsample().pow(2).sum()

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")(log_weights)
    assert gradients.shape == (4, 3)
    assert gradients.isfinite().all() and gradients.abs().max() > 0
    assert gradients.sum(-1).abs().max() < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["affine", "mean", "gumbel"])
def test_compile(estimator: str, compiled: Any) -> None:
    def draw(log_weights: Tensor) -> Tensor:
        return make(log_weights, estimator=estimator, validate_args=False).rsample((5,))

    log_weights = theta(2)
    x = compiled(draw)(log_weights)
    assert torch.equal(x.sum(-1), torch.full((5, 2), 4.0))
    x.pow(2).sum().backward()
    assert log_weights.grad is not None and log_weights.grad.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 2.0, 5.0, 10.0])
def test_weights_are_learned_through_samples_alone(weight: float) -> None:
    sizes, total = [200, 200, 200], 180
    truth = torch.tensor([1.0, weight, 1.0])
    data = FisherHypergeometric(total, sizes, weights=truth).sample((20_000,))
    log_weights = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([log_weights], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    for _ in range(250):
        urn = FisherHypergeometricStraightThrough(total, sizes, log_weights=log_weights)
        x = urn.rsample((200,))
        y = data[torch.randint(len(data), (200,))]
        # The energy distance of both samples. It is smallest if their laws are equal.
        between, within = torch.cdist(x, y), torch.cdist(x[:100], x[100:])
        loss = between.mean() - 0.5 * within.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    learned = torch.softmax(log_weights.detach(), -1)
    torch.testing.assert_close(learned, truth / truth.sum(), rtol=0.02, atol=0.0)
