# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The guide against posteriors by summation, under plates, amortized and copied."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    SVI,
    JitTrace_ELBO,
    JitTraceMeanField_ELBO,
    Predictive,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoMultivariateNormal, AutoNormal
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_hypergeo import (
    AutoHypergeometric,
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    WalleniusHypergeometric,
    ops,
)
from pyro_hypergeo.distributions import zero_sum

SIZES, TOTALS = [5, 3, 2], [4, 2, 7, 4, 6, 1]
N = len(TOTALS)
TRUE = torch.tensor([[3, 1, 0], [1, 1, 0], [5, 1, 1], [1, 2, 1], [2, 2, 2], [0, 1, 0]]).double()
SEEN = TRUE + torch.tensor([0.2, -0.1, 0.1])
SCALE = 0.6


def latent_counts(seen: Tensor = SEEN, size: int | None = None) -> None:
    totals = torch.tensor(TOTALS[: len(seen)]).double()
    with pyro.plate("bags", len(seen), subsample_size=size) as index:
        urn = FisherHypergeometric(totals[index], SIZES, weights=[1.0, 2.0, 1.0])
        x = pyro.sample("x", urn)
        pyro.sample("seen", dist.Normal(x, SCALE).to_event(1), obs=seen[index])


def with_weights(seen: Tensor = SEEN) -> None:
    scale = pyro.sample("scale", dist.LogNormal(-0.5, 0.3))
    bias = pyro.sample("bias", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("bags", len(seen)):
        x = pyro.sample("x", FisherHypergeometric(torch.tensor(TOTALS), SIZES, log_weights=bias))
        pyro.sample("seen", dist.Normal(x, scale.unsqueeze(-1)).to_event(1), obs=seen)


def exact_means() -> tuple[Tensor, Tensor]:
    """Posterior means of the counts, and the log-evidence, by summation."""
    k = torch.arange(6.0)
    tables = dist.Normal(k, SCALE).log_prob(SEEN.unsqueeze(-1))
    theta = torch.tensor([1.0, 2.0, 1.0]).log()
    urn = theta, torch.tensor(SIZES).double(), torch.tensor(TOTALS).double()
    marginals = ops.posterior_log_marginals(tables, *urn).exp()
    return marginals @ k, ops.log_evidence(tables, *urn)


def fit(model: Any, guide: Any, elbo: Any, steps: int, *args: Any, lr: float = 0.1) -> list[float]:
    optimizer = pyro.optim.ExponentialLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": lr}, "gamma": 0.05 ** (1 / steps)}
    )
    svi = SVI(model, guide, optimizer, elbo)
    losses = []
    for _ in range(steps):
        losses.append(svi.step(*args))
        optimizer.step()
    return losses


def exact_elbo(posterior: FisherHypergeometric) -> Tensor:
    """For each bag, by summation over the support."""
    means, second = posterior.mean, posterior.variance + posterior.mean.square()
    square = SEEN.square() - 2 * SEEN * means + second
    likelihood = (-0.5 * square / SCALE**2).sum(-1) + dist.Normal(0.0, SCALE).log_prob(
        torch.tensor(0.0)
    ) * 3
    prior = FisherHypergeometric(torch.tensor(TOTALS), SIZES, weights=[1.0, 2.0, 1.0])
    return likelihood - kl_divergence(posterior, prior)


@pytest.mark.slow
# "mean" is biased for the single element of the last bag. "implicit" is biased a little: over 22
# seeds, the bound that it reaches is lower by 0.007 to 0.021, while "affine" loses 0.001 to 0.008.
@pytest.mark.parametrize(("estimator", "lost"), [("affine", 0.01), ("implicit", 0.025)])
def test_posterior_means_of_latent_counts(estimator: str, lost: float) -> None:
    guide = AutoHypergeometric(latent_counts, estimator=estimator)
    many = TraceMeanField_ELBO(num_particles=16, vectorize_particles=True, max_plate_nesting=1)
    fit(latent_counts, guide, many, 400)
    means, evidence = exact_means()
    posterior = guide.posterior()["x"]
    assert isinstance(posterior, FisherHypergeometricStraightThrough)
    assert posterior.estimator == estimator
    assert (posterior.mean - means).abs().max() < 0.2
    # The family does not hold the exact posterior: the bound stays below the evidence, and no
    # other member of the family has a higher one.
    reached = exact_elbo(posterior)
    assert (reached < evidence).all()
    assert (best_elbo(posterior.log_weights) - reached).max() < lost


def best_elbo(start: Tensor) -> Tensor:
    """For each bag, the highest bound in the family, by exact gradients."""
    theta = start.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        urn = FisherHypergeometric(torch.tensor(TOTALS), SIZES, log_weights=theta)
        loss = -exact_elbo(urn).sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return exact_elbo(FisherHypergeometric(torch.tensor(TOTALS), SIZES, log_weights=theta.detach()))


def enumerating(model: Any) -> Any:
    """The model with one more site, which is enumerated and influences nothing."""

    def wrapped(*args: Any) -> None:
        model(*args)
        pyro.sample("coin", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})

    return wrapped


ELBOS = [
    Trace_ELBO(),
    Trace_ELBO(num_particles=3, vectorize_particles=True),
    TraceMeanField_ELBO(),
    TraceGraph_ELBO(),
    TraceEnum_ELBO(max_plate_nesting=1),
    TraceMeanField_ELBO(num_particles=3, vectorize_particles=True),
    JitTrace_ELBO(ignore_jit_warnings=True),
    JitTraceMeanField_ELBO(ignore_jit_warnings=True),
]


@pytest.mark.parametrize("model", [latent_counts, with_weights], ids=lambda f: f.__name__)
@pytest.mark.parametrize("elbo", ELBOS, ids=lambda e: type(e).__name__ + str(e.num_particles))
def test_engines(model: Any, elbo: Any) -> None:
    if isinstance(elbo, TraceEnum_ELBO):
        model = enumerating(model)
    guide = AutoHypergeometric(model)
    guide()
    # Pyro traces the mean-field objective anew at each step.
    third = 4 if isinstance(elbo, JitTraceMeanField_ELBO) else 20
    losses = fit(model, guide, elbo, 3 * third)
    assert sum(losses[-third:]) < sum(losses[:third])
    log_weights = guide.log_weights.x
    assert log_weights.shape == (N, 3)
    assert zero_sum.check(log_weights).all()
    assert (log_weights.detach().std(0) > 0.01).all()


def test_counts_marked_for_enumeration_are_drawn_all_the_same() -> None:
    @config_enumerate
    def model() -> None:
        x = pyro.sample("x", FisherHypergeometric(4, SIZES, weights=[1.0, 2.0, 1.0]))
        pyro.sample("coin", dist.Bernoulli(0.5))
        pyro.sample("seen", dist.Normal(x, SCALE).to_event(1), obs=SEEN[0])

    guide = AutoHypergeometric(model)
    elbo = TraceEnum_ELBO(max_plate_nesting=0, num_particles=2000, vectorize_particles=True)
    loss = elbo.loss(model, guide)
    assert guide()["x"].sum() == 4
    mean_field = TraceMeanField_ELBO(num_particles=2000, vectorize_particles=True)
    hidden = poutine.block(model, hide=["coin"])
    assert loss == pytest.approx(mean_field.loss(hidden, guide), rel=0.05)


def test_loss_is_the_closed_form() -> None:
    guide = AutoHypergeometric(latent_counts)
    loss = TraceMeanField_ELBO(num_particles=3000, vectorize_particles=True).loss(
        latent_counts, guide
    )
    expected = -exact_elbo(guide.posterior()["x"]).sum()
    assert loss == pytest.approx(float(expected), rel=0.03)


def test_module_local_params_and_saved_parameters() -> None:
    with pyro.settings.context(module_local_params=True):
        guide = AutoHypergeometric(with_weights)
        fit(with_weights, guide, Trace_ELBO(), 20)
        buffer = io.BytesIO()
        torch.save(guide.state_dict(), buffer)
        buffer.seek(0)
        new = AutoHypergeometric(with_weights)
        new()
        new.load_state_dict(torch.load(buffer))
        assert new.posterior()["x"].mean.shape == (N, 3)
        assert torch.equal(new.log_weights.x, guide.log_weights.x)
        fit(with_weights, copy.deepcopy(guide), Trace_ELBO(), 2)

    guide = AutoHypergeometric(latent_counts)
    fit(latent_counts, guide, Trace_ELBO(), 20)
    buffer = io.BytesIO()
    torch.save(pyro.get_param_store().get_state(), buffer)
    learned = guide.posterior()["x"].mean
    pyro.clear_param_store()
    buffer.seek(0)
    pyro.get_param_store().set_state(torch.load(buffer, weights_only=False))
    new = AutoHypergeometric(latent_counts)
    torch.testing.assert_close(new.posterior()["x"].mean, learned)


def test_median_quantiles_and_predictive() -> None:
    guide = AutoHypergeometric(with_weights)
    fit(with_weights, guide, Trace_ELBO(), 20)
    median, quantiles = guide.median(), guide.quantiles([0.1, 0.5, 0.9])
    assert set(median) == {"x", "scale", "bias"}
    assert torch.equal(median["x"].sum(-1), torch.tensor(TOTALS).double())
    assert quantiles["x"].shape == (3, N, 3)
    assert quantiles["bias"].shape == (3, 3)
    assert (quantiles["x"].diff(dim=0) >= 0).all()
    posterior = guide.posterior()["x"]
    for i in range(3):
        cdf = (
            ops.log_marginals(
                posterior.log_weights,
                posterior.group_sizes.double(),
                posterior.total_count.double(),
            )[:, i]
            .exp()
            .cumsum(-1)
        )
        expected = (cdf < 0.9).sum(-1)
        assert torch.equal(quantiles["x"][2, :, i], expected.double())
    draws = Predictive(with_weights, guide=guide, num_samples=7, parallel=True)()
    assert draws["x"].shape == (7, N, 3)
    assert torch.equal(draws["x"].sum(-1), torch.tensor(TOTALS).double().expand(7, N))


def test_sizes_of_the_data_may_change_with_an_amortizer() -> None:
    network = torch.nn.Linear(3, 3).double()
    guide = AutoHypergeometric(latent_counts, amortizer=lambda seen: network(seen))
    for size in (6, 2, 4):
        assert guide(SEEN[:size])["x"].shape == (size, 3)
        assert torch.equal(
            guide.posterior(SEEN[:size])["x"].total_count, torch.tensor(TOTALS[:size]).double()
        )


@pytest.mark.slow
def test_amortized_guide_reaches_the_exact_elbo_of_each_bag() -> None:
    pyro.set_rng_seed(1)
    bags = 500
    totals = torch.randint(2, 8, (bags,)).double()
    prior = FisherHypergeometric(totals, SIZES, weights=[1.0, 2.0, 1.0])
    seen = prior.sample() + SCALE * torch.randn(bags, 3)

    def model(seen: Tensor, totals: Tensor) -> None:
        with pyro.plate("bags", len(seen)):
            urn = FisherHypergeometric(totals, SIZES, weights=[1.0, 2.0, 1.0])
            x = pyro.sample("x", urn)
            pyro.sample("seen", dist.Normal(x, SCALE).to_event(1), obs=seen)

    class Amortizer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3)
            )

        def forward(self, seen: Tensor, totals: Tensor) -> Tensor:
            return 3 * self.layers(torch.cat([seen, totals.unsqueeze(-1)], -1) / 3)

    guide = AutoHypergeometric(model, amortizer=Amortizer())
    fit(model, guide, TraceMeanField_ELBO(), 400, seen, totals, lr=0.01)

    def elbo(urn: FisherHypergeometric) -> Tensor:
        second = urn.variance + urn.mean.square()
        square = seen.square() - 2 * seen * urn.mean + second
        return (-0.5 * square / SCALE**2).sum(-1) - kl_divergence(urn, prior)

    # The best of the family for each bag, by exact gradients.
    theta = guide.posterior(seen, totals)["x"].log_weights.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-elbo(FisherHypergeometric(totals, SIZES, log_weights=theta)).sum()).backward()
        optimizer.step()
    best = elbo(FisherHypergeometric(totals, SIZES, log_weights=theta.detach())).sum()
    amortized = elbo(guide.posterior(seen, totals)["x"]).sum()
    assert best > amortized > best - 0.05 * best.abs()


@pytest.mark.slow
def test_subsampled_plate_has_the_optimum_of_the_full_batch() -> None:
    guide = AutoHypergeometric(lambda: latent_counts(SEEN, 3))
    fit(lambda: latent_counts(SEEN, 3), guide, TraceMeanField_ELBO(), 700)
    learned = guide.log_weights.x.detach()
    assert learned.shape == (N, 3)
    # One for each bag, not only for the subsample.
    posterior = FisherHypergeometric(torch.tensor(TOTALS), SIZES, log_weights=learned)
    full = AutoHypergeometric(latent_counts)
    pyro.clear_param_store()
    fit(latent_counts, full, TraceMeanField_ELBO(), 400)
    gap = exact_elbo(full.posterior()["x"]) - exact_elbo(posterior)
    assert gap.abs().max() < 0.1


def test_subsample_of_the_guide_is_that_of_the_model() -> None:
    guide = AutoHypergeometric(lambda: latent_counts(SEEN, 2))
    guide()
    for _ in range(10):
        trace = poutine.trace(guide).get_trace()
        index = trace.nodes["bags"]["value"]
        x = trace.nodes["x"]["value"]
        assert torch.equal(x.sum(-1), torch.tensor(TOTALS).double()[index])
        replayed = poutine.trace(poutine.replay(lambda: latent_counts(SEEN, 2), trace)).get_trace()
        assert replayed.log_prob_sum().isfinite()


@pytest.mark.slow
def test_enumerated_mixture_and_counts_in_one_model() -> None:
    centers = torch.tensor([0.0, 3.0])

    def model() -> None:
        share = pyro.sample("share", dist.Beta(1.0, 1.0))
        with pyro.plate("bags", N):
            z = pyro.sample("z", dist.Bernoulli(share), infer={"enumerate": "parallel"})
            pyro.sample(
                "other",
                dist.Normal(centers[z.long()], 0.5),
                obs=torch.tensor([0.1, 3.2, 2.9, 0.0, 3.1, 2.8]),
            )
            x = pyro.sample(
                "x", FisherHypergeometric(torch.tensor(TOTALS), SIZES, weights=[1.0, 2.0, 1.0])
            )
            pyro.sample("seen", dist.Normal(x, SCALE).to_event(1), obs=SEEN)

    guide = AutoHypergeometric(model)
    fit(
        model,
        guide,
        TraceEnum_ELBO(max_plate_nesting=1, num_particles=4, vectorize_particles=True),
        500,
    )
    assert set(guide()) == {"x", "share"}
    assert (guide.posterior()["x"].mean - exact_means()[0]).abs().max() < 0.2
    assert guide.median()["share"] == pytest.approx(5 / 8, abs=0.1)  # 4 of 6 belong to one


def test_counts_that_depend_on_other_counts() -> None:
    def model() -> None:
        first = pyro.sample("first", FisherHypergeometric(6, [5, 5], weights=[1.0, 1.0]))
        second = FisherHypergeometric(first[..., 0], [4, 3], weights=[1.0, 1.0])
        x = pyro.sample("second", second)
        pyro.sample("seen", dist.Normal(x[..., 0], 0.3), obs=torch.tensor(3.0))

    guide = AutoHypergeometric(model)
    for _ in range(10):
        trace = poutine.trace(guide).get_trace()
        values = [trace.nodes[name]["value"] for name in ("first", "second")]
        assert values[1].sum() == values[0][0]
        assert poutine.trace(poutine.replay(model, trace)).get_trace().log_prob_sum().isfinite()
    fit(model, guide, Trace_ELBO(num_particles=3, vectorize_particles=True), 30)


def test_totals_that_depend_on_a_continuous_site() -> None:
    def model() -> None:
        level = pyro.sample("level", dist.Normal(5.0, 3.0))
        total = level.detach().round().clamp(0, 10)
        pyro.sample("x", FisherHypergeometric(total, SIZES, weights=[1.0, 2.0, 1.0]))

    guide = AutoHypergeometric(model, init_scale=3.0)
    for _ in range(10):
        drawn = guide()
        assert drawn["x"].sum() == drawn["level"].round().clamp(0, 10)


def test_several_sites_of_one_amortizer() -> None:
    def model(seen: Tensor) -> None:
        first = pyro.sample("first", FisherHypergeometric(6, [5, 5], weights=[1.0, 1.0]))
        second = pyro.sample("second", FisherHypergeometric(4, SIZES, weights=[1.0, 1.0, 1.0]))
        pyro.sample("seen", dist.Normal(first[..., 0] - second[..., 0], 0.3), obs=seen)

    network = torch.nn.Linear(1, 5).double()

    def amortizer(seen: Tensor) -> dict[str, Tensor]:
        out = network(seen.unsqueeze(-1))
        return {"first": out[..., :2], "second": out[..., 2:]}

    guide = AutoHypergeometric(model, amortizer=amortizer)
    before = network.weight.detach().clone()
    seen = torch.tensor(2.0)
    loss = Trace_ELBO(num_particles=3, vectorize_particles=True).differentiable_loss(
        model, guide, seen
    )
    loss.backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0
    assert torch.equal(network.weight, before)
    posterior = guide.posterior(seen)
    for name in ("first", "second"):
        gap = posterior[name].log_weights - amortizer(seen)[name]
        torch.testing.assert_close(gap, gap[..., :1].expand_as(gap))  # up to a constant
    alone = AutoHypergeometric(model, amortizer=lambda seen: torch.zeros(2))
    with pytest.raises(
        ValueError, match=r"for the sites \['first', 'second'\], but got one tensor"
    ):
        alone(seen)


@pytest.mark.slow
def test_counts_that_were_drawn_one_by_one() -> None:
    urn = WalleniusHypergeometric(5, SIZES, weights=[1.0, 4.0, 0.5])

    def model() -> None:
        x = pyro.sample("x", urn)
        pyro.sample("seen", dist.Normal(x, SCALE).to_event(1), obs=torch.tensor([2.3, 2.6, 0.1]))

    guide = AutoHypergeometric(model)
    fit(model, guide, TraceMeanField_ELBO(num_particles=10, vectorize_particles=True), 200)
    support = urn.enumerate_support()
    likelihood = dist.Normal(support, SCALE).log_prob(torch.tensor([2.3, 2.6, 0.1])).sum(-1)
    posterior = (urn.log_prob(support) + likelihood).softmax(0)
    assert (guide.posterior()["x"].mean - posterior @ support).abs().max() < 0.2


def test_zero_weights_of_the_model_stay_zero() -> None:
    def model() -> None:
        x = pyro.sample("x", FisherHypergeometric(4, SIZES, weights=[1.0, 0.0, 2.0]))
        pyro.sample("seen", dist.Normal(x, 1.0).to_event(1), obs=torch.tensor([2.0, 0.0, 2.0]))

    guide = AutoHypergeometric(model)
    losses = fit(model, guide, TraceMeanField_ELBO(), 20)
    assert torch.tensor(losses).isfinite().all()
    assert guide()["x"][1] == 0


def test_in_a_guide_list_with_another_continuous_guide() -> None:
    guide = AutoGuideList(with_weights)
    guide.append(AutoMultivariateNormal(poutine.block(with_weights, hide=["x"])))
    guide.append(AutoHypergeometric(poutine.block(with_weights, expose=["x"])))
    losses = fit(with_weights, guide, Trace_ELBO(), 60)
    assert sum(losses[-20:]) < sum(losses[:20])
    assert set(guide()) == {"x", "scale", "bias"}

    def subsampled() -> None:
        latent_counts(SEEN, 2)

    guide = AutoGuideList(subsampled)
    guide.append(AutoHypergeometric(poutine.block(subsampled, expose=["x"])))
    with pytest.raises(NotImplementedError, match=r'Expose it with the site: .*"bags"'):
        guide()
    guide = AutoGuideList(subsampled)
    guide.append(AutoHypergeometric(poutine.block(subsampled, expose=["x", "bags"])))
    fit(subsampled, guide, Trace_ELBO(), 5)


@pytest.mark.parametrize("continuous", [AutoNormal, AutoMultivariateNormal, AutoDelta])
def test_continuous_guides(continuous: Any) -> None:
    def make(model: Any, init_loc_fn: Any, init_scale: float) -> Any:
        if continuous is AutoDelta:
            return AutoDelta(model, init_loc_fn=init_loc_fn)
        return continuous(model, init_loc_fn=init_loc_fn, init_scale=init_scale)

    guide = AutoHypergeometric(with_weights, continuous=make)
    losses = fit(with_weights, guide, Trace_ELBO(), 60)
    assert sum(losses[-20:]) < sum(losses[:20])
    assert set(guide.median()) == {"x", "scale", "bias"}


def test_helpful_errors() -> None:
    def no_counts() -> None:
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"latent sites are \['z'\]"):
        AutoHypergeometric(no_counts)()

    def discrete() -> None:
        pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("x", FisherHypergeometric(4, SIZES, weights=[1.0, 1.0, 1.0]))

    with pytest.raises(NotImplementedError, match='"z" of type Bernoulli. Enumerate it'):
        AutoHypergeometric(discrete)()
    with pytest.raises(ValueError, match="`estimator`"):
        AutoHypergeometric(latent_counts, estimator="best")
    with pytest.raises(ValueError, match=r'site "x" of shape \(6, 3\), .* but got \(6, 2\)'):
        AutoHypergeometric(latent_counts, amortizer=lambda: torch.zeros(6, 2))()
    with pytest.raises(ValueError, match=r"for the sites \['x'\], but got those for \['y'\]"):
        AutoHypergeometric(latent_counts, amortizer=lambda: {"y": torch.zeros(3)})()


def test_copies_keep_their_model() -> None:
    with pyro.settings.context(module_local_params=True):
        guide = AutoHypergeometric(with_weights)
        fit(with_weights, guide, Trace_ELBO(), 3)
        learned = guide.log_weights.x.detach().clone()
        for copied in (copy.deepcopy(guide), pickle.loads(pickle.dumps(guide))):
            assert torch.equal(copied.log_weights.x, learned)
            assert copied.model is with_weights
            fit(with_weights, copied, Trace_ELBO(), 3)
            assert not torch.equal(copied.log_weights.x, learned)
        assert torch.equal(guide.log_weights.x, learned)
        fit(with_weights, guide, Trace_ELBO(), 1)


@pytest.mark.slow
def test_counts_in_an_event_of_the_site() -> None:
    def model() -> None:
        urn = FisherHypergeometric(torch.tensor(TOTALS), SIZES, weights=[1.0, 2.0, 1.0])
        x = pyro.sample("x", urn.to_event(1))
        pyro.sample("seen", dist.Normal(x, SCALE).to_event(2), obs=SEEN)

    guide = AutoHypergeometric(model)
    fit(model, guide, TraceMeanField_ELBO(), 200)
    assert (guide.posterior()["x"].mean - exact_means()[0]).abs().max() < 0.2
    assert guide.median()["x"].shape == (N, 3)
