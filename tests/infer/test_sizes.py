# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sizes of groups from their mean counts."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric, sizes_from_mean
from pyro_hypergeo.ops import Law


@st.composite
def urns(draw: Any) -> tuple[list[int], list[float], int]:
    groups = draw(st.integers(2, 6))
    sizes = draw(st.lists(st.integers(1, 40), min_size=groups, max_size=groups))
    log_weights = draw(st.lists(st.floats(-2, 2), min_size=groups, max_size=groups))
    total = draw(st.integers(1, sum(sizes) - 1))
    return sizes, torch.tensor(log_weights).exp().tolist(), total


@pytest.mark.slow
@given(urn=urns())
def test_exact_means_tell_the_sizes(urn: tuple[list[int], list[float], int]) -> None:
    sizes, weights, total = urn
    mean = FisherHypergeometric(total, sizes, weights).mean
    found = sizes_from_mean(mean, weights, sum(sizes))
    assert found.dtype == torch.int64
    again = FisherHypergeometric(total, found, weights).mean
    # Two urns may have the same means to rounding where nearly all or nearly none are drawn.
    if not torch.equal(found, torch.tensor(sizes)):
        assert (again - mean).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("sizes", "weights", "total"),
    [
        ([10, 12], [2.0, 1.0], 8),
        ([5, 3, 20], [1.0, 30.0, 0.1], 12),
        ([40, 1, 7, 22], [1.0, 2.0, 0.5, 3.0], 69),
        ([300, 4000], [1.0, 5.0], 2000),
    ],
)
def test_under_wallenius_law(sizes: list[int], weights: list[float], total: int) -> None:
    mean = WalleniusHypergeometric(total, sizes, weights).mean
    assert sizes_from_mean(mean, weights, sum(sizes), law="wallenius").tolist() == sizes
    if total == 12:  # where the laws differ enough
        assert sizes_from_mean(mean, weights, sum(sizes)).tolist() != sizes


def test_laws_have_names() -> None:
    with pytest.raises(
        ValueError, match=r"\['fisher', 'wallenius'\] or a `Law`, but got 'chesson'"
    ):
        sizes_from_mean([1.0, 1.0], [1.0, 2.0], 6, law="chesson")


@pytest.mark.parametrize(
    ("mean", "weights", "elements"),
    [
        ([1.3, 2.4, 2.3], [1.0, 2.0, 4.0], 14),
        # The corrected approximation alone ends one exchange away from these.
        ([2.52, 5.17, 0.31], [2.1, 1.7, 0.3], 17),
        ([2.16, 2.51, 0.33], [1.6, 2.8, 0.6], 20),
        ([1.51, 1.62, 3.87], [0.4, 4.0, 3.4], 20),
    ],
)
def test_of_other_means_the_nearest(mean: list[float], weights: list[float], elements: int) -> None:
    found = sizes_from_mean(mean, weights, elements)
    assert found.sum() == elements
    total, target = round(sum(mean)), torch.tensor(mean)

    def distance(sizes: Any) -> float:
        return float((FisherHypergeometric(total, sizes, weights).mean - target).square().sum())

    least = [int(value) for value in target.ceil()]
    every = [
        (distance((a, b, elements - a - b)), (a, b, elements - a - b))
        for a in range(least[0], elements)
        for b in range(least[1], elements - a - least[2] + 1)
    ]
    assert tuple(found.tolist()) == min(every)[1]


@pytest.mark.parametrize("law", [FisherHypergeometric, WalleniusHypergeometric])
def test_large_sizes_take_a_handful_of_means(law: Any) -> None:
    calls = []

    class Counted(Law):
        def solve(self, *args: Any) -> Any:
            calls.append(args)
            return law.law.solve(*args)

        def mean(self, state: Any) -> Any:
            return law.law.mean(state)

    sizes, weights = [5000, 300, 12_000], [1.0, 8.0, 0.3]
    mean = law(6000, sizes, weights).mean
    assert sizes_from_mean(mean, weights, sum(sizes), law=Counted()).tolist() == sizes
    assert 0 < len(calls) < 25


@pytest.mark.parametrize(
    ("mean", "weights", "elements", "match"),
    [
        ([1.0, 2.0], [1.0], 5, r"same shape \(G,\), but got \(2,\) and \(1,\)"),
        ([[1.0, 2.0]], [[1.0, 1.0]], 5, r"same shape \(G,\)"),
        ([-1.0, 2.0], [1.0, 1.0], 5, r"`mean` .* not negative, but found -1"),
        ([1.0, 2.0], [1.0, 0.0], 5, r"`weights` .* positive and finite, but found 0"),
        ([1.0, 2.0], [1.0, float("inf")], 5, r"`weights` .* positive and finite, but found inf"),
        ([1.0, 2.0], [1.0, 1.0], 3, r"less than `number_of_elements`, 3, but its sum is 3"),
        ([0.0, 0.0], [1.0, 1.0], 3, r"more than 0"),
        ([0.4, 0.5, 0.6, 0.5], [1.0] * 4, 3, r"at least 4, .* but got 3"),
    ],
)
def test_bad_arguments(mean: Any, weights: Any, elements: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sizes_from_mean(mean, weights, elements)
