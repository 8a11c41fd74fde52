# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws under Wallenius' law follow the exact law."""

import math

import pytest
import torch

from pyro_hypergeo.ops import (
    enumerate_counts,
    wallenius_covariance,
    wallenius_log_prob,
    wallenius_mean,
    wallenius_sample,
)
from pyro_hypergeo.ops.urn import make_urn
from pyro_hypergeo.ops.wallenius.sampling import _by_clocks, _by_cuts
from tests.ops.fisher.test_sampling import DRAWS, assert_fits, assert_possible, histogram
from tests.ops.fisher.test_sampling import URNS as SHARED
from tests.ops.fixture import PLAIN, Urn

URNS = SHARED | {"large": Urn([0.0, 1.0], [300, 400], 250)}


def by_clocks(urn):
    known = make_urn(*urn.tensors)
    return _by_clocks(
        known.log_weights, known.sizes, known.total, torch.Size([DRAWS]), sum(urn.sizes)
    )


def by_cuts(urn):
    known = make_urn(*urn.tensors)
    theta = known.log_weights.expand(DRAWS, -1)
    return _by_cuts(theta, known.sizes, known.total)


def by_choice(urn):
    return wallenius_sample(*urn.tensors, torch.Size([DRAWS]))


def by_vmap(urn):
    log_weights, sizes, total = urn.tensors
    many = log_weights.expand(DRAWS, -1)
    draw = torch.func.vmap(lambda t: wallenius_sample(t, sizes, total), randomness="different")
    return draw(many)


@pytest.mark.parametrize("way", [by_clocks, by_cuts, by_choice, by_vmap])
@pytest.mark.parametrize("name", URNS)
def test_probabilities(way, name):
    urn = URNS[name]
    if name == "large" and way in (by_clocks, by_vmap):
        return
    draws = way(urn)
    assert draws.shape == (DRAWS, len(urn.sizes))
    assert_possible(draws, urn)
    counts = enumerate_counts(urn.sizes, urn.total).double()
    probs = wallenius_log_prob(counts, *urn.tensors).exp()
    assert_fits(histogram(draws, counts), probs * DRAWS)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace():
    log_weights, sizes, total = PLAIN.tensors

    def draw(theta):
        return wallenius_sample(theta, sizes, total, torch.Size([DRAWS]))

    draws = torch.jit.trace(draw, log_weights.flip(-1), check_trace=False)(log_weights)
    counts = enumerate_counts(PLAIN.sizes, PLAIN.total).double()
    probs = wallenius_log_prob(counts, *PLAIN.tensors).exp()
    assert_fits(histogram(draws, counts), probs * DRAWS)


@pytest.mark.parametrize(
    "urn",
    [
        Urn([0.0, 0.5], [500_000, 500_000], 250_000),
        Urn([0.0, 0.5], [500_000, 500_000], 999_999),
        Urn([2.0 * i for i in range(10)], [100_000] * 10, 300_000),
        Urn([0.1 * i for i in range(50)], [20_000] * 50, 400_000),
        Urn([0.0, 3000.0, -900.0], [300, 200, 400], 600),
    ],
)
def test_moments_of_large_urns(urn):
    draws = wallenius_sample(*urn.tensors, torch.Size([1000]))
    assert_possible(draws, urn)
    mean, covariance = wallenius_mean(*urn.tensors), wallenius_covariance(*urn.tensors)
    error = (covariance.diagonal() / len(draws)).sqrt()
    assert ((draws.mean(0) - mean).abs() < 5 * error + 1e-6).all()
    scale = covariance.diagonal().clamp(min=1e-12).sqrt()
    varying = covariance.diagonal() > 1
    found = torch.cov(draws.mT) / (scale.unsqueeze(-1) * scale)
    wanted = covariance / (scale.unsqueeze(-1) * scale)
    difference = (found - wanted)[varying][:, varying]
    assert difference.numel() == 0 or difference.abs().max() < 0.25


def test_batches_edges_and_dtypes():
    theta = torch.tensor([0.5, -math.inf, 1.0])
    sizes = torch.tensor([300.0, 40.0, 500.0])
    totals = torch.tensor([0.0, 1.0, 400.0, 799.0, 800.0])
    draws = wallenius_sample(theta, sizes, totals, torch.Size([7, 2]))
    assert draws.shape == (7, 2, 5, 3)
    assert (draws.sum(-1) == totals).all()
    assert (draws[..., 1] == 0).all() and (draws[..., 4, :] == sizes * (theta > -100)).all()
    assert wallenius_sample(theta.float(), sizes, totals).dtype == torch.float32
    assert wallenius_sample(theta, sizes, totals, torch.Size([0])).shape == (0, 5, 3)
    assert wallenius_sample(theta, sizes / 100, totals[:2], torch.Size([0])).shape == (0, 2, 3)


@pytest.mark.parametrize("total", [-1.0, 8.0])
def test_impossible_totals_give_nan_and_not_counts(total: float) -> None:
    theta, sizes = torch.tensor([0.5, -1.0, 0.3]), torch.tensor([4.0, 3.0, 0.0])
    draws = wallenius_sample(theta, sizes, torch.tensor([total, 2.0]), torch.Size([3]))
    assert draws[:, 0].isnan().all()
    assert (draws[:, 1].sum(-1) == 2).all()
