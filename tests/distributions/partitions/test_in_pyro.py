# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions inside of Pyro's programs and inference, and in torch's transforms."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceGraph_ELBO
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, FisherPartition, PlackettLuce, WalleniusPartition
from tests import partition_oracle as oracle

LAWS = [FisherPartition, WalleniusPartition]
every_law = pytest.mark.parametrize("cls", LAWS)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@every_law
def test_plates_subsampling_and_masks(cls: Any) -> None:
    scores = torch.randn(6, 3)
    data = cls([1, 2, 3], scores).sample((8,))
    mask = torch.arange(8) < 5

    def model() -> None:
        with pyro.plate("outer", 2, dim=-2), pyro.plate("all", 8, dim=-1):
            sizes = FisherHypergeometric(6, [6, 6, 6], weights=[1.0, 2.0, 3.0])
            pyro.sample("x", cls(sizes, scores))
        with pyro.plate("rows", 8, subsample_size=2, dim=-1) as rows:
            pyro.sample("y", cls([1, 2, 3], scores), obs=data[rows])
        with pyro.plate("masked", 8), poutine.mask(mask=mask):
            pyro.sample("z", cls([1, 2, 3], scores), obs=data)

    nodes = poutine.trace(model).get_trace()
    nodes.compute_log_prob()
    nodes = nodes.nodes
    assert nodes["x"]["value"].shape == (2, 8, 6, 3)
    assert nodes["x"]["log_prob"].shape == (2, 8)
    assert len(nodes["x"]["value"].flatten(0, 1).unique(dim=0)) > 8
    log_probs = cls([1, 2, 3], scores).log_prob(data)
    close(nodes["y"]["log_prob_sum"], 4 * log_probs[nodes["rows"]["value"]].sum())
    close(nodes["z"]["log_prob_sum"], log_probs[mask].sum())


@pytest.mark.parametrize(
    "cls, groups, elbo",
    [
        (FisherPartition, 2, TraceGraph_ELBO),
        (FisherPartition, 3, Trace_ELBO),
        (WalleniusPartition, 2, Trace_ELBO),
        (WalleniusPartition, 3, TraceGraph_ELBO),
    ],
)
def test_gradient_of_the_elbo_is_unbiased(cls: Any, groups: int, elbo: Any) -> None:
    value, prior = torch.randn(4, groups), torch.randn(4, groups)

    def model() -> None:
        sizes = FisherHypergeometric(4, [4] * groups, weights=torch.arange(1.0, groups + 1))
        z = pyro.sample("z", cls(sizes, prior))
        mean = (z * value).sum(-2).square().sum(-1)
        pyro.sample("x", dist.Normal(mean, 2.0), obs=torch.tensor(1.5))

    def guide() -> None:
        log_weights = pyro.param("log_weights", 0.3 * torch.arange(groups).double())
        scores = pyro.param("scores", 0.5 * value.flip(0))
        pyro.sample(
            "z", cls(FisherHypergeometric(4, [4] * groups, log_weights=log_weights), scores)
        )

    guide()
    params = [pyro.param("log_weights").unconstrained(), pyro.param("scores").unconstrained()]
    every = oracle.every_partition(4, groups)
    law = cls(FisherHypergeometric(4, [4] * groups, log_weights=params[0]), params[1])
    old = cls(FisherHypergeometric(4, [4] * groups, weights=torch.arange(1.0, groups + 1)), prior)
    mean = (every * value).sum(-2).square().sum(-1)
    log_joint = old.log_prob(every) + dist.Normal(mean, 2.0).log_prob(torch.tensor(1.5))
    log_q = law.log_prob(every)
    exact = torch.autograd.grad((log_q.exp() * (log_q - log_joint)).sum(), params)

    loss = elbo(num_particles=150, vectorize_particles=True, max_plate_nesting=0)
    found: list[list[Tensor]] = [[], []]
    for _ in range(16):
        for p in params:
            p.grad = None
        loss.loss_and_grads(model, guide)
        for gradients, p in zip(found, params, strict=True):
            assert p.grad is not None
            gradients.append(p.grad.clone())
    for gradients, truth in zip(found, exact, strict=True):
        table = torch.stack(gradients)
        error = table.std(0) / math.sqrt(len(gradients))
        assert ((table.mean(0) - truth).abs() < 4.5 * error + 1e-12).all()
        assert (truth.abs() > 4 * error).any()


@every_law
def test_scores_are_learned_from_observed_partitions(cls: Any) -> None:
    truth = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    data = cls([2, 3], truth).sample((400,))

    def model() -> None:
        scores = pyro.param("scores", torch.zeros(5, 2))
        with pyro.plate("data", len(data)):
            pyro.sample("z", cls([2, 3], scores), obs=data)

    svi = SVI(model, lambda: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    losses = [svi.step() for _ in range(60)]
    assert losses[-1] < losses[0]
    learned = pyro.param("scores").detach()
    assert losses[-1] <= -float(cls([2, 3], truth).log_prob(data).sum()) + 0.5
    # The likelihood equations of an exponential family; a race has only its first group's.
    if cls is FisherPartition:
        close(cls([2, 3], learned).mean, data.mean(0), 0.01)


def test_prior_predictive_and_orders() -> None:
    def model() -> None:
        z = pyro.sample("z", FisherPartition([2, 3], torch.zeros(5, 2)))
        pyro.sample("x", dist.Normal((z @ torch.tensor([-1.0, 1.0])), 0.1).to_event(1))
        pyro.sample("order", PlackettLuce(torch.zeros(4)))

    drawn = Predictive(model, num_samples=7)()
    assert drawn["z"].shape == (7, 5, 2) and drawn["x"].shape == (7, 5)
    assert drawn["order"].shape == (7, 4)

    def observed() -> None:
        pyro.sample("order", PlackettLuce(pyro.param("s", torch.zeros(4))), obs=drawn["order"][0])

    svi = SVI(observed, lambda: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    assert svi.step() == pytest.approx(math.log(24))
    assert svi.step() < math.log(24)


@pytest.mark.slow
@every_law
def test_compiled(cls: Any, compiled: Any) -> None:
    scores, every = torch.randn(4, 3), oracle.partitions_of([2, 1, 1])

    def log_prob(value: Tensor, s: Tensor) -> Tensor:
        return cls(torch.tensor([2, 1, 1]), s, validate_args=False).log_prob(value)

    close(compiled(log_prob)(every, scores), log_prob(every, scores), 1e-10)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@every_law
def test_traced_and_mapped(cls: Any) -> None:
    sizes, scores = torch.tensor([2, 1, 2]), torch.randn(5, 3)
    every = oracle.partitions_of([2, 1, 2])

    def log_prob(value: Tensor, s: Tensor) -> Tensor:
        return cls(sizes, s, validate_args=False).log_prob(value)

    expected = cls(sizes, scores).log_prob(every)
    traced = torch.jit.trace(log_prob, (every, torch.zeros(5, 3)), check_trace=False)
    close(traced(every, scores), expected, 1e-10)
    mapped = torch.vmap(log_prob, in_dims=(None, 0))(every, scores.expand(2, 5, 3))
    close(mapped, expected.expand(2, -1), 1e-10)
    gradient = torch.func.grad(lambda s: log_prob(every, s).sum())(scores)
    leaf = scores.clone().requires_grad_()
    close(gradient, torch.autograd.grad(log_prob(every, leaf).sum(), leaf)[0], 1e-9)
    draws = torch.vmap(
        lambda s: cls(sizes, s, validate_args=False).sample((50,)), randomness="different"
    )(scores.expand(4, 5, 3))
    assert draws.shape == (4, 50, 5, 3) and (draws.sum(-2) == sizes).all()
    assert not (draws[0] == draws[1]).all()
    orders = torch.vmap(
        lambda s: PlackettLuce(s[:, 0], validate_args=False).sample((9,)), randomness="different"
    )
    drawn = orders(scores.expand(4, 5, 3))
    assert drawn.shape == (4, 9, 5) and (drawn.sum(-1) == 10).all()
