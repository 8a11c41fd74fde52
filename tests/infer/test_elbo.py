# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Pyro's enumerating ELBO against the sum over count vectors by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, MultivariateHypergeometric
from tests import oracle

SIZES, TOTAL = [3, 1, 2], 3
SUPPORT = torch.tensor(oracle.support(SIZES, TOTAL), dtype=torch.float64)
# The observation is a sum: one element of each group adds this much.
VALUES = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
DATA = torch.tensor([0.7, 2.0], dtype=torch.float64)

PRIOR = torch.tensor([0.3, -0.6, 0.1], dtype=torch.float64)
GUIDE = torch.tensor([-0.2, 0.9, 0.4], dtype=torch.float64)
GUIDES = torch.tensor([[-0.2, 0.9, 0.4], [1.0, 0.0, -1.0]], dtype=torch.float64)

Program = Callable[[], Any]


def prior(kind: str) -> Any:
    if kind == "central":
        return MultivariateHypergeometric(TOTAL, SIZES)
    return FisherHypergeometric(TOTAL, SIZES, log_weights=pyro.param("prior", PRIOR.clone()))


def single_model(kind: str) -> Program:
    def model() -> None:
        x = pyro.sample("x", prior(kind))
        pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=DATA[0])

    return model


def plated_model(kind: str) -> Program:
    def model() -> None:
        law = prior(kind)
        with pyro.plate("data", len(DATA)):
            x = pyro.sample("x", law)
            pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=DATA)

    return model


def single_guide() -> None:
    weights = pyro.param("guide", GUIDE.clone())
    pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=weights))


def plated_guide() -> None:
    weights = pyro.param("guide", GUIDES.clone())
    with pyro.plate("data", len(DATA)):
        pyro.sample("x", FisherHypergeometric(TOTAL, SIZES, log_weights=weights))


def no_guide() -> None:
    pass


def log_pmf(log_weights: Tensor) -> Tensor:
    """Probabilities of the whole support, of shape (S,) + batch, by a plain softmax."""
    sizes = torch.tensor(SIZES, dtype=torch.float64)
    ways = (sizes + 1).lgamma() - (SUPPORT + 1).lgamma() - (sizes - SUPPORT + 1).lgamma()
    scores = ways.sum(-1) + log_weights @ SUPPORT.mT
    return torch.log_softmax(scores, -1).movedim(-1, 0)


def log_likelihood(data: Tensor) -> Tensor:
    mean = (SUPPORT @ VALUES).reshape(-1, *(1,) * data.dim())
    return dist.Normal(mean, 1.0).log_prob(data)


def log_prior(kind: str, data: Tensor) -> tuple[Tensor, Tensor]:
    weights = (torch.zeros(3) if kind == "central" else PRIOR.clone()).requires_grad_()
    return log_pmf(weights).reshape(-1, *(1,) * data.dim()), weights


def check(model: Program, guide: Program, truth: Tensor, leaves: dict[str, Tensor]) -> None:
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=True)
    loss = elbo.differentiable_loss(model, guide)
    torch.testing.assert_close(loss, truth, rtol=0, atol=1e-9)
    assert elbo.loss(model, guide) == pytest.approx(truth.item(), abs=1e-9, rel=0)
    params = [pyro.get_param_store()[name] for name in leaves]
    found = torch.autograd.grad(loss, params)
    wanted = torch.autograd.grad(truth, list(leaves.values()))
    for a, b in zip(found, wanted, strict=True):
        assert b.abs().max() > 0.01
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)


kinds = pytest.mark.parametrize("kind", ["fisher", "central"])
plates = pytest.mark.parametrize("plated", [False, True], ids=["single", "plate"])


@plates
@pytest.mark.parametrize("expand", [False, True])
def test_enumerated_in_the_model(plated: bool, expand: bool) -> None:
    data = DATA if plated else DATA[0]
    model = (plated_model if plated else single_model)("fisher")
    log_p, weights = log_prior("fisher", data)
    truth = -(log_p + log_likelihood(data)).logsumexp(0).sum()
    check(config_enumerate(model, "parallel", expand), no_guide, truth, {"prior": weights})


@plates
def test_central_law_enumerated_in_the_model(plated: bool) -> None:
    data = DATA if plated else DATA[0]
    model = (plated_model if plated else single_model)("central")
    log_p, _ = log_prior("central", data)
    truth = -(log_p + log_likelihood(data)).logsumexp(0).sum()
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(model), no_guide)
    assert loss == pytest.approx(truth.item(), abs=1e-9, rel=0)


@kinds
@plates
@pytest.mark.parametrize("way", ["parallel", "sequential"])
def test_enumerated_in_the_guide(kind: str, plated: bool, way: str) -> None:
    data = DATA if plated else DATA[0]
    model = (plated_model if plated else single_model)(kind)
    guide = plated_guide if plated else single_guide
    log_p, prior_weights = log_prior(kind, data)
    guide_weights = (GUIDES if plated else GUIDE).clone().requires_grad_()
    log_q = log_pmf(guide_weights)
    truth = (log_q.exp() * (log_q - log_p - log_likelihood(data))).sum()
    leaves = {"guide": guide_weights}
    if kind == "fisher":
        leaves["prior"] = prior_weights
    if way == "sequential" and plated:
        # Sequential enumeration needs one value for a whole plate. So the plate is a loop.
        model, guide = looped_model(kind), looped_guide
    check(model, config_enumerate(guide, way), truth, leaves)


def looped_model(kind: str) -> Program:
    def model() -> None:
        law = prior(kind)
        for i in pyro.plate("data", len(DATA)):
            x = pyro.sample(f"x_{i}", law)
            pyro.sample(f"y_{i}", dist.Normal(x @ VALUES, 1.0), obs=DATA[i])

    return model


def looped_guide() -> None:
    weights = pyro.param("guide", GUIDES.clone())
    for i in pyro.plate("data", len(DATA)):
        pyro.sample(f"x_{i}", FisherHypergeometric(TOTAL, SIZES, log_weights=weights[i]))


@pytest.mark.parametrize("side", ["model", "guide"])
def test_a_batch_of_different_urns_cannot_be_enumerated(side: str) -> None:
    totals = torch.tensor([3, 2, 1])

    def program() -> None:
        weights = pyro.param("prior", PRIOR.clone())
        with pyro.plate("data", 3):
            pyro.sample("x", FisherHypergeometric(totals, SIZES, log_weights=weights))

    enumerated = config_enumerate(program)
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    with pytest.raises(NotImplementedError, match="Inhomogeneous total count or group sizes"):
        elbo.loss(*((enumerated, no_guide) if side == "model" else (program, enumerated)))


def test_a_large_support_is_refused_with_its_size() -> None:
    def model() -> None:
        pyro.sample("x", FisherHypergeometric(50, [50] * 10, weights=[1.0] * 10))

    elbo = TraceEnum_ELBO(max_plate_nesting=0)
    with pytest.raises(ValueError, match="12565671261 count vectors"):
        elbo.loss(config_enumerate(model), no_guide)
