# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine `svi` against the exact posterior."""

from pathlib import Path

import pytest
import torch
from pyro.distributions import MultivariateNormal, Normal
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, datasets
from pyro_hypergeo.cli.model import laplace
from pyro_hypergeo.cli.svi import infer_posterior
from pyro_hypergeo.cli.table import Table, read_table
from pyro_hypergeo.ops.zero_sum import zero_sum_vector

SCALE = 3.0


def truth(table: Table, reference: int, draws: int = 40_000) -> tuple[Tensor, Tensor, float]:
    """Mean and sd of the exact posterior, and the log-evidence, by importance sampling."""
    mode, factor = laplace(table, SCALE)
    proposal = MultivariateNormal(mode, scale_tril=1.3 * factor)
    z = proposal.sample((draws,))
    theta = zero_sum_vector(z)
    urns = FisherHypergeometric(
        table.counts.sum(-1),
        table.sizes,
        log_weights=theta.unsqueeze(-2),
        validate_args=False,
    )
    log_ratio = urns.log_prob(table.counts).sum(-1) + Normal(0, SCALE).log_prob(z).sum(-1)
    log_ratio = log_ratio - proposal.log_prob(z)
    shares = log_ratio.softmax(0).unsqueeze(-1)
    assert 1 / shares.square().sum() > draws / 3
    theta = theta - theta[:, [reference]]
    mean = (shares * theta).sum(0)
    sd = (shares * (theta - mean).square()).sum(0).sqrt()
    evidence = log_ratio.logsumexp(0) - torch.tensor(float(draws)).log()
    return mean, sd, evidence.item()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_titanic_against_the_exact_posterior(seed: int) -> None:
    table = read_table(datasets.path("titanic.csv"))
    posterior = infer_posterior(table, SCALE, reference=2, max_steps=2000, seed=seed)
    median, sd = posterior.relative_to(2)
    exact_mean, exact_sd, evidence = truth(table, 2)
    others = torch.tensor([0, 1, 3])
    assert posterior.settled
    assert ((median - exact_mean) / exact_sd)[others].abs().max() < 0.02
    assert (sd / exact_sd - 1)[others].abs().max() < 0.02
    assert median[2] == 0 and sd[2] == 0
    assert evidence - 0.02 < posterior.elbo < evidence + 0.01


@pytest.mark.slow
def test_a_group_never_drawn_moves_away_from_where_the_guide_starts(tmp_path: Path) -> None:
    path = tmp_path / "never.csv"
    path.write_text("group,size,drawn\nA,10,4\nB,10,0\nC,20,9\n")
    table = read_table(path)
    mode = zero_sum_vector(laplace(table, SCALE)[0])
    posterior = infer_posterior(table, SCALE, reference=2, max_steps=2000, seed=0)
    median, sd = posterior.relative_to(2)
    exact_mean, exact_sd, _ = truth(table, 2)
    assert posterior.settled
    # This posterior is skewed: its mean is well below its mode. The guide follows, as far as
    # a normal law can.
    assert ((mode[1] - mode[2]) - exact_mean[1]) / exact_sd[1] > 0.2
    assert ((median - exact_mean) / exact_sd)[:2].abs().max() < 0.2
    assert (sd / exact_sd - 1)[:2].abs().max() < 0.2


def test_leaves_the_random_state_and_the_threads_alone() -> None:
    table = read_table(datasets.path("titanic.csv"))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    infer_posterior(table, SCALE, reference=0, max_steps=2, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_draws_are_those_of_the_normal_law() -> None:
    table = read_table(datasets.path("titanic.csv"))
    posterior = infer_posterior(table, SCALE, reference=2, max_steps=2, seed=0)
    draws = posterior.draws(20_000, seed=1)
    assert draws.shape == (1, 20_000, 4)
    assert torch.equal(draws, posterior.draws(20_000, seed=1))
    assert not torch.equal(draws, posterior.draws(20_000, seed=2))
    relative = draws[0] - draws[0, :, [2]]
    median, sd = posterior.relative_to(2)
    low, high = posterior.interval(2)
    torch.testing.assert_close(relative.mean(0), median, rtol=0, atol=0.01)
    torch.testing.assert_close(relative.std(0), sd, rtol=0, atol=0.01)
    torch.testing.assert_close(relative.quantile(0.05, 0), low, rtol=0, atol=0.01)
    torch.testing.assert_close(relative.quantile(0.95, 0), high, rtol=0, atol=0.01)


@pytest.mark.parametrize(("strata", "groups"), [(2, 60), (300, 3)])
def test_large_tables_settle_in_a_few_steps(strata: int, groups: int) -> None:
    torch.manual_seed(0)
    sizes = torch.randint(5, 40, (strata, groups)).double()
    total = (0.4 * sizes.sum(-1)).round()
    log_weights = torch.randn(groups, dtype=torch.float64).expand(strata, groups)
    counts = FisherHypergeometric(total, sizes, log_weights=log_weights).sample()
    table = Table("t", [str(group) for group in range(groups)], sizes, counts)
    first, second = (
        infer_posterior(table, SCALE, reference=0, max_steps=100, seed=seed) for seed in (0, 1)
    )
    assert first.settled and first.steps <= 10
    (median, sd), (other, other_sd) = first.relative_to(0), second.relative_to(0)
    assert ((median - other)[1:] / sd[1:]).abs().max() < 0.1
    assert (sd / other_sd - 1)[1:].abs().max() < 0.03
    # Many draws from the law: its bound is close to the best one.
    assert abs(first.elbo - second.elbo) < 0.05
