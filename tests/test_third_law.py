# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How to add a law: a complete example by public names only, and every public call with it.

The law is p(x) ~ prod_i C(m_i, x_i)^nu w_i^x_i, after Conway and Maxwell. Its own parameter nu
makes the counts more even or less even; nu = 1 is Fisher's law. It is an exponential family of
seven functions. Everything else follows from them. The guide's page "Reference" lists the steps.
"""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import pytest
import torch
from pyro.distributions import Normal
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from scipy import stats
from torch import Size, Tensor
from torch.distributions import kl_divergence

import pyro_hypergeo as hg
from pyro_hypergeo import ops
from pyro_hypergeo.cli import main
from pyro_hypergeo.distributions import LAWS, StraightThrough, UrnLaw
from pyro_hypergeo.ops import Bounds, ExponentialFamily, Urn, make_urn


class State(NamedTuple):
    """An urn, its parameters, and the factors C(m, k)^(nu - 1) that turn Fisher's law into this."""

    urn: Urn
    factors: Tensor  # (..., G, M + 1), logarithms
    log_weights: Tensor
    sizes: Tensor
    total: Tensor

    def expand(self, batch_shape: Size) -> State:
        groups = self.sizes.shape[-1:]
        return State(
            self.urn.expand(batch_shape),
            self.factors.expand(batch_shape + self.factors.shape[-2:]),
            self.log_weights.expand(batch_shape + groups),
            self.sizes.expand(batch_shape + groups),
            self.total.expand(batch_shape),
        )


class ConwayMaxwellLaw(ExponentialFamily):
    name, title = "conway-maxwell", "Conway and Maxwell's"
    story = "each element taken or left, even counts favoured or avoided"

    def __init__(self, nu: float) -> None:
        self.nu = nu

    def log_factor(self, sizes: Tensor, counts: Tensor) -> Tensor:
        k = torch.minimum(counts.clamp(min=0), sizes)
        return ops.log_binomial_coefficient(sizes, k)

    def solve(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> State:
        urn, sizes = make_urn(log_weights, group_sizes, total_count), group_sizes.double()
        factors = (self.nu - 1) * self.log_factor(sizes.unsqueeze(-1), up_to(int(sizes.max())))
        return State(urn, factors, log_weights, sizes, total_count)

    def log_prob(self, state: State, value: Tensor) -> Tensor:
        of_fisher = ops.log_prob(value.double(), *state[2:])
        factor = (self.nu - 1) * self.log_factor(state.sizes, value.double()).sum(-1)
        return of_fisher + factor - ops.log_evidence(*state[1:])

    def log_partition(self, state: State) -> Tensor:
        return ops.log_partition(*state[2:]) + ops.log_evidence(*state[1:])

    def log_terms(self, state: State, max_size: int) -> Tensor:
        sizes, k = state.sizes.unsqueeze(-1), up_to(max_size)
        drawn = torch.where(k > 0, k * state.log_weights.unsqueeze(-1), 0.0)
        terms = self.nu * self.log_factor(sizes, k) + drawn
        return torch.where(k <= sizes, terms, -torch.inf)

    def mean(self, state: State) -> Tensor:
        marginals = ops.posterior_log_marginals(*state[1:]).exp()
        return marginals @ up_to(marginals.shape[-1] - 1)

    def log_marginal(self, state: State, group: int, max_size: int) -> Tensor:
        return ops.posterior_log_marginals(*state[1:])[..., group, : max_size + 1]

    def sample(self, state: State, sample_shape: Size, bounds: Bounds) -> Tensor:
        return ops.posterior_sample(*state[1:], sample_shape)


def up_to(largest: int) -> Tensor:
    return torch.arange(largest + 1.0, dtype=torch.float64)


class ConwayMaxwell(UrnLaw):
    law = ConwayMaxwellLaw(2.0)

    def __init__(self, *args: Any, nu: float = 2.0, **kwargs: Any) -> None:
        self.law = ConwayMaxwellLaw(nu)
        super().__init__(*args, **kwargs)


class ConwayMaxwellStraightThrough(StraightThrough, ConwayMaxwell):
    pass


# The end of the law. What follows tries every public call with it.


SIZES, TOTAL, WEIGHTS, NU = [5, 3, 2], 4, [1.0, 2.0, 4.0], 1.7


@pytest.fixture
def urn() -> ConwayMaxwell:
    return ConwayMaxwell(TOTAL, SIZES, WEIGHTS, nu=NU)


@pytest.fixture
def listed() -> tuple[Tensor, Tensor]:
    """All count vectors and their probabilities, from the formula."""
    counts = ops.enumerate_counts(SIZES, TOTAL)
    ways = [math.prod(math.comb(m, k) for m, k in zip(SIZES, x, strict=True)) for x in counts]
    drawn = torch.tensor(WEIGHTS).pow(counts).prod(-1)
    mass = torch.tensor(ways, dtype=torch.float64).pow(NU) * drawn
    return counts.double(), mass / mass.sum()


Listed = tuple[Tensor, Tensor]


def test_the_definition_is_short() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    begin, end = text.index("class State"), text.index("# The end of the law")
    assert len(text[begin:end].strip().splitlines()) <= 80


def test_log_prob_and_enumeration(urn: ConwayMaxwell, listed: Listed) -> None:
    support, (counts, probs) = urn.enumerate_support(), listed
    assert (support == counts).all()
    close(urn.log_prob(support).exp(), probs)
    assert urn.support_size == len(counts)


def test_sample(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    draws = urn.sample(Size([20_000]))
    found = (draws.unsqueeze(1) == counts).all(-1).sum(0)
    assert stats.chisquare(found, 20_000 * probs).pvalue > 1e-3


def test_moments(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    mean = probs @ counts
    away = counts - mean
    covariance = (away * probs.unsqueeze(-1)).mT @ away
    close(urn.mean, mean)
    close(urn.covariance_matrix, covariance)
    close(urn.variance, covariance.diagonal())


def test_mode_and_entropy(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    assert (urn.mode == counts[probs.argmax()]).all()
    close(urn.entropy(), -(probs * probs.log()).sum())


def test_marginal(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    for group in range(3):
        for k in range(SIZES[group] + 1):
            at_most = probs[counts[:, group] <= k].sum()
            close(urn.marginal(group).cdf(k), at_most)
            close(urn.marginals().cdf(k)[group], at_most)


def test_bounds_and_support(urn: ConwayMaxwell) -> None:
    assert urn.min_counts.tolist() == [0, 0, 0]
    assert urn.max_counts.tolist() == [4, 3, 2]
    assert urn.support.check(urn.sample())


def test_expand_and_copies_keep_the_parameter(urn: ConwayMaxwell) -> None:
    x = torch.tensor([2.0, 1.0, 1.0])
    for new in (urn.expand(Size([3])), copy.deepcopy(urn), pickle.loads(pickle.dumps(urn))):
        assert type(new) is ConwayMaxwell and new.law.nu == NU
        close(new.log_prob(x), urn.log_prob(x).expand(new.batch_shape))
        assert new.sample().shape == new.batch_shape + (3,)


def test_edges() -> None:
    for total, sizes, counts in ((0, SIZES, [0] * 3), (10, SIZES, SIZES), (8, [5, 3], [5, 3])):
        urn = ConwayMaxwell(total, sizes, WEIGHTS[: len(sizes)], nu=NU)
        assert urn.mean.tolist() == urn.sample().tolist() == urn.mode.tolist() == counts
        assert (urn.covariance_matrix == 0).all()
        close(urn.log_prob(torch.tensor(counts)), torch.tensor(0.0))
        close(urn.entropy(), torch.tensor(0.0))


def test_from_mean() -> None:
    mean = torch.tensor([1.0, 1.2, 1.8])
    urn = ConwayMaxwell.from_mean(mean, [5, 3, 3], nu=NU)
    close(urn.mean, mean)
    assert urn.law.nu == NU


def test_sizes_from_mean() -> None:
    urn = ConwayMaxwell(8, [10, 12, 5], WEIGHTS, nu=NU)
    assert hg.sizes_from_mean(urn.mean, WEIGHTS, 27, law=urn.law).tolist() == [10, 12, 5]


def test_fit_weights() -> None:
    sizes, drawn = torch.tensor([[10.0, 20], [30, 10]]), torch.tensor([[6.0, 4], [20, 4]])
    law = ConwayMaxwellLaw(NU)
    fit = hg.fit_weights(sizes, drawn, law=law)
    assert fit.law == "conway-maxwell"
    urns = ConwayMaxwell(drawn.sum(-1), sizes, log_weights=fit.log_weights, nu=NU)
    close(urns.mean.sum(0), drawn.sum(0))
    close(fit.log_likelihood, urns.log_prob(drawn).sum())


@pytest.mark.parametrize("estimator", ["affine", "mean", "gumbel"])
def test_straight_through(estimator: str, listed: Listed) -> None:
    counts, _ = listed
    theta = torch.tensor(WEIGHTS).log().requires_grad_()
    probs = ConwayMaxwell(TOTAL, SIZES, log_weights=theta, nu=NU).log_prob(counts).exp()
    (exact,) = torch.autograd.grad(probs @ loss(counts), theta)
    many = theta.detach().expand(40_000, -1).clone().requires_grad_()
    urn = ConwayMaxwellStraightThrough(TOTAL, SIZES, log_weights=many, nu=NU, estimator=estimator)
    x = urn.rsample()
    assert urn.support.check(x).all()
    (found,) = torch.autograd.grad(loss(x).sum(), many)
    noise = 4 * found.std(0) / 200
    bias = {"affine": 0.0, "mean": 0.03, "gumbel": 0.5}[estimator]
    assert ((found.mean(0) - exact).abs() <= noise + bias * exact.norm()).all()


def test_gumbel_is_that_of_fishers_law_for_nu_1() -> None:
    slopes = []
    of_fisher = partial(hg.FisherHypergeometricStraightThrough, TOTAL, SIZES)
    for make in (of_fisher, partial(ConwayMaxwellStraightThrough, TOTAL, SIZES, nu=1.0)):
        many = torch.tensor(WEIGHTS).log().expand(40_000, -1).clone().requires_grad_()
        urn = make(log_weights=many, estimator="gumbel")
        slopes += torch.autograd.grad(loss(urn.rsample()).sum(), many)
    noise = (slopes[0].var(0) + slopes[1].var(0)).sqrt() / 200
    assert ((slopes[0].mean(0) - slopes[1].mean(0)).abs() <= 4 * noise).all()


def test_straight_through_refuses() -> None:
    with pytest.raises(ValueError, match="'affine', 'mean', 'gumbel', but got 'implicit'"):
        ConwayMaxwellStraightThrough(TOTAL, SIZES, WEIGHTS, estimator="implicit")
    with pytest.raises(NotImplementedError, match="ConwayMaxwell is the same law"):
        ConwayMaxwellStraightThrough(TOTAL, SIZES, WEIGHTS).enumerate_support()


def test_expectation(listed: Listed) -> None:
    counts, _ = listed
    theta = torch.tensor(WEIGHTS).log().expand(40_000, -1).clone().requires_grad_()
    urn = ConwayMaxwell(TOTAL, SIZES, log_weights=theta, nu=NU)
    (found,) = torch.autograd.grad(hg.expectation(loss, urn).sum(), theta)
    one = torch.tensor(WEIGHTS).log().requires_grad_()
    probs = ConwayMaxwell(TOTAL, SIZES, log_weights=one, nu=NU).log_prob(counts).exp()
    (exact,) = torch.autograd.grad(probs @ loss(counts), one)
    assert ((found.mean(0) - exact).abs() <= 4 * found.std(0) / 200).all()


def test_kl(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    other = ConwayMaxwell(TOTAL, SIZES, [3.0, 1.0, 1.0], nu=NU)
    truth = (probs * (probs.log() - other.log_prob(counts))).sum()
    close(kl_divergence(urn, other), truth)
    for stranger in (ConwayMaxwell(TOTAL, SIZES, nu=1.0, weights=WEIGHTS), fisher()):
        with pytest.raises(NotImplementedError, match="No Kullback-Leibler divergence"):
            kl_divergence(urn, stranger)


def test_markov_counts(urn: ConwayMaxwell, listed: Listed) -> None:
    counts, probs = listed
    seen = torch.tensor([1.2, 0.9, 2.1])

    def model() -> None:
        for i, x_i in hg.markov_counts("x", urn, infer={"enumerate": "parallel"}):
            pyro.sample(f"y_{i}", Normal(x_i, 1.0), obs=seen[i])

    evidence = (probs * Normal(counts, 1.0).log_prob(seen).sum(-1).exp()).sum().log()
    loss = TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None)
    assert -loss == pytest.approx(float(evidence), rel=1e-10)


def test_auto_hypergeometric(urn: ConwayMaxwell) -> None:
    def model() -> None:
        x = pyro.sample("x", urn)
        pyro.sample("y", Normal(x, 0.3).to_event(1), obs=torch.tensor([3.0, 1.0, 0.0]))

    guide = hg.AutoHypergeometric(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO(4))
    for _ in range(100):
        svi.step()
    assert guide.median()["x"].tolist() == [3, 1, 0]


def test_regression_neither_joins_equal_rows_nor_takes_one_draw_for_a_softmax() -> None:
    design = torch.tensor([[0.0], [0.0], [1.0], [1.0], [0.5], [0.0], [1.0], [2.0]])
    counts = torch.tensor([2.0, 1, 0, 1, 3, 0, 1, 0])
    sizes = torch.tensor([4.0, 3, 2, 5, 4, 3, 2, 6])
    strata = [0] * 5 + [1] * 3  # from the second stratum, one element is drawn
    law = ConwayMaxwellLaw(NU)
    fit = hg.fit_regression(design, counts, group_sizes=sizes, strata=strata, law=law)
    beta = fit.coefficients.clone().requires_grad_()
    value = torch.zeros(())
    for rows in (slice(0, 5), slice(5, 8)):
        total = counts[rows].sum()
        state = law.solve(design[rows] @ beta, sizes[rows], total)
        value = value + law.log_prob(state, counts[rows])
    assert fit.log_likelihood == pytest.approx(value.item(), rel=1e-10)
    (slope,) = torch.autograd.grad(value, beta)
    assert slope.abs().max() < 1e-8


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, "conway-maxwell", ConwayMaxwell)
    assert main(["--law", "conway-maxwell", "--steps", "30"]) == 0
    assert "Law: Conway and Maxwell's, each element" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "each element taken or left, even counts" in " ".join(capsys.readouterr().out.split())


def loss(x: Tensor) -> Tensor:
    return x[..., 0] * x[..., 2]  # with which "mean" has a bias that "affine" has not


def fisher() -> hg.FisherHypergeometric:
    return hg.FisherHypergeometric(TOTAL, SIZES, WEIGHTS)


def close(found: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-10)
