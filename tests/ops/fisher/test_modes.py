# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Modes under Fisher's law against the oracle."""

import math

import hypothesis
import pytest
import torch

from pyro_hypergeo.ops import log_prob, mode
from tests import oracle
from tests.ops.fixture import PLAIN, Urn, urns


@hypothesis.given(urns(max_groups=4, max_size=5))
def test_brute_force(urn):
    log_weights, sizes, total = urn.tensors
    found = mode(log_weights, sizes, total)
    counts = torch.tensor(oracle.support(urn.sizes, urn.total), dtype=torch.float64)
    best = log_prob(counts, log_weights, sizes, total).max()
    torch.testing.assert_close(log_prob(found, log_weights, sizes, total), best)


def test_exact_weights():
    for total in range(13):
        weights, sizes = [0.5, 3.0, 1.25], [5, 3, 4]
        found = mode(torch.tensor(weights).log(), torch.tensor(sizes), torch.tensor(float(total)))
        assert tuple(found.int().tolist()) in oracle.mode(weights, sizes, total)


@pytest.mark.parametrize("sizes", [[3, 3, 3], [1, 1, 1], [5, 4, 0], [2, 7, 7]])
def test_ties_give_one_of_the_modes(sizes):
    for total in range(sum(sizes) + 1):
        found = mode(torch.zeros(3), torch.tensor(sizes), torch.tensor(total))
        assert tuple(found.int().tolist()) in oracle.mode([1, 1, 1], sizes, total)


@pytest.mark.parametrize("total", [1.0, 1e4, 98_765_432.0, 2e8, 399_999_999.0])
def test_no_exchange_is_a_gain_in_a_huge_urn(total):
    sizes = torch.tensor([1e8, 1.5e8, 1e8, 5e7, 0.0])
    log_weights = torch.tensor([0.3, -2.0, 5.0, 0.31, 9.0])
    counts = mode(log_weights, sizes, torch.tensor(total))
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= sizes) & (counts == counts.round())).all()
    lost = torch.where(
        counts > 0, log_weights + torch.log((sizes - counts + 1) / counts), torch.inf
    )
    gained = log_weights + torch.log((sizes - counts) / (counts + 1))
    assert gained.max() <= lost.min() + 1e-14


def test_edges():
    log_weights, sizes, _ = Urn([0.5, -math.inf, 1.0], [2, 3, 4], 0).tensors
    assert mode(log_weights, sizes, torch.tensor(0.0)).tolist() == [0, 0, 0]
    assert mode(log_weights, sizes, torch.tensor(6.0)).tolist() == [2, 0, 4]
    assert mode(torch.zeros(1), torch.tensor([7.0]), torch.tensor(3.0)).tolist() == [3]


def test_batches_and_dtypes():
    log_weights, sizes, _ = PLAIN.tensors
    totals = torch.arange(17.0)
    batched = mode(torch.stack([log_weights, -log_weights]).unsqueeze(1), sizes, totals)
    assert batched.shape == (2, 17, 4)
    for total in range(17):
        torch.testing.assert_close(batched[0, total], mode(log_weights, sizes, totals[total]))
    assert mode(log_weights.float(), sizes, totals).dtype == torch.float32
    assert not mode(log_weights.requires_grad_(), sizes, totals).requires_grad


def test_under_vmap_and_trace():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, log_weights.flip(-1)])
    expected = mode(many, sizes, total)
    torch.testing.assert_close(torch.func.vmap(lambda t: mode(t, sizes, total))(many), expected)
    traced = torch.jit.trace(lambda t: mode(t, sizes, total), many + 1)
    torch.testing.assert_close(traced(many), expected)
