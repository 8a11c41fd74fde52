# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The truth that the tests compare with: Fisher's law by exact or long arithmetic.

Three ways: enumeration in rational numbers (`support`, `pmf`, `mode`); polynomial coefficients in
long decimals (`log_partition`, `log_prob`, `mean`, `covariance`, `marginals`, `entropy`); and, for
larger sizes, a contour sum in long floats (`log_partition_contour`).

`pmf` and `mode` take weights. The others take log-weights, or `Weights(w)` to pass weights. Every
float is used exactly as it is, without rounding. Real results are mpmath numbers. A draw of more
elements than have a positive weight raises a ValueError.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, getcontext, localcontext
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath
import numpy as np

Counts: TypeAlias = tuple[int, ...]
Reals: TypeAlias = Sequence[float]
Ints: TypeAlias = Sequence[int]
Mpf: TypeAlias = Any  # mpmath has no types
Series: TypeAlias = tuple[int, Any]  # the power of the first coefficient; an array of Decimals

GUARD_DIGITS = 25


class Weights(tuple[float, ...]):
    """Weights, for functions that expect log-weights."""


# Enumeration


def support(group_sizes: Ints, total_count: int) -> list[Counts]:
    """All count vectors, in lexicographic order."""
    if not group_sizes:
        return [()] if total_count == 0 else []
    first, *rest = group_sizes
    low, high = max(0, total_count - sum(rest)), min(first, total_count)
    return [(x, *tail) for x in range(low, high + 1) for tail in support(rest, total_count - x)]


def pmf(
    weights: Iterable[float | Fraction], group_sizes: Ints, total_count: int
) -> dict[Counts, Fraction]:
    """The exact probability of every count vector."""
    exact = [Fraction(w) for w in weights]
    mass = {}
    for x in support(group_sizes, total_count):
        groups = zip(x, group_sizes, exact, strict=True)
        mass[x] = math.prod((math.comb(m, k) * w**k for k, m, w in groups), start=Fraction(1))
    total = sum(mass.values())
    if total == 0:
        raise ValueError(f"cannot draw {total_count} from {group_sizes}, weights {exact}")
    return {x: value / total for x, value in mass.items()}


def mode(weights: Iterable[float | Fraction], group_sizes: Ints, total_count: int) -> list[Counts]:
    """Every count vector of the largest probability."""
    table = pmf(weights, group_sizes, total_count)
    largest = max(table.values())
    return [x for x, probability in table.items() if probability == largest]


# Polynomial coefficients


@contextmanager
def _precision(digits: int = 50) -> Iterator[None]:
    decimals = Context(prec=digits + 2 * GUARD_DIGITS, Emin=MIN_EMIN, Emax=MAX_EMAX)
    with localcontext(decimals), mpmath.workdps(digits + GUARD_DIGITS):
        yield


def log_partition(log_weights: Reals, group_sizes: Ints, total_count: int, digits: int = 50) -> Mpf:
    """log [z^n] prod_i (1 + w_i z)^m_i; 10^4 elements take seconds."""
    with _precision(digits):
        shift, odds = _tilted_odds(log_weights, group_sizes, total_count)
        log_scale = sum(m * (1 + r).ln() for m, r in zip(group_sizes, odds, strict=True))
        at_total = _at(_count_law(odds, group_sizes), total_count)
        return _mpf(log_scale - total_count * shift + at_total.ln())


@_precision()
def log_unnormalised(x: Ints, log_weights: Reals, group_sizes: Ints) -> Mpf:
    """log prod_i C(m_i, x_i) w_i^x_i."""
    groups = zip(x, group_sizes, _weights(log_weights), strict=True)
    logs = [Decimal(math.comb(m, k)).ln() + k * w.ln() for k, m, w in groups if k > 0]
    return _mpf(sum(logs, start=Decimal(0)))


@_precision()
def log_prob(x: Ints, log_weights: Reals, group_sizes: Ints, total_count: int) -> Mpf:
    """The log-probability of `x`: minus infinity off the support."""
    inside = all(0 <= k <= m for k, m in zip(x, group_sizes, strict=True))
    if not inside or sum(x) != total_count:
        return mpmath.mpf("-inf")
    log_p0 = log_partition(log_weights, group_sizes, total_count)
    return log_unnormalised(x, log_weights, group_sizes) - log_p0


@_precision()
def mean(log_weights: Reals, group_sizes: Ints, total_count: int) -> list[Mpf]:
    """The expected counts."""
    _, odds = _tilted_odds(log_weights, group_sizes, total_count)
    law = _count_law(odds, group_sizes)
    others = [_at(_without_one(law, r), total_count - 1) / _at(law, total_count) for r in odds]
    groups = zip(group_sizes, odds, others, strict=True)
    return [_mpf(m * r / (1 + r) * other) for m, r, other in groups]


@_precision()
def covariance(log_weights: Reals, group_sizes: Ints, total_count: int) -> list[list[Mpf]]:
    """The covariance matrix. An entry below 1e-50 E[x_i] E[x_j] becomes zero."""
    table, means = [], mean(log_weights, group_sizes, total_count)
    for i, mu in enumerate(means):
        # If one element of i is drawn, the others are a draw from an urn without this element.
        rest = [m - (j == i) for j, m in enumerate(group_sizes)]
        after = mean(log_weights, rest, total_count - 1) if mu > 0 else means
        moments = [mu * (other + (j == i)) for j, other in enumerate(after)]
        table.append([_difference(e, mu * other) for e, other in zip(moments, means, strict=True)])
    return table


@_precision()
def marginals(log_weights: Reals, group_sizes: Ints, total_count: int) -> list[list[Mpf]]:
    """The pmf of each group over 0..m_i, precise in far tails too; for up to 10^3 elements."""
    _, odds = _tilted_odds(log_weights, group_sizes, total_count)
    laws = [_binomial_law(r, m) for r, m in zip(odds, group_sizes, strict=True)]
    before, after = [np.array([Decimal(1)])], [np.array([Decimal(1)])]
    for left, right in zip(laws[:-1], laws[:0:-1], strict=True):
        before.append(np.convolve(before[-1], left)[: total_count + 1])
        after.append(np.convolve(after[-1], right)[: total_count + 1])
    tables = []
    for law, left, right in zip(laws, before, reversed(after), strict=True):
        others = np.convolve(left, right)
        terms = [p * _at((0, others), total_count - k) for k, p in enumerate(law)]
        total = sum(terms)
        tables.append([_mpf(term / total) for term in terms])
    return tables


@_precision()
def entropy(log_weights: Reals, group_sizes: Ints, total_count: int) -> Mpf:
    """-E[log p(x)], in nats; for up to 10^3 elements."""
    tables = marginals(log_weights, group_sizes, total_count)
    result = log_partition(log_weights, group_sizes, total_count)
    for w, m, table in zip(_weights(log_weights), group_sizes, tables, strict=True):
        possible = [(k, p) for k, p in enumerate(table) if p > 0]
        result -= sum(p * mpmath.log(math.comb(m, k) * _mpf(w) ** k) for k, p in possible)
    return result


# Contour sum


def log_partition_contour(
    log_weights: Reals, group_sizes: Ints, total_count: int, digits: int = 40
) -> tuple[Mpf, list[Mpf], list[Mpf]]:
    """The log-partition function, means and variances; 10^6 elements in 10^3 groups take seconds.

    P0 is a multiple of the integral of prod_i (q_i + p_i z)^m_i / z^n around the unit circle. The
    error of the trapezoidal rule with K nodes is the sum of the probabilities of n + K, n - K, ...
    """
    with _precision(digits):
        shift, decimal_odds = _tilted_odds(log_weights, group_sizes, total_count)
        odds = [_mpf(r) for r in decimal_odds]
        groups = [(m, r / (1 + r), 1 / (1 + r)) for m, r in zip(group_sizes, odds, strict=True)]
        variance = float(sum(m * p * q for m, p, q in groups))
        log_error = math.log(10) * mpmath.mp.dps
        bernstein = log_error / 3 + math.sqrt(log_error**2 / 9 + 2 * log_error * variance)
        half = min(math.ceil(bernstein), sum(group_sizes)) // 2 + 1
        nodes = 2 * half + 1
        total = mpmath.mpf(0)
        drawn, drawn_pairs = [total] * len(groups), [total] * len(groups)
        for node in range(half + 1):
            z = mpmath.expjpi(mpmath.mpf(2 * node) / nodes)
            value = mpmath.fprod((q + p * z) ** m for m, p, q in groups)
            if abs(value) < mpmath.eps:
                break  # the modulus falls from node to node
            value *= z**-total_count * (1 if node == 0 else 2)
            total += value.real
            for i, (_, p, q) in enumerate(groups):
                one = p * z / (q + p * z)
                drawn[i] += (value * one).real
                drawn_pairs[i] += (value * one * one).real
        means = [m * one / total for m, one in zip(group_sizes, drawn, strict=True)]
        moments = [m * (m - 1) * e / total for m, e in zip(group_sizes, drawn_pairs, strict=True)]
        pairs = zip(moments, means, strict=True)
        log_scale = sum(m * mpmath.log1p(r) for m, r in zip(group_sizes, odds, strict=True))
        log_p0 = log_scale - total_count * _mpf(shift) + mpmath.log(total / nodes)
        return log_p0, means, [_difference(e + mu, mu**2) for e, mu in pairs]


# Parts


def _mpf(value: Decimal) -> Mpf:
    return mpmath.mpf(str(value).replace("Infinity", "inf"))


def _difference(a: Mpf, b: Mpf) -> Mpf:
    noise = abs(b) * mpmath.mpf(10) ** (GUARD_DIGITS - mpmath.mp.dps)
    return a - b if abs(a - b) > noise else mpmath.mpf(0)


def _weights(log_weights: Reals) -> list[Decimal]:
    given = [Decimal(value) for value in log_weights]
    return given if isinstance(log_weights, Weights) else [value.exp() for value in given]


def _tilted_odds(
    log_weights: Reals, group_sizes: Ints, total_count: int
) -> tuple[Decimal, list[Decimal]]:
    """A shift s at which sum_i m_i sigmoid(theta_i + s) is about the total, and w_i exp(s).

    Results are the same at every shift. This shift makes the total probable.
    """
    weights = _weights(log_weights)
    active = [(float(w.ln()), m) for w, m in zip(weights, group_sizes, strict=True) if w and m]
    capacity = sum(m for _, m in active)
    if not 0 <= total_count <= capacity:
        raise ValueError(f"cannot draw {total_count} from {group_sizes}, weights {weights}")
    theta, sizes = np.array([t for t, _ in active]), np.array([m for _, m in active])
    target = min(max(total_count, 0.5), capacity - 0.5)
    low, high = (-theta.max() - 50, -theta.min() + 50) if active else (0.0, 0.0)
    for _ in range(100):
        middle = (low + high) / 2
        full = theta + middle >= 0
        short = sizes * np.exp(-np.logaddexp(0, abs(theta + middle)))  # of m_i if full, else of 0
        # Integers first: on a plateau they cancel, and then the remainder is compared precisely.
        excess = (sizes[full].sum() - target) + (short[~full].sum() - short[full].sum())
        low, high = (low, middle) if excess > 0 else (middle, high)
    shift = Decimal(float(low))
    return shift, [w * shift.exp() for w in weights]


def _binomial_law(odds: Decimal, size: int) -> Any:
    terms = [(1 + odds) ** -size]
    for k in range(size):
        terms.append(terms[-1] * odds * (size - k) / (k + 1))
    return np.array(terms)


def _count_law(odds: Sequence[Decimal], group_sizes: Ints) -> Series:
    """The law of the sum of the groups' binomials, without its ends of negligible probability."""
    laws = [_trimmed(0, _binomial_law(r, m)) for r, m in zip(odds, group_sizes, strict=True)]
    while len(laws) > 1:
        (a, left), (b, right), *laws = laws
        laws.append(_trimmed(a + b, np.convolve(left, right)))
    return laws[0]


def _trimmed(first: int, law: Any) -> Series:
    (kept,) = np.nonzero(law > Decimal(10) ** -getcontext().prec)
    return first + int(kept[0]), law[kept[0] : kept[-1] + 1]


def _without_one(series: Series, odds: Decimal) -> Series:
    """Divide the series by (1 + odds z) / (1 + odds): one element less. From the stable end."""
    first, law = series
    p, q = odds / (1 + odds), 1 / (1 + odds)
    rest, quotient = Decimal(0), []
    for term in law if p <= q else law[::-1]:
        rest = (term - p * rest) / q if p <= q else (term - q * rest) / p
        quotient.append(rest)
    return (first, quotient) if p <= q else (first - 1, quotient[::-1])


def _at(series: Series, power: int) -> Decimal:
    first, law = series
    return law[power - first] if 0 <= power - first < len(law) else Decimal(0)
