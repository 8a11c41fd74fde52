# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Every engine of Pyro finds the gradients that it finds with laws of plain torch code.

A plain law draws with the package's sampler, from the same seed. So loss and gradients agree draw
by draw. An engine that loses a part of a gradient, as ``TraceGraph_ELBO`` once did, cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.infer import (
    JitTrace_ELBO,
    JitTraceEnum_ELBO,
    JitTraceGraph_ELBO,
    JitTraceMeanField_ELBO,
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    TraceTMC_ELBO,
    config_enumerate,
)
from torch import Size, Tensor
from torch.distributions import kl_divergence
from torch.distributions.kl import register_kl

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    RelaxedFisherHypergeometric,
    WalleniusHypergeometric,
    WalleniusHypergeometricStraightThrough,
)
from pyro_hypergeo.ops import FISHER, WALLENIUS, estimators
from tests import oracle

SIZES, TOTAL = [4, 3, 2], 4
SUPPORT = torch.tensor(oracle.support(SIZES, TOTAL), dtype=torch.float64)
LAWS: dict[str, Any] = {"fisher": FisherHypergeometric, "wallenius": WalleniusHypergeometric}
STRAIGHT_THROUGH: dict[str, Any] = {
    "fisher": FisherHypergeometricStraightThrough,
    "wallenius": WalleniusHypergeometricStraightThrough,
}
ESTIMATORS = [
    *(("fisher", name) for name in estimators(FISHER)),
    *(("wallenius", name) for name in estimators(WALLENIUS)),
]
TEMPERATURE = 0.7

# The truth: the same laws in plain torch code.


class Plain(TorchDistribution):
    """A law whose probabilities are plain torch code. Only its draws are those of the package."""

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = True

    def __init__(self, law: str, log_weights: Tensor) -> None:
        self.law, self.log_weights = law, log_weights
        self.real = self.of_package(log_weights.detach())
        super().__init__(log_weights.shape[:-1], log_weights.shape[-1:], validate_args=False)

    def of_package(self, log_weights: Tensor) -> Any:
        return LAWS[self.law](TOTAL, SIZES, log_weights=log_weights)

    @property
    def support(self) -> Any:
        return self.real.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        Plain.__init__(new, self.law, self.log_weights.expand(*batch_shape, len(SIZES)))
        return new

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        return self.real.sample(sample_shape)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self.real.enumerate_support(expand)

    def log_prob(self, value: Tensor) -> Tensor:
        sizes = torch.tensor(SIZES, dtype=torch.float64)
        ways = torch.lgamma(sizes + 1) - torch.lgamma(value + 1) - torch.lgamma(sizes - value + 1)
        if self.law == "fisher":
            return (ways + value * self.log_weights).sum(-1) - self.log_partition()
        # The integral over v = log u by Gauss and Legendre, from -40 to 6.
        nodes, weights = np.polynomial.legendre.leggauss(200)
        v, log_length = torch.as_tensor(23 * nodes - 17), torch.as_tensor(23 * weights).log()
        rung = torch.log(-torch.expm1(-torch.exp(self.log_weights.unsqueeze(-1) + v)))
        rest = ((sizes - value) * self.log_weights.exp()).sum(-1, keepdim=True)
        log_integrand = (value.unsqueeze(-1) * rung).sum(-2) - rest * v.exp() + rest.log() + v
        return ways.sum(-1) + torch.logsumexp(log_integrand + log_length, -1)

    def log_partition(self) -> Tensor:
        sizes = torch.tensor(SIZES, dtype=torch.float64)
        ways = torch.lgamma(sizes + 1).sum() - torch.lgamma(SUPPORT + 1).sum(-1)
        ways = ways - torch.lgamma(sizes - SUPPORT + 1).sum(-1)
        return torch.logsumexp(ways + (SUPPORT * self.log_weights.unsqueeze(-2)).sum(-1), -1)

    def expected(self, summand: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean of a function of the counts, by a sum over the support."""
        counts = SUPPORT.reshape(-1, *(1,) * len(self.batch_shape), len(SIZES))
        probs, values = self.log_prob(counts).exp(), summand(counts)
        return (probs.reshape(*probs.shape, *(1,) * (values.dim() - probs.dim())) * values).sum(0)


class PlainReparameterised(Plain):
    """Counts whose slope in the log-weights is found apart, and put into the graph as a number."""

    has_rsample = True
    has_enumerate_support = False

    def __init__(self, law: str, log_weights: Tensor, estimator: str) -> None:
        self.estimator = estimator
        super().__init__(law, log_weights)

    def of_package(self, log_weights: Tensor) -> Any:
        if self.estimator == "relaxed":
            return RelaxedFisherHypergeometric(TEMPERATURE, TOTAL, SIZES, log_weights=log_weights)
        return ours_straight_through(self.estimator)(self.law, log_weights)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        if self.estimator == "mean":
            mean = self.expected(lambda counts: counts)
            return self.real.sample(sample_shape) + (mean - mean.detach())
        with torch.enable_grad():
            leaf = self.log_weights.detach().as_subclass(Tensor).clone().requires_grad_()
            counts = self.of_package(leaf).rsample(sample_shape)
            rows = [torch.autograd.grad(x.sum(), leaf, retain_graph=True)[0] for x in counts]
        slope = torch.stack(rows).detach()
        moved = (slope * (self.log_weights - self.log_weights.detach())).sum(-1)
        return counts.detach() + moved


@register_kl(Plain, Plain)
def _kl(p: Plain, q: Plain) -> Tensor:
    return p.expected(lambda counts: p.log_prob(counts) - q.log_prob(counts))


# A law under test, and its truth: both make a distribution from log-weights.

Make = Callable[[str, Tensor], Any]


def ours(law: str, log_weights: Tensor) -> Any:
    return LAWS[law](TOTAL, SIZES, log_weights=log_weights)


def ours_straight_through(estimator: str) -> Make:
    def make(law: str, log_weights: Tensor) -> Any:
        options = {"temperature": TEMPERATURE} if estimator == "gumbel" else {}
        return STRAIGHT_THROUGH[law](
            TOTAL, SIZES, log_weights=log_weights, estimator=estimator, **options
        )

    return make


def ours_relaxed(law: str, log_weights: Tensor) -> Any:
    return RelaxedFisherHypergeometric(TEMPERATURE, TOTAL, SIZES, log_weights=log_weights)


def plain_reparameterised(estimator: str) -> Make:
    return lambda law, log_weights: PlainReparameterised(law, log_weights, estimator)


# Pairs of a model and a guide. Each is a chain of latent variables, with parameters everywhere.

Pair = tuple[Any, Any]
SEEN = torch.tensor([1.8, 1.4, 0.9], dtype=torch.float64)


def param(name: str, *values: Any) -> Tensor:
    return pyro.param(name, lambda: torch.tensor(values, dtype=torch.float64))


def observed(law: str, make: Make, _: Make) -> Pair:
    """Weights depend on a latent that is not reparameterised; counts are seen."""

    def model() -> None:
        table = param("table", [0.0, 0.5, 1.0], [1.0, 0.0, -1.0])
        z = pyro.sample("z", dist.Bernoulli(0.4))
        pyro.sample("x", make(law, table[z.long()]), obs=torch.tensor([2.0, 1.0, 1.0]))

    def guide() -> None:
        pyro.sample("z", dist.Bernoulli(param("p", 0.3)[0]))

    return model, guide


def latent(law: str, make: Make, make_posterior: Make) -> Pair:
    """Latent counts, with weights to learn in the model and in the guide."""

    def model() -> None:
        x = pyro.sample("x", make(law, param("prior", 0.2, -0.3, 0.5)))
        pyro.sample("seen", dist.Normal(x, param("scale", 0.8)).to_event(1), obs=SEEN)

    def guide() -> None:
        pyro.sample("x", make_posterior(law, param("posterior", 0.4, 0.0, -0.2)))

    return model, guide


def chained(law: str, make: Make, make_posterior: Make) -> Pair:
    """The weights of latent counts depend on another latent, in the model and in the guide."""

    def model() -> None:
        table = param("table", [0.0, 0.5, 1.0], [1.0, 0.0, -1.0])
        z = pyro.sample("z", dist.Bernoulli(0.4))
        x = pyro.sample("x", make(law, table[z.long()]))
        pyro.sample("seen", dist.Normal(x, 0.8).to_event(1), obs=SEEN)

    def guide() -> None:
        own = param("own", [0.1, 0.2, 0.3], [0.5, -0.5, 0.0])
        z = pyro.sample("z", dist.Bernoulli(param("p", 0.3)[0]))
        pyro.sample("x", make_posterior(law, own[z.long()]))

    return model, guide


def after_counts(law: str, make: Make, make_posterior: Make) -> Pair:
    """A normal variable gives the weights of counts, which give the weights of other counts."""

    def model() -> None:
        slope = param("slope", 0.3, -0.2, 0.5)
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", make(law, z.unsqueeze(-1) * slope))
        pyro.sample("y", make(law, 0.3 * x), obs=torch.tensor([1.0, 2.0, 1.0]))

    def guide() -> None:
        base = param("base", 0.4, 0.0, -0.2)
        z = pyro.sample("z", dist.Normal(param("location", 0.3)[0], 0.5))
        pyro.sample("x", make_posterior(law, base * (1 + z.unsqueeze(-1))))

    return model, guide


def gradients(elbo: Any, pair: Pair) -> dict[str, Tensor]:
    pyro.clear_param_store()
    pyro.set_rng_seed(3)
    loss = elbo.loss_and_grads(*pair)
    names = list(pyro.get_param_store())
    found = {name: pyro.param(name).unconstrained().grad for name in names}
    # Tensor Monte Carlo has no gradient for the proposals that are not reparameterised.
    for name, gradient in found.items():
        assert gradient is not None, f"no gradient for {name}"
        proposal = name in ("posterior", "own", "p") and isinstance(elbo, TraceTMC_ELBO)
        assert proposal or gradient.abs().max() > 1e-4, f"the gradient for {name} is lost"
    losses = loss if isinstance(loss, tuple) else (loss,)
    return {**found, "loss": torch.tensor([float(x) for x in losses])}


def check(make_elbo: Callable[[], Any], pair: Pair, truth: Pair) -> None:
    found, wanted = gradients(make_elbo(), pair), gradients(make_elbo(), truth)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-8, atol=1e-9, msg=name)


# The engines.

JIT: dict[str, Any] = {"ignore_jit_warnings": True}
ENUM: dict[str, Any] = {"max_plate_nesting": 0, "strict_enumeration_warning": False}
ENGINES: dict[str, Callable[[], Any]] = {
    "Trace": lambda: Trace_ELBO(num_particles=3),
    "TraceGraph": lambda: TraceGraph_ELBO(num_particles=3),
    "TraceEnum": lambda: TraceEnum_ELBO(num_particles=3, **ENUM),
    "Renyi": lambda: RenyiELBO(alpha=0.5, num_particles=3),
}
WAKE_SLEEP = {"RWS": lambda: ReweightedWakeSleep(num_particles=3)}
# These trace a model first, which is slow. So each has one particle, and only one model.
TRACED: dict[str, Callable[[], Any]] = {
    "JitTrace": lambda: JitTrace_ELBO(**JIT),
    "JitTraceGraph": lambda: JitTraceGraph_ELBO(**JIT),
    "JitTraceEnum": lambda: JitTraceEnum_ELBO(**JIT, **ENUM),
}
MEAN_FIELD: dict[str, Callable[[], Any]] = {
    "TraceMeanField": lambda: TraceMeanField_ELBO(num_particles=3),
    "JitTraceMeanField": lambda: JitTraceMeanField_ELBO(**JIT),
}
SAMPLED = {"observed": observed, "latent": latent, "chained": chained}
REPARAMETERISED = {"latent": latent, "chained": chained, "after_counts": after_counts}

every_law = pytest.mark.parametrize("law", LAWS)


@every_law
@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("engine", [*ENGINES, *WAKE_SLEEP])
def test_sampled(engine: str, name: str, law: str) -> None:
    make_elbo, pair = {**ENGINES, **WAKE_SLEEP}[engine], SAMPLED[name]
    check(make_elbo, pair(law, ours, ours), pair(law, Plain, Plain))


@every_law
@pytest.mark.parametrize("name", REPARAMETERISED)
@pytest.mark.parametrize("engine", ENGINES)
def test_straight_through(engine: str, name: str, law: str) -> None:
    pair = REPARAMETERISED[name]
    check(
        ENGINES[engine],
        pair(law, ours, ours_straight_through("mean")),
        pair(law, Plain, plain_reparameterised("mean")),
    )


@pytest.mark.slow
@every_law
@pytest.mark.parametrize("engine", TRACED)
def test_traced(engine: str, law: str) -> None:
    check(TRACED[engine], chained(law, ours, ours), chained(law, Plain, Plain))


@pytest.mark.slow
@every_law
@pytest.mark.parametrize("engine", TRACED)
def test_traced_straight_through(engine: str, law: str) -> None:
    check(
        TRACED[engine],
        after_counts(law, ours, ours_straight_through("mean")),
        after_counts(law, Plain, plain_reparameterised("mean")),
    )


@pytest.mark.parametrize("law, estimator", ESTIMATORS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_estimator(engine: str, law: str, estimator: str) -> None:
    check(
        ENGINES[engine],
        after_counts(law, ours, ours_straight_through(estimator)),
        after_counts(law, Plain, plain_reparameterised(estimator)),
    )


@pytest.mark.parametrize("name", REPARAMETERISED)
@pytest.mark.parametrize("engine", ENGINES)
def test_relaxed(engine: str, name: str) -> None:
    pair = REPARAMETERISED[name]
    check(
        ENGINES[engine],
        pair("fisher", ours_relaxed, ours_relaxed),
        pair("fisher", plain_reparameterised("relaxed"), plain_reparameterised("relaxed")),
    )


@every_law
@pytest.mark.parametrize("engine", MEAN_FIELD)
def test_divergence_in_closed_form(engine: str, law: str) -> None:
    log_weights = torch.tensor([[0.2, -0.3, 0.5], [0.4, 0.0, -0.2]])
    torch.testing.assert_close(
        kl_divergence(*(ours(law, theta) for theta in log_weights)),
        kl_divergence(*(Plain(law, theta) for theta in log_weights)),
        rtol=1e-10,
        atol=0,
    )
    check(
        MEAN_FIELD[engine],
        after_counts(law, ours, ours_straight_through("mean")),
        after_counts(law, Plain, plain_reparameterised("mean")),
    )


# Enumerated counts: in the model, in the guide, or some of them (tensor Monte Carlo).

ENUMERATING: dict[str, Callable[[], Any]] = {
    "TraceEnum": lambda: TraceEnum_ELBO(max_plate_nesting=0),
    "JitTraceEnum": lambda: JitTraceEnum_ELBO(max_plate_nesting=0, **JIT),
    "TMC": lambda: TraceTMC_ELBO(max_plate_nesting=0),
}


@every_law
@pytest.mark.parametrize("engine", ENUMERATING)
def test_enumerated_in_the_model(engine: str, law: str) -> None:
    def pair(make: Make) -> Pair:
        model, _ = latent(law, make, make)
        return config_enumerate(model), lambda: None

    check(ENUMERATING[engine], pair(ours), pair(Plain))


@every_law
@pytest.mark.parametrize("name", ["latent", "chained"])
@pytest.mark.parametrize("way", ["parallel", "sequential"])
def test_enumerated_in_the_guide(way: str, name: str, law: str) -> None:
    def pair(make: Make) -> Pair:
        model, guide = SAMPLED[name](law, make, make)
        return model, config_enumerate(guide, way)

    check(ENUMERATING["TraceEnum"], pair(ours), pair(Plain))


@every_law
@pytest.mark.parametrize("name", ["latent", "chained"])
def test_tensor_monte_carlo(name: str, law: str) -> None:
    def pair(make: Make) -> Pair:
        model, guide = SAMPLED[name](law, make, make)
        return model, config_enumerate(guide, "parallel", num_samples=5)

    check(ENUMERATING["TMC"], pair(ours), pair(Plain))


@every_law
@pytest.mark.parametrize("name", ["latent", "after_counts"])
def test_tensor_monte_carlo_of_straight_through_counts(name: str, law: str) -> None:
    def pair(make: Make, make_posterior: Make) -> Pair:
        model, guide = REPARAMETERISED[name](law, make, make_posterior)
        return model, config_enumerate(guide, "parallel", num_samples=5)

    check(
        ENUMERATING["TMC"],
        pair(ours, ours_straight_through("mean")),
        pair(Plain, plain_reparameterised("mean")),
    )
