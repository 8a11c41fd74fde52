# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The posterior of enumerated counts against Bayes' rule by hand."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
    enumerated_posterior,
)
from tests import oracle, wallenius_oracle

SIZES, TOTAL, WEIGHTS = [3, 1, 2], 3, [1.0, 0.5, 2.0]
VALUES = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
DATA = torch.tensor([0.7, 2.0, 1.1], dtype=torch.float64)
LAWS: dict[str, Any] = {
    "fisher": (lambda: FisherHypergeometric(TOTAL, SIZES, WEIGHTS), oracle.pmf, WEIGHTS),
    "central": (lambda: MultivariateHypergeometric(TOTAL, SIZES), oracle.pmf, [1.0] * 3),
    "wallenius": (
        lambda: WalleniusHypergeometric(TOTAL, SIZES, WEIGHTS),
        wallenius_oracle.pmf,
        WEIGHTS,
    ),
}
SUPPORT = torch.tensor(oracle.support(SIZES, TOTAL), dtype=torch.float64)
every_law = pytest.mark.parametrize("law", LAWS)


def prior(law: str) -> Tensor:
    _, pmf, weights = LAWS[law]
    table = pmf(weights, SIZES, TOTAL)
    return torch.tensor([float(table[x]) for x in oracle.support(SIZES, TOTAL)])


def posterior(law: str, data: Tensor) -> Tensor:
    """Bayes' rule, of shape data.shape + (S,)."""
    joint = prior(law) * (-0.5 * (data.unsqueeze(-1) - SUPPORT @ VALUES).square()).exp()
    return joint / joint.sum(-1, keepdim=True)


@every_law
@pytest.mark.parametrize("expand", [False, True])
def test_single_site(law: str, expand: bool) -> None:
    def model() -> None:
        x = pyro.sample("x", LAWS[law][0]())
        pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=DATA[0])

    found = enumerated_posterior(config_enumerate(model, expand=expand))
    assert list(found) == ["x"]
    assert (found["x"].counts == SUPPORT).all()
    truth = posterior(law, DATA[0])
    torch.testing.assert_close(found["x"].probs, truth, rtol=1e-10, atol=0)
    torch.testing.assert_close(found["x"].mean, truth @ SUPPORT, rtol=1e-10, atol=0)
    assert (found["x"].most_probable == SUPPORT[truth.argmax()]).all()


@pytest.mark.parametrize("outer", [1, 2])
@pytest.mark.parametrize("max_plate_nesting", [2, None])
def test_plates(outer: int, max_plate_nesting: int | None) -> None:
    data = DATA + torch.arange(float(outer)).unsqueeze(-1)

    def model(data: Tensor) -> None:
        with pyro.plate("inner", 3), pyro.plate("outer", outer):
            x = pyro.sample("x", LAWS["fisher"][0]())
            pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=data)

    enumerated = config_enumerate(model)
    found = enumerated_posterior(enumerated, data, max_plate_nesting=max_plate_nesting)["x"]
    truth = posterior("fisher", data)
    torch.testing.assert_close(found.probs, truth, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.mean, truth @ SUPPORT, rtol=1e-10, atol=0)
    assert found.most_probable.shape == (outer, 3, 3)
    draws = found.sample((20_000,))
    assert draws.shape == (20_000, outer, 3, 3)
    torch.testing.assert_close(draws.mean(0), found.mean, rtol=0, atol=0.03)


def test_two_sites_one_of_them_certain_and_another_law() -> None:
    """The weights of y depend on x, so x is learned from y alone; z has one possible value."""

    @config_enumerate
    def model() -> None:
        x = pyro.sample("x", LAWS["fisher"][0]())
        z = pyro.sample("z", FisherHypergeometric(6, SIZES, WEIGHTS))
        y = pyro.sample("y", FisherHypergeometric(1, [1, 2], log_weights=x[..., :2]))
        coin = pyro.sample("coin", dist.Bernoulli(0.3))
        pyro.sample("s", dist.Normal(y[..., 0] + coin + z.sum(-1), 1.0), obs=torch.tensor(7.5))

    found = enumerated_posterior(model)
    assert set(found) == {"x", "y", "z"}
    assert found["z"].counts.tolist() == [[3.0, 1.0, 2.0]]
    assert found["z"].probs.tolist() == [1.0]
    joint: dict[Any, float] = {}
    for x, p_x in zip(oracle.support(SIZES, TOTAL), prior("fisher").tolist(), strict=True):
        for y, p_y in oracle.pmf(torch.tensor(x[:2]).double().exp().tolist(), [1, 2], 1).items():
            for coin, p_coin in ((0, 0.7), (1, 0.3)):
                seen = dist.Normal(y[0] + coin + 6.0, 1.0).log_prob(torch.tensor(7.5)).exp()
                joint[x, y, coin] = p_x * float(p_y) * p_coin * float(seen)
    for site, place in (("x", 0), ("y", 1)):
        rows = [tuple(int(k) for k in row) for row in found[site].counts]
        sums = [sum(p for key, p in joint.items() if key[place] == row) for row in rows]
        truth = torch.tensor(sums) / sum(joint.values())
        torch.testing.assert_close(found[site].probs, truth, rtol=1e-9, atol=0)


def test_given_a_guide_or_values_of_the_other_sites() -> None:
    @config_enumerate
    def model(scale: float) -> None:
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", LAWS["fisher"][0]())
        pyro.sample("y", dist.Normal(x @ VALUES + shift, scale), obs=DATA[0])

    def guide(scale: float) -> None:
        pyro.sample("shift", dist.Delta(torch.tensor(0.4)))

    truth = posterior("fisher", DATA[0] - 0.4)
    by_guide = enumerated_posterior(model, 1.0, guide=guide)["x"]
    fixed = pyro.condition(model, data={"shift": torch.tensor(0.4)})
    by_value = enumerated_posterior(fixed, scale=1.0)["x"]
    for found in (by_guide, by_value):
        torch.testing.assert_close(found.probs, truth, rtol=1e-10, atol=0)
    with pytest.raises(ValueError, match=r"does\s+not draw \['shift'\].*pyro.condition"):
        enumerated_posterior(model, 1.0)


def test_masked_elements_have_their_prior() -> None:
    mask = torch.tensor([True, False, True])

    @config_enumerate
    def model() -> None:
        with pyro.plate("data", 3):
            x = pyro.sample("x", LAWS["fisher"][0]())
            with poutine.mask(mask=mask):
                pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=DATA)

    truth = posterior("fisher", DATA)
    truth[1] = prior("fisher")
    found = enumerated_posterior(model)["x"]
    torch.testing.assert_close(found.probs, truth, rtol=1e-10, atol=0)


def test_a_model_without_enumerated_counts() -> None:
    def model() -> None:
        pyro.sample("x", LAWS["fisher"][0]())

    with pytest.raises(ValueError, match=r"`guide`.*\['x'\]"):
        enumerated_posterior(model)
    with pytest.raises(ValueError, match="site of counts that is enumerated"):
        enumerated_posterior(lambda: None)


@every_law
@pytest.mark.parametrize("method", ["compute_marginals", "sample_posterior"])
def test_the_way_of_pyro_names_the_way_that_works(law: str, method: str) -> None:
    @config_enumerate
    def model() -> None:
        x = pyro.sample("x", LAWS[law][0]())
        pyro.sample("y", dist.Normal(x @ VALUES, 1.0), obs=DATA[0])

    elbo = TraceEnum_ELBO(max_plate_nesting=0)
    with pytest.raises(NotImplementedError, match="enumerated_posterior.*markov_counts"):
        getattr(elbo, method)(model, lambda: None)
