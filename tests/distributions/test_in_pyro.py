# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distributions inside of Pyro's programs and inference."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    HMC,
    MCMC,
    NUTS,
    SVI,
    Importance,
    JitTrace_ELBO,
    Predictive,
    Trace_ELBO,
)
from pyro.infer.autoguide import AutoDelta, AutoNormal
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, MultivariateHypergeometric

SIZES, TOTAL = [5, 3, 4], 6
WEIGHTS = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)


def fisher(weights: Any = WEIGHTS) -> FisherHypergeometric:
    return FisherHypergeometric(TOTAL, SIZES, weights=weights)


def central() -> MultivariateHypergeometric:
    return MultivariateHypergeometric(TOTAL, SIZES)


both = pytest.mark.parametrize("law", [fisher, central])


def no_guide(*args: Any) -> None:
    pass


@both
def test_plate_with_observations(law: Any) -> None:
    data = law().sample((7,))

    def model() -> None:
        with pyro.plate("rows", 7):
            pyro.sample("x", law(), obs=data)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["x"]
    assert type(site["fn"]) is type(law())
    assert site["fn"].batch_shape == (7,)
    assert site["log_prob"].shape == (7,)
    torch.testing.assert_close(trace.log_prob_sum(), law().log_prob(data).sum())


@both
def test_nested_plates(law: Any) -> None:
    def model() -> Tensor:
        with pyro.plate("inner", 3), pyro.plate("outer", 2):
            return pyro.sample("x", law())

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["value"].shape == (2, 3, 3)
    assert trace.nodes["x"]["log_prob"].shape == (2, 3)
    assert not trace.nodes["x"]["value"].requires_grad


def test_weights_of_each_row_in_a_plate() -> None:
    totals, log_weights = torch.tensor([0, 3, 12]), torch.randn(3, 3)

    def model() -> Tensor:
        with pyro.plate("rows", 3):
            return pyro.sample("x", FisherHypergeometric(totals, SIZES, log_weights=log_weights))

    assert (model().sum(-1) == totals).all()


@both
def test_plate_of_wrong_size_raises(law: Any) -> None:
    def model() -> None:
        with pyro.plate("rows", 4):
            pyro.sample("x", law().expand([3]))

    with pytest.raises(ValueError, match="Shape mismatch inside plate"):
        model()


@both
def test_subsampling_scales(law: Any) -> None:
    data = law().sample((8,))

    def model() -> None:
        with pyro.plate("rows", 8, subsample_size=2) as rows:
            pyro.sample("x", law(), obs=data[rows])

    trace = poutine.trace(model).get_trace()
    rows = trace.nodes["rows"]["value"]
    expected = 4 * law().log_prob(data[rows]).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_trace_shapes_show_the_event() -> None:
    def model() -> None:
        with pyro.plate("rows", 7):
            pyro.sample("x", fisher())

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    shapes = trace.format_shapes()
    assert "x dist 7 | 3" in " ".join(shapes.split())


@both
def test_mask_and_scale(law: Any) -> None:
    data, mask = law().sample((4,)), torch.tensor([True, False, True, False])
    log_prob = law().log_prob(data)
    masked = law().expand([4]).mask(mask)
    torch.testing.assert_close(masked.log_prob(data), torch.where(mask, log_prob, 0.0))
    torch.testing.assert_close(masked.mean, law().mean.expand(4, 3))
    assert masked.has_enumerate_support
    assert masked.enumerate_support(expand=False).shape[1:] == (1, 3)

    def model() -> None:
        with poutine.scale(scale=0.5), poutine.mask(mask=mask), pyro.plate("rows", 4):
            pyro.sample("x", law(), obs=data)

    trace = poutine.trace(model).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), 0.5 * log_prob[mask].sum())


@both
def test_to_event_is_that_of_multinomial(law: Any) -> None:
    peer = dist.Multinomial(TOTAL, probs=torch.ones(3)).expand([4, 2]).to_event(1)
    d = law().expand([4, 2]).to_event(1)
    assert d.batch_shape == peer.batch_shape == (4,)
    assert d.event_shape == peer.event_shape == (2, 3)
    x = d.sample()
    assert d.log_prob(x).shape == (4,)
    assert d.support.event_dim == peer.support.event_dim == 2
    assert d.support.is_discrete
    assert d.support.check(x).all()
    with pytest.raises(NotImplementedError):
        d.enumerate_support()
    for it in (law().to_event(0), dist.Multinomial(TOTAL, probs=torch.ones(3)).to_event(0)):
        assert it.event_dim == 1
    for it in (law(), dist.Multinomial(TOTAL, probs=torch.ones(3))):
        with pytest.raises((ValueError, IndexError)):
            it.to_event(1)


@both
def test_same_seed_same_samples(law: Any) -> None:
    def draw() -> Tensor:
        pyro.set_rng_seed(7)
        return torch.cat([law().sample((50,)), law().sample((2000,))])

    first, second = draw(), draw()
    assert (first == second).all()
    pyro.set_rng_seed(8)
    assert (law().sample((50,)) != first[:50]).any()


def regression(data: Tensor) -> None:
    log_weights = pyro.sample("log_weights", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    with pyro.plate("rows", len(data)):
        pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights), obs=data)


def test_predictive() -> None:
    posterior = {"log_weights": torch.randn(20, 3)}
    unseen = [None] * 4
    for parallel in (False, True):
        samples = Predictive(unobserved, posterior, parallel=parallel)(len(unseen))
        assert samples["x"].shape == (20, 4, 3)
        assert (samples["x"].sum(-1) == TOTAL).all()
    prior = Predictive(unobserved, num_samples=30)(4)
    assert prior["x"].shape == (30, 4, 3)
    # The draws follow the weights that they belong to.
    far = {"log_weights": torch.tensor([[0.0, 0.0, 100.0], [100.0, 0.0, 0.0]])}
    x = Predictive(unobserved, far, parallel=True)(4)["x"]
    assert (x[0, :, 2] == 4).all()
    assert (x[1, :, 0] == 5).all()


def unobserved(rows: int) -> None:
    log_weights = pyro.sample("log_weights", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    with pyro.plate("rows", rows):
        law = FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights.unsqueeze(-2))
        pyro.sample("x", law)


@pytest.mark.slow
def test_svi_recovers_the_weights() -> None:
    data = fisher().sample((500,))

    def model() -> None:
        weights = pyro.param("weights", torch.ones(3), constraint=dist.constraints.simplex)
        with pyro.plate("rows", len(data)):
            pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, weights=weights), obs=data)

    svi = SVI(model, no_guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    for _ in range(200):
        loss = svi.step()
    weights = pyro.param("weights").detach()
    estimate = FisherHypergeometric.from_mean(data.mean(0), SIZES, TOTAL).weights
    # The maximum likelihood has the observed means, and is near the truth.
    torch.testing.assert_close(
        weights / weights.sum(), estimate / estimate.sum(), rtol=1e-3, atol=0
    )
    torch.testing.assert_close(weights, WEIGHTS / WEIGHTS.sum(), rtol=0.2, atol=0)
    assert loss == pytest.approx(-fisher(estimate).log_prob(data).sum().item(), rel=1e-5)


@pytest.mark.slow
def test_latent_counts_by_the_score_function() -> None:
    def model() -> None:
        x = pyro.sample("x", central())
        pyro.sample("y", dist.Normal(x[..., 0], 0.5), obs=torch.tensor(4.0))

    def guide() -> None:
        log_weights = pyro.param("log_weights", torch.zeros(3))
        pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights))

    elbo = Trace_ELBO(num_particles=100, vectorize_particles=True, max_plate_nesting=0)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), elbo)
    for _ in range(100):
        svi.step()
    log_weights = pyro.param("log_weights").detach()
    q = FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights)
    assert abs(q.mean[0] - 4) < abs(central().mean[0] - 4) / 2


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [NUTS, HMC])
def test_mcmc_of_the_weights(kernel: Any) -> None:
    truth = torch.tensor([0.5, -0.5, 0.0])
    data = FisherHypergeometric(TOTAL, SIZES, log_weights=truth).sample((50,))
    options = {"num_steps": 5} if kernel is HMC else {"max_tree_depth": 4}
    mcmc = MCMC(
        kernel(regression, step_size=0.1, **options),
        num_samples=60,
        warmup_steps=40,
        disable_progbar=True,
    )
    mcmc.run(data)
    samples = mcmc.get_samples()["log_weights"]
    assert samples.shape == (60, 3)
    # Only differences matter to the data.
    gap = samples[:, 0] - samples[:, 1]
    assert gap.std() > 0
    assert abs(gap.mean() - 1.0) < 0.5


def test_importance() -> None:
    data = fisher().sample((30,))
    posterior = Importance(regression, num_samples=50).run(data)
    assert posterior.get_ESS() >= 1
    marginal = pyro.infer.EmpiricalMarginal(posterior, sites="log_weights")
    assert marginal.mean.shape == (3,)


def test_jit_elbo_is_the_plain_one() -> None:
    data = fisher().sample((10,))

    def model(data: Tensor) -> None:
        log_weights = pyro.param("log_weights", torch.tensor([0.2, -0.3, 0.1]))
        with pyro.plate("rows", len(data)):
            pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights), obs=data)

    plain, jit = Trace_ELBO(), JitTrace_ELBO(ignore_jit_warnings=True)
    for steps in range(2):
        results = []
        for elbo in (plain, jit):
            loss = elbo.loss_and_grads(model, no_guide, data)
            gradient = pyro.get_param_store()._params["log_weights"].grad
            results.append((torch.as_tensor(loss), gradient.clone()))
            gradient.zero_()
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
        # The trace holds for other parameters too.
        pyro.get_param_store()["log_weights"] = torch.tensor([1.0 + steps, 0.0, -2.0])


def test_jit_elbo_of_latent_counts() -> None:
    def model() -> None:
        x = pyro.sample("x", central())
        pyro.sample("y", dist.Normal(x[0], 1.0), obs=torch.tensor(4.0))

    def guide() -> None:
        log_weights = pyro.param("log_weights", torch.zeros(3))
        pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights))

    elbo = JitTrace_ELBO(ignore_jit_warnings=True)
    losses = {round(elbo.loss_and_grads(model, guide), 6) for _ in range(30)}
    assert len(losses) > 3  # drawn anew in each run
    assert pyro.get_param_store()._params["log_weights"].grad.isfinite().all()


@both
@pytest.mark.parametrize("guide", [AutoNormal, AutoDelta])
def test_continuous_guides_refuse_with_pyros_help(law: Any, guide: Any) -> None:
    def model() -> None:
        x = pyro.sample("x", law())
        pyro.sample("y", dist.Normal(x[0], 1.0), obs=torch.tensor(4.0))

    with pytest.raises(ValueError, match="cannot handle discrete sample site 'x'"):
        guide(model)()
