# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Bad arguments of partitions are refused with the argument, its value and what is allowed."""

from __future__ import annotations

import itertools
from typing import Any

import pyro.distributions as dist
import pytest
import torch

from pyro_hypergeo import FisherHypergeometric, FisherPartition, PlackettLuce, WalleniusPartition
from tests import partition_oracle as oracle

LAWS = [FisherPartition, WalleniusPartition]
every_law = pytest.mark.parametrize("cls", LAWS)
INF = torch.inf


@pytest.mark.parametrize(
    "sizes, log_scores, message",
    [
        ([1, 2], torch.zeros(4, 2), r"`sizes` of shape \(2,\) to be of sum 4.*found \[1, 2\]"),
        ([-1, 5], torch.zeros(4, 2), r"`sizes` .*not negative, but found -1 at index \(0,\)"),
        ([1.5, 2.5], torch.zeros(4, 2), r"`sizes` .*integers.*found 1\.5"),
        ([2, 2], torch.zeros(4, 3), r"`log_scores` of shape \(\.\.\., N, K\).*K = 2.*\(4, 3\)"),
        (3, torch.zeros(4, 3), r"`sizes` to have one entry for each group.*\(\)"),
        ([2, 2], torch.zeros(0, 2), r"at least one element, but got shape \(0, 2\)"),
        ([2, 2], torch.full((4, 2), torch.nan), r"`log_scores` .*found nan at index \(0, 0\)"),
        ([2, 2], torch.full((4, 2), INF), r"`log_scores` .*found inf at index \(0, 0\)"),
        ([1, 1], [[0.0, 0.0], [-INF, -INF]], r"not all -inf for an element.*at index \(1,\)"),
        ("ab", torch.zeros(4, 2), r"`sizes` to be numbers"),
        (torch.tensor([[2, 2]] * 3), torch.zeros(2, 4, 2), r"\(3,\) and `log_scores` of shape \(2"),
        (
            FisherHypergeometric(3, [3, 3], [1.0, 1.0]),
            torch.zeros(4, 2),
            r"total 4.*`total_count` is 3",
        ),
        (dist.Multinomial(3, torch.ones(2)), torch.zeros(4, 2), r"total 4.*`total_count` is 3"),
        (dist.Poisson(torch.tensor(3.0)), torch.zeros(4, 2), r"a Poisson of event shape \(\)"),
        (
            FisherHypergeometric(2, [2, 2], [1.0, 1.0]),
            [[0.0, -INF], [0.0, 0.0]],
            r"finite if `sizes` is a distribution",
        ),
    ],
)
@every_law
def test_bad_arguments(cls: Any, sizes: Any, log_scores: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(sizes, torch.as_tensor(log_scores))


def test_shared_scores() -> None:
    for scores in (torch.zeros(4, 1), torch.zeros(4)):
        with pytest.raises(ValueError, match=r"changes nothing here.*WalleniusPartition"):
            FisherPartition([2, 2], scores)
    assert WalleniusPartition([2, 2], torch.zeros(4)).log_scores.shape == (4, 1)
    with pytest.raises(ValueError, match=r"\(\.\.\., N, 1\) or \(N,\)"):
        WalleniusPartition([2, 2], torch.zeros(4, 3))


@every_law
def test_a_law_of_sizes_whose_total_shows_only_in_its_draws(cls: Any) -> None:
    law = cls(dist.OneHotCategorical(torch.ones(3)), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"total 2, .* but OneHotCategorical drew \[.*1\.0"):
        law.sample((4,))
    single = cls(dist.OneHotCategorical(torch.ones(3)), torch.zeros(1, 3))
    assert (single.sample((4,)).sum(-1) == 1).all()


@every_law
def test_booleans(cls: Any) -> None:
    law = cls(torch.tensor([True, False, True]), torch.zeros(2, 3))
    value = law.sample()
    assert law.log_prob(value.bool()) == law.log_prob(value)
    assert torch.equal(law.labels(value.bool()), law.labels(value))


@every_law
def test_values(cls: Any) -> None:
    law = cls([2, 1], torch.zeros(3, 2))
    good = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert law.log_prob(good).isfinite() and law.log_prob(good.tolist()).isfinite()
    for bad, message in [
        (good.flip(-1), r"the `sizes` \[2, 1\], but found columns that sum to \[1\.0, 2\.0\]"),
        (good[:2], r"end with the event shape \(3, 2\)"),
        (good[:, 0], r"end with the event shape"),
        (0.5 * good + 0.25, "one-hot rows"),
        (torch.stack([good, 2 * good]), r"rows that sum to 2 at index \(1,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            law.log_prob(bad)
    random = cls(FisherHypergeometric(3, [1, 3], [1.0, 1.0]), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="possible sizes"):
        random.log_prob(good)
    lenient = cls(random.sizes, torch.zeros(3, 2), validate_args=False)
    assert lenient.log_prob(good) == -INF
    assert random.sizes._validate_args  # the user's own distribution is as it was
    assert cls([2, 1], torch.zeros(3, 2), validate_args=False).log_prob(good.flip(-1)) == -INF


@pytest.mark.parametrize("sizes", [[1, 2, 1], [2, 1, 1], [1, 1, 2], [0, 2, 2], [3, 1, 0]])
@every_law
def test_scores_of_minus_infinity_are_legal_if_no_draw_can_be_stuck(
    cls: Any, sizes: list[int]
) -> None:
    every, n = oracle.every_partition(4, 3), torch.tensor(sizes)
    legal = 0
    masks = list(itertools.product([0.0, -INF], repeat=12))
    for i in torch.randperm(len(masks))[:60].tolist():
        scores = torch.tensor(masks[i]).reshape(4, 3)
        try:
            law = cls(n, scores)
        except ValueError as error:
            assert "not all -inf" in str(error) or "every group finds" in str(error)
            continue
        legal += 1
        total = cls(n, scores, validate_args=False).log_prob(every).exp().sum()
        torch.testing.assert_close(total, torch.tensor(1.0))
        assert not law.sample().isnan().any()
    assert legal > 2


def test_a_draft_that_may_be_stuck() -> None:
    scores = torch.zeros(3, 2)
    scores[0, 1] = -INF  # must be in group 0, which does not know it
    with pytest.raises(ValueError, match=r"group 1 of 2 elements may not: .*1 are certain"):
        WalleniusPartition([1, 2], scores)
    law = FisherPartition([1, 2], scores)
    assert law.sample()[0].tolist() == [1.0, 0.0]
    scores[1, 1] = -INF
    with pytest.raises(ValueError, match="every group finds"):
        FisherPartition([1, 2], scores)


@pytest.mark.parametrize(
    "log_scores, message",
    [
        (1.0, r"one entry for each element.*\(\)"),
        (torch.zeros(2, 0), r"one entry for each element.*\(2, 0\)"),
        ([0.0, torch.nan], r"`log_scores` .*found nan at index \(1,\)"),
        ([0.0, INF], r"`log_scores` .*found inf at index \(1,\)"),
    ],
)
def test_bad_scores_of_orders(log_scores: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlackettLuce(log_scores)


def test_bad_orders() -> None:
    law = PlackettLuce(torch.zeros(3))
    with pytest.raises(ValueError, match=r"permutations of 0, \.\.\., 2, but found \[0, 0, 1\]"):
        law.log_prob([0, 0, 1])
    with pytest.raises(ValueError, match=r"event shape \(3,\)"):
        law.log_prob([0, 1])
    assert PlackettLuce(torch.zeros(3), validate_args=False).log_prob([0, 0, 1]) == -INF
