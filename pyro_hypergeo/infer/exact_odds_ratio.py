# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The exact test and interval of the odds ratio of two groups, over any number of strata."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..ops.binomial import log_binomial_coefficient
from ..ops.errors import at_index
from ..ops.log_convolution import log_convolve
from .fit import checked_strata

# Probabilities that differ by less count as equal, as in R: they may be equal but for rounding.
_EQUAL = 1e-7
# Rows of a convolution's table in one step: the table has this many times the length of the result.
_TERMS = 256
_MAX_DOUBLINGS = 60


class ExactOddsRatio(NamedTuple):
    """The result of :func:`exact_common_odds_ratio`.

    >>> from pyro_hypergeo import exact_common_odds_ratio
    >>> print(exact_common_odds_ratio([8, 9], [6, 2]))
    odds ratio 8.828, exact interval 0.7889 to 168.2, p = 0.0567 (two-sided), mid-p = 0.0475

    :ivar float odds_ratio: the conditional maximum-likelihood estimate; 0 or ``inf`` if the total
        count of the first group is the smallest or the largest possible.
    :ivar tuple confidence_interval: the exact interval of the odds ratio; each end has its own
        one-sided test.
    :ivar tuple mid_p_interval: the same from mid-p-values: shorter, and not always of its level.
    :ivar float p_value: two-sided; it sums all probabilities that are not larger than the observed.
    :ivar float mid_p_value: twice the smaller one-sided mid-p-value, and at most 1.
    :ivar float p_less: probability of a count of the first group as small as observed, or smaller.
    :ivar float p_greater: probability of a count as large as observed, or larger.
    :ivar float mid_p_less: ``p_less`` with half of the probability of the observed count.
    :ivar float mid_p_greater: ``p_greater`` with half of it.

    Printed, it is a sentence. Probabilities below 1e-300 are given as 0.
    """

    odds_ratio: float
    confidence_interval: tuple[float, float]
    mid_p_interval: tuple[float, float]
    p_value: float
    mid_p_value: float
    p_less: float
    p_greater: float
    mid_p_less: float
    mid_p_greater: float

    def __str__(self) -> str:
        low, high = self.confidence_interval
        return (
            f"odds ratio {self.odds_ratio:.4g}, exact interval {low:.4g} to {high:.4g}, "
            f"p = {self.p_value:.3g} (two-sided), mid-p = {self.mid_p_value:.3g}"
        )


def exact_common_odds_ratio(
    group_sizes: Tensor | Sequence[Any],
    counts: Tensor | Sequence[Any],
    *,
    level: float = 0.95,
    null_odds_ratio: float = 1.0,
) -> ExactOddsRatio:
    r"""
    The exact test and interval of the weight of one group relative to another.

    Each stratum is a 2 x 2 table: two groups, drawn or left. All strata have the same odds ratio
    :math:`\omega = w_1 / w_2`. Given the totals of each stratum, the total count :math:`S` of the
    first group has the probability

    .. math::

        P(S = s) \propto \omega^s \sum_{x_1 + x_2 + \dots = s} \, \prod_k
        \binom{m_{k1}}{x_k} \binom{m_{k2}}{n_k - x_k} .

    The sum is a convolution over the strata. With one stratum this is Fisher's exact test, as R's
    ``fisher.test`` and SciPy's ``fisher_exact``. With several it is R's
    ``mantelhaen.test(exact = TRUE)``. It holds for Fisher's law only: under Wallenius' law the
    total count does not hold all information.

    Cost: O(K L) for each stratum, with K possible counts in it and L possible total counts.

    Example: penicillin in rabbits. In five strata (doses), rabbits are treated at once or after 90
    minutes, and some are cured. ::

        >>> from pyro_hypergeo import exact_common_odds_ratio
        >>> rabbits = [[6, 5], [6, 6], [6, 6], [6, 6], [2, 5]]  # at once, later
        >>> cured = [[0, 0], [3, 0], [6, 2], [5, 6], [2, 5]]
        >>> result = exact_common_odds_ratio(rabbits, cured)
        >>> result.odds_ratio
        10.3610
        >>> result.p_value
        0.0399

    **References:**

    [1] Mehta, C. R., Patel, N. R. and Gray, R. (1985) "Computing an exact confidence interval for
        the common odds ratio in several 2 x 2 contingency tables", Journal of the American
        Statistical Association 80.

    [2] Agresti, A. (2013) "Categorical Data Analysis", third edition, sections 7.3 and 16.5.

    :param group_sizes: sizes of the two groups, of shape ``(2,)`` or ``(strata, 2)``.
    :param counts: drawn counts, of the same shape.
    :param float level: the level of the intervals, between 0 and 1.
    :param float null_odds_ratio: the odds ratio that is tested, above 0.
    :return: an :class:`ExactOddsRatio`.
    :raises ValueError: if there are not two groups; if ``level`` or ``null_odds_ratio`` is out of
        range; if shapes differ; if a count is negative, not an integer, or larger than its group;
        or if the totals leave no choice in any stratum.
    """
    sizes, drawn = checked_strata(group_sizes, counts)
    if sizes.shape[-1] != 2:
        raise ValueError(
            f"Expected `group_sizes` of shape (2,) or (strata, 2), but got {tuple(sizes.shape)}; "
            "for more groups there is `exact_test_of_equal_weights`."
        )
    if not 0 < level < 1:
        raise ValueError(f"Expected `level` between 0 and 1, but got {level}.")
    if not 0 < null_odds_ratio < math.inf:
        raise ValueError(f"Expected `null_odds_ratio` above 0, but got {null_odds_ratio}.")
    total = _TotalCount(sizes, drawn)
    p_less, p_greater = total.tails(math.log(null_odds_ratio))
    here = total.log_probs(math.log(null_odds_ratio))[total.observed]
    half = 0.5 * here.exp().item()
    error = (1 - level) / 2
    mid = min(p_less, p_greater) - half
    return ExactOddsRatio(
        _exp(total.estimate()),
        (
            _exp(total.bound(lambda theta: total.tails(theta)[1], error, lower=True)),
            _exp(total.bound(lambda theta: total.tails(theta)[0], error, lower=False)),
        ),
        (
            _exp(total.bound(lambda theta: total.mid_tails(theta)[1], error, lower=True)),
            _exp(total.bound(lambda theta: total.mid_tails(theta)[0], error, lower=False)),
        ),
        total.two_sided(math.log(null_odds_ratio)),
        min(1.0, 2 * mid),
        p_less,
        p_greater,
        p_less - half,
        p_greater - half,
    )


class _TotalCount:
    """The law of the total count of the first group over all strata."""

    def __init__(self, sizes: Tensor, drawn: Tensor) -> None:
        total = drawn.sum(-1)
        low = (total - sizes[:, 1]).clamp(min=0)
        high = torch.minimum(total, sizes[:, 0])
        self.observed = int((drawn[:, 0] - low).sum())
        log_ways = torch.zeros(1, dtype=torch.float64)
        # From the few counts to the many, so that the convolutions stay short.
        for stratum in (high - low).argsort().tolist():
            first = torch.arange(int(low[stratum]), int(high[stratum]) + 1, dtype=torch.float64)
            terms = log_binomial_coefficient(sizes[stratum, 0], first)
            terms = terms + log_binomial_coefficient(sizes[stratum, 1], total[stratum] - first)
            log_ways = _convolved(terms - terms.max(), log_ways)
        self._log_ways = log_ways
        self._counts = torch.arange(len(log_ways), dtype=torch.float64)
        if len(log_ways) == 1:
            raise ValueError(
                f"Expected `counts` of shape {tuple(drawn.shape)} to leave a choice in at least "
                "one stratum, but in each of them the totals leave one table only"
                f"{at_index((0,), 'such as stratum')}."
            )

    def log_probs(self, theta: float) -> Tensor:
        return torch.log_softmax(self._log_ways + theta * self._counts, -1)

    def tails(self, theta: float) -> tuple[float, float]:
        """Probabilities of the observed count or less, and of the observed count or more."""
        probs = self.log_probs(theta).exp()
        less, more = probs[: self.observed + 1].sum().item(), probs[self.observed :].sum().item()
        return min(less, 1.0), min(more, 1.0)

    def mid_tails(self, theta: float) -> tuple[float, float]:
        less, more = self.tails(theta)
        half = 0.5 * self.log_probs(theta)[self.observed].exp().item()
        return less - half, more - half

    def two_sided(self, theta: float) -> float:
        log_probs = self.log_probs(theta)
        not_larger = log_probs <= log_probs[self.observed] + math.log1p(_EQUAL)
        return min(1.0, log_probs[not_larger].exp().sum().item())

    def estimate(self) -> float:
        """The log odds ratio at which the mean is the observed count."""
        if self.observed == 0:
            return -math.inf
        if self.observed == len(self._log_ways) - 1:
            return math.inf
        return _root(
            lambda theta: float(self.log_probs(theta).exp() @ self._counts) - self.observed
        )

    def bound(self, tail: Callable[[float], float], error: float, *, lower: bool) -> float:
        """The log odds ratio at which a tail has the probability ``error``."""
        if self.observed == (0 if lower else len(self._log_ways) - 1):
            return -math.inf if lower else math.inf
        sign = 1 if lower else -1
        # Logarithms, so that the search meets a nearly straight line.
        return _root(lambda theta: sign * (math.log(max(tail(theta), 1e-300)) - math.log(error)))


def _root(increasing: Callable[[float], float]) -> float:
    from scipy.optimize import brentq  # scipy takes as long to import as Pyro

    reach = 1.0
    for _ in range(_MAX_DOUBLINGS):
        if increasing(-reach) < 0 < increasing(reach):
            return float(brentq(increasing, -reach, reach, xtol=1e-13, rtol=1e-14))
        reach *= 2
    raise RuntimeError("The search for the odds ratio has found no bounds.")


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """log sum_k exp(a_k + b_(r - k)) for all r, in steps that bound the memory."""
    short, long = sorted((a, b), key=len)
    length = len(a) + len(b) - 1
    result = torch.full((length,), -torch.inf, dtype=torch.float64)
    for start in range(0, len(short), _TERMS):
        part = log_convolve(short[start : start + _TERMS], long, length - start)
        result[start:] = torch.logaddexp(result[start:], part)
    return result


def _exp(log_odds: float) -> float:
    return math.exp(log_odds) if log_odds < 700 else math.inf
