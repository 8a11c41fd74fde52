# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Evidence of hidden labels under Fisher's law of their counts, against a list of labellings."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pyro_hypergeo import FisherHypergeometric
from pyro_hypergeo.ops import log_assignments, log_label_evidence
from tests.ops.partitions import brute


def listed(
    log_likelihoods: Tensor, log_weights: Tensor, sizes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The evidence, the posterior of the labels, and of the mean counts minus the prior mean."""
    elements = log_likelihoods.shape[0]
    urn = FisherHypergeometric(elements, sizes, log_weights=log_weights)
    logs, marginals = [], []
    for counts in urn.enumerate_support():
        total, labels = brute.listed(log_likelihoods, counts.long().tolist())
        ways = torch.lgamma(counts + 1).sum() - math.lgamma(elements + 1)
        logs.append(urn.log_prob(counts) + ways + total)
        marginals.append(labels)
    log_joint = torch.stack(logs)
    evidence = log_joint.logsumexp(0)
    if evidence == -math.inf:
        return evidence, torch.zeros_like(log_likelihoods), torch.zeros_like(log_weights)
    weights = (log_joint - evidence).exp()[:, None, None]
    posterior = (weights * torch.stack(marginals)).sum(0)
    return evidence, posterior, posterior.sum(0) - urn.mean


CASES = [
    ([3, 4, 2], 5, [0.3, -1.0, 2.0]),
    ([3, 4, 2], 9, [0.3, -1.0, 2.0]),  # everything is drawn
    ([3, 0, 2, 4], 4, [0.3, -1.0, 2.0, 0.0]),
    ([3, 4, 2], 4, [-math.inf, 1.0, 0.0]),
    ([6, 5], 5, [30.0, -30.0]),
    ([7], 3, [1.0]),
    ([10**6, 2, 10**7], 5, [0.3, 9.0, 1.0]),
    ([2, 3, 2], 0, [0.3, -1.0, 2.0]),
    ([1, 1, 1, 1], 3, [1e6, 1e6 + 1, 1e6 - 2, 1e6]),
]


@pytest.mark.parametrize("sizes, total, log_weights", CASES)
@pytest.mark.parametrize("spread, ruled_out", [(1.0, 0.0), (1.0, 0.3), (300.0, 0.0)])
def test_equals_the_list(
    sizes: list[int], total: int, log_weights: list[float], spread: float, ruled_out: float
) -> None:
    likelihoods = spread * torch.randn(total, len(sizes))
    likelihoods[torch.rand_like(likelihoods) < ruled_out] = -math.inf
    weights, m = torch.tensor(log_weights), torch.tensor(sizes).double()
    likelihoods.requires_grad_()
    weights.requires_grad_()
    value = log_label_evidence(likelihoods, weights, m, torch.tensor(total))
    by_likelihood, by_weight = torch.autograd.grad(value, (likelihoods, weights))
    truth, posterior, shift = listed(likelihoods.detach(), weights.detach(), m)
    tolerance = 1e-12 * max(1.0, spread / 10)
    assert_close(value.detach(), truth, rtol=1e-12, atol=tolerance)
    assert_close(by_likelihood, posterior, rtol=0, atol=10 * tolerance)
    assert_close(by_weight, shift, rtol=0, atol=10 * tolerance)


def test_gradcheck() -> None:
    likelihoods = torch.randn(2, 5, 3, requires_grad=True)
    weights = torch.randn(3, requires_grad=True)
    sizes, total = torch.tensor([[3.0, 4.0, 2.0], [1.0, 2.0, 3.0]]), torch.tensor(5)
    assert torch.autograd.gradcheck(
        lambda a, b: log_label_evidence(a, b, sizes, total), (likelihoods, weights)
    )


def test_everything_drawn_is_the_sum_with_known_counts() -> None:
    scores, sizes = torch.randn(40, 3), torch.tensor([20, 12, 8])
    value = log_label_evidence(scores, torch.randn(3), sizes, torch.tensor(40))
    ways = torch.lgamma(sizes + 1.0).sum() - math.lgamma(41)
    assert_close(value, log_assignments(scores, sizes) + ways, rtol=1e-13, atol=1e-12)


def test_observations_that_say_nothing() -> None:
    weights, sizes = torch.randn(3, requires_grad=True), torch.tensor([90, 40, 60])
    value = log_label_evidence(torch.zeros(60, 3), weights, sizes, torch.tensor(60))
    assert_close(value.detach(), torch.tensor(0.0), rtol=0, atol=1e-12)
    assert torch.autograd.grad(value, weights)[0].abs().max() < 1e-11


@pytest.mark.parametrize("large", [10**4, 10**6, 10**12])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
def test_an_urn_far_larger_than_what_is_drawn(large: int, spread: float) -> None:
    # Some labels are wanted by more elements than the group has. No table may underflow.
    sizes, weights = torch.tensor([large, 1, 3]), torch.tensor([0.5, 0.7, 0.1])
    for likelihoods in (spread * torch.randn(6, 3), spread * torch.tensor([[0.0, 1, 1]] * 6)):
        likelihoods[1, :2] = -math.inf
        likelihoods[2, 0] = -math.inf
        likelihoods.requires_grad_()
        value = log_label_evidence(likelihoods, weights, sizes, torch.tensor(6))
        (gradient,) = torch.autograd.grad(value, likelihoods)
        truth, posterior, _ = listed(likelihoods.detach(), weights, sizes.double())
        assert_close(value.detach(), truth, rtol=1e-12, atol=1e-10)
        assert_close(gradient, posterior, rtol=0, atol=1e-9)


def test_sizes_that_are_no_counts() -> None:
    for groups in (2, 3):
        for wrong in (2.5, -1.0, math.nan, math.inf):
            sizes, weights = torch.full((groups,), 9.0), torch.zeros(groups, requires_grad=True)
            sizes[0] = wrong
            value = log_label_evidence(torch.randn(4, groups), weights, sizes, torch.tensor(4))
            assert value == -math.inf
            assert (torch.autograd.grad(value, weights)[0] == 0).all()


def test_batches_and_impossible_urns() -> None:
    likelihoods, weights = torch.randn(2, 1, 4, 3), torch.randn(3, 3)
    sizes = torch.tensor([[2, 2, 3], [1, 1, 1], [50, 1, 0]])
    total = torch.tensor(4)
    value = log_label_evidence(likelihoods, weights, sizes, total)
    assert value.shape == (2, 3)
    assert (value[:, 1] == -math.inf).all()
    alone = log_label_evidence(likelihoods[1, 0], weights[2], sizes[2], total)
    assert_close(value[1, 2], alone)
    weights.requires_grad_()
    log_label_evidence(likelihoods, weights, sizes, total)[:, 1].sum().backward()
    assert (weights.grad == 0).all()


def test_nan_is_not_hidden() -> None:
    likelihoods = torch.zeros(4, 3)
    likelihoods[0, 0] = math.nan
    sizes = torch.tensor([4, 3, 2])
    assert log_label_evidence(likelihoods, torch.zeros(3), sizes, torch.tensor(4)).isnan()


def test_wrong_arguments() -> None:
    likelihoods, weights = torch.zeros(4, 3), torch.zeros(3)
    sizes = torch.tensor([40, 30, 20])
    with pytest.raises(ValueError, match=r"`total_count` to be 4, .* \(4, 3\), but got 5"):
        log_label_evidence(likelihoods, weights, sizes, torch.tensor(5))
    with pytest.raises(ValueError, match=r"`max_states` = 20 .* needs 25"):
        log_label_evidence(likelihoods, weights, sizes, torch.tensor(4), max_states=20)
    with pytest.raises(ValueError, match=r"one size for each of the 3 groups"):
        log_label_evidence(likelihoods, weights, sizes[:2], torch.tensor(4))
    with pytest.raises(ValueError, match=r"broadcast, .*`log_weights` of shape \(2, 3\)"):
        total = torch.tensor([4, 4, 4])
        log_label_evidence(likelihoods, weights.expand(2, 3), sizes, total)


def test_learns_the_weights_as_a_factor_in_pyro() -> None:
    sizes, total = torch.tensor([30, 30, 30]), torch.tensor(12)
    truth = torch.tensor([1.0, 0.0, -1.0])
    urn = FisherHypergeometric(12, sizes, log_weights=truth.expand(100, 3))
    counts = urn.sample().long()
    labels = torch.stack([torch.repeat_interleave(torch.arange(3), n) for n in counts])
    centres = torch.tensor([-1.0, 0.0, 1.0])
    seen = centres[labels] + 0.7 * torch.randn(labels.shape)
    likelihoods = -0.5 * ((seen.unsqueeze(-1) - centres) / 0.7).square()

    def model() -> None:
        log_weights = pyro.param("log_weights", torch.zeros(3))
        with pyro.plate("bags", 100):
            pyro.factor("labels", log_label_evidence(likelihoods, log_weights, sizes, total))

    elbo = pyro.infer.Trace_ELBO()
    optimiser = pyro.optim.Adam({"lr": 0.1})
    svi = pyro.infer.SVI(model, lambda: None, optimiser, elbo)
    for _ in range(60):
        svi.step()
    found = pyro.param("log_weights").detach()
    assert_close(found - found.mean(), truth, rtol=0, atol=0.3)
