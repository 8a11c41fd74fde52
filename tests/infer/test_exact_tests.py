# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact tests and intervals, against R, SciPy and lists of all tables in exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import chi2, fisher_exact
from scipy.stats.contingency import odds_ratio

from pyro_hypergeo import (
    exact_common_odds_ratio,
    exact_test_of_equal_weights,
    exact_test_of_independence,
)
from tests import oracle

# Penicillin in rabbits, treated at once or after 90 minutes: R's help page of mantelhaen.test.
RABBITS = [[6, 5], [6, 6], [6, 6], [6, 6], [2, 5]]
CURED = [[0, 0], [3, 0], [6, 2], [5, 6], [2, 5]]
SMALL = [[4, 3, 2], [2, 5, 3], [3, 0, 2]]
SMALL_DRAWN = [[3, 1, 0], [2, 1, 2], [2, 0, 1]]


def test_rabbits_against_r() -> None:
    found = exact_common_odds_ratio(RABBITS, CURED)
    assert found.odds_ratio == pytest.approx(10.361046349488705, rel=1e-12)
    assert found.confidence_interval == pytest.approx((1.07738776, 531.51278), rel=1e-8)
    assert found.p_value == pytest.approx(0.03994490, abs=5e-9)
    assert found.p_greater < found.p_less


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([8, 9], [6, 2]),
        ([10, 2], [7, 1]),
        ([60, 45], [31, 12]),
        ([12, 12], [0, 3]),
        ([4, 9], [4, 2]),
    ],
)
def test_one_stratum_against_scipy(sizes: list[int], counts: list[int]) -> None:
    table = [counts, [m - x for m, x in zip(sizes, counts, strict=True)]]
    found = exact_common_odds_ratio(sizes, counts)
    for alternative, p in [
        ("two-sided", found.p_value),
        ("less", found.p_less),
        ("greater", found.p_greater),
    ]:
        assert p == pytest.approx(fisher_exact(table, alternative).pvalue, rel=1e-9)
    truth = odds_ratio(table)
    assert found.odds_ratio == pytest.approx(truth.statistic, rel=1e-6)
    interval = truth.confidence_interval(0.95)
    assert found.confidence_interval == pytest.approx((interval.low, interval.high), rel=1e-6)


def total_count(sizes: list, counts: list, weight: Fraction) -> tuple[dict, int]:
    """The law of the total count of the first group, in fractions, from a list of all tables."""
    laws = [
        oracle.pmf([weight, Fraction(1)], m, sum(x)) for m, x in zip(sizes, counts, strict=True)
    ]
    law: dict[int, Fraction] = {}
    for tables in itertools.product(*laws):
        p = math.prod(one[x] for one, x in zip(laws, tables, strict=True))
        key = sum(x[0] for x in tables)
        law[key] = law.get(key, Fraction(0)) + p
    return law, sum(x[0] for x in counts)


@pytest.mark.parametrize("weight", [Fraction(1), Fraction(7, 3)])
def test_p_values_in_fractions(weight: Fraction) -> None:
    law, seen = total_count(RABBITS[1:], CURED[1:], weight)
    found = exact_common_odds_ratio(RABBITS[1:], CURED[1:], null_odds_ratio=float(weight))
    less = sum(p for s, p in law.items() if s <= seen)
    greater = sum(p for s, p in law.items() if s >= seen)
    half = law[seen] / 2
    assert found.p_less == pytest.approx(float(less), rel=1e-12)
    assert found.p_greater == pytest.approx(float(greater), rel=1e-12)
    assert found.p_value == pytest.approx(
        float(sum(p for p in law.values() if p <= law[seen])), rel=1e-12
    )
    assert found.mid_p_less == pytest.approx(float(less - half), rel=1e-12)
    assert found.mid_p_greater == pytest.approx(float(greater - half), rel=1e-12)
    assert found.mid_p_value == pytest.approx(2 * float(min(less, greater) - half), rel=1e-12)


def test_ends_of_intervals_are_where_the_tests_reject() -> None:
    found = exact_common_odds_ratio(RABBITS, CURED, level=0.9)
    for interval, less, greater in [
        (found.confidence_interval, "p_less", "p_greater"),
        (found.mid_p_interval, "mid_p_less", "mid_p_greater"),
    ]:
        low, high = (
            exact_common_odds_ratio(RABBITS, CURED, null_odds_ratio=end) for end in interval
        )
        assert getattr(low, greater) == pytest.approx(0.05, rel=1e-9)
        assert getattr(high, less) == pytest.approx(0.05, rel=1e-9)
    wide, narrow = found.confidence_interval, found.mid_p_interval
    assert wide[0] < narrow[0] < found.odds_ratio < narrow[1] < wide[1]


def test_estimate_is_where_the_mean_is_the_count() -> None:
    weight = exact_common_odds_ratio(RABBITS, CURED).odds_ratio
    law, seen = total_count(RABBITS, CURED, Fraction(weight))
    assert float(sum(s * p for s, p in law.items())) == pytest.approx(seen, rel=1e-12)


def test_totals_at_their_ends() -> None:
    low = exact_common_odds_ratio([[5, 6], [4, 4]], [[0, 3], [0, 2]])
    assert (low.odds_ratio, low.confidence_interval[0], low.mid_p_interval[0]) == (0, 0, 0)
    assert low.confidence_interval[1] < math.inf
    high = exact_common_odds_ratio([[5, 6], [4, 4]], [[3, 0], [2, 0]])
    assert high.odds_ratio == high.confidence_interval[1] == high.mid_p_interval[1] == math.inf
    swapped = exact_common_odds_ratio([[6, 5], [4, 4]], [[3, 0], [2, 0]])
    assert swapped.confidence_interval[0] == pytest.approx(1 / low.confidence_interval[1])


def test_large_counts_against_scipy() -> None:
    table = [[1000, 800], [2000, 2400]]
    found = exact_common_odds_ratio([3000, 3200], [1000, 800])
    assert found.p_value == pytest.approx(fisher_exact(table).pvalue, rel=1e-8)
    # Two strata: more than one step of the convolution, against another way to sum.
    sizes, counts = torch.tensor([[900, 700], [800, 1200]]), torch.tensor([[300, 260], [300, 400]])
    listed = exact_test_of_equal_weights(sizes, counts)
    both = exact_common_odds_ratio(sizes, counts)
    assert both.p_value == pytest.approx(listed.p_value, rel=1e-10)
    score = exact_test_of_equal_weights(sizes, counts, statistic="score")
    assert both.mid_p_value == pytest.approx(chi2.sf(score.statistic, 1), rel=0.01)


@pytest.mark.parametrize(
    ("sizes", "counts", "options", "message"),
    [
        ([5, 5, 5], [1, 2, 3], {}, r"`group_sizes` of shape.*got \(1, 3\)"),
        ([5, 5], [1, 2], {"level": 95}, "`level` between 0 and 1, but got 95"),
        ([5, 5], [1, 2], {"null_odds_ratio": 0}, "`null_odds_ratio` above 0, but got 0"),
        ([[5, 5], [3, 3]], [[5, 5], [0, 0]], {}, "leave a choice"),
        ([5, 5], [6, 2], {}, "at most the `group_sizes`"),
    ],
)
def test_bad_input_of_the_odds_ratio(sizes, counts, options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        exact_common_odds_ratio(sizes, counts, **options)


def sums(sizes: list, counts: list) -> tuple[dict, tuple]:
    """The law of the summed counts under equal weights, in fractions."""
    ones = [Fraction(1)] * len(sizes[0])
    laws = [oracle.pmf(ones, m, sum(x)) for m, x in zip(sizes, counts, strict=True)]
    law: dict[tuple, Fraction] = {}
    for tables in itertools.product(*laws):
        p = math.prod(one[x] for one, x in zip(laws, tables, strict=True))
        key = tuple(map(sum, zip(*tables, strict=True)))
        law[key] = law.get(key, Fraction(0)) + p
    return law, tuple(map(sum, zip(*counts, strict=True)))


@pytest.mark.parametrize("strata", [1, 3])
def test_equal_weights_in_fractions(strata: int) -> None:
    sizes, counts = SMALL[:strata], SMALL_DRAWN[:strata]
    law, seen = sums(sizes, counts)
    exact = sum(p for p in law.values() if p <= law[seen])
    found = exact_test_of_equal_weights(sizes, counts)
    assert found.p_value == pytest.approx(float(exact), rel=1e-12)
    assert found.statistic == pytest.approx(math.log(law[seen]), rel=1e-12)
    assert (found.standard_error, found.tables) == (0, len(law))


def test_score_statistic_in_fractions() -> None:
    law, seen = sums(SMALL, SMALL_DRAWN)
    support, p = (
        np.array(list(law), dtype=float),
        np.array([float(value) for value in law.values()]),
    )
    away = support - p @ support
    inverse = np.linalg.pinv((p[:, None] * away).T @ away, rcond=1e-10)
    score = np.einsum("ti,ij,tj->t", away, inverse, away)
    observed = score[list(law).index(seen)]
    found = exact_test_of_equal_weights(SMALL, SMALL_DRAWN, statistic="score")
    assert found.statistic == pytest.approx(observed, rel=1e-9)
    assert found.p_value == pytest.approx(p[score >= observed - 1e-9].sum(), rel=1e-9)


@pytest.mark.parametrize(("statistic", "strata"), [("probability", 1), ("score", 1), ("score", 3)])
def test_simulation_against_the_list(statistic: str, strata: int) -> None:
    table = SMALL[:strata], SMALL_DRAWN[:strata]
    exact = exact_test_of_equal_weights(*table, statistic=statistic)
    found = exact_test_of_equal_weights(*table, statistic=statistic, simulations=20_000, seed=5)
    assert found.statistic == pytest.approx(exact.statistic)
    assert 0 < found.standard_error < 0.004
    assert abs(found.p_value - exact.p_value) < 4 * found.standard_error


def test_two_groups_are_the_odds_ratio_test() -> None:
    expected = exact_common_odds_ratio(RABBITS, CURED).p_value
    assert exact_test_of_equal_weights(RABBITS, CURED).p_value == pytest.approx(expected, rel=1e-12)


def test_no_choice_has_the_p_value_one() -> None:
    for options in ({}, {"statistic": "score"}, {"simulations": 5}):
        assert exact_test_of_equal_weights([5, 5], [5, 5], **options).p_value == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "pearson"}, "`statistic` to be .*but got 'pearson'"),
        ({"simulations": -2}, "`simulations`.*-2"),
        ({"simulations": 10}, '`statistic` to be "score" for simulated tables of 3 strata'),
        ({"max_enumeration": 10}, "max_enumeration = 10 .*give `simulations`"),
    ],
)
def test_bad_input_of_equal_weights(options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        exact_test_of_equal_weights(SMALL, SMALL_DRAWN, **options)


def test_too_many_sums_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="give `simulations`"):
        exact_test_of_equal_weights([40] * 12, [20] * 12)
    with pytest.raises(ValueError, match="give `simulations`"):
        exact_test_of_equal_weights([1] * 70, [1] * 35 + [0] * 35)


def independence(table: list[list[int]]) -> tuple[Fraction, int]:
    """The p-value from all tables with the same sums, in fractions, and how many there are."""
    rows, columns = (
        [sum(row) for row in table],
        [sum(column) for column in zip(*table, strict=True)],
    )

    def ways(x: tuple) -> Fraction:
        top = math.prod(map(math.factorial, rows + columns))
        cells = math.prod(math.factorial(k) for row in x for k in row)
        return Fraction(top, math.factorial(sum(rows)) * cells)

    compositions = [
        [x for x in itertools.product(range(total + 1), repeat=len(columns)) if sum(x) == total]
        for total in rows
    ]
    law = [
        ways(x)
        for x in itertools.product(*compositions)
        if [sum(column) for column in zip(*x, strict=True)] == columns
    ]
    assert sum(law) == 1
    return sum(p for p in law if p <= ways(tuple(map(tuple, table)))), len(law)


@pytest.mark.parametrize(
    "table", [[[4, 1, 0], [1, 3, 2]], [[2, 0, 1], [0, 3, 1], [1, 1, 2]], [[3, 0, 2], [0, 0, 0]]]
)
def test_independence_in_fractions(table: list[list[int]]) -> None:
    exact, number = independence(table)
    found = exact_test_of_independence(table)
    assert found.p_value == pytest.approx(float(exact), rel=1e-12)
    assert (found.standard_error, found.tables) == (0, number)
    drawn = exact_test_of_independence(table, simulations=20_000, seed=2)
    assert drawn.statistic == pytest.approx(found.statistic)
    assert abs(drawn.p_value - exact) <= 4 * drawn.standard_error


def test_independence_of_two_columns_is_the_test_of_equal_weights() -> None:
    table = [[4, 0], [1, 4], [2, 4]]
    expected = exact_test_of_equal_weights([4, 5, 6], [4, 1, 2])
    found = exact_test_of_independence(table)
    assert found.p_value == pytest.approx(expected.p_value, rel=1e-12)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)


def test_job_satisfaction_against_r() -> None:
    job = [[1, 3, 10, 6], [2, 3, 10, 7], [1, 6, 14, 12], [0, 1, 9, 11]]  # help page of fisher.test
    found = exact_test_of_independence(job, simulations=50_000)
    assert abs(found.p_value - 0.7827) < 4 * found.standard_error + 5e-5
    assert found.standard_error < 0.002


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([1, 2], {}, r"`table` of shape \(rows, columns\).*got \(2,\)"),
        ([[1, -2], [0, 1]], {}, r"`table`.*-2 at index \(0, 1\)"),
        ([[1, 0.5], [0, 1]], {}, r"`table`.*0.5 at index \(0, 1\)"),
        ([[9, 9, 9], [9, 9, 9]], {"max_enumeration": 50}, "max_enumeration = 50.*`simulations`"),
        ([[1, 2], [0, 1]], {"simulations": -1}, "`simulations`.*-1"),
    ],
)
def test_bad_input_of_independence(table, options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        exact_test_of_independence(table, **options)
