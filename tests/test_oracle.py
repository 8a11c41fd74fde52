# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The oracle against rational arithmetic, closed forms and the stored reference."""

import json
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from tests import oracle

REFERENCE = json.loads((Path(__file__).parent / "data" / "fisher_reference.json").read_text())
SMALL = {
    "plain": ([0.5, 3.0, 1.25], [4, 2, 3], 5),
    "plateau": ([1e-6, 1.0, 1e6], [7, 5, 9], 12),
    "zero_weight": ([2.0, 0.0, 0.75], [3, 4, 3], 4),
    "empty_group": ([1.0, 7.0, 0.1, 3.0], [0, 3, 5, 1], 2),
    "none_drawn": ([1.0, 2.0], [2, 3], 0),
    "all_drawn": ([1.0, 2.0], [2, 3], 5),
    "one_group": ([5.0], [4], 3),
    "subset": ([0.1, 0.2, 0.3, 0.4, 0.5], [1, 1, 1, 1, 1], 2),
}


def close(given, expected):
    """Whether a long float equals a rational number to 45 digits."""
    with mpmath.workdps(70):
        truth = mpmath.mpf(expected.numerator) / expected.denominator
        return abs(given - truth) <= abs(truth) * mpmath.mpf("1e-45") + mpmath.mpf("1e-65")


def test_support_lists_every_count_vector_once_in_order():
    sizes, total = [2, 0, 3, 1], 3
    expected = [x for x in np.ndindex(*(m + 1 for m in sizes)) if sum(x) == total]
    assert oracle.support(sizes, total) == expected
    assert oracle.support(sizes, 7) == []


def test_pmf_is_exact():
    # (1 + z / 2)^2 (1 + 3 z) = 1 + 4 z + ...
    assert oracle.pmf([0.5, 3.0], [2, 1], 1) == {(0, 1): Fraction(3, 4), (1, 0): Fraction(1, 4)}


def test_mode_gives_all_maximisers():
    assert oracle.mode([1.0, 1.0], [3, 3], 3) == [(1, 2), (2, 1)]
    assert oracle.mode([2.0, 1.0], [3, 3], 3) == [(2, 1)]


@pytest.mark.parametrize(("weights", "sizes", "total"), SMALL.values(), ids=SMALL)
def test_coefficients_agree_with_enumeration(weights, sizes, total):
    table = oracle.pmf(weights, sizes, total)
    law = (oracle.Weights(weights), sizes, total)
    groups = range(len(sizes))
    with mpmath.workdps(70):
        for x, p in table.items():
            assert close(mpmath.exp(oracle.log_prob(x, *law)), p)
        logs = [
            (p, mpmath.log(p.numerator) - mpmath.log(p.denominator)) for p in table.values() if p
        ]
        entropy = -sum(p.numerator * log / p.denominator for p, log in logs)
        assert abs(oracle.entropy(*law) - entropy) < 1e-45

    first = [sum(p * x[i] for x, p in table.items()) for i in groups]
    assert all(map(close, oracle.mean(*law), first))
    for i, row in enumerate(oracle.covariance(*law)):
        second = [sum(p * x[i] * x[j] for x, p in table.items()) for j in groups]
        assert all(close(row[j], second[j] - first[i] * first[j]) for j in groups)
    for i, marginal in enumerate(oracle.marginals(*law)):
        assert len(marginal) == sizes[i] + 1
        for k, given in enumerate(marginal):
            assert close(given, sum((p for x, p in table.items() if x[i] == k), Fraction(0)))


@pytest.mark.parametrize(("weights", "sizes", "total"), SMALL.values(), ids=SMALL)
def test_contour_agrees_with_enumeration(weights, sizes, total):
    table = oracle.pmf(weights, sizes, total)
    log_p0, mean, variance = oracle.log_partition_contour(oracle.Weights(weights), sizes, total)
    exact = [Fraction(w) for w in weights]
    for x, p in table.items():
        mass = math.prod(math.comb(m, k) * w**k for m, k, w in zip(sizes, x, exact, strict=True))
        with mpmath.workdps(40):
            given = mpmath.exp(oracle.log_unnormalised(x, oracle.Weights(weights), sizes))
            assert abs(given - mpmath.mpf(mass.numerator) / mass.denominator) <= 1e-35 * given
            assert abs(given / mpmath.exp(log_p0) - mpmath.mpf(p.numerator) / p.denominator) < 1e-35
    for i in range(len(sizes)):
        first = sum(p * x[i] for x, p in table.items())
        second = sum(p * x[i] ** 2 for x, p in table.items())
        assert_allclose(float(mean[i]), float(first), rtol=1e-15, atol=1e-50)
        assert_allclose(float(variance[i]), float(second - first**2), rtol=1e-15, atol=1e-50)


def test_log_weights_are_exact_floats():
    theta, sizes, total = [0.3, -1.7, 0.9], [8, 6, 5], 9
    with mpmath.workdps(60):
        shifted = oracle.log_partition([t + 8.0 for t in theta], sizes, total)
        rounded = [(t + 8.0) - 8.0 for t in theta]  # what adding 8 leaves of them, exactly
        assert abs(shifted - oracle.log_partition(rounded, sizes, total) - 8 * total) < 1e-50
        assert abs(shifted - oracle.log_partition(theta, sizes, total) - 8 * total) > 1e-17


@pytest.mark.parametrize("odds", [0.02, 1.0, 5.0])
def test_agrees_with_scipy_on_two_groups(odds):
    m1, m2, total = 20, 35, 18
    theirs = stats.nchypergeom_fisher(m1 + m2, m1, total, odds)
    law = (oracle.Weights([odds, 1.0]), [m1, m2], total)
    k = np.arange(total + 1)
    ours = [float(oracle.log_prob([x, total - x], *law)) for x in k]
    assert_allclose(ours, theirs.logpmf(k), rtol=1e-9)
    assert_allclose(float(oracle.mean(*law)[0]), theirs.mean(), rtol=1e-9)
    assert_allclose(float(oracle.covariance(*law)[0][1]), -theirs.var(), rtol=1e-8)


def test_agrees_with_scipy_on_equal_weights():
    sizes, total = [12, 30, 7, 1], 21
    theirs = stats.multivariate_hypergeom(sizes, total)
    law = ([0.4] * 4, sizes, total)
    x = [5, 13, 3, 0]
    assert_allclose(float(oracle.log_prob(x, *law)), theirs.logpmf(x), rtol=1e-12)
    assert_allclose(np.array(oracle.mean(*law), dtype=float), theirs.mean(), rtol=1e-12)
    assert_allclose(np.array(oracle.covariance(*law), dtype=float), theirs.cov(), rtol=1e-12)


def test_methods_agree_on_a_larger_urn():
    theta, sizes, total = [0.0, 2.0, -3.0, 9.5, 27.0], [150, 75, 250, 40, 10], 165
    log_p0, mean, variance = oracle.log_partition_contour(theta, sizes, total)
    covariance = oracle.covariance(theta, sizes, total)
    marginals = oracle.marginals(theta, sizes, total)
    with mpmath.workdps(50):
        assert abs(log_p0 - oracle.log_partition(theta, sizes, total)) < 1e-35
        for i, marginal in enumerate(marginals):
            assert abs(sum(marginal) - 1) < 1e-45
            first = mpmath.fdot(marginal, range(sizes[i] + 1))
            second = mpmath.fdot(marginal, (k * k for k in range(sizes[i] + 1)))
            for value in (mean[i], oracle.mean(theta, sizes, total)[i]):
                assert abs(value - first) < 1e-35
            for value in (variance[i], covariance[i][i]):
                assert abs(value - (second - first**2)) < 1e-30
            assert abs(sum(covariance[i])) < 1e-35
        # The far tail of the third group, against the law of the other two.
        others = oracle.log_partition(theta[:2] + theta[3:], sizes[:2] + sizes[3:], 0)
        tail = oracle.log_unnormalised([165], theta[2:3], sizes[2:3]) + others - log_p0
        assert abs(mpmath.log(marginals[2][165]) - tail) < 1e-35


def test_contour_at_a_million_elements():
    # Equal weights: P0 = C(N, n) w^n, for any groups.
    sizes, total = [400_000, 599_000, 1000], 300_000
    log_p0, mean, variance = oracle.log_partition_contour([0.5] * 3, sizes, total)
    with mpmath.workdps(40):
        expected = mpmath.log(mpmath.binomial(10**6, total)) + total * mpmath.mpf(0.5)
        assert abs(log_p0 - expected) < 1e-30
        assert abs(mean[2] - 300) < 1e-30
        finite = mpmath.mpf(10**6 - total) / (10**6 - 1)
        assert abs(variance[2] - 300 * (1 - mpmath.mpf("1e-3")) * finite) < 1e-25


@pytest.mark.parametrize("total", [-1, 6])
def test_impossible_draws_are_refused(total):
    law = (oracle.Weights([1.0, 0.0, 2.0]), [2, 4, 3], total)
    for function in (oracle.log_partition, oracle.mean, oracle.marginals):
        with pytest.raises(ValueError, match="cannot draw"):
            function(*law)
    with pytest.raises(ValueError, match="cannot draw"):
        oracle.log_partition_contour(*law)
    with pytest.raises(ValueError, match="cannot draw"):
        oracle.pmf(*law)


def test_log_prob_off_the_support():
    law = ([0.0, 1.0], [2, 3], 3)
    assert oracle.log_prob([3, 0], *law) == oracle.log_prob([1, 1], *law) == -math.inf
    assert oracle.log_prob([1, 2], oracle.Weights([0.0, 1.0]), [2, 3], 3) == -math.inf


@pytest.mark.parametrize("record", REFERENCE, ids=lambda record: record["name"])
def test_reference_records_are_consistent(record):
    sizes, total = record["m"], record["n"]
    assert sum(record["x"]) == total
    assert all(0 <= k <= m for k, m in zip(record["x"], sizes, strict=True))
    assert_allclose(sum(record["mean"]), total, rtol=1e-13)
    for key in ("log_prob", "log_P0"):
        assert_allclose(float(record[key + "_str"]), record[key], rtol=3e-16)
    if sum(sizes) > 150:
        return  # recomputed by make_fisher_reference.py
    if "w" in record:
        log_weights = oracle.Weights(record["w"])
    else:
        log_weights = [-math.inf if theta is None else theta for theta in record["log_w"]]
    law = (log_weights, sizes, total)
    assert_allclose(float(oracle.log_partition(*law)), record["log_P0"], rtol=1e-15, atol=1e-50)
    log_prob = float(oracle.log_prob(record["x"], *law))
    assert_allclose(log_prob, record["log_prob"], rtol=1e-15, atol=1e-50)
    mean = np.array(oracle.mean(*law), dtype=float)
    assert_allclose(mean, record["mean"], rtol=1e-15, atol=1e-50)
    if "cov" in record:
        covariance = np.array(oracle.covariance(*law), dtype=float)
        assert_allclose(covariance, record["cov"], rtol=1e-15, atol=1e-50)
