# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Shifts of the columns of scores, at which independent labels have about the wanted counts.

The shifts :math:`b` minimise a convex function,

.. math::

    g(b) = \sum_e \rho_e \log \sum_k \exp(s_{ek} + b_k) - \sum_k n_k b_k,

whose gradient is the mean counts of independent labels minus the wanted counts. The sum over all
labellings with these counts is :math:`\exp(g(b))` times the probability :math:`Z_b` that
independent labels have these counts. So no result depends on the shifts, and no gradient is needed.

Yet they make tables in linear space safe. Let a part of the labels have the counts r. A table has
the probability of this, which is at least :math:`Z_b` times its probability given all counts. At
the minimum, :math:`Z_b` is at least :math:`N!/N^N \prod_k n_k^{n_k}/n_k!`. This is van der
Waerden's conjecture for permanents (proved by Egorychev and by Falikman, 1981). It is never small.
Elsewhere, log :math:`Z_b` is smaller by no more than g is above its minimum. So an entry of the
table underflows only if it has no effect on the result, even if g is 500 above its minimum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..tracing import inside_transform, largest

# Scores of such a range need no cooling. Measured on scores of eight kinds, with ranges to 10^6, up
# to 1000 elements and 16 groups: g was at most 53 above its minimum, mostly below 1.
_RANGE = 8
# For a trace: these serve ranges up to 10^6.
_LEVELS = 15
_FINAL_STEPS = 6


def balancing_shifts(scores: Tensor, repeats: Tensor, counts: Tensor) -> Tensor:
    """Column shifts near the minimum of g, (B, K).

    :param Tensor scores: (B, R, K); each row has a finite entry, and groups whose count is 0 have
        entries of ``-inf`` in all rows that count.
    :param Tensor repeats: how often each row counts, (B, R); 0 for rows to ignore.
    :param Tensor counts: wanted counts, (B, K).
    """
    wanted = counts > 0
    log_counts = torch.where(wanted, counts, 1.0).log()
    log_repeats = repeats.log().unsqueeze(-1)
    step = _Steps(scores, repeats, log_repeats, counts, wanted, log_counts)
    shifts = log_counts
    counted = (repeats > 0).unsqueeze(-1) & (scores > -torch.inf)
    high = torch.where(counted, scores, -torch.inf).amax(-1)
    low = torch.where(counted, scores, torch.inf).amin(-1)
    spread = (high - low).clamp(min=1).amax(-1)
    # At a high temperature, far groups compete as if they were near. While it falls to 1, a few
    # steps at each level follow the minimum.
    levels = _LEVELS if inside_transform() else _levels(spread)
    for level in range(levels):
        temperature = (spread ** (1 - level / levels)).unsqueeze(-1)
        shifts = step.scaling(shifts, temperature)
        shifts = step.newton(shifts, temperature)
        shifts = step.newton(shifts, temperature)
    one = torch.ones_like(spread).unsqueeze(-1)
    best, lowest = shifts, step.height(shifts)
    for i in range(_FINAL_STEPS):
        shifts = step.newton(best, one) if i % 2 else step.scaling(best, one)
        height = step.height(shifts)
        better = height < lowest
        best = torch.where(better.unsqueeze(-1), shifts, best)
        lowest = torch.where(better, height, lowest)
    # A common shift changes nothing but the rounding errors.
    total = counts.sum(-1, keepdim=True)
    common = (counts * best).sum(-1, keepdim=True) / torch.where(total > 0, total, 1.0)
    return best - common


def _levels(spread: Tensor) -> int:
    widest = largest(spread.nan_to_num(posinf=1).ceil())
    return max(0, math.ceil(math.log2(max(widest, 1) / _RANGE)))


class _Steps:
    """Two kinds of steps: one that never fails but may be slow, and one that is fast when near."""

    def __init__(self, *tensors: Tensor) -> None:
        self.scores, self.repeats, self.log_repeats, self.counts, self.wanted, self.log_counts = (
            tensors
        )
        self.pairs = (self.wanted.unsqueeze(-1) & self.wanted.unsqueeze(-2)).double()

    def height(self, shifts: Tensor) -> Tensor:
        """The function g, (B,)."""
        log_sums = torch.logsumexp(self.scores + shifts.unsqueeze(-2), -1)
        return (self.repeats * log_sums).sum(-1) - (self.counts * shifts).sum(-1)

    def scaling(self, shifts: Tensor, temperature: Tensor) -> Tensor:
        """Iterative scaling: each shift grows by the logarithm of wanted over mean count."""
        log_probs = self._log_probs(shifts, temperature)
        away = self.log_counts - torch.logsumexp(log_probs + self.log_repeats, -2)
        return shifts + temperature * torch.where(self.wanted & away.isfinite(), away, 0.0)

    def newton(self, shifts: Tensor, temperature: Tensor) -> Tensor:
        """Newton's method; a step is cut where it may go too far."""
        probs = self._log_probs(shifts, temperature).exp()
        shares = probs * self.repeats.unsqueeze(-1)
        means = shares.sum(-2)
        # The matrix has the null vector 1, as a common shift changes nothing. And labels that are
        # all but certain leave nothing of it.
        ridge = means.sum(-1, keepdim=True) / means.shape[-1] + 1e-9
        diagonal = torch.where(self.wanted, means, 1.0) + 1e-9 * ridge
        products = (ridge / means.shape[-1]).unsqueeze(-1) - shares.mT @ probs
        matrix = torch.diag_embed(diagonal) + self.pairs * products
        missing = torch.where(self.wanted, self.counts - means, 0.0).unsqueeze(-1)
        step = torch.linalg.solve_ex(matrix, missing)[0].squeeze(-1)
        return shifts + temperature * step * (3 / step.abs().amax(-1, keepdim=True).clamp(min=3))

    def _log_probs(self, shifts: Tensor, temperature: Tensor) -> Tensor:
        tilted = self.scores + shifts.unsqueeze(-2)
        return (tilted / temperature.unsqueeze(-1)).log_softmax(-1)
