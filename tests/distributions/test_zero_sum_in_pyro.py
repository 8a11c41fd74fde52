# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The zero-sum normal law inside of Pyro's programs and inference."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import HMC, MCMC, NUTS, SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO, autoguide
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_hypergeo import ZeroSumNormal


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_plates_and_subsampling() -> None:
    data = ZeroSumNormal(1.0, 3).sample((8,))

    def model() -> None:
        with pyro.plate("outer", 2, dim=-2), pyro.plate("all", 8, dim=-1):
            pyro.sample("x", ZeroSumNormal(2.0, 3))
        with pyro.plate("rows", 8, subsample_size=2, dim=-1) as rows:
            pyro.sample("y", ZeroSumNormal(1.0, 3), obs=data[rows])

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["value"].shape == (2, 8, 3)
    assert trace.nodes["x"]["log_prob"].shape == (2, 8)
    rows = trace.nodes["rows"]["value"]
    close(trace.nodes["y"]["log_prob_sum"], 4 * ZeroSumNormal(1.0, 3).log_prob(data[rows]).sum())


TARGET = torch.tensor([2.0, 0.0, 0.5, -1.5], dtype=torch.float64)
# By conjugacy: precisions 1 and 4 add up on the hyperplane.
POSTERIOR_MEAN, POSTERIOR_SCALE = (TARGET - TARGET.mean()) * 0.8, 0.2**0.5


def conjugate() -> None:
    x = pyro.sample("x", ZeroSumNormal(1.0, 4))
    pyro.sample("seen", dist.Normal(x, 0.5).to_event(1), obs=TARGET)


GUIDES = [
    "AutoNormal",
    "AutoDiagonalNormal",
    "AutoMultivariateNormal",
    "AutoLowRankMultivariateNormal",
    "AutoDelta",
    "AutoLaplaceApproximation",
    "AutoIAFNormal",
    "AutoStructured",
    "AutoNormalMessenger",
]


@pytest.mark.parametrize("name", GUIDES)
def test_automatic_guides(name: str) -> None:
    def model() -> None:
        conjugate()
        with pyro.plate("rows", 2):
            pyro.sample("in_plate", ZeroSumNormal(1.0, 3))
        pyro.sample("event", ZeroSumNormal(1.0, 3).expand([2]).to_event(1))

    guide = getattr(autoguide, name)(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(150):
        loss = svi.step()
    assert math.isfinite(loss)
    if name == "AutoLaplaceApproximation":
        guide = guide.laplace_approximation()
    if name != "AutoIAFNormal":
        # The posterior is spherical in coordinates, so that every guide can be exact.
        draws = Predictive(guide, num_samples=300)()["x"].squeeze()
        close(draws.mean(0), POSTERIOR_MEAN, 0.25)
    trace = poutine.trace(guide).get_trace()
    for site, shape in {"x": (4,), "in_plate": (2, 3), "event": (2, 3)}.items():
        value = trace.nodes[site]["value"]
        assert value.shape == shape
        close(value.sum(-1), torch.zeros(shape[:-1]))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [NUTS, HMC])
def test_monte_carlo(kernel: Any) -> None:
    mcmc = MCMC(kernel(conjugate), num_samples=300, warmup_steps=100, disable_progbar=True)
    mcmc.run()
    x = mcmc.get_samples()["x"]
    assert x.shape == (300, 4)
    close(x.sum(-1), torch.zeros(300))
    close(x.mean(0), POSTERIOR_MEAN, 0.12)
    expected = ZeroSumNormal(POSTERIOR_SCALE, 4).covariance_matrix
    close(x.mT.cov(), expected, 0.08)


def test_mean_field_elbo_uses_the_closed_form() -> None:
    def model() -> None:
        pyro.sample("x", ZeroSumNormal(1.0, 4))

    def guide() -> None:
        pyro.sample("x", ZeroSumNormal(0.5, 4))

    loss = TraceMeanField_ELBO().loss(model, guide)
    expected = kl_divergence(ZeroSumNormal(0.5, 4), ZeroSumNormal(1.0, 4))
    assert loss == pytest.approx(expected.item(), rel=1e-12)
