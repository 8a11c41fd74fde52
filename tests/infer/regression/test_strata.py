# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Batches of strata, and models in Pyro that use them."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoLaplaceApproximation, AutoMultivariateNormal
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    StratifiedTable,
    WalleniusHypergeometric,
    fit_regression,
)
from pyro_hypergeo.infer.regression import strata as module
from tests.infer.regression.test_fit import long_table


def table_of(lengths: list[int], **options: Any) -> StratifiedTable:
    design, counts, strata, sizes = long_table(lengths, size=3)
    return StratifiedTable(design, counts, strata=strata, group_sizes=sizes, **options)


def test_batches_hold_every_stratum_once_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 200)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 60, (150,), generator=generator).tolist()
    design, counts, strata, sizes = long_table(lengths, size=3)
    order = torch.randperm(len(counts), generator=generator)
    table = StratifiedTable(
        design[order], counts[order], strata=strata[order].tolist(), group_sizes=sizes[order]
    )
    seen: list[int] = []
    for batch in table.batches:
        seen += batch.strata.tolist()
        number, longest = batch.group_sizes.shape
        assert number * longest <= 200 or number == 1
        present = (batch.group_sizes > 0).sum(-1)
        assert longest == present.max() <= max(1.5 * present.min(), present.min() + 2)
        for row, stratum in enumerate(batch.strata.tolist()):
            of = strata == table.labels[stratum]
            n = int(present[row])
            torch.testing.assert_close(batch.counts[row].sum(), batch.total_count[row])
            joined = torch.cat([batch.design[row, :n], batch.counts[row, :n, None]], -1)
            given = torch.cat([design[of], counts[of, None]], -1)
            by_first = [x[x[:, 0].argsort()] for x in (joined, given)]
            torch.testing.assert_close(*by_first)
    assert sorted(seen) == list(range(150))
    assert table.strata == 150


def test_labels_of_any_kind() -> None:
    design, counts, strata, _ = long_table([5, 6, 4])
    texts = [("b", "a", "c")[s] for s in strata]
    tables = [
        StratifiedTable(design, counts, strata=labels)
        for labels in (texts, [(t, 1) for t in texts], strata, strata.numpy(), strata.float())
    ]
    assert tables[0].labels == ["b", "a", "c"]
    for table in tables:
        for batch, other in zip(table.batches, tables[0].batches, strict=True):
            assert all(map(torch.equal, batch, other))


def test_rows_may_stay_as_they_are() -> None:
    design, counts = [0.0, 0.0, 1.0, 1.0], [1, 0, 1, 0]
    assert StratifiedTable(design, counts).batches[0].counts.tolist() == [[1.0, 1.0]]
    plain = StratifiedTable(design, counts, collapse=False)
    assert plain.batches[0].counts.shape == (1, 4)
    assert plain.log_constant == 0
    assert StratifiedTable(design, counts).log_constant == pytest.approx(-2 * 0.6931471805599453)


def model(table: StratifiedTable, urn: Any = FisherHypergeometric, size: int | None = None) -> None:
    beta = pyro.sample("beta", dist.Normal(torch.zeros(2), 10.0).to_event(1))
    for k, batch in enumerate(table.batches):
        with pyro.plate(f"strata_{k}", len(batch.strata), subsample_size=size) as index:
            some = batch if size is None else batch.select(index)
            law = urn(some.total_count, some.group_sizes, log_weights=some.log_weights(beta))
            pyro.sample(f"counts_{k}", law, obs=some.counts)


def maximum(table: StratifiedTable, law: str = "fisher") -> Any:
    given = table.given
    return fit_regression(
        given.design, given.counts, strata=given.strata, group_sizes=given.sizes, law=law
    )


@pytest.mark.parametrize(
    ("urn", "law"), [(FisherHypergeometric, "fisher"), (WalleniusHypergeometric, "wallenius")]
)
def test_the_model_has_the_likelihood_of_the_fit(urn: Any, law: str) -> None:
    table = table_of([5, 6, 4, 17, 9])
    fit = maximum(table, law)
    conditioned = pyro.condition(model, {"beta": fit.coefficients})
    trace = pyro.poutine.trace(conditioned).get_trace(table, urn)
    trace.compute_log_prob()
    value = sum(
        site["log_prob_sum"] for name, site in trace.nodes.items() if name.startswith("counts")
    )
    assert value.item() + table.log_constant == pytest.approx(fit.log_likelihood, rel=1e-10)


def test_laplace_is_the_fit() -> None:
    table = table_of([5, 6, 4, 17, 9, 12, 8])
    guide = AutoLaplaceApproximation(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(300):
        svi.step(table)
    fit = maximum(table)
    close = dict(rtol=0.02, atol=0.01)
    posterior = guide.laplace_approximation(table).get_posterior()
    torch.testing.assert_close(posterior.loc, fit.coefficients, **close)
    torch.testing.assert_close(posterior.covariance_matrix, fit.covariance, **close)


@pytest.mark.slow
def test_subsampled_plates_and_nuts() -> None:
    table = table_of([6] * 40)
    fit = maximum(table)
    guide = AutoMultivariateNormal(model)
    optimizer = pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.997})
    svi = SVI(model, guide, optimizer, Trace_ELBO(num_particles=4))
    for _ in range(500):
        svi.step(table, size=20)
    away = (guide.get_posterior().loc - fit.coefficients) / fit.standard_errors
    assert away.abs().max() < 0.5
    mcmc = MCMC(NUTS(model), num_samples=100, warmup_steps=50, disable_progbar=True)
    mcmc.run(table)
    beta: Tensor = mcmc.get_samples()["beta"]
    assert ((beta.mean(0) - fit.coefficients) / fit.standard_errors).abs().max() < 0.5
    torch.testing.assert_close(beta.std(0), fit.standard_errors, rtol=0.35, atol=0)


@pytest.mark.slow
def test_random_slopes() -> None:
    torch.manual_seed(0)
    clusters, per_cluster = 12, 6
    slopes = 0.8 + 0.6 * torch.randn(clusters)
    design = torch.randn(clusters * per_cluster * 12, 1)
    strata = torch.arange(clusters * per_cluster).repeat_interleave(12)
    cluster = torch.arange(clusters).repeat_interleave(per_cluster)
    counts = torch.zeros(len(strata))
    for s in range(clusters * per_cluster):
        rows = strata == s
        theta = slopes[cluster[s]] * design[rows, 0]
        counts[rows] = FisherHypergeometric(4, torch.ones(12), log_weights=theta).sample()
    table = StratifiedTable(design, counts, strata=strata)

    def with_slopes() -> None:
        mean, log_sd = (
            pyro.sample("mean", dist.Normal(0.0, 2.0)),
            pyro.sample("log_sd", dist.Normal(-1.0, 1.0)),
        )
        with pyro.plate("clusters", clusters):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
        slope = mean + log_sd.exp() * z
        for k, batch in enumerate(table.batches):
            own = slope[cluster[batch.strata]].unsqueeze(-1)
            theta = batch.log_weights(own)
            with pyro.plate(f"strata_{k}", len(batch.strata)):
                urn = FisherHypergeometric(batch.total_count, batch.group_sizes, log_weights=theta)
                pyro.sample(f"counts_{k}", urn, obs=batch.counts)

    guide = AutoMultivariateNormal(with_slopes)
    svi = SVI(with_slopes, guide, pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.997}), Trace_ELBO())
    for _ in range(800):
        svi.step()
    found = guide.median()
    slope = found["mean"] + found["log_sd"].exp() * found["z"]
    assert torch.corrcoef(torch.stack([slope, slopes]))[0, 1] > 0.8
    assert abs(found["mean"].item() - slopes.mean().item()) < 0.3
