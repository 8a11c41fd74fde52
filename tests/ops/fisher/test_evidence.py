# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The evidence and the posterior of latent counts against summation."""

import math
from collections import Counter

import hypothesis
import hypothesis.strategies as st
import pytest
import scipy.stats
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import log_evidence, log_marginals, posterior_log_marginals, posterior_sample
from tests.ops.fixture import PLAIN, WIDE, Urn, urns

FUNCTIONS = [log_evidence, posterior_log_marginals, posterior_sample]


def log_joint(urn, tables):
    """All count vectors, and the logarithms of their prior and of their joint probability."""
    counts, probs = urn.pmf()
    rows = torch.arange(len(urn.sizes))
    likelihood = tables.detach()[rows, counts.long()].sum(-1)
    return counts, probs.log(), probs.log() + likelihood


def exact_marginals(urn, tables):
    counts, _, joint = log_joint(urn, tables)
    result = torch.full(tables.shape, -math.inf)
    for group in range(len(urn.sizes)):
        for k in range(urn.sizes[group] + 1):
            here = joint[counts[:, group] == k]
            if len(here):
                result[group, k] = here.logsumexp(0) - joint.logsumexp(0)
    return result


def tables_for(urn, spread=2.0, holes=0.0):
    shape = len(urn.sizes), max(urn.sizes) + 1
    tables = spread * torch.randn(shape)
    return torch.where(torch.rand(shape) < holes, -math.inf, tables)


@hypothesis.given(urns(max_groups=4, max_size=7), st.sampled_from([0.1, 2.0, 100.0]))
def test_any_urn(urn, spread):
    tables = tables_for(urn, spread)
    _, _, joint = log_joint(urn, tables)
    ours = log_evidence(tables, *urn.tensors)
    torch.testing.assert_close(ours, joint.logsumexp(0), rtol=1e-11, atol=1e-11)
    marginals = posterior_log_marginals(tables, *urn.tensors)
    torch.testing.assert_close(marginals, exact_marginals(urn, tables), rtol=1e-11, atol=1e-10)


@hypothesis.given(urns(max_groups=4, max_size=5))
def test_counts_that_are_ruled_out(urn):
    tables = tables_for(urn, holes=0.4).requires_grad_()
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    counts, _, joint = log_joint(urn, tables)
    ours = log_evidence(tables, log_weights, sizes, total)
    torch.testing.assert_close(ours.detach(), joint.logsumexp(0), rtol=1e-11, atol=1e-11)
    marginals = posterior_log_marginals(tables, log_weights, sizes, total)
    gradients = [*torch.autograd.grad(ours, (tables, log_weights), retain_graph=True)]
    gradients += torch.autograd.grad(marginals.exp().sum(), (tables, log_weights))
    assert all(gradient.isfinite().all() for gradient in gradients)
    if ours == -math.inf:
        assert (marginals == -math.inf).all()
        with pytest.raises(ValueError, match="`log_likelihoods` .* to leave a possible count"):
            posterior_sample(tables, log_weights, sizes, total)
    else:
        expected = exact_marginals(urn, tables)
        torch.testing.assert_close(marginals.detach(), expected, rtol=1e-11, atol=1e-10)
        draws = posterior_sample(tables, log_weights, sizes, total, torch.Size([20]))
        legal = {tuple(x) for x in counts[joint > -math.inf].tolist()}
        assert {tuple(x) for x in draws.tolist()} <= legal


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients_are_posterior_moments(urn):
    tables = tables_for(urn).requires_grad_()
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    counts, prior, joint = log_joint(urn, tables)
    value = log_evidence(tables, log_weights, sizes, total)
    by_table, by_weight = torch.autograd.grad(value, (tables, log_weights))
    expected = exact_marginals(urn, tables).exp()
    torch.testing.assert_close(by_table, expected, rtol=1e-11, atol=1e-12)
    means = joint.softmax(0) @ counts - prior.softmax(0) @ counts
    torch.testing.assert_close(by_weight, means, rtol=1e-10, atol=1e-11)


def test_second_gradients():
    urn = Urn([0.5, -1.0, 2.0], [3, 4, 2], 4)
    log_weights, sizes, total = urn.tensors
    inputs = tables_for(urn).requires_grad_(), log_weights.requires_grad_()

    def evidence(tables, theta):
        return log_evidence(tables, theta, sizes, total)

    def marginals(tables, theta):
        table = posterior_log_marginals(tables, theta, sizes, total)
        return table[table > -math.inf]

    for function in (evidence, marginals):
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_draws_follow_the_posterior():
    urn = Urn([0.5, 0.0, 0.3], [3, 4, 3], 5)
    tables = tables_for(urn, spread=0.5)
    tables[1, 2] = -math.inf
    counts, _, joint = log_joint(urn, tables)
    draws = posterior_sample(tables, *urn.tensors, torch.Size([40, 500]))
    assert draws.shape == (40, 500, 3)
    seen = Counter(tuple(x) for x in draws.flatten(0, 1).tolist())
    possible = joint > -math.inf
    observed = [seen.pop(tuple(x), 0) for x in counts[possible].tolist()]
    assert not seen
    expected = 20_000 * joint[possible].softmax(0).numpy()
    assert expected.min() > 5
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.001


def test_flat_likelihoods_leave_the_prior():
    # Sizes at which tilting matters: the terms alone are e^{-7000} of the largest.
    urn = Urn([0.4, -1.5, 5.0, math.log(1e9)], [1200, 600, 900, 40], 1300)
    tables = torch.zeros(4, 1201)
    evidence = log_evidence(tables, *urn.tensors)
    torch.testing.assert_close(evidence, torch.tensor(0.0), rtol=0, atol=1e-11)
    ours = posterior_log_marginals(tables, *urn.tensors)
    prior = log_marginals(*urn.tensors)
    torch.testing.assert_close(ours, prior, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize(("total", "counts"), [(0, [0, 0, 0]), (9, [3, 2, 4])])
def test_certain_draws(total, counts):
    urn = Urn([0.5, -1.0, 2.0], [3, 2, 4], total)
    tables = tables_for(urn)
    expected = tables[torch.arange(3), torch.tensor(counts)].sum()
    torch.testing.assert_close(log_evidence(tables, *urn.tensors), expected, rtol=0, atol=1e-13)
    one_hot = torch.nn.functional.one_hot(torch.tensor(counts), 5).double().log()
    marginals = posterior_log_marginals(tables, *urn.tensors)
    torch.testing.assert_close(marginals, one_hot, rtol=0, atol=1e-13)
    assert posterior_sample(tables, *urn.tensors).tolist() == counts
    impossible = log_evidence(tables, *urn.tensors[:2], torch.tensor(10.0))
    assert impossible == -math.inf


def test_entries_beyond_a_size_are_ignored():
    urn = PLAIN
    tables = tables_for(urn).requires_grad_()
    junk = torch.arange(8) > urn.tensors[1].unsqueeze(-1)
    junked = torch.where(junk, math.nan, tables)
    wide = torch.cat([junked, torch.full((4, 3), math.nan)], -1)
    expected = log_evidence(tables, *urn.tensors)
    found = log_evidence(wide, *urn.tensors)
    assert found == expected
    assert torch.autograd.grad(found, tables)[0].isfinite().all()
    marginals = posterior_log_marginals(wide, *urn.tensors)
    assert (marginals[:, 7:].exp() == 0).all()
    short = posterior_log_marginals(tables[:, :7], *urn.tensors)  # counts reach the total of 6
    torch.testing.assert_close(marginals[:, :7], short, rtol=0, atol=1e-13)


def test_nan_weights_are_not_hidden():
    log_weights, sizes, total = PLAIN.tensors
    log_weights[1] = math.nan
    assert log_evidence(torch.zeros(4, 8), log_weights, sizes, total).isnan()


def test_broadcasting_and_dtypes():
    log_weights, sizes, _ = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    totals = torch.tensor([0.0, 5.0, 9.0])
    tables = torch.randn(3, 4, 10)
    evidence = log_evidence(tables, many, sizes, totals)
    marginals = posterior_log_marginals(tables, many, sizes, totals)
    draws = posterior_sample(tables, many, sizes, totals, torch.Size([7]))
    assert evidence.shape == (2, 3)
    assert marginals.shape == (2, 3, 4, 10)
    assert draws.shape == (7, 2, 3, 4)
    assert torch.equal(draws.sum(-1), totals.expand(7, 2, 3))
    assert ((draws >= 0) & (draws <= sizes)).all()
    one = tables[2], -log_weights, sizes, totals[2]
    torch.testing.assert_close(evidence[1, 2], log_evidence(*one), rtol=1e-12, atol=1e-12)
    alone = posterior_log_marginals(*one)
    torch.testing.assert_close(marginals[1, 2], alone, rtol=1e-12, atol=1e-12)
    # Many likelihoods of one urn.
    several = log_evidence(tables, log_weights, sizes, totals[1])
    torch.testing.assert_close(several[1], evidence[0, 1], rtol=1e-12, atol=1e-12)
    for function in FUNCTIONS:
        assert function(tables, many.float(), sizes, totals).dtype == torch.float32


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_tables(function):
    for shape in [(8,), (3, 8), (4, 6)]:
        with pytest.raises(ValueError, match=r"`log_likelihoods` of shape .*but got \("):
            function(torch.zeros(shape), *PLAIN.tensors)
