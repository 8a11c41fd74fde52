# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The number of count vectors, and their list."""

import itertools

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from pyro_hypergeo.ops import enumerate_counts, support_exceeds, support_size
from tests import oracle

size_lists = st.lists(st.integers(0, 4), min_size=1, max_size=4)


@hypothesis.given(size_lists)
def test_every_total_of_an_urn(sizes):
    for total in range(-1, sum(sizes) + 2):
        expected = oracle.support(sizes, total)
        table = enumerate_counts(sizes, total)
        assert table.dtype == torch.long
        assert table.shape == (len(expected), len(sizes))
        assert table.tolist() == [list(x) for x in expected]
        assert support_size(sizes, total) == len(expected)


@hypothesis.given(size_lists, st.integers(0, 16), st.integers(0, 100))
def test_exceeds(sizes, total, limit):
    assert support_exceeds(sizes, total, limit) == (len(oracle.support(sizes, total)) > limit)


def test_exceeds_at_the_exact_size():
    sizes, total = [5, 6, 7], 8
    size = support_size(sizes, total)
    assert support_exceeds(sizes, total, size - 1)
    assert not support_exceeds(sizes, total, size)


def test_totals_over_all_add_up_to_the_grid():
    sizes = [3, 2, 4, 1]
    assert sum(support_size(sizes, n) for n in range(11)) == 4 * 3 * 5 * 2


def test_subsets_are_binomial_coefficients():
    assert (
        support_size([1] * 200, 100) == 90548514656103281165404177077484163874504589675413336841320
    )
    assert enumerate_counts([1] * 6, 2).shape == (15, 6)


def test_a_large_support_is_known_to_be_large():
    assert support_exceeds([10**6] * 10, 5 * 10**6, limit=10**15)
    assert support_size([10**9] * 3, 4) == 15
    assert not support_exceeds([10**9] * 3, 4, limit=15)


@pytest.mark.parametrize(("sizes", "total"), list(itertools.product([[0], [0, 0]], [0, 1])))
def test_empty_groups(sizes, total):
    assert support_size(sizes, total) == (total == 0)
    assert enumerate_counts(sizes, total).shape == (total == 0, len(sizes))
