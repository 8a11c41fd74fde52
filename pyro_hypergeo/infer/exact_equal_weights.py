# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The exact test of equal weights of any number of groups, over any number of strata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Size, Tensor

from ..ops.fisher.law import CENTRAL
from ..ops.support import enumerate_counts, support_exceeds
from ..ops.urn import Bounds
from .fit import checked_strata
from .maximum import blocks

# Values that differ by less count as equal: they may be equal but for rounding.
_EQUAL = 1e-7


class ExactTest(NamedTuple):
    """The result of :func:`exact_test_of_equal_weights`.

    >>> from pyro_hypergeo import exact_test_of_equal_weights
    >>> exact_test_of_equal_weights([4, 5, 6], [4, 1, 2])
    ExactTest(p_value=0.0613, standard_error=0.0, statistic=-4.4520, tables=26)

    :ivar float p_value: the p-value: exact, or estimated by simulation.
    :ivar float standard_error: its standard error if it is estimated; 0 if it is exact.
    :ivar float statistic: the statistic of the observed counts: their log-probability, or the score
        statistic.
    :ivar int tables: number of possible sums of counts that were listed, or of simulated tables.
    """

    p_value: float
    standard_error: float
    statistic: float
    tables: int


def exact_test_of_equal_weights(
    group_sizes: Tensor | Sequence[Any],
    counts: Tensor | Sequence[Any],
    *,
    statistic: str = "probability",
    simulations: int = 0,
    seed: int = 0,
    max_enumeration: int = 5_000_000,
) -> ExactTest:
    r"""
    Test that all groups have the same weight, exactly: also where counts are small.

    Under equal weights the counts of each stratum have the central law, given its total. All that
    matters is the sum over the strata, :math:`S = \sum_k x_k`. The p-value is the probability of
    all sums that are as extreme as the observed one, or more extreme:

    - ``statistic="probability"``: sums that are not more probable. For one stratum this is the
      Fisher-Freeman-Halton test of a G x 2 table, as R's ``fisher.test``.
    - ``statistic="score"``: sums whose score statistic is not smaller. It is

      .. math::

          U^\top V^+ U, \qquad U = S - \mathrm{E}\, S, \quad V = \mathrm{Cov}\, S ,

      the generalised Cochran-Mantel-Haenszel statistic. For large counts it has a chi-squared law
      with G - 1 degrees of freedom. R's ``mantelhaen.test`` has the same statistic.

    The sums are listed stratum by stratum. If there are too many of them, simulate. Then the result
    has a standard error, and with several strata only ``"score"`` is possible. The laws agree under
    equal weights, so the test is right for both Fisher's and Wallenius' law.

    Cost: for each stratum, the number of sums so far times its number of count vectors. Or
    O(simulations strata G).

    Example::

        >>> from pyro_hypergeo import exact_test_of_equal_weights
        >>> exact_test_of_equal_weights([4, 5, 6], [4, 1, 2]).p_value
        0.0614
        >>> p, error, *_ = exact_test_of_equal_weights([4, 5, 6], [4, 1, 2], simulations=10_000)
        >>> abs(p - 0.0614) < 4 * error
        True

    **References:**

    [1] Freeman, G. H. and Halton, J. H. (1951) "Note on an exact treatment of contingency,
        goodness of fit and other problems of significance", Biometrika 38.

    [2] Birch, M. W. (1965) "The detection of partial association, II: the general case", Journal
        of the Royal Statistical Society B 27.

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``.
    :param counts: drawn counts, of the same shape.
    :param str statistic: ``"probability"`` or ``"score"``.
    :param int simulations: number of simulated tables; 0 to list all sums.
    :param int seed: of the simulated tables.
    :param int max_enumeration: the largest number of sums times count vectors of a stratum.
    :return: an :class:`ExactTest`.
    :raises ValueError: if an argument is out of range; if there are too many sums to list; if
        ``"probability"`` is simulated with several strata; if shapes differ; or if a count is
        negative, not an integer, or larger than its group.
    """
    sizes, drawn = checked_strata(group_sizes, counts)
    if statistic not in ("probability", "score"):
        raise ValueError(
            f'Expected `statistic` to be "probability" or "score", but got {statistic!r}.'
        )
    if simulations < 0 or simulations != int(simulations):
        raise ValueError(
            f"Expected `simulations` to be an integer that is not negative, but got {simulations}."
        )
    if simulations == 0:
        return _listed(sizes, drawn, statistic, max_enumeration)
    if statistic == "probability" and len(sizes) > 1:
        raise ValueError(
            f'Expected `statistic` to be "score" for simulated tables of {len(sizes)} strata, but '
            'got "probability": the probability of a sum over strata is only known from a list.'
        )
    return _simulated(sizes, drawn, statistic, simulations, seed)


def _listed(sizes: Tensor, drawn: Tensor, statistic: str, limit: int) -> ExactTest:
    # A sum is one number: its counts are the digits. The last count follows from the others.
    radix = [int(size) + 1 for size in sizes.sum(0)[:-1].tolist()]
    if math.prod(radix) >= 2**62:
        raise _too_many(limit)
    places = np.array([math.prod(radix[:i]) for i in range(len(radix))], dtype=np.int64)
    sums, log_probs = np.zeros(1, dtype=np.int64), np.zeros(1)
    for m, x in zip(sizes, drawn, strict=True):
        integers, total = [int(size) for size in m.tolist()], int(x.sum())
        if support_exceeds(integers, total, limit // len(sums)):
            raise _too_many(limit)
        support = enumerate_counts(integers, total)
        of_stratum = CENTRAL.log_prob(_central(m, x.sum()), support.double()).numpy()
        codes = (sums[:, None] + support[:, :-1].numpy() @ places).ravel()
        sums, log_probs = _merged(codes, (log_probs[:, None] + of_stratum).ravel())
    observed = np.searchsorted(sums, int(drawn.sum(0)[:-1].long().numpy() @ places))
    if statistic == "probability":
        extreme = log_probs <= log_probs[observed] + math.log1p(_EQUAL)
        value = log_probs[observed]
    else:
        digits = [(sums // place) % size for place, size in zip(places, radix, strict=True)]
        rest = int(drawn.sum()) - sum(digits)
        table = torch.tensor(np.stack([*digits, np.broadcast_to(rest, sums.shape)], -1)).double()
        score = _score(sizes, drawn, table).numpy()
        extreme = score >= score[observed] - _EQUAL * (1 + score[observed])
        value = score[observed]
    p = min(1.0, float(np.exp(log_probs[extreme]).sum()))
    return ExactTest(p, 0.0, float(value), len(sums))


def _merged(codes: np.ndarray, log_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different codes in order, and the log of the sum of the probabilities of each."""
    order = np.argsort(codes, kind="stable")
    codes, log_probs = codes[order], log_probs[order]
    first = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    top = np.maximum.reduceat(log_probs, first)
    lengths = np.diff(first, append=len(codes))
    sums = np.add.reduceat(np.exp(log_probs - np.repeat(top, lengths)), first)
    return codes[first], top + np.log(sums)


def _simulated(
    sizes: Tensor, drawn: Tensor, statistic: str, simulations: int, seed: int
) -> ExactTest:
    table = drawn.sum(0).repeat(simulations + 1, 1)  # the observed sum comes first
    table[1:] = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in blocks(len(sizes), sizes.shape[-1] * simulations):
            m, total = sizes[part], drawn[part].sum(-1)
            state = _central(m, total)
            table[1:] += CENTRAL.sample(state, Size((simulations,)), Bounds(m, total)).sum(-2)
    if statistic == "score":
        score = _score(sizes, drawn, table)
        extreme = score >= score[0] - _EQUAL * (1 + score[0])
    else:
        score = CENTRAL.log_prob(_central(sizes[0], drawn[0].sum()), table)
        extreme = score <= score[0] + math.log1p(_EQUAL)
    p = float(extreme.double().mean())
    return ExactTest(p, (p * (1 - p) / simulations) ** 0.5, float(score[0]), simulations)


def _score(sizes: Tensor, drawn: Tensor, table: Tensor) -> Tensor:
    """The score statistic of sums over strata, of shape ``(tables, G)``."""
    groups = sizes.shape[-1]
    mean, covariance = sizes.new_zeros(groups), sizes.new_zeros(groups, groups)
    for part in blocks(len(sizes), groups * groups):
        state = _central(sizes[part], drawn[part].sum(-1))
        mean = mean + CENTRAL.mean(state).sum(0)
        covariance = covariance + CENTRAL.covariance(state).sum(0)
    away = table - mean
    return (away @ torch.linalg.pinv(covariance, hermitian=True, rtol=1e-10) * away).sum(-1)


def _central(sizes: Tensor, total: Tensor) -> Any:
    return CENTRAL.solve(torch.zeros_like(sizes), sizes, total)


def _too_many(limit: int) -> ValueError:
    return ValueError(
        f"Expected at most max_enumeration = {limit} combinations of sums and count vectors, but "
        "there are more; give `simulations`, such as 100000, for an estimate of the p-value."
    )
