# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The truth for Wallenius' law: draw by draw in rational numbers, or its integral in long floats.

Every float is used exactly as it is, without rounding. Real results are mpmath numbers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

import mpmath

from tests.oracle import Counts, Ints, Mpf, Reals


def pmf(
    weights: Iterable[float | Fraction], group_sizes: Ints, total_count: int
) -> dict[Counts, Fraction]:
    """The exact probability of every count vector that can be drawn, one draw after the other."""
    exact = [Fraction(w) for w in weights]
    law = {(0,) * len(group_sizes): Fraction(1)}
    for _ in range(total_count):
        after: dict[Counts, Fraction] = defaultdict(Fraction)
        for x, probability in law.items():
            groups = list(zip(exact, group_sizes, x, strict=True))
            rest = sum(w * (m - k) for w, m, k in groups)
            if rest == 0:
                raise ValueError(f"cannot draw {total_count} from {group_sizes}, weights {exact}")
            for i, (w, m, k) in enumerate(groups):
                if w and k < m:
                    y = (*x[:i], k + 1, *x[i + 1 :])
                    after[y] += probability * w * (m - k) / rest
        law = dict(after)
    return law


def log_prob(x: Ints, log_weights: Reals, group_sizes: Ints, digits: int = 30) -> Mpf:
    """The log-probability by the trapezoidal rule, halving the step until the digits stay.

    At least one element must be drawn, and at least one must be left.
    """
    with mpmath.workdps(digits + 25):
        weights = [mpmath.exp(mpmath.mpf(t)) for t in log_weights]
        groups = [(w, k) for w, k in zip(weights, x, strict=True) if k]
        rest = mpmath.fsum(w * (m - k) for w, m, k in zip(weights, group_sizes, x, strict=True))

        def log_integrand(v: Mpf) -> Mpf:
            u = mpmath.exp(v)
            rung = (k * mpmath.log(-mpmath.expm1(-w * u)) for w, k in groups)
            return mpmath.log(rest) + v - rest * u + mpmath.fsum(rung)

        def slope(v: Mpf) -> Mpf:
            u = mpmath.exp(v)
            return 1 - rest * u + mpmath.fsum(k * w * u / mpmath.expm1(w * u) for w, k in groups)

        low, high = -mpmath.log(rest), mpmath.log1p(sum(x)) - mpmath.log(rest)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        peak = low
        fall = (digits + 5) * mpmath.log(10)
        ends = []
        for sign in (-1, 1):
            near, far = mpmath.mpf(0), 2 * fall
            for _ in range(60):
                middle = (near + far) / 2
                beyond = log_integrand(peak) - log_integrand(peak + sign * middle) > fall
                near, far = (near, middle) if beyond else (middle, far)
            ends.append(peak + sign * far)
        start, stop = ends
        scale, intervals = log_integrand(peak), 32

        def values(points: Iterable[Mpf]) -> Mpf:
            return mpmath.fsum(mpmath.exp(log_integrand(v) - scale) for v in points)

        step = (stop - start) / intervals
        total = values(start + i * step for i in range(1, intervals))
        result, last = total * step, mpmath.mpf(0)
        while abs(result - last) > mpmath.mpf(10) ** -digits * result:
            total += values(start + (i + mpmath.mpf(0.5)) * step for i in range(intervals))
            intervals, step, last = 2 * intervals, step / 2, result
            result = total * step
        ways = mpmath.fsum(_log_choose(m, k) for m, k in zip(group_sizes, x, strict=True))
        return ways + scale + mpmath.log(result)


def _log_choose(m: int, k: int) -> Mpf:
    if m < 2000:
        return mpmath.log(math.comb(m, k))
    return mpmath.loggamma(m + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(m - k + 1)
