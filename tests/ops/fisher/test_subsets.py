# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Random subsets of unknown size against sums over all subsets."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import log_subset_evidence, subset_posterior


def by_subsets(log_factors, log_prior):
    """Evidence, joint of each size, and joint of each member: sums over all subsets."""
    d = len(log_factors)
    sizes, members = [0.0] * len(log_prior), [0.0] * d
    for k in range(len(log_prior)):
        for subset in itertools.combinations(range(d), k):
            term = math.exp(log_prior[k]) / math.comb(d, k)
            term *= math.prod(math.exp(log_factors[j]) for j in subset)
            sizes[k] += term
            for j in subset:
                members[j] += term
    return torch.tensor(sum(sizes)), torch.tensor(sizes), torch.tensor(members)


@pytest.mark.parametrize("d", range(9))
def test_sums_over_all_subsets(d):
    log_factors = 3 * torch.randn(d)
    for sizes in range(1, d + 2):
        log_prior = torch.randn(sizes)
        evidence, counts, members = by_subsets(log_factors.tolist(), log_prior.tolist())
        posterior = subset_posterior(log_factors, log_prior)
        exact = dict(rtol=1e-12, atol=0.0)
        torch.testing.assert_close(posterior.log_evidence.exp(), evidence, **exact)
        torch.testing.assert_close(log_subset_evidence(log_factors, log_prior).exp(), evidence)
        torch.testing.assert_close(posterior.log_size_probs.exp(), counts / evidence, **exact)
        torch.testing.assert_close(posterior.inclusion_probs, members / evidence, **exact)


def test_members_and_sizes_that_are_ruled_out():
    log_factors = torch.tensor([1.0, -math.inf, 0.3, -math.inf, 2.0])
    log_prior = torch.tensor([-math.inf, 0.2, 0.7, -math.inf])
    log_factors.requires_grad_(), log_prior.requires_grad_()
    evidence, counts, members = by_subsets(log_factors.tolist(), log_prior.tolist())
    posterior = subset_posterior(log_factors, log_prior)
    torch.testing.assert_close(posterior.log_evidence.exp(), evidence)
    torch.testing.assert_close(posterior.log_size_probs.exp(), counts / evidence)
    torch.testing.assert_close(posterior.inclusion_probs, members / evidence)
    grads = torch.autograd.grad(posterior.log_evidence, [log_factors, log_prior], retain_graph=True)
    torch.testing.assert_close(grads[0], members / evidence)
    torch.testing.assert_close(grads[1], counts / evidence)
    (grad,) = torch.autograd.grad(posterior.inclusion_probs[0], log_factors)
    assert grad.isfinite().all()
    assert grad[1] == grad[3] == 0


def test_nothing_is_possible():
    # Three members are needed, but only two elements may be members.
    log_factors = torch.tensor([[0.0, -math.inf, 1.0, -math.inf], [0.0, 1.0, 2.0, 3.0]])
    log_factors.requires_grad_()
    log_prior = torch.tensor([-math.inf, -math.inf, -math.inf, 0.0])
    posterior = subset_posterior(log_factors, log_prior)
    assert posterior.log_evidence[0] == -math.inf
    assert (posterior.log_size_probs[0] == -math.inf).all()
    assert posterior.inclusion_probs[0].tolist() == [0.0] * 4
    assert posterior.inclusion_probs[1].sum().item() == pytest.approx(3.0)
    (grad,) = torch.autograd.grad(posterior.inclusion_probs[:, 0].sum(), log_factors)
    assert grad.isfinite().all()
    assert not grad[0].any()


def test_far_tails_keep_their_relative_accuracy():
    d = 300
    log_factors = torch.full((d,), -5.0)
    log_factors[0] = -400.0
    posterior = subset_posterior(log_factors, torch.zeros(d + 1) - math.log(d + 1))
    # Given the others, the odds of the first element are those of a Bayes factor of e^-400.
    assert 0 < posterior.inclusion_probs[0] < 1e-170
    assert posterior.inclusion_probs.sum().item() == pytest.approx(
        (posterior.log_size_probs.exp() * torch.arange(d + 1.0)).sum().item(), rel=1e-12
    )
    expected = torch.func.grad(log_subset_evidence)(log_factors, torch.zeros(d + 1))
    torch.testing.assert_close(posterior.inclusion_probs, expected, rtol=1e-10, atol=0.0)


def test_gradients():
    log_factors = torch.randn(2, 5, requires_grad=True)
    log_prior = torch.randn(4, requires_grad=True)
    assert gradcheck(log_subset_evidence, (log_factors, log_prior))
    assert gradgradcheck(log_subset_evidence, (log_factors, log_prior))
    assert gradcheck(lambda *x: subset_posterior(*x)[1:], (log_factors, log_prior))


def test_batches_dtypes_and_mapped_code():
    log_factors, log_prior = torch.randn(3, 1, 7), torch.randn(2, 6)
    posterior = subset_posterior(log_factors, log_prior)
    assert [x.shape for x in posterior] == [(3, 2), (3, 2, 6), (3, 2, 7)]
    for i, j in itertools.product(range(3), range(2)):
        alone = subset_posterior(log_factors[i, 0], log_prior[j])
        for mine, one in zip(posterior, alone, strict=True):
            torch.testing.assert_close(mine[i, j], one)
    mapped = torch.func.vmap(subset_posterior, in_dims=(0, None))(log_factors[:, 0], log_prior[0])
    for mine, one in zip(posterior, mapped, strict=True):
        torch.testing.assert_close(mine[:, 0], one)
    single = subset_posterior(log_factors.float(), log_prior)
    assert all(x.dtype == torch.float32 for x in single)
    assert log_subset_evidence(log_factors.float(), log_prior).dtype == torch.float32


@pytest.mark.parametrize("sizes", [0, 5])
def test_wrong_number_of_sizes(sizes):
    for call in (log_subset_evidence, subset_posterior):
        with pytest.raises(ValueError, match=r"K between 0 and 3, .* but got \(2, " + str(sizes)):
            call(torch.zeros(3), torch.zeros(2, sizes))
