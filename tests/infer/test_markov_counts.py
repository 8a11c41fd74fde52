# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Counts as a chain of Pyro's own sites against the sum over count vectors by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro import poutine
from pyro.infer import Predictive, TraceEnum_ELBO, config_enumerate, infer_discrete
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, MultivariateHypergeometric, markov_counts
from pyro_hypergeo.ops import log_evidence
from tests import oracle

PARALLEL = {"enumerate": "parallel"}
INF = math.inf

# Urns of a batch: log-weights, sizes, total. A weight of 0, empty groups, nothing drawn and all.
URNS = [
    ([0.3, -0.6, 0.1, 1.0], [3, 1, 2, 2], 4),
    ([-0.2, 0.9, -INF, 0.4], [2, 4, 3, 0], 5),
    ([1.0, 0.0, -1.0, 2.0], [1, 2, 0, 3], 0),
    ([0.5, 0.2, -1.0, -2.0], [2, 1, 3, 1], 7),
    ([25.0, -25.0, 0.0, 3.0], [2, 3, 3, 2], 3),
    ([-INF, 0.0, 0.7, -INF], [2, 2, 2, 1], 2),
]
SEEN = torch.tensor([1.3, 0.4, 2.0, 0.6])


def urn_of(batch: list[Any], shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    columns = zip(*batch, strict=True)
    log_weights, sizes, totals = (torch.tensor(x, dtype=torch.float64) for x in columns)
    return log_weights.reshape(*shape, 4), sizes.reshape(*shape, 4), totals.reshape(shape)


def log_joint(theta: Tensor, sizes: list[int], total: int, seen: Tensor) -> tuple[Tensor, Tensor]:
    """All count vectors; the logarithms of their joint probability, differentiable."""
    present = theta.detach() > -INF
    held = [m if there else 0 for m, there in zip(sizes, present.tolist(), strict=True)]
    counts = torch.tensor(oracle.support(held, total), dtype=torch.float64)
    size = torch.tensor(sizes, dtype=torch.float64)
    ways = (size + 1).lgamma() - (counts + 1).lgamma() - (size - counts + 1).lgamma()
    scores = ways.sum(-1) + counts @ torch.where(present, theta, 0.0)
    likelihood = dist.Normal(counts, 1.0).log_prob(seen).sum(-1)
    return counts, torch.log_softmax(scores, -1) + likelihood


def chain_model(fisher: Any, seen: Tensor, infer: dict[str, Any] | None = None) -> list[Tensor]:
    counts = []
    for i, x_i in markov_counts("x", fisher, infer=infer):
        pyro.sample(f"y_{i}", dist.Normal(x_i, 1.0), obs=seen[..., i])
        counts.append(x_i)
    return counts


def discrete(model: Callable[[], list[Tensor]], plates: int, temperature: int) -> Tensor:
    # Stacked here: enumerated counts have no common shape.
    counts = infer_discrete(model, first_available_dim=-1 - plates, temperature=temperature)()
    return torch.stack(torch.broadcast_tensors(*counts), -1)


def no_guide() -> None:
    pass


def check(model: Callable[[], Any], truth: Tensor, found_in: Tensor, truth_in: Tensor) -> None:
    elbo = TraceEnum_ELBO(max_plate_nesting=2, strict_enumeration_warning=True)
    loss = elbo.differentiable_loss(model, no_guide)
    torch.testing.assert_close(loss, truth, rtol=0, atol=1e-9)
    (found,) = torch.autograd.grad(loss, found_in)
    (wanted,) = torch.autograd.grad(truth, truth_in)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("urn", URNS)
@pytest.mark.parametrize("configured", [False, True])
def test_evidence(urn: Any, configured: bool) -> None:
    log_weights, sizes, total = urn
    theta, other = (torch.tensor(log_weights).requires_grad_() for _ in range(2))

    def model() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        chain_model(fisher, SEEN, None if configured else PARALLEL)

    truth = -log_joint(other, sizes, total, SEEN)[1].logsumexp(0)
    check(config_enumerate(model) if configured else model, truth, theta, other)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 6), (6, 1)])
def test_evidence_under_plates(shape: tuple[int, ...]) -> None:
    theta, sizes, totals = urn_of(URNS, shape)
    theta, other = (theta.clone().requires_grad_() for _ in range(2))
    seen = SEEN + torch.randn(*shape, 4)

    def model() -> None:
        fisher = FisherHypergeometric(totals, sizes, log_weights=theta)
        with pyro.plate_stack("data", shape):
            chain_model(fisher, seen, PARALLEL)

    rows = zip(other.reshape(-1, 4), URNS, seen.reshape(-1, 4), strict=True)
    truth = -sum(log_joint(row, m, n, y)[1].logsumexp(0) for row, (_, m, n), y in rows)
    check(model, truth, theta, other)


@pytest.mark.parametrize("vectorized", [False, True])
def test_one_urn_under_a_plate(vectorized: bool) -> None:
    log_weights, sizes, total = URNS[0]
    theta, other = (torch.tensor(log_weights).requires_grad_() for _ in range(2))
    seen = SEEN + torch.randn(5, 4)

    def model() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        with pyro.plate("data", 5):
            chain_model(fisher, seen, PARALLEL)

    truth = -sum(log_joint(other, sizes, total, y)[1].logsumexp(0) for y in seen)
    check(model, truth, theta, other)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, num_particles=3, vectorize_particles=vectorized)
    assert elbo.loss(model, no_guide) == pytest.approx(truth.item(), abs=1e-9)


def test_weights_that_depend_on_an_enumerated_site() -> None:
    _, sizes, total = URNS[0]
    theta, other = (torch.tensor([URNS[0][0], [1.0, 2.0, 0.0, -1.0]]) for _ in range(2))
    theta.requires_grad_(), other.requires_grad_()
    shares = torch.tensor([0.3, 0.7])
    seen = SEEN + torch.randn(3, 4)

    def model() -> None:
        with pyro.plate("data", 3):
            kind = pyro.sample("kind", dist.Categorical(shares), infer=PARALLEL)
            fisher = FisherHypergeometric(total, sizes, log_weights=theta[kind])
            chain_model(fisher, seen, PARALLEL)

    truth = torch.zeros(())
    for y in seen:
        kinds = [log_joint(row, sizes, total, y)[1].logsumexp(0) for row in other]
        truth = truth - (torch.stack(kinds) + shares.log()).logsumexp(0)
    check(model, truth, theta, other)


def test_central_law_weights_and_one_group() -> None:
    def loss_of(fisher: Any, seen: Tensor) -> float:
        return TraceEnum_ELBO(max_plate_nesting=0).loss(
            lambda: chain_model(fisher, seen, PARALLEL), no_guide
        )

    _, sizes, total = URNS[0]
    truth = -log_joint(torch.zeros(4), sizes, total, SEEN)[1].logsumexp(0).item()
    central = MultivariateHypergeometric(total, sizes)
    assert loss_of(central, SEEN) == pytest.approx(truth, abs=1e-9)
    equal = FisherHypergeometric(total, sizes, weights=[2.0] * 4)
    assert loss_of(equal, SEEN) == pytest.approx(truth, abs=1e-9)
    alone = FisherHypergeometric(3, [5], weights=[2.0])
    trace = poutine.trace(lambda: chain_model(alone, SEEN[:1])).get_trace()
    assert trace.nodes["_RETURN"]["value"] == [3.0]
    assert trace.log_prob_sum() == dist.Normal(3.0, 1.0).log_prob(SEEN[0])


@pytest.mark.parametrize("total", [12, 40])
def test_more_values_than_can_remain(total: int) -> None:
    # If there are few groups and many values, states get further values of probability 0.
    sizes, log_weights = [20, 15, 10], [0.4, -0.3, 0.0]
    seen = torch.tensor([0.55, 0.3, 0.15]) * total
    theta, other = (torch.tensor(log_weights).requires_grad_() for _ in range(2))

    def model() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        chain_model(fisher, seen, PARALLEL)

    trace = poutine.trace(model).get_trace()
    assert trace.nodes["x_0"]["fn"].logits.shape == (total + 3,)
    assert trace.nodes["x_1"]["fn"].logits.shape == (total + 2,)
    truth = -log_joint(other, sizes, total, seen)[1].logsumexp(0)
    check(model, truth, theta, other)


@pytest.mark.parametrize(("groups", "size", "total"), [(70, 20, 100), (4, 200, 300)])
def test_larger_urns_than_can_be_enumerated(groups: int, size: int, total: int) -> None:
    theta = 0.5 * torch.randn(groups)
    other = theta.clone().requires_grad_()
    theta.requires_grad_()
    sizes = torch.full((groups,), float(size))
    seen = FisherHypergeometric(total, sizes, log_weights=theta).sample() + torch.randn(groups)

    def model() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        chain_model(fisher, seen, PARALLEL)

    tables = dist.Normal(torch.arange(size + 1.0), 1.0).log_prob(seen.unsqueeze(-1))
    truth = -log_evidence(tables, other, sizes, torch.tensor(float(total)))
    check(model, truth, theta, other)


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_log_joint_of_observed_counts(shape: tuple[int, ...]) -> None:
    theta, sizes, totals = urn_of(URNS, shape)
    theta.requires_grad_()
    fisher = FisherHypergeometric(totals, sizes, log_weights=theta)
    obs = fisher.sample()
    wanted = fisher.log_prob(obs)

    def model() -> None:
        with pyro.plate_stack("data", shape):
            for i, x_i in markov_counts("x", fisher, obs=obs):
                assert torch.equal(x_i, obs[..., i])

    trace = poutine.trace(model).get_trace()
    assert [name for name in trace.nodes if name.startswith("x_")] == ["x_0", "x_1", "x_2"]
    assert all(trace.nodes[f"x_{i}"]["is_observed"] for i in range(3))
    trace.compute_log_prob()
    found = sum(trace.nodes[f"x_{i}"]["log_prob"] for i in range(3))
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    gradients = [torch.autograd.grad(x.sum(), theta, retain_graph=True) for x in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_observed_counts_of_a_large_urn() -> None:
    generator = torch.Generator().manual_seed(1)
    theta = 4 * torch.randn(30, generator=generator)
    fisher = FisherHypergeometric(700, [60] * 30, log_weights=theta)
    obs = fisher.sample((2,))
    extreme = MultivariateHypergeometric(700, [60] * 30).sample((1,))
    obs = torch.cat([obs, extreme])

    def model() -> None:
        for _ in markov_counts("x", fisher, obs=obs):
            pass

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    found = sum(trace.nodes[f"x_{i}"]["log_prob"] for i in range(29))
    torch.testing.assert_close(found, fisher.log_prob(obs), rtol=1e-11, atol=1e-10)


def in_support(counts: Tensor, fisher: Any) -> bool:
    return bool(fisher.support.check(counts).all())


def chi_square(draws: Tensor, counts: Tensor, log_probs: Tensor) -> float:
    seen = Counter(tuple(x) for x in draws.tolist())
    observed = [seen.pop(tuple(x), 0) for x in counts.tolist()]
    assert not seen
    expected = len(draws) * log_probs.softmax(0).numpy()
    common = expected >= 5
    observed, rare = torch.tensor(observed).numpy(), ~common
    pooled = [[*x[common], x[rare].sum()] for x in (observed, expected)]
    if not rare.any():
        pooled = [x[:-1] for x in pooled]
    return float(scipy.stats.chisquare(*pooled).pvalue)


def test_ancestral_draws_are_exact() -> None:
    log_weights, sizes, total = URNS[0]
    fisher = FisherHypergeometric(total, sizes, log_weights=log_weights)

    def model() -> Tensor:
        with pyro.plate("draws", 20_000):
            counts = [x_i for _, x_i in markov_counts("x", fisher)]
        return torch.stack(counts, -1)

    draws = model()
    assert in_support(draws, fisher)
    counts = torch.tensor(oracle.support(sizes, total), dtype=torch.float64)
    assert chi_square(draws, counts, fisher.log_prob(counts)) > 0.001


def test_ancestral_draws_of_a_batch() -> None:
    theta, sizes, totals = urn_of(URNS, (2, 3))
    fisher = FisherHypergeometric(totals, sizes, log_weights=theta)
    with pyro.plate("draws", 500, dim=-3), pyro.plate_stack("data", (2, 3)):
        draws = torch.stack([x_i for _, x_i in markov_counts("x", fisher)], -1)
    assert draws.shape == (500, 2, 3, 4)
    assert in_support(draws, fisher)
    error = (draws.mean(0) - fisher.mean).abs() / (fisher.variance / 500 + 1e-12).sqrt()
    assert error.max() < 4.5


def test_posterior_draws_are_exact() -> None:
    log_weights, sizes, total = URNS[0]

    def model() -> list[Tensor]:
        fisher = FisherHypergeometric(total, sizes, log_weights=log_weights)
        with pyro.plate("draws", 20_000):
            return chain_model(fisher, SEEN.expand(20_000, 4), PARALLEL)

    draws = discrete(model, 1, 1)
    counts, joint = log_joint(torch.tensor(log_weights), sizes, total, SEEN)
    assert chi_square(draws, counts, joint) > 0.001


def test_posterior_draws_and_modes_of_a_batch() -> None:
    theta, sizes, totals = urn_of(URNS, (6,))
    fisher = FisherHypergeometric(totals, sizes, log_weights=theta)
    seen = SEEN + torch.randn(6, 4)

    def model() -> list[Tensor]:
        with pyro.plate("data", 6):
            return chain_model(fisher, seen, PARALLEL)

    for _ in range(20):
        draw = discrete(model, 1, 1)
        assert in_support(draw, fisher)
    best = discrete(model, 1, 0)
    for row, (log_weights, m, n), y in zip(best, URNS, seen, strict=True):
        counts, joint = log_joint(torch.tensor(log_weights), m, n, y)
        assert torch.equal(row, counts[joint.argmax()])


def test_vectors_of_counts_cannot_be_inferred_by_pyro_but_chains_can() -> None:
    urn = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])

    def vector() -> Tensor:
        x = pyro.sample("x", urn, infer={"enumerate": "parallel"})
        pyro.sample("seen", dist.Normal(x[..., 0], 1.0), obs=torch.tensor(2.0))
        return x

    def chain() -> list[Tensor]:
        counts = []
        for i, x_i in markov_counts("x", urn, infer={"enumerate": "parallel"}):
            if i == 0:
                pyro.sample("seen", dist.Normal(x_i, 1.0), obs=torch.tensor(2.0))
            counts.append(x_i)
        return counts

    with pytest.raises(ValueError, match="Invalid tensor shape"):
        infer_discrete(vector, first_available_dim=-1, temperature=0)()
    support = urn.enumerate_support()
    joint = urn.log_prob(support) + dist.Normal(support[:, 0], 1.0).log_prob(torch.tensor(2.0))
    best = torch.stack(infer_discrete(chain, first_available_dim=-1, temperature=0)())
    assert torch.equal(best, support[joint.argmax()])


def test_mode_of_one_urn() -> None:
    log_weights, sizes, total = URNS[0]
    for _ in range(10):
        seen = 2 * torch.randn(4)

        def model(seen: Tensor = seen) -> list[Tensor]:
            fisher = FisherHypergeometric(total, sizes, log_weights=log_weights)
            return chain_model(fisher, seen, PARALLEL)

        best = discrete(model, 0, 0)
        counts, joint = log_joint(torch.tensor(log_weights), sizes, total, seen)
        assert torch.equal(best, counts[joint.argmax()])


def test_enumerated_in_the_guide() -> None:
    log_weights, sizes, total = URNS[0]
    theta, other = (torch.tensor([0.0, 1.0, -0.5, 0.2]).requires_grad_() for _ in range(2))

    def model() -> None:
        chain_model(FisherHypergeometric(total, sizes, log_weights=log_weights), SEEN)

    def guide() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        for _ in markov_counts("x", fisher, infer=PARALLEL):
            pass

    counts, log_p = log_joint(torch.tensor(log_weights), sizes, total, SEEN)
    _, log_q = log_joint(other, sizes, total, SEEN)
    log_q = log_q - dist.Normal(counts, 1.0).log_prob(SEEN).sum(-1)
    truth = (log_q.exp() * (log_q - log_p)).sum()
    loss = TraceEnum_ELBO(max_plate_nesting=0).differentiable_loss(model, guide)
    torch.testing.assert_close(loss, truth, rtol=0, atol=1e-9)
    gradients = torch.autograd.grad(loss, theta) + torch.autograd.grad(truth, other)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive(parallel: bool) -> None:
    theta, sizes, totals = urn_of(URNS, (6,))
    fisher = FisherHypergeometric(totals, sizes, log_weights=theta)

    def model() -> None:
        with pyro.plate("data", 6):
            for i, x_i in markov_counts("x", fisher):
                pyro.deterministic(f"count_{i}", x_i)
                pyro.sample(f"y_{i}", dist.Normal(x_i, 1.0))

    found = Predictive(model, num_samples=400, parallel=parallel)()
    assert found["x_0"].shape == found["y_3"].shape == (400, 6)
    counts = torch.stack([found[f"count_{i}"] for i in range(4)], -1)
    assert in_support(counts, fisher)
    error = (counts.mean(0) - fisher.mean).abs() / (fisher.variance / 400 + 1e-12).sqrt()
    assert error.max() < 4.5


def test_counts_are_legal_parameters_in_every_enumerated_cell() -> None:
    # Without validation: in some enumerated cells the counts are below the observed ones.
    log_weights, sizes, total = URNS[0]
    theta, other = (torch.tensor(log_weights).requires_grad_() for _ in range(2))
    seen = torch.tensor([1.0, 0.0, 1.0, 0.0])

    def model() -> None:
        fisher = FisherHypergeometric(total, sizes, log_weights=theta)
        for i, x_i in markov_counts("x", fisher, infer=PARALLEL):
            pyro.sample(f"y_{i}", dist.Binomial(x_i, 0.6, validate_args=False), obs=seen[i])
            assert ((x_i >= 0) & (x_i <= sizes[i])).all()

    counts, joint = log_joint(other, sizes, total, SEEN)
    joint = joint - dist.Normal(counts, 1.0).log_prob(SEEN).sum(-1)
    possible = (counts >= seen).all(-1)
    kept = dist.Binomial(counts[possible], 0.6).log_prob(seen).sum(-1)
    truth = -(joint[possible] + kept).logsumexp(0)
    check(model, truth, theta, other)


def test_dtype_is_that_of_the_weights() -> None:
    log_weights, sizes, total = URNS[0]
    truth = -log_joint(torch.tensor(log_weights), sizes, total, SEEN)[1].logsumexp(0).item()
    theta = torch.tensor(log_weights, dtype=torch.float32, requires_grad=True)
    fisher = FisherHypergeometric(total, sizes, log_weights=theta)

    def model() -> None:
        for i, x_i in markov_counts("x", fisher, infer=PARALLEL):
            assert x_i.dtype == torch.float32
            pyro.sample(f"y_{i}", dist.Normal(x_i, 1.0), obs=SEEN[i].float())

    loss = TraceEnum_ELBO(max_plate_nesting=0).differentiable_loss(model, no_guide)
    assert loss.item() == pytest.approx(truth, abs=1e-5)
    loss.backward()
    assert theta.grad is not None and theta.grad.isfinite().all()


def test_small_dtypes_lose_nothing_but_their_own_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    theta = (8 * torch.randn(6, generator=generator)).float()
    fisher = FisherHypergeometric(900, [400] * 6, log_weights=theta)
    obs = fisher.sample()
    trace = poutine.trace(lambda: list(markov_counts("x", fisher, obs=obs))).get_trace()
    exact = FisherHypergeometric(900, [400] * 6, log_weights=theta.double()).log_prob(obs)
    assert trace.log_prob_sum().item() == pytest.approx(exact.item(), rel=1e-5)


def test_the_callers_options_are_left_alone() -> None:
    log_weights, sizes, total = URNS[0]
    fisher = FisherHypergeometric(total, sizes, log_weights=log_weights)
    options = {"enumerate": "parallel"}
    TraceEnum_ELBO(max_plate_nesting=0).loss(lambda: chain_model(fisher, SEEN, options), no_guide)
    assert options == {"enumerate": "parallel"}


def test_nan_weights_are_not_hidden() -> None:
    fisher = FisherHypergeometric(
        3, [2, 2, 1], log_weights=torch.tensor([0.0, math.nan, 0.0]), validate_args=False
    )
    trace = poutine.trace(
        lambda: list(markov_counts("x", fisher, obs=torch.tensor([1.0, 1.0, 1.0])))
    ).get_trace()
    with pytest.warns(UserWarning, match="Encountered NaN"):
        assert trace.log_prob_sum().isnan()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="`urn` to be a FisherHypergeometric, .* Multinomial"):
        markov_counts("x", dist.Multinomial(3, torch.ones(2)))  # type: ignore[arg-type]
    fisher = FisherHypergeometric(torch.tensor([3, 2]), [2, 2, 1], weights=[1.0, 2.0, 3.0])
    wanted = r"`obs` of shape \(2, 3\)"
    for shape in [(2, 4), (3, 3), (2, 1), ()]:
        with pytest.raises(ValueError, match=rf"{wanted}.* but got \({', '.join(map(str, shape))}"):
            markov_counts("x", fisher, obs=torch.zeros(shape))
    for bad in ([3.0, 0.0, 0.0], [0.5, 1.5, 1.0], [2.0, 1.0, 1.0], [-1.0, 2.0, 1.0]):
        obs = torch.tensor([bad, [1.0, 1.0, 0.0]])
        with pytest.raises(
            ValueError, match=rf"{wanted} to be counts .* found .*{bad[0]}.* \(0,\)"
        ):
            markov_counts("x", fisher, obs=obs)
