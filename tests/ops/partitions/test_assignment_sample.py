# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws of labels with known counts, against the list of labellings."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from pyro_hypergeo.ops import assignment_marginals, assignment_sample
from tests.ops.partitions import brute


@pytest.mark.parametrize("groups, sizes", [(2, [2, 3]), (3, [2, 1, 2]), (4, [1, 0, 2, 2])])
def test_draws_have_the_law(groups: int, sizes: list[int]) -> None:
    scores = torch.randn(5, groups)
    scores[1, 0] = -math.inf
    labels = assignment_sample(scores, torch.tensor(sizes), (20_000,))
    assert labels.shape == (20_000, 5)
    found = torch.tensor(brute.labellings(sizes))
    logs = scores[torch.arange(5), found].sum(-1)
    possible = logs > -math.inf
    powers = groups ** torch.arange(5)
    codes, observed = (labels @ powers).unique(return_counts=True)
    listed = (found[possible] @ powers).sort()
    assert torch.isin(codes, listed.values).all()
    counts = torch.zeros(len(listed.values))
    counts[torch.searchsorted(listed.values, codes)] = observed.double()
    expected = 20_000 * logs[possible].softmax(0)[listed.indices]
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


def test_batches_have_their_marginals() -> None:
    scores = 2 * torch.randn(3, 1, 6, 3)
    scores[0, 0, 2, 1:] = -math.inf  # one possible label
    present = torch.ones(3, 1, 6).bool()
    present[1, 0, 4] = False
    sizes = torch.tensor([[[3, 1, 2], [6, 0, 0]], [[3, 1, 1], [0, 5, 0]], [[2, 2, 2], [0, 1, 5]]])
    labels = assignment_sample(scores, sizes[:, :1], (5, 4000), present=present)
    assert labels.shape == (5, 4000, 3, 1, 6)
    assert (labels[..., 1, 0, 4] == -1).all()
    hot = (labels.unsqueeze(-1) == torch.arange(3)).double()
    assert (hot.sum(-2) == sizes[:, :1]).all()
    truth = assignment_marginals(scores, sizes[:, :1], present=present)
    assert_close(hot.mean((0, 1)), truth, rtol=0, atol=0.02)
    certain = assignment_sample(scores[1:], sizes[1:, 1:], present=present[1:])
    assert (certain[0, 0] == torch.tensor([1, 1, 1, 1, -1, 1])).all()


def test_draws_for_scores_of_any_range() -> None:
    scores = 1000 * torch.randn(30, 3)
    sizes = torch.tensor([10, 15, 5])
    labels = assignment_sample(scores, sizes, (100,))
    likely = assignment_marginals(scores, sizes).gather(-1, labels.mT)
    assert likely.min() > 1e-6


def test_mapped_and_empty() -> None:
    scores, sizes = torch.randn(2, 4, 3), torch.tensor([[1, 2, 1], [0, 4, 0]])
    draw = torch.func.vmap(lambda s, n: assignment_sample(s, n, (7,)), randomness="different")
    hot = (draw(scores, sizes).unsqueeze(-1) == torch.arange(3)).sum(-2)
    assert (hot == sizes.unsqueeze(1)).all()
    assert assignment_sample(scores[:, :0], 0 * sizes, (3,)).shape == (3, 2, 0)
    assert assignment_sample(scores[:0], sizes[:0], (3,)).shape == (3, 0, 4)
    assert assignment_sample(scores, sizes, (0,)).shape == (0, 2, 4)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"possible labelling, .* batch index \(1,\)"):
        assignment_sample(torch.zeros(2, 3, 3), torch.tensor([[1, 1, 1], [1, 1, 2]]))
    with pytest.raises(ValueError, match="possible labelling, but there is none"):
        assignment_sample(torch.full((3, 3), -math.inf), torch.tensor([1, 1, 1]))
    scores = torch.zeros(2, 3, 3)
    scores[1, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"NaN .* at batch index \(1,\)"):
        assignment_sample(scores, torch.tensor([1, 1, 1]))
