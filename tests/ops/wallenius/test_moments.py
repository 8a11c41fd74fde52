# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Moments under Wallenius' law against summation."""

import math
from functools import partial

import hypothesis
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo import ops
from pyro_hypergeo.ops import (
    enumerate_counts,
    wallenius_covariance,
    wallenius_log_prob,
    wallenius_mean,
    wallenius_mode,
)
from pyro_hypergeo.ops.mode_by_exchange import climb
from pyro_hypergeo.ops.urn import make_urn
from pyro_hypergeo.ops.wallenius.density import wallenius_log_prob_given
from pyro_hypergeo.ops.wallenius.mixture import snapshots
from tests.ops.fixture import PLAIN, WIDE, Urn, urns
from tests.ops.wallenius.test_density import exact_law

URNS = [
    PLAIN,
    WIDE,
    WIDE._replace(total=9),
    WIDE._replace(total=14),
    WIDE._replace(total=20),
    Urn([0.0, 1.0, 2.0], [50, 60, 70], 80),
    Urn([0.0, 5.0, 10.0], [100, 100, 100], 150),
    Urn([0.0, 13.0], [1000, 1000], 1000),
    Urn([0.0], [17], 6),
    Urn([0.0, 0.5, -0.5, 1.0, 2.0, -2.0, 0.1], [1] * 7, 3),
    Urn([-math.inf, 0.7, 0.0], [4, 6, 5], 7),
    Urn([700.0, 701.0, 699.5], [12, 7, 9], 10),
]


def summed(urn):
    """Mean and covariance over the whole support."""
    counts = enumerate_counts(urn.sizes, urn.total).double()
    probs = wallenius_log_prob(counts, *urn.tensors).exp()
    probs = probs / probs.sum()
    mean = probs @ counts
    centred = counts - mean
    return mean, (centred * probs.unsqueeze(-1)).mT @ centred


@pytest.mark.parametrize("urn", URNS)
def test_moments_are_those_of_enumeration(urn):
    mean, covariance = summed(urn)
    torch.testing.assert_close(wallenius_mean(*urn.tensors), mean, rtol=1e-12, atol=1e-11)
    ours = wallenius_covariance(*urn.tensors)
    torch.testing.assert_close(ours, covariance, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(ours, ours.mT, rtol=0, atol=1e-12)


@hypothesis.settings(max_examples=25)
@hypothesis.given(urns(max_groups=4, max_size=5))
def test_moments_of_any_urn(urn):
    counts, exact = exact_law(urn)
    probs = torch.tensor([float(p) for p in exact])
    mean = probs @ counts
    centred = counts - mean
    covariance = (centred * probs.unsqueeze(-1)).mT @ centred
    torch.testing.assert_close(wallenius_mean(*urn.tensors), mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(wallenius_covariance(*urn.tensors), covariance, rtol=0, atol=1e-10)
    most = wallenius_log_prob(wallenius_mode(*urn.tensors), *urn.tensors)
    assert most.item() == pytest.approx(math.log(max(exact)), abs=1e-9)


@pytest.mark.parametrize(
    "urn",
    [
        Urn([0.0, 0.5], [500_000, 500_000], 250_000),
        Urn([0.0, 0.5], [500_000, 500_000], 999_999),
        Urn([0.0, 0.5], [500_000, 500_000], 1),
        Urn([3.0 * i for i in range(10)], [100_000] * 10, 300_000),
        Urn([0.1 * i for i in range(50)], [20_000] * 50, 400_000),
    ],
)
def test_large_urns(urn):
    well_posed = make_urn(*urn.tensors)
    at = snapshots(well_posed)
    # The weights of the mixture sum to one only if the rule is exact.
    log_whole = torch.logsumexp(at.log_density, -1)
    assert log_whole.abs() < 1e-9
    mean, covariance = wallenius_mean(*urn.tensors), wallenius_covariance(*urn.tensors)
    assert mean.sum().item() == pytest.approx(urn.total, rel=1e-11)
    assert covariance.sum(-1).abs().max() < 1e-7 * covariance.abs().max().clamp(min=1)
    assert (covariance.diagonal() >= 0).all()


def test_mean_of_one_draw_and_of_all_but_one():
    weights, sizes = torch.tensor([1.0, 3.0, 0.5]), torch.tensor([4.0, 2.0, 6.0])
    share = weights * sizes / (weights * sizes).sum()
    one = wallenius_mean(weights.log(), sizes, torch.tensor(1.0))
    torch.testing.assert_close(one, share, rtol=1e-12, atol=0)
    alone = wallenius_mean(weights.log(), sizes, torch.tensor([0.0, 12.0]))
    assert (alone == torch.stack([torch.zeros(3), sizes])).all()


@pytest.mark.parametrize("moment", [wallenius_mean, wallenius_covariance])
@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients(moment, urn):
    log_weights, sizes, total = urn.tensors
    log_weights = log_weights[:3].requires_grad_()

    def value(theta):
        return moment(theta, sizes[:3], total)

    assert gradcheck(value, log_weights)
    assert gradgradcheck(value, log_weights, atol=1e-4)


def test_gradient_of_the_mean_is_its_covariance_with_the_score():
    log_weights, sizes, total = PLAIN.tensors
    counts = enumerate_counts(PLAIN.sizes, PLAIN.total).double()
    theta = log_weights.expand(counts.shape).clone().requires_grad_()
    log_probs = wallenius_log_prob(counts, theta, sizes, total)
    (scores,) = torch.autograd.grad(log_probs.sum(), theta)
    truth = (counts * log_probs.detach().exp().unsqueeze(-1)).mT @ scores
    ours = torch.autograd.functional.jacobian(
        lambda t: wallenius_mean(t, sizes, total), log_weights
    )
    torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-11)


def test_batches_and_dtypes():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights])
    totals = torch.tensor([[6.0], [0.0], [16.0]])
    means, covariances = (f(many, sizes, totals) for f in (wallenius_mean, wallenius_covariance))
    assert means.shape == (3, 2, 4) and covariances.shape == (3, 2, 4, 4)
    torch.testing.assert_close(means[0, 1], wallenius_mean(-log_weights, sizes, total))
    assert (means[1] == 0).all() and (means[2] == sizes).all()
    assert (covariances[1:] == 0).all()
    assert wallenius_mean(log_weights.float(), sizes, total).dtype == torch.float32
    modes = wallenius_mode(many, sizes, totals)
    assert (modes.sum(-1) == totals).all()
    assert (modes[0, 1] == wallenius_mode(-log_weights, sizes, total)).all()


def test_equal_weights():
    sizes, total = torch.tensor([4.0, 7.0, 5.0]), torch.tensor(6.0)
    theta = torch.full((3,), 2.0)
    for ours, theirs in ((wallenius_mean, ops.mean), (wallenius_covariance, ops.covariance)):
        torch.testing.assert_close(ours(theta, sizes, total), theirs(theta, sizes, total))


@pytest.mark.parametrize("urn", [PLAIN, WIDE, Urn([0.0, 1.0, -1.0], [20, 30, 10], 25)])
def test_the_mode_is_reached_from_everywhere(urn):
    counts = enumerate_counts(urn.sizes, urn.total).double()
    log_probs = wallenius_log_prob(counts, *urn.tensors)
    posed = make_urn(*urn.tensors)
    reached = climb(counts[::7], posed, partial(wallenius_log_prob_given, posed))
    assert (reached == counts[log_probs.argmax()]).all()


def test_mode_of_a_large_urn_has_no_better_neighbour():
    theta, sizes = torch.tensor([0.0, 1.0, -0.5]), torch.tensor([3000.0, 2000.0, 5000.0])
    total = torch.tensor(4000.0)
    mode = wallenius_mode(theta, sizes, total)
    here = wallenius_log_prob(mode, theta, sizes, total)
    for exchange in torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]):
        for sign in (-1, 1):
            assert wallenius_log_prob(mode + sign * exchange, theta, sizes, total) < here


def test_no_variance_is_negative() -> None:
    sizes = torch.randint(0, 20, (60, 4)).double()
    total = torch.floor(torch.rand(60) * (sizes.sum(-1) + 1))
    for scale in (1.0, 30.0, 300.0):
        found = ops.wallenius_variance(scale * torch.randn(60, 4), sizes, total)
        assert (found >= 0).all() and (found > 0).any()
    sharp = (torch.tensor([0.0, -30.0, -60.0]), torch.tensor([5.0, 3.0, 4.0]), torch.tensor(9.0))
    assert (ops.wallenius_variance(*sharp) >= 0).all()


@pytest.mark.parametrize("log_weight", [0.0, 3.0, 15.0, 40.0])
def test_two_groups_have_equal_variances(log_weight: float) -> None:
    theta, sizes = torch.tensor([log_weight, 0.0]), torch.tensor([8.0, 3.0])
    for total in (1.0, 5.0, 8.0, 10.0):
        first, second = ops.wallenius_variance(theta, sizes, torch.tensor(total))
        torch.testing.assert_close(first, second, rtol=1e-13, atol=0)
